//! How a SKU may be sold: what catalog pushes, and what it means for a row of stock.

use crate::ids::{Location, Name, Sku, UnixMicros};
use crate::op::HoldMicros;
use crate::record::Shortage;
use std::collections::BTreeMap;

/// A SKU's selling policy; the default is a SKU without one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Grows with every change; 0 only where there is no policy.
    pub version: i64,
    /// Units not offered at each location, 0 to [`LEVEL_MAX`](crate::LEVEL_MAX).
    pub safety: i64,
    /// Units that may be promised beyond what is there, at the first of `locations`: 0 to [`LEVEL_MAX`](crate::LEVEL_MAX).
    pub backorder: i64,
    /// Most units in one reservation; none: no limit.
    pub max_per_reservation: Option<i64>,
    /// Most units that one owner may hold and have confirmed together; none: no limit.
    pub max_per_owner: Option<i64>,
    /// How long a hold lasts whose request does not say; none: the service's default.
    pub default_hold: Option<HoldMicros>,
    /// The preferred locations, the best first, each once.
    pub locations: Vec<Location>,
    /// Whether the SKU is not sold any more.
    pub archived: bool,
    /// Most units reserved within any 60 seconds, all owners together; none: no limit.
    pub max_per_minute: Option<i64>,
    /// Most units that a channel may hold and have confirmed together, by channel; a channel that is not in it has no cap.
    pub channel_caps: BTreeMap<Name, i64>,
    /// When units promised beyond what is there will be there; none: no promise.
    pub promise: Option<Promise>,
}

/// When units promised beyond what is there will be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// At that instant: a preorder.
    At(UnixMicros),
    /// So many microseconds after they are reserved: a backorder.
    After(i64),
}

/// Where a row stands among its SKU's locations: the lower, the more it is preferred.
pub type Rank = i16;

impl Policy {
    /// The rank of locations that no policy names: behind all that one can name.
    pub const UNRANKED: Rank = Rank::MAX;

    /// Where a location stands in the order of preference.
    #[must_use]
    pub fn rank(&self, location: &Location) -> Rank {
        let place = self.locations.iter().position(|preferred| preferred == location);
        place.and_then(|place| Rank::try_from(place).ok()).unwrap_or(Self::UNRANKED)
    }

    /// What may be promised beyond what is there, at a location.
    #[must_use]
    pub fn backorder_at(&self, location: &Location) -> i64 {
        if self.locations.first() == Some(location) { self.backorder } else { 0 }
    }
}

/// More units of a SKU than its policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The SKU.
    pub sku: Sku,
    /// Units asked for.
    pub requested: i64,
    /// Units that would be allowed now, 0 or more.
    pub allowed: i64,
    /// Whose limit it is.
    pub limit: Limit,
}

impl Breach {
    /// What a closed key keeps of it: a replay is told that there is too little.
    pub(crate) fn as_shortage(&self) -> Shortage {
        Shortage { sku: self.sku.clone(), location: None, requested: self.requested, available: self.allowed }
    }
}

/// What a policy limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The units of one reservation.
    Reservation,
    /// The units that one owner holds and has confirmed.
    Owner,
    /// The units that a channel holds and has confirmed.
    Channel,
}
