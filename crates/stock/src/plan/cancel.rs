//! Cancel: units of a sale are called off before they are shipped.

use super::draft::Draft;
use super::sales::meant;
use crate::answer::Refusal;
use crate::ids::ReservationId;
use crate::ledger::Cause;
use crate::record::Allocation;
use crate::terms::Portion;

impl Draft {
    /// Units that no vendor knows of leave committed at once, those that one knows of when it has taken the cancellation; those that the count reflects have left it, and
    /// come back with a later count (PROTOCOL 17). Lost ones leave `on_hand` with committed; for those that wait for the vendor it is its count that says so.
    pub(super) fn cancel(
        &mut self,
        op: usize,
        id: ReservationId,
        portions: &[Portion],
        lost: bool,
    ) -> Result<(), Refusal> {
        let record = self.open_sale(id)?;
        let mut steps = Vec::new();
        for found in self.steps(record, meant(record, portions, Allocation::open)?) {
            let (share, mut step, level) = found?;
            let quantity = step.quantity();
            let withdrawn = step.progress.call_off(quantity, share.units);
            if lost {
                // Promised units may not have been there: what is not on hand cannot leave it.
                step.delta.on_hand = -withdrawn.min(level.on_hand);
            }
            steps.push(step);
        }
        self.take(op, id, Cause::Cancel(id), steps)?;
        self.settle(id);
        Ok(())
    }
}
