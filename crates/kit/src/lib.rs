//! What every Holdfast service needs and none should write twice: configuration, telemetry, errors, the gRPC server stack, identity, health and
//! shutdown.
//!
//! Architecture invariant: kit knows no service. It depends on `holdfast-api` for the error reasons, the list of methods and the descriptors, and on
//! no other crate of Holdfast's. README.md shows a whole service built on it.

mod callers;
mod ending;
mod entry;
mod listeners;
mod problem;
mod request;
mod violations;

pub mod build;
pub mod config;
pub mod methods;
pub mod metrics;
pub mod page;
pub mod pg;
pub mod saturation;
pub mod server;
pub mod tasks;
pub mod telemetry;

pub use callers::{Caller, CallerConfig, Callers, CallersConfig, CallersError, Role};
pub use config::{Common, ConfigError, PostgresConfig, ServerConfig, ServiceConfig, TelemetryConfig, load, render};
pub use ending::Ending;
pub use entry::{Service, main, main_as};
pub use listeners::{BindError, Listeners};
pub use methods::{Method, MethodTable, Priority};
pub use metrics::Metrics;
pub use problem::{DOMAIN, Problem, code, reason_name, reason_of};
pub use request::{Attempt, Deadline, attempt, caller, deadline};
pub use saturation::{Fill, Saturation};
pub use server::{Readiness, Server, WholeStreams};
pub use tasks::Tasks;
pub use telemetry::propagate;
pub use violations::Violations;

/// What services need of these crates in the types of kit's API, so that all use one version.
pub use holdfast_api::error::v1::ErrorReason;
pub use tokio_util::sync::CancellationToken;
