//! The rules of stock, by example, against a reference, and model-checked.

#![expect(clippy::unwrap_used, reason = "a test whose world does not come about has failed")]

mod asking;
mod buying;
mod choosing;
mod counts;
mod drawing;
mod every_verb;
mod extremes;
mod model;
mod pace;
mod policies;
mod properties;
mod reference;
mod repair;
mod reservations;
mod sales;
mod shelf;
mod stock;
mod taking;
mod values;
mod vendor;
mod verbs;
mod world;
