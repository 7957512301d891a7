//! Kit from outside: a real server on free ports, a real process, a real Postgres.

mod config;
mod docs;
mod pg;
mod process;
mod raw;
mod server;
mod world;
