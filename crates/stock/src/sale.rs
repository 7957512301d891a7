//! What became of the units of a reservation after they were held: confirmed in part, told to the vendor, shipped, called off, returned, and reflected by a count.

use crate::ids::UnixMicros;

/// What became of an allocation's units. Every number is units, from 0 to the allocation's quantity; the default is an allocation to which nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Given back when only a part was confirmed.
    pub released: i64,
    /// Called off after they were confirmed, all in all.
    pub cancelled: i64,
    /// Of `cancelled`: the vendor was told of the units and has not taken the cancellation, so they are still committed.
    pub cancelling: i64,
    /// Of `cancelled`: units that left committed by it. What is neither this nor `cancelling` was reflected by the count before.
    pub withdrawn: i64,
    /// Shipped.
    pub fulfilled: i64,
    /// Of `fulfilled`: came back.
    pub returned: i64,
    /// Reflected by the count: not committed any more. Never falls.
    pub reflected: i64,
    /// What the vendor did with the units, in the order in which it became known; at most [`Progress::EVIDENCE_MAX`].
    pub evidence: Vec<Evidence>,
}

/// Something that a vendor did with units, by its own clock (PROTOCOL 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    /// What it did.
    pub kind: EvidenceKind,
    /// With how many units, at least 1.
    pub units: i64,
    /// When.
    pub at: UnixMicros,
}

/// What a vendor did with ordered units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// It was sent the order.
    Sent,
    /// It booked the order: its AVAILABLE numbers are without the units from then on.
    Booked,
    /// The units left the shelf: its ON_HAND numbers are without them from then on.
    Shipped,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Booked, Self::Shipped];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "SENT",
            Self::Booked => "BOOKED",
            Self::Shipped => "SHIPPED",
        }
    }

    /// The kind of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What is known of a connection's feed that says when its numbers reflect a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedTerms {
    /// Added to our time of receipt where evidence comes without the vendor's own time, in microseconds; 0 or more.
    pub clock_margin_micros: i64,
    /// So long after an order was sent a number reflects it at the latest, in microseconds; none: never without evidence.
    pub reflection_lag_micros: Option<i64>,
}

impl Progress {
    /// The most pieces of evidence that are kept for an allocation; what is told beyond that is refused.
    pub const EVIDENCE_MAX: usize = 100;

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Of so many units reserved, those that are sold: neither given back nor called off.
    #[must_use]
    pub const fn sold(&self, quantity: i64) -> i64 {
        quantity - self.released - self.cancelled
    }

    /// Of so many units reserved, those that are sold and not shipped.
    #[must_use]
    pub const fn open(&self, quantity: i64) -> i64 {
        self.sold(quantity) - self.fulfilled
    }

    /// Of so many units reserved, what a confirmed reservation has in `committed` (PROTOCOL 15).
    #[must_use]
    pub const fn committed(&self, quantity: i64) -> i64 {
        quantity - self.released - self.withdrawn - self.reflected
    }
}
