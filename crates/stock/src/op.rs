//! What the committer is asked to do.

use crate::cart::Cart;
use crate::ids::{Location, Name, Note, Owner, PayloadHash, RequestId, ReservationId, RowKey, Sku, UnixMicros};
use crate::ledger::AdjustmentReason;
use crate::level::{Condition, Freshness};
use crate::policy::Policy;
use crate::record::Shortage;
use crate::repair::Side;
use crate::sale::EvidenceKind;
use crate::terms::{Portion, Terms};
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
        /// How it is to be carried out.
        terms: Box<Terms>,
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
    /// Turn a hold, or a part of it, into a sale.
    Confirm {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
        /// What is bought, the rest being given back; empty: everything.
        portions: Vec<Portion>,
        /// Under which key to reserve the same anew and confirm it, if the hold is over.
        reacquire: Option<ReservationId>,
        /// The caller's own name for the order, if the reservation has none yet.
        order: Option<Name>,
    },
    /// Say that units of a sale were shipped.
    Fulfil {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
        /// What was shipped; empty: everything that is open.
        portions: Vec<Portion>,
        /// When it left the shelf, by the vendor; none: now, and the feed's clock margin.
        at: Option<UnixMicros>,
    },
    /// Call off units of a sale that were not shipped.
    Cancel {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
        /// What is called off; empty: everything that is open.
        portions: Vec<Portion>,
        /// Whether the units are lost, so that they leave `on_hand` too.
        lost: bool,
        /// Who does it.
        actor: Name,
        /// What the actor wrote.
        note: Note,
    },
    /// Take shipped units back.
    Return {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
        /// What came back.
        returns: Vec<Returned>,
        /// Who does it.
        actor: Name,
        /// What the actor wrote.
        note: Note,
    },
    /// Tell what became of an order at the vendor. Whoever sends orders says `Sent` before the vendor hears of them, and sends what was taken; `Shipped` is here what left
    /// the shelf in spite of being called off.
    Evidence {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which reservation.
        id: ReservationId,
        /// To which units it happened; empty: to all to which it has not happened yet.
        portions: Vec<Portion>,
        /// What happened; none: the vendor took the cancellation.
        kind: Option<EvidenceKind>,
        /// When, by the vendor; none: now, and the feed's clock margin.
        at: Option<UnixMicros>,
    },
    /// Pause or resume the selling of SKUs.
    Sell {
        /// The request's key.
        request: RequestId,
        /// What the request said.
        payload: PayloadHash,
        /// Which SKUs, each once.
        skus: Vec<Sku>,
        /// Whether nothing of them is to be offered.
        pause: bool,
        /// Who does it.
        actor: Name,
        /// What the actor wrote.
        note: Note,
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
    /// What must be on hand for it to be taken, 0 where there is no row; none: anything.
    pub expected: Option<i64>,
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

/// Units that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Which of the reservation's units, by where they were shipped from.
    pub portion: Portion,
    /// In what condition they are.
    pub condition: Condition,
    /// Where they lie now; none: where they were shipped from.
    pub to: Option<Location>,
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
            | Self::Fulfil { id, .. }
            | Self::Cancel { id, .. }
            | Self::Return { id, .. }
            | Self::Evidence { id, .. }
            | Self::Expire { id } => Some(*id),
            Self::Count { .. }
            | Self::Adjust { .. }
            | Self::Sell { .. }
            | Self::Policies { .. }
            | Self::Freshen { .. }
            | Self::Repair { .. } => None,
        }
    }

    /// Every reservation that it names: the one that it is about, the one that it replaces, and the key under which it may reacquire.
    pub fn reservations(&self) -> impl Iterator<Item = ReservationId> {
        let other = match self {
            Self::Reserve { terms, .. } => terms.replaces,
            Self::Confirm { reacquire, .. } => *reacquire,
            _ => None,
        };
        self.reservation().into_iter().chain(other)
    }

    /// The request's own key and payload, where it has one beside the reservation's.
    #[must_use]
    pub const fn request(&self) -> Option<(RequestId, PayloadHash)> {
        match self {
            Self::Confirm { request, payload, .. }
            | Self::Release { request, payload, .. }
            | Self::Extend { request, payload, .. }
            | Self::Fulfil { request, payload, .. }
            | Self::Cancel { request, payload, .. }
            | Self::Return { request, payload, .. }
            | Self::Evidence { request, payload, .. }
            | Self::Sell { request, payload, .. }
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
