//! What the committer is asked to do.

use crate::cart::Cart;
use crate::ids::{Location, Name, Note, Owner, PayloadHash, RequestId, ReservationId, RowKey, Sku, UnixMicros};
use crate::ledger::AdjustmentReason;
use crate::level::{Condition, Freshness};
use crate::policy::Policy;
use crate::record::Shortage;
use crate::repair::Side;
use std::collections::BTreeSet;

/// How long to hold: microseconds, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldMicros(i64);

impl HoldMicros {
    /// Takes any positive number of microseconds; the longest hold is in [`Limits`](crate::Limits).
    #[must_use]
    pub const fn new(micros: i64) -> Option<Self> {
        if micros >= 1 { Some(Self(micros)) } else { None }
    }

    /// The microseconds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// One operation on stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Hold all lines of a cart, or none.
    Reserve {
        /// The key.
        id: ReservationId,
        /// Whose it is.
        owner: Owner,
        /// What the request said.
        payload: PayloadHash,
        /// What to hold.
        cart: Cart,
        /// How long; none: as long as the SKUs' policies say, or else [`Limits`](crate::Limits).
        hold: Option<HoldMicros>,
        /// Whether the caller marked it as a retry: a no then closes the key (PROTOCOL 8).
        retry: bool,
    },
    /// Close the key of a marked retry that the read queue found to be short, without touching stock.
    Refuse {
        /// The key.
        id: ReservationId,
        /// Whose it is.
        owner: Owner,
        /// What the request said.
        payload: PayloadHash,
        /// What was asked for.
        cart: Cart,
        /// What the read found missing; not empty.
        shortages: Vec<Shortage>,
    },
    /// Turn a hold into a sale.
    Confirm {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
    },
    /// Give a hold's units back, or close an unused key.
    Release {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
    },
    /// Give a hold more time.
    Extend {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
        /// How long from now.
        hold: HoldMicros,
    },
    /// Free the units of a hold whose time is over; nothing if it is not.
    Expire {
        /// Which reservation.
        id: ReservationId,
    },
    /// Take what a vendor counted, row by row, where it is newer than the row's own count.
    Count {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// The connection that counted.
        connection: Name,
        /// The connection's run.
        run: Name,
        /// When the vendor counted.
        as_of: UnixMicros,
        /// Orders counts of the same instant; 0 or more.
        sequence: i64,
        /// What the numbers mean.
        meaning: CountMeaning,
        /// Whether the run says something of every row of the connection, and the feed will be marked so when it is whole: a row that has the number then stays
        /// unwritten.
        covers_all: bool,
        /// What was counted, at most one number for each row.
        counts: Vec<Count>,
    },
    /// Add or remove units by hand, all or none.
    Adjust {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Who does it.
        actor: Name,
        /// What the actor wrote.
        note: Note,
        /// What to add and remove, in this order.
        adjustments: Vec<Adjustment>,
    },
    /// Take selling policies, each if it is newer than the one that is known.
    Policies {
        /// SKUs and their policies, each SKU once.
        policies: Vec<(Sku, Policy)>,
    },
    /// Bring rows to the freshness of their connection's feed.
    Freshen {
        /// The connection. Rows that another one has counted since stay as they are.
        connection: Name,
        /// The feed's freshness.
        freshness: Freshness,
        /// Rows, and the units to keep back beside the policy's.
        rows: Vec<(Sku, Location, i64)>,
    },
    /// Put right what the auditor found, by entries that say so.
    Repair {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Who does it.
        actor: Name,
        /// Why.
        note: Note,
        /// The stock rows: all those that the reservations are about, too.
        rows: BTreeSet<RowKey>,
        /// The reservations.
        reservations: BTreeSet<ReservationId>,
        /// Whose word stands for what nobody else knows.
        side: Side,
        /// Whether only to say what would be done.
        validate_only: bool,
    },
}

/// One counted number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The row's SKU.
    pub sku: Sku,
    /// The row's location.
    pub location: Location,
    /// Sellable units there, 0 to [`LEVEL_MAX`](crate::LEVEL_MAX).
    pub units: i64,
    /// What the number does.
    pub effect: CountEffect,
}

impl Count {
    /// The row's name.
    #[must_use]
    pub fn row(&self) -> (Sku, Location) {
        (self.sku.clone(), self.location.clone())
    }
}

/// What a counted number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountEffect {
    /// It becomes what is on hand.
    Set,
    /// It is suspicious and waits for a person: no more than it is offered.
    Limit,
    /// The person did not believe it: the limit of this moment goes.
    Unlimit,
}

impl CountEffect {
    /// Its name, for payloads.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Limit => "LIMIT",
            Self::Unlimit => "UNLIMIT",
        }
    }
}

/// One change by hand of one quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The row's SKU.
    pub sku: Sku,
    /// The row's location.
    pub location: Location,
    /// Which units.
    pub condition: Condition,
    /// Units added (positive) or removed (negative).
    pub delta: i64,
    /// Why.
    pub reason: AdjustmentReason,
}

/// What a vendor's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountMeaning {
    /// Everything on the shelf, our unshipped orders included.
    OnHand,
    /// The vendor has taken off the orders that it booked.
    Available,
}

impl CountMeaning {
    /// Every meaning.
    pub const ALL: [Self; 2] = [Self::OnHand, Self::Available];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnHand => "ON_HAND",
            Self::Available => "AVAILABLE",
        }
    }

    /// The meaning of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meaning| meaning.as_str() == name)
    }
}

impl Op {
    /// The reservation that it is about, if it is about one.
    #[must_use]
    pub const fn reservation(&self) -> Option<ReservationId> {
        match self {
            Self::Reserve { id, .. }
            | Self::Refuse { id, .. }
            | Self::Confirm { id, .. }
            | Self::Release { id, .. }
            | Self::Extend { id, .. }
            | Self::Expire { id } => Some(*id),
            Self::Count { .. }
            | Self::Adjust { .. }
            | Self::Policies { .. }
            | Self::Freshen { .. }
            | Self::Repair { .. } => None,
        }
    }

    /// The request's own key and payload, where it has one beside the reservation's.
    #[must_use]
    pub const fn request(&self) -> Option<(RequestId, PayloadHash)> {
        match self {
            Self::Confirm { request, payload, .. }
            | Self::Release { request, payload, .. }
            | Self::Extend { request, payload, .. }
            | Self::Count { request, payload, .. }
            | Self::Adjust { request, payload, .. }
            | Self::Repair { request, payload, .. } => Some((*request, *payload)),
            Self::Reserve { .. }
            | Self::Refuse { .. }
            | Self::Expire { .. }
            | Self::Policies { .. }
            | Self::Freshen { .. } => None,
        }
    }
}
