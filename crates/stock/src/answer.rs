//! What an operation is answered, and what of it is kept for replays.

use crate::ids::{Location, PayloadHash, ReservationId, RowKey, Sku, UnixMicros};
use crate::level::{Condition, Level};
use crate::policy::Breach;
use crate::record::{Moment, Record, Shortage, State};
use crate::repair::RepairResult;
use crate::sale::Progress;
use crate::terms::Portion;
use std::collections::BTreeMap;
use thiserror::Error;

/// A yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To every operation on a reservation but Expire.
    Reservation(Box<ReservationAnswer>),
    /// To Expire: whether the hold's units were freed by it.
    Expiry {
        /// False if the reservation is unknown, no longer held or not yet due.
        expired: bool,
    },
    /// To Count.
    Counted {
        /// One result for each count, in the order asked.
        results: Vec<CountResult>,
        /// Whether this key had landed before.
        replayed: bool,
    },
    /// To Adjust.
    Adjusted {
        /// The rows touched as they were right after, in the order of SKU and location.
        levels: Vec<StockRow>,
        /// Whether this key had landed before.
        replayed: bool,
    },
    /// To Sell.
    Sold {
        /// Those of the SKUs that were not so before, in the order asked.
        changed: Vec<Sku>,
        /// Whether this key had landed before.
        replayed: bool,
    },
    /// To Repair.
    Repaired {
        /// One result for each subject, reservations first.
        results: Vec<RepairResult>,
        /// Whether this key had landed before.
        replayed: bool,
    },
    /// To Policies.
    Policies {
        /// How many were new.
        applied: usize,
    },
    /// To Freshen.
    Freshened {
        /// How many rows changed.
        rows: usize,
    },
}

/// A reservation as it was first answered, and where it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationAnswer {
    /// The first answer to this key.
    pub first: Record,
    /// Where it stands now; a hold past its time is expired.
    pub current_state: State,
    /// Until when it can be confirmed now (Extend moves it).
    pub current_expires_at: Option<UnixMicros>,
    /// Whether this key had landed before.
    pub replayed: bool,
}

/// A stock row with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockRow {
    /// The SKU.
    pub sku: Sku,
    /// The location.
    pub location: Location,
    /// The row.
    pub level: Level,
}

/// What became of one count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountResult {
    /// The SKU.
    pub sku: Sku,
    /// The location.
    pub location: Location,
    /// What became of it.
    pub outcome: CountOutcome,
    /// `on_hand` before.
    pub previous_on_hand: i64,
    /// `on_hand` after.
    pub on_hand: i64,
    /// `shortfall` after.
    pub shortfall: i64,
    /// Committed units that this count newly reflects; negative where units are committed again, because it has them in its number and the one before had not.
    pub reflected: i64,
    /// What could be reserved before.
    pub previous_available: i64,
    /// What can be reserved after.
    pub available: i64,
}

/// What became of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountOutcome {
    /// `on_hand` is now the counted number, or the row is new.
    Applied,
    /// The number was what `on_hand` was already; the row's as-of time moved.
    Unchanged,
    /// The row has a count that is as new or newer; nothing was changed.
    Stale,
    /// Something else is on hand than was expected; nothing was changed.
    Conflict,
}

impl CountOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Applied, Self::Unchanged, Self::Stale, Self::Conflict];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "APPLIED",
            Self::Unchanged => "UNCHANGED",
            Self::Stale => "STALE",
            Self::Conflict => "CONFLICT",
        }
    }

    /// The outcome of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// A no. It has changed nothing, but for an [`Insufficient`](Refusal::Insufficient) to a marked retry, which closes the key. Named by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Ask for less, or come back: fewer units than asked for. To a marked retry it is final for this key.
    #[error("not enough stock")]
    Insufficient(Vec<Shortage>),
    /// Ask again in a moment: there would be enough with the units of holds that are over and that another transaction is just freeing.
    #[error("stock is being freed; ask again")]
    Contended,
    /// Correct the request: there is no such SKU, or it is not stocked at the location named.
    #[error("unknown SKU")]
    UnknownSku(Vec<(Sku, Option<Location>)>),
    /// Use a new key: this one stands for another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// Ask for less: the selling policy allows no more.
    #[error("more units than the selling policy allows")]
    Limit(Vec<Breach>),
    /// Take these out: they are not sold any more.
    #[error("not sold any more")]
    Archived(Vec<Sku>),
    /// Wait until somebody resumes them: their selling is paused.
    #[error("selling is paused")]
    Paused(Vec<Sku>),
    /// Replace a hold of the same owner.
    #[error("the hold to replace is another owner's")]
    OwnerMismatch,
    /// Confirm it first, or release it: it is only held.
    #[error("the reservation is not confirmed")]
    NotConfirmed,
    /// Return units instead: everything was shipped.
    #[error("the reservation is fulfilled")]
    Fulfilled,
    /// Name fewer units: the reservation has not so many left for this.
    #[error("more units than the reservation has left")]
    Exceeded(Vec<Excess>),
    /// Check the id: no such reservation.
    #[error("no such reservation")]
    NotFound,
    /// Reserve anew with a new key: the hold's time ran out.
    #[error("the reservation has expired")]
    Expired,
    /// Reserve anew with a new key: it was released, or its key was closed.
    #[error("the reservation was released")]
    Released,
    /// Cancel it instead: it was confirmed.
    #[error("the reservation is confirmed")]
    Confirmed,
    /// Reserve anew with a new key: it was cancelled.
    #[error("the reservation was cancelled")]
    Cancelled,
    /// Ask for less time.
    #[error("the hold would be too long")]
    HoldTooLong {
        /// The longest that can be asked for now, in microseconds; 0 or less if no more time can be had.
        max_micros: i64,
    },
    /// Correct the adjustments: more would be removed than there is.
    #[error("stock would be negative")]
    WouldBeNegative(Vec<NegativeAdjustment>),
    /// Correct the numbers: these rows would have more units than a row can have, or a count is negative.
    #[error("a quantity is out of range")]
    OutOfRange(Vec<RowKey>),
    /// Tell an operator: what was read of the record contradicts itself, or a row that the operation needs was not read.
    #[error("the record is inconsistent: {0}")]
    Inconsistent(&'static str),
}

/// A portion with more units than there are for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// The portion's index in the request.
    pub index: usize,
    /// The portion.
    pub portion: Portion,
    /// Units that it could have had, after the portions that come first.
    pub left: i64,
}

/// An adjustment that would remove more than there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegativeAdjustment {
    /// Its index in the request.
    pub index: usize,
    /// The SKU.
    pub sku: Sku,
    /// The location.
    pub location: Location,
    /// Which units.
    pub condition: Condition,
    /// Units there, after the adjustments before it.
    pub present: i64,
    /// Units to remove, negative.
    pub delta: i64,
}

/// A mutation other than Reserve that has landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperation {
    /// What the request said.
    pub payload: PayloadHash,
    /// What it was answered first.
    pub answer: StoredAnswer,
}

/// The first answer, as far as the record does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredAnswer {
    /// To every operation on a reservation that has a key of its own: where the reservation stood.
    Reservation {
        /// Which reservation (for a reacquired one the new one); its record must be in the snapshot too.
        id: ReservationId,
        /// Where it stood.
        moment: Moment,
        /// What had become of its units by then, where anything had.
        progress: BTreeMap<RowKey, Progress>,
    },
    /// To Sell: the SKUs that changed.
    Sold(Vec<Sku>),
    /// To Count.
    Counted(Vec<CountResult>),
    /// To Adjust.
    Adjusted(Vec<StockRow>),
    /// To Repair.
    Repaired(Vec<RepairResult>),
}
