//! What the committer is asked to do.

use crate::cart::Cart;
use crate::ids::{Location, Name, Note, Owner, PayloadHash, RequestId, ReservationId, Sku, UnixMicros};
use crate::ledger::AdjustmentReason;
use crate::level::Condition;
use crate::record::Shortage;

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
        /// How long.
        hold: HoldMicros,
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
        /// Rows and sellable units there, 0 to [`LEVEL_MAX`](crate::LEVEL_MAX).
        counts: Vec<(Sku, Location, i64)>,
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
            Self::Count { .. } | Self::Adjust { .. } => None,
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
            | Self::Adjust { request, payload, .. } => Some((*request, *payload)),
            Self::Reserve { .. } | Self::Refuse { .. } | Self::Expire { .. } => None,
        }
    }
}
