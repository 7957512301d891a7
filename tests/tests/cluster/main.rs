//! Scenarios over the whole cluster: the built binaries as processes, on a real Postgres and a real Redis, broken on purpose.

mod load;
mod record;
mod shop;
mod world;

mod backups;
mod callers;
mod chart;
mod commits;
mod journey;
mod kills;
mod lives;
mod metrics;
mod operators;
mod shards;
mod standby;
mod stores;
mod story;
mod strangers;
mod traces;
mod watches;
