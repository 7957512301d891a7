//! Fulfil: units were shipped.

use super::draft::Draft;
use super::sales::{Step, meant};
use crate::answer::{NegativeAdjustment, Refusal};
use crate::ids::{ReservationId, UnixMicros};
use crate::ledger::Cause;
use crate::level::{Condition, Level};
use crate::portions::Share;
use crate::record::Allocation;
use crate::sale::EvidenceKind;
use crate::terms::Portion;

impl Draft {
    /// Where a feed counts the row, a shipment is evidence that its counts will reflect, and `on_hand` is theirs to say; where none does, the units leave it at once
    /// (PROTOCOL 16).
    pub(super) fn fulfil(
        &mut self,
        op: usize,
        id: ReservationId,
        portions: &[Portion],
        at: Option<UnixMicros>,
    ) -> Result<(), Refusal> {
        let record = self.open_sale(id)?;
        let mut missing = Vec::new();
        let mut steps = Vec::new();
        for found in self.steps(record, meant(record, portions, Allocation::open)?) {
            let (share, mut step, level) = found?;
            step.progress.fulfilled += share.units;
            missing.extend(self.ship(&mut step, level, share, at));
            steps.push(step);
        }
        if !missing.is_empty() {
            return Err(Refusal::WouldBeNegative(missing));
        }
        self.take(op, id, Cause::Fulfil(id), steps)?;
        self.settle(id);
        Ok(())
    }

    /// Notes that units left the shelf. They cannot leave one that no feed counts and that has not so many: then what was received is to be said first.
    pub(super) fn ship(
        &self,
        step: &mut Step,
        level: &Level,
        share: Share,
        at: Option<UnixMicros>,
    ) -> Option<NegativeAdjustment> {
        self.tell(step, level, EvidenceKind::Shipped, share.units, at);
        if level.feed.is_some() {
            return None;
        }
        let quantity = step.quantity();
        step.progress.reflect_at_once(quantity, share.units);
        step.delta.on_hand = -share.units;
        let (sku, location) = step.row().clone();
        let (index, present, delta) = (share.portion, level.on_hand, -share.units);
        let is_short = present < share.units;
        is_short.then_some(NegativeAdjustment { index, sku, location, condition: Condition::Sellable, present, delta })
    }
}
