//! vendor-sync through gRPC: the real service on a real Postgres, between a catalog and a reservation that behave as their protos say and can be told to
//! fail. The scenarios over the whole cluster run the same paths against the real ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod addresses;
mod apply_counts;
mod changes;
mod connections;
mod feeds;
mod folders;
mod gate;
mod house;
mod interruptions;
mod offers;
mod peers;
mod quarantine;
mod real_feeds;
mod reports;
mod schema;
mod service;
mod uploads;
mod world;
