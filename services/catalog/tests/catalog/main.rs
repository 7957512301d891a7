//! The catalog through gRPC, the real service on a real Postgres.

mod imports;
mod imports_broken;
mod offers;
mod places;
mod schema;
mod service;
mod skus;
mod world;
