//! A reservation as Postgres records it, and what of it never changes.

use crate::cart::Line;
use crate::ids::{Location, Owner, PayloadHash, Quantity, ReservationId, RowKey, Sku, UnixMicros};
use crate::sale::Progress;
use crate::terms::Details;
use std::collections::BTreeMap;
use std::fmt;

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Units are held until the hold's time runs out. The only state that can be confirmed.
    Held,
    /// The owner has bought the units.
    Confirmed,
    /// Everything was shipped. Final.
    Fulfilled,
    /// The owner gave the units back, or closed an unused key. Final.
    Released,
    /// The hold's time ran out. Final.
    Expired,
    /// Called off after it was confirmed. Final.
    Cancelled,
    /// A marked retry was told that there was too little; the key can never hold units. Final.
    Refused,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Held, Self::Confirmed, Self::Fulfilled, Self::Released, Self::Expired, Self::Cancelled, Self::Refused];

    /// Whether it never changes again (I6).
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Held | Self::Confirmed => false,
            Self::Fulfilled | Self::Released | Self::Expired | Self::Cancelled | Self::Refused => true,
        }
    }

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Confirmed => "CONFIRMED",
            Self::Fulfilled => "FULFILLED",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
            Self::Refused => "REFUSED",
        }
    }

    /// The state of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reservation took from one stock row; a reservation has at most one for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The SKU.
    pub sku: Sku,
    /// Where.
    pub location: Location,
    /// Units. At most [`Quantity::MAX`] for each line that took there.
    pub quantity: i64,
    /// Units of them that were not there when they were reserved: promised on the backorder limit.
    pub backordered: i64,
    /// When those are promised to be there; none where there are none, or no date was promised.
    pub promised_at: Option<UnixMicros>,
    /// What became of the units since.
    pub progress: Progress,
}

impl Allocation {
    /// Units that are there, and to which nothing has happened yet.
    #[must_use]
    pub fn new(sku: Sku, location: Location, quantity: i64) -> Self {
        Self { sku, location, quantity, backordered: 0, promised_at: None, progress: Progress::default() }
    }

    /// The stock row.
    #[must_use]
    pub fn row(&self) -> RowKey {
        (self.sku.clone(), self.location.clone())
    }
}

/// What was missing for one line of a cart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shortage {
    /// The line's SKU.
    pub sku: Sku,
    /// The line's location; none if any location would have done.
    pub location: Option<Location>,
    /// Units asked for.
    pub requested: i64,
    /// Units that this line could have had, 0 or more: what is available there, less what the cart's lines with a named location take.
    pub available: i64,
}

/// What of a reservation changes: where it stood at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Where it stood.
    pub state: State,
    /// Until when it could be confirmed; none where there never was a hold.
    pub expires_at: Option<UnixMicros>,
    /// When it reached that state.
    pub state_at: UnixMicros,
    /// Its version, at least 1.
    pub version: i64,
}

/// A reservation, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub id: ReservationId,
    /// Whose it is; none where a Release closed an unused key.
    pub owner: Option<Owner>,
    /// What its Reserve said; none where a Release closed an unused key.
    pub payload: Option<PayloadHash>,
    /// What was asked for, in the order of [`Cart`](crate::Cart); empty where a Release closed an unused key.
    pub lines: Vec<Line>,
    /// What was taken where, in the order of SKU and location; empty for a key that never held units.
    pub allocations: Vec<Allocation>,
    /// When it was made.
    pub created_at: UnixMicros,
    /// Until when the hold could be confirmed when it was made; none where there never was a hold.
    pub first_expires_at: Option<UnixMicros>,
    /// Where it stands.
    pub state: State,
    /// Until when it can be confirmed; none where there never was a hold.
    pub expires_at: Option<UnixMicros>,
    /// When it reached its state.
    pub state_at: UnixMicros,
    /// Grows by one with every change, from 1.
    pub version: i64,
    /// What was missing, for a [`State::Refused`] one and for one that took what there was.
    pub shortages: Vec<Shortage>,
    /// What is kept with it.
    pub details: Details,
    /// The reservation whose place it took.
    pub predecessor: Option<ReservationId>,
    /// The reservation that took its place.
    pub successor: Option<ReservationId>,
}

/// A line of a reservation with its part of the allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocatedLine {
    /// The SKU.
    pub sku: Sku,
    /// The location that was named, if one was.
    pub location: Option<Location>,
    /// Units asked for.
    pub quantity: Quantity,
    /// Whether it might come from several locations.
    pub split: bool,
    /// Where they lie: location and units, in the order of locations; adds up to the quantity, or is empty for a key that never held units.
    pub allocations: Vec<(Location, i64)>,
}

impl Record {
    /// Where it stands at that time: a hold past its time reads as expired before the row says so (I5).
    #[must_use]
    pub fn state_at_time(&self, now: UnixMicros) -> State {
        if self.is_due(now) { State::Expired } else { self.state }
    }

    /// Whether it is a hold whose time is over: it can no longer be confirmed, counts for nobody, and waits for its units to be freed.
    #[must_use]
    pub fn is_due(&self, now: UnixMicros) -> bool {
        self.state == State::Held && self.expires_at.is_none_or(|end| now >= end)
    }

    /// Where it stands, as recorded.
    #[must_use]
    pub const fn moment(&self) -> Moment {
        Moment { state: self.state, expires_at: self.expires_at, state_at: self.state_at, version: self.version }
    }

    /// What became of its units, by stock row, where anything did.
    #[must_use]
    pub fn progress(&self) -> BTreeMap<RowKey, Progress> {
        let changed = self.allocations.iter().filter(|allocation| !allocation.progress.is_none());
        changed.map(|allocation| (allocation.row(), allocation.progress.clone())).collect()
    }

    /// The record as it stood at another moment, when that had become of its units. Its order and its successor are those of now: they are noted once and never changed.
    #[must_use]
    pub fn at(&self, moment: Moment, progress: &BTreeMap<RowKey, Progress>) -> Self {
        let Moment { state, expires_at, state_at, version } = moment;
        let mut record = Self { state, expires_at, state_at, version, ..self.clone() };
        for allocation in &mut record.allocations {
            allocation.progress = progress.get(&allocation.row()).cloned().unwrap_or_default();
        }
        record
    }

    /// The record as the operation that made it left it: the first answer, the same for every replay, but for an order that a Confirm named since. One that was made in
    /// the place of a hold that was over is confirmed from the start: its hold ends when it is made.
    #[must_use]
    pub fn as_first_made(&self) -> Self {
        let was_confirmed = self.first_expires_at == Some(self.created_at);
        let state = if was_confirmed { State::Confirmed } else { State::Held };
        let moment = Moment { state, expires_at: self.first_expires_at, state_at: self.created_at, version: 1 };
        let progress = BTreeMap::new();
        Self { successor: None, ..self.at(moment, &progress) }
    }

    /// The lines, each with what was taken for it where. A line with a named location has all of it there; what is left of the SKU belongs to its free line.
    #[must_use]
    pub fn allocated_lines(&self) -> Vec<AllocatedLine> {
        self.lines.iter().map(|line| self.allocated(line)).collect()
    }

    fn allocated(&self, line: &Line) -> AllocatedLine {
        let here = self.allocations.iter().filter(|allocation| allocation.sku == line.sku);
        let allocations = match &line.location {
            Some(named) => here
                .filter(|allocation| allocation.location == *named)
                .map(|allocation| (allocation.location.clone(), line.quantity.get()))
                .collect(),
            None => here
                .map(|allocation| {
                    (allocation.location.clone(), allocation.quantity.saturating_sub(self.named(allocation)))
                })
                .filter(|(_, units)| *units > 0)
                .collect(),
        };
        let Line { sku, location, quantity, split } = line.clone();
        AllocatedLine { sku, location, quantity, split, allocations }
    }

    /// Units of an allocation that were asked for by naming its location.
    fn named(&self, allocation: &Allocation) -> i64 {
        let asked = |line: &&Line| line.sku == allocation.sku && line.location.as_ref() == Some(&allocation.location);
        self.lines.iter().filter(asked).map(|line| line.quantity.get()).sum()
    }
}
