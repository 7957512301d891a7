//! The ledger: every change of every stock row, with its cause.

use crate::ids::{Location, RequestId, ReservationId, Sku, UnixMicros};
use crate::level::Delta;

/// One change of one stock row. Per row, versions run 1, 2, 3 … and the deltas add up to the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The row's SKU.
    pub sku: Sku,
    /// The row's location.
    pub location: Location,
    /// The row's version after the change, at least 1.
    pub version: i64,
    /// When, by the clock that the snapshot was read with.
    pub at: UnixMicros,
    /// What changed. All zero only in the entry that creates a row with nothing in it, where a shipment or a cancellation leaves the row as it is, and where a repair
    /// just says that it was.
    pub delta: Delta,
    /// What caused it.
    pub cause: Cause,
    /// The index of the operation that caused it; none where a hold was expired to make room.
    pub op: Option<usize>,
}

/// What causes a change of stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A hold was made.
    Reserve(ReservationId),
    /// A hold was confirmed.
    Confirm(ReservationId),
    /// A hold was released.
    Release(ReservationId),
    /// A hold's time ran out.
    Expire(ReservationId),
    /// A count was taken.
    Count(RequestId),
    /// Units were added or removed by hand.
    Adjust(RequestId, AdjustmentReason),
    /// A selling policy changed: its version.
    Policy(i64),
    /// A feed became late or stale, or fresh again.
    Freshness,
    /// Units were shipped.
    Fulfil(ReservationId),
    /// Units of a sale were called off.
    Cancel(ReservationId),
    /// Shipped units came back.
    Return(ReservationId),
    /// What a vendor did with an order became known, and the count reflects it.
    Evidence(ReservationId),
    /// Selling was paused by a request, or by the Reserve that would have gone beyond the policy's units a minute.
    Pause(RequestId),
    /// Selling was resumed.
    Resume(RequestId),
    /// The record contradicted itself and was repaired.
    Repair(RequestId),
    /// The same, of a reservation's share in the row.
    RepairReservation(ReservationId),
}

impl Cause {
    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve(_) => "RESERVE",
            Self::Confirm(_) => "CONFIRM",
            Self::Release(_) => "RELEASE",
            Self::Expire(_) => "EXPIRE",
            Self::Count(_) => "COUNT",
            Self::Adjust(..) => "ADJUST",
            Self::Policy(_) => "POLICY",
            Self::Freshness => "FRESHNESS",
            Self::Fulfil(_) => "FULFIL",
            Self::Cancel(_) => "CANCEL",
            Self::Return(_) => "RETURN",
            Self::Evidence(_) => "EVIDENCE",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Repair(_) | Self::RepairReservation(_) => "REPAIR",
        }
    }

    /// The bytes of the reservation's or the request's UUID; zeros where neither is the cause.
    #[must_use]
    pub const fn id_bytes(self) -> [u8; 16] {
        match self {
            Self::Reserve(id)
            | Self::Confirm(id)
            | Self::Release(id)
            | Self::Expire(id)
            | Self::Fulfil(id)
            | Self::Cancel(id)
            | Self::Return(id)
            | Self::Evidence(id)
            | Self::RepairReservation(id) => id.to_bytes(),
            Self::Count(id) | Self::Adjust(id, _) | Self::Pause(id) | Self::Resume(id) | Self::Repair(id) => {
                id.to_bytes()
            }
            Self::Policy(_) | Self::Freshness => [0; 16],
        }
    }

    /// Whether the ledger has an entry for it even where it leaves the row as it is: those who watch reservations hear of it from there.
    #[must_use]
    pub const fn is_told(self) -> bool {
        matches!(self, Self::Fulfil(_) | Self::Cancel(_))
    }

    /// Whether it may leave more promised than there is (I2): never one that a reservation causes.
    #[must_use]
    pub const fn may_raise_shortfall(self) -> bool {
        match self {
            Self::Reserve(_)
            | Self::Confirm(_)
            | Self::Release(_)
            | Self::Expire(_)
            | Self::Freshness
            | Self::Return(_)
            | Self::Evidence(_)
            | Self::Pause(_)
            | Self::Resume(_) => false,
            // Shipping from a location without a feed, and a loss, take units off the shelf beside the promise that they were for.
            Self::Fulfil(_) | Self::Cancel(_) | Self::Count(_) | Self::Adjust(..) | Self::Policy(_) => true,
            Self::Repair(_) | Self::RepairReservation(_) => true,
        }
    }

    /// Whether it may make a row that was not there.
    #[must_use]
    pub const fn may_make_row(self) -> bool {
        match self {
            Self::Count(_) | Self::Adjust(..) | Self::Policy(_) | Self::Return(_) => true,
            // What is missing may be made anew.
            Self::Repair(_) | Self::RepairReservation(_) => true,
            Self::Reserve(_)
            | Self::Confirm(_)
            | Self::Release(_)
            | Self::Expire(_)
            | Self::Freshness
            | Self::Fulfil(_)
            | Self::Cancel(_)
            | Self::Evidence(_)
            | Self::Pause(_)
            | Self::Resume(_) => false,
        }
    }
}

/// Why a person or a system changed stock by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdjustmentReason {
    /// Goods came in.
    Received,
    /// Units turned up.
    Found,
    /// Units are missing.
    Lost,
    /// Units broke, or proved broken.
    Damaged,
    /// A customer sent units back.
    Returned,
    /// Units were moved between conditions or locations.
    Moved,
    /// A mistake in an earlier number is put right.
    Correction,
}

impl AdjustmentReason {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Received, Self::Found, Self::Lost, Self::Damaged, Self::Returned, Self::Moved, Self::Correction];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Found => "FOUND",
            Self::Lost => "LOST",
            Self::Damaged => "DAMAGED",
            Self::Returned => "RETURNED",
            Self::Moved => "MOVED",
            Self::Correction => "CORRECTION",
        }
    }

    /// The reason of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}
