//! The catalog through gRPC, the real service on a real Postgres.
//!
//! Each test has threads besides its own: dropping its database blocks that one, and a connection of the service's that is just being made would never be
//! finished. Postgres drops no database while anybody is half way in, so everybody's tests would wait for its `authentication_timeout`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic as tests do")]

mod changes;
mod imports;
mod imports_broken;
mod imports_json;
mod kills;
mod migrating;
mod offers;
mod outage;
mod peer;
mod places;
mod process;
mod relay;
mod schema;
mod search;
mod service;
mod skus;
mod watch;
mod world;
