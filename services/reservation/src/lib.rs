//! The only writer of stock: reservations, counts, adjustments, availability and the ledger.

pub mod gate;
