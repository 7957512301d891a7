//! Runs processes: a private Postgres, a private Redis, the services and the fault proxy, for `./dev`, tests and
//! benchmarks.
//!
//! Architecture invariants: no child outlives the process that started it, however that ends; no instance that this
//! crate did not start is ever touched, except the stores that the environment names.

pub mod commands;
pub mod error;
pub mod install;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod project;
pub mod redis;
pub mod roles;
pub mod secrets;
pub mod signals;
pub mod teststores;

mod disk;
mod say;
mod unprivileged;

pub use error::{Result, StackError};
