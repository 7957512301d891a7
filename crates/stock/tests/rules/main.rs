//! The rules of stock, by example, against a reference, and model-checked.

#![expect(clippy::unwrap_used, reason = "a test whose world does not come about has failed")]

mod extremes;
mod model;
mod policies;
mod properties;
mod reference;
mod repair;
mod reservations;
mod stock;
mod values;
mod world;
