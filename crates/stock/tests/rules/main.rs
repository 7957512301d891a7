//! The rules of stock, by example, against a reference, and model-checked.

mod extremes;
mod model;
mod properties;
mod reference;
mod reservations;
mod stock;
mod world;
