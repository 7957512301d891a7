//! Return: shipped units come back.

use super::draft::{Change, Draft};
use crate::answer::{Excess, Refusal};
use crate::ids::ReservationId;
use crate::ledger::Cause;
use crate::level::Delta;
use crate::op::Returned;
use crate::portions::shares;
use crate::record::Allocation;

impl Draft {
    /// The units are there again at once, in their condition, at the row where they lie; one that there is not yet is made. A count that is taken later has them in its
    /// number, so they are returned when they come in, not when somebody finds the time. The reservation's state stays.
    pub(super) fn take_back(&mut self, op: usize, id: ReservationId, returns: &[Returned]) -> Result<(), Refusal> {
        let record = self.any_sale(id)?;
        let mut allocations = record.allocations.clone();
        let mut excesses: Vec<Excess> = Vec::new();
        let mut changes = Vec::new();
        // As with other portions, those with a location come first.
        let in_turn = |named: bool| {
            returns.iter().enumerate().filter(move |(_, returned)| returned.portion.location.is_some() == named)
        };
        for (index, returned) in in_turn(true).chain(in_turn(false)) {
            let portion = std::slice::from_ref(&returned.portion);
            match shares(portion, &allocations, Allocation::returnable) {
                Err(few) => excesses.extend(few.into_iter().map(|excess| Excess { index, ..excess })),
                Ok(shares) => {
                    for share in shares {
                        let allocation = &mut allocations[share.allocation];
                        allocation.progress.returned += share.units;
                        changes.push(returned.change(id, allocation, share.units));
                    }
                }
            }
        }
        if !excesses.is_empty() {
            excesses.sort_by_key(|excess| excess.index);
            return Err(Refusal::Exceeded(excesses));
        }
        self.write(Some(op), changes)?;
        for allocation in allocations {
            let row = allocation.row();
            let known = self.record(id).and_then(|record| record.allocations.iter().find(|known| known.row() == row));
            if known.is_some_and(|known| known.progress != allocation.progress) {
                self.set_progress(id, &row, allocation.quantity, allocation.progress);
            }
        }
        self.settle(id);
        Ok(())
    }
}

impl Allocation {
    /// Units that were shipped and have not come back.
    const fn returnable(&self) -> i64 {
        self.progress.fulfilled - self.progress.returned
    }
}

impl Returned {
    /// What units that were shipped from there do where they lie now.
    fn change(&self, id: ReservationId, from: &Allocation, units: i64) -> Change {
        let location = self.to.clone().unwrap_or_else(|| from.location.clone());
        let delta = Delta::of_condition(self.condition, units);
        Change { row: (from.sku.clone(), location), delta, cause: Cause::Return(id) }
    }
}
