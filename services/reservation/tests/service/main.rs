//! The service over gRPC, on a real Postgres and a real Redis, each test in a world of its own; the auditor runs at the end of each.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod audit;
mod availability;
mod bad_input;
mod confirm;
mod faults;
mod freshness;
mod keys;
mod policies;
mod races;
mod rebuild;
mod reserve;
mod stock;
mod store;
mod world;
