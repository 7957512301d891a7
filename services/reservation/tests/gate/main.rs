//! The gate against a Redis of each test's own, as a user who may do no more than `redis.acl` says.

#![expect(clippy::unwrap_used, reason = "a test whose world breaks fails, and helpers of tests are no exception")]

mod access;
mod cluster;
mod cluster_tls;
mod cost;
mod faults;
mod in_a_cluster;
mod log;
mod memory;
mod publishing;
mod rush;
mod takes;
mod world;
