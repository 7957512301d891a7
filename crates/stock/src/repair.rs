//! What repair is decided on, and what it did.

use crate::ids::{ReservationId, RowKey};
use crate::level::{Condition, Freshness};
use crate::record::State;
use crate::sale::Progress;
use std::collections::BTreeMap;
use std::fmt;

/// What the ledger and the reservations say of one stock row, read under the row's lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairEvidence {
    /// How many entries its ledger has.
    pub entries: i64,
    /// The highest version among them; 0 if there are none.
    pub newest: i64,
    /// What the entries add up to.
    pub sums: Sums,
    /// What `freshness` was last turned to.
    pub freshness: Freshness,
    /// What `cap` was last turned to, in units.
    pub cap_units: Option<i64>,
    /// What `archived` was last turned to.
    pub archived: bool,
    /// What `paused` was last turned to.
    pub paused: bool,
    /// Units that the reservations' allocations, as they stand, hold there.
    pub promised_held: i64,
    /// Units that they have committed there.
    pub promised_committed: i64,
    /// Whether reservations took more there than was available, since the last repair.
    pub oversold: bool,
    /// Reservations on the row that are wrong, or that the repair names.
    pub movements: BTreeMap<ReservationId, Movement>,
}

/// Sums of deltas, in units.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the numbers of a stock row, each with its meaning there")]
pub struct Sums {
    pub on_hand: i64,
    pub held: i64,
    pub committed: i64,
    pub safety: i64,
    pub backorder: i64,
    /// No zeros.
    pub unsellable: BTreeMap<Condition, i64>,
}

/// One reservation on one stock row: what it should count for, and what the ledger says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Movement {
    /// Where it stands; none: there is no such reservation.
    pub state: Option<State>,
    /// Units that its allocation has; 0: there is none.
    pub allocated: i64,
    /// Units that it holds by state and allocation.
    pub promised_held: i64,
    /// Units that it has committed by state and allocation.
    pub promised_committed: i64,
    /// What became of its units; none if nothing is noted.
    pub progress: Option<Progress>,
    /// Of how many units that was noted; none if nothing is.
    pub progressed: Option<i64>,
    /// By so many units its own entries may differ from what it has committed, because counts' entries moved them.
    pub loose: i64,
    /// What its ledger entries did to `held`.
    pub held: i64,
    /// What they did to `committed`.
    pub committed: i64,
    /// What its first entry took.
    pub taken: i64,
    /// Entries that took units.
    pub reserved: i64,
    /// Entries that ended or moved it.
    pub ended: i64,
    /// Entries of shipments, cancellations and evidence.
    pub after: i64,
    /// Entries by which it was repaired before.
    pub repaired: i64,
    /// The state that its entries brought it to: held, confirmed (whatever became of it afterwards), released or expired; none if the ledger does not know it.
    pub told: Option<State>,
}

impl Movement {
    /// Whether the ledger has anything of it.
    #[must_use]
    pub const fn is_in_ledger(&self) -> bool {
        self.reserved + self.ended > 0
    }
}

/// Whose word stands for what nobody else knows: on hand, units in unsellable conditions, freshness and the offer limit of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Side {
    /// The row's: the ledger gets an entry that explains it.
    #[default]
    Row,
    /// The ledger's: the row goes back to what its ledger adds up to.
    Ledger,
}

impl Side {
    /// Its name, for payloads.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Row => "ROW",
            Self::Ledger => "LEDGER",
        }
    }
}

/// What a repair is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepairSubject {
    /// A stock row.
    Row(RowKey),
    /// A reservation.
    Reservation(ReservationId),
}

impl fmt::Display for RepairSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row((sku, location)) => write!(f, "{sku}@{location}"),
            Self::Reservation(id) => id.fmt(f),
        }
    }
}

/// What became of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepairOutcome {
    /// It was put right.
    Repaired,
    /// Nothing was wrong with it any more.
    Gone,
    /// It was left as it is: a person must do something first, which the detail says.
    Left,
}

impl RepairOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Repaired, Self::Gone, Self::Left];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "REPAIRED",
            Self::Gone => "GONE",
            Self::Left => "LEFT",
        }
    }

    /// The outcome of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// What became of one subject of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairResult {
    /// What it is about.
    pub subject: RepairSubject,
    /// What became of it.
    pub outcome: RepairOutcome,
    /// What was written, or why nothing was, in words.
    pub detail: String,
}
