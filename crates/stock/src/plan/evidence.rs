//! Evidence: what became of an order at the vendor.

use super::draft::Draft;
use super::sales::{Step, meant};
use crate::answer::{NegativeAdjustment, Refusal};
use crate::ids::{ReservationId, UnixMicros};
use crate::ledger::Cause;
use crate::level::Level;
use crate::portions::Share;
use crate::record::Allocation;
use crate::sale::EvidenceKind;
use crate::terms::Portion;

impl Draft {
    /// Keeps what the vendor did, and reflects what the rows' counts then reflect (PROTOCOL 14, 15); none is the cancellation that it took. The reservation's state and
    /// version stay: nothing that its owner sees changes.
    ///
    /// A unit is `Sent` before the vendor is told of it, so that a cancellation in between finds it sent. `Shipped` is here what was shipped in spite of being called off.
    pub(super) fn evidence(
        &mut self,
        op: usize,
        id: ReservationId,
        portions: &[Portion],
        kind: Option<EvidenceKind>,
        at: Option<UnixMicros>,
    ) -> Result<(), Refusal> {
        let record = self.any_sale(id)?;
        let mut missing = Vec::new();
        let mut steps = Vec::new();
        for found in self.steps(record, meant(record, portions, |allocation| left(allocation, kind))?) {
            let (share, mut step, level) = found?;
            missing.extend(self.learn(&mut step, level, share, kind, at));
            steps.push(step);
        }
        if !missing.is_empty() {
            return Err(Refusal::WouldBeNegative(missing));
        }
        self.take(op, id, Cause::Evidence(id), steps)
    }

    /// Notes what happened; gives what cannot have left the shelf.
    fn learn(
        &self,
        step: &mut Step,
        level: &Level,
        share: Share,
        kind: Option<EvidenceKind>,
        at: Option<UnixMicros>,
    ) -> Option<NegativeAdjustment> {
        match kind {
            Some(EvidenceKind::Shipped) => return self.ship(step, level, share, at),
            Some(kind @ (EvidenceKind::Sent | EvidenceKind::Booked)) => self.tell(step, level, kind, share.units, at),
            None => step.progress.take_cancellation(share.units),
        }
        None
    }
}

/// Units of an allocation to which this may still happen.
fn left(allocation: &Allocation, kind: Option<EvidenceKind>) -> i64 {
    let progress = &allocation.progress;
    match kind {
        Some(kind) => progress.untold(allocation.quantity, kind),
        None => progress.untold(allocation.quantity, EvidenceKind::Shipped),
    }
}
