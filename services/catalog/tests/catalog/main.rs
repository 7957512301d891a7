//! The catalog through gRPC, the real service on a real Postgres.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic as tests do")]

mod imports;
mod imports_broken;
mod offers;
mod outage;
mod places;
mod schema;
mod service;
mod skus;
mod world;
