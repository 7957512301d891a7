//! Runs processes: a private Postgres, a private Redis, the services and the fault proxy, for `./dev`, tests and
//! benchmarks.
//!
//! Architecture invariants: no child outlives the process that started it, however that ends; no instance that this
//! crate did not start is ever touched, except the stores that the environment names.

pub mod checks;
pub mod commands;
pub mod configuration;
pub mod endpoints;
pub mod error;
pub mod http;
pub mod install;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod project;
pub mod proxy;
pub mod redis;
pub mod redis_cluster;
pub mod roles;
pub mod secrets;
pub mod services;
pub mod signals;
pub mod stack;
pub mod teststores;

mod disk;
mod python;
mod say;
mod unprivileged;

pub use error::{Result, StackError};
