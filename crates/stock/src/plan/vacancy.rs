//! A hold that ends, before it does: what that frees, and for whom it counted.

use super::draft::Change;
use crate::ids::{Name, Owner, ReservationId, RowKey, Sku, UnixMicros};
use crate::ledger::Cause;
use crate::level::Delta;
use crate::record::{Allocation, Record, State};

/// A hold that is about to end; its units are another's, or anybody's.
pub(super) struct Vacancy {
    pub(super) id: ReservationId,
    pub(super) end: State,
    /// None if it had ended before.
    pub(super) allocations: Vec<Allocation>,
    /// For whom its units count.
    pub(super) owner: Option<Owner>,
    pub(super) channel: Option<Name>,
    /// Whether it is over, but its units are not freed yet.
    pub(super) is_due: bool,
}

impl Vacancy {
    /// What it means that a reservation that was not confirmed ends so.
    pub(super) fn of(record: &Record, end: State, now: UnixMicros) -> Self {
        let is_held = record.state == State::Held;
        Self {
            id: record.id,
            end,
            allocations: if is_held { record.allocations.clone() } else { Vec::new() },
            // Units of a hold that was over were not counted as its owner's any more.
            owner: record.owner.clone().filter(|_| !record.is_due(now)),
            channel: record.details.channel.clone(),
            is_due: record.is_due(now),
        }
    }

    /// What its end does to the stock rows.
    pub(super) fn changes(&self) -> Vec<Change> {
        let cause = if self.end == State::Expired { Cause::Expire(self.id) } else { Cause::Release(self.id) };
        let freed = self.allocations.iter().map(|allocation| Change {
            row: allocation.row(),
            delta: Delta { held: allocation.quantity.saturating_neg(), ..Delta::default() },
            cause,
        });
        freed.collect()
    }

    /// Its units on a row.
    pub(super) fn units(&self, row: &RowKey) -> i64 {
        self.sum(|allocation| allocation.row() == *row)
    }

    /// Its units of a SKU, if they count as this owner's.
    pub(super) fn owned_by(&self, owner: &Owner, sku: &Sku) -> i64 {
        if self.owner.as_ref() == Some(owner) { self.sum(|allocation| allocation.sku == *sku) } else { 0 }
    }

    /// Its units of a SKU, if they count as this channel's.
    pub(super) fn used_by(&self, channel: &Name, sku: &Sku) -> i64 {
        if self.channel.as_ref() == Some(channel) { self.sum(|allocation| allocation.sku == *sku) } else { 0 }
    }

    fn sum(&self, counts: impl Fn(&Allocation) -> bool) -> i64 {
        let counted = self.allocations.iter().filter(|allocation| counts(allocation));
        counted.fold(0, |sum, allocation| sum.saturating_add(allocation.quantity))
    }
}
