//! What vendors send, turned into counts: formats read a file into observations, guards judge them, and the plan says
//! which number each SKU gets.
//!
//! Architecture invariant: pure. No file, socket, database, clock or randomness is reached from here, and the crate
//! depends on nothing else of Holdfast's, so that every rule can be tested and fuzzed as it is. Nothing in here panics
//! on any input, and no number leaves that does not stand in the file or follow from it by a written rule.
//!
//! In reading order: [`observation`] (the one record for every source), [`formats`] (bytes → observations),
//! [`guards`] (may this row, this file be believed?), [`plan`] (observations and offers → counts by SKU).

pub mod formats;
pub mod guards;
pub mod observation;
pub mod plan;

mod text;

/// The most units that any count may say, pack size multiplied in; reservation accepts no more.
pub const UNITS_MAX: u64 = 1_000_000_000;

/// The longest vendor's code, in bytes; catalog accepts no longer one.
pub const VENDOR_SKU_BYTES_MAX: usize = 128;
