//! The service over gRPC, on a real Postgres and a real Redis, each test in a world of its own; the auditor runs at the end of each.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod after_sale;
mod as_of;
mod at_risk;
mod audit;
mod availability;
mod bad_input;
mod batch;
mod best_effort;
mod confirm;
mod confirm_parts;
mod dry_run;
mod faults;
mod freshness;
mod keys;
mod locks;
mod moving;
mod neighbours;
mod numbers;
mod overdue;
mod pairs;
mod pausing;
mod policies;
mod races;
mod rebuild;
mod replace;
mod reserve;
mod retention;
mod rolling;
mod stock;
mod store;
mod terms;
mod urgency;
mod watch;
mod watch_faults;
mod watcher;
mod world;
