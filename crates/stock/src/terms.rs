//! How a reservation is asked for, beside what and how much.

use crate::ids::{Location, Name, ReservationId, Sku};
use std::collections::BTreeMap;

/// How a Reserve is to be carried out; the default is all or nothing, by fixed priority, in nobody's place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// How locations are chosen for lines that name none.
    pub strategy: Strategy,
    /// Whether as much as there is will do.
    pub best_effort: bool,
    /// The hold whose place it takes.
    pub replaces: Option<ReservationId>,
    /// What is kept with it.
    pub details: Details,
}

/// How locations are chosen for lines that name none. A line that must not be split comes from one location whatever the strategy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The first in the order of preference that has all units of the line; otherwise as few as possible.
    #[default]
    FixedPriority,
    /// As few locations as possible for the whole cart.
    FewestParcels,
    /// The location that has most.
    MostStock,
    /// The first of these that has all units of the line; otherwise from the first on, and what they lack from the others as by fixed priority.
    Nearest(Vec<Location>),
}

/// What a caller wants to keep with a reservation; the rules look only at the channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// The channel that it came by.
    pub channel: Option<Name>,
    /// The caller's own name for the order.
    pub order: Option<Name>,
    /// Keys and values.
    pub labels: BTreeMap<String, String>,
}

/// A part of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Portion {
    /// The SKU.
    pub sku: Sku,
    /// The location; none: whichever of the reservation's has such units, in the order of their codes.
    pub location: Option<Location>,
    /// Units, at least 1.
    pub units: i64,
}
