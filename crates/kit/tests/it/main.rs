//! Kit from outside: a real server on free ports, a real process, a real Postgres.

#![expect(clippy::unwrap_used, reason = "tests, and helpers of tests, fail where they stand")]

mod config;
mod credentials;
mod docs;
mod leaving;
mod pg;
mod pool;
mod process;
mod raw;
mod schema;
mod server;
mod tls;
mod world;
