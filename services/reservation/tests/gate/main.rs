//! The gate against a Redis of each test's own, as a user who may do no more than `redis.acl` says.

mod faults;
mod memory;
mod publishing;
mod takes;
mod world;
