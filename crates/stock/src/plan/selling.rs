//! Pausing and resuming, by hand and by the breaker: how fast a SKU may be sold.

use super::draft::{Change, Draft};
use super::reserve::Claim;
use crate::answer::{Answer, Refusal, StoredAnswer};
use crate::cart::Line;
use crate::ids::{Name, Note, PayloadHash, RequestId, Sku};
use crate::ledger::Cause;
use crate::level::{Delta, Turn};
use crate::record::Allocation;
use crate::selling::{Pause, Selling};
use std::collections::BTreeMap;

/// Who pauses what is sold too fast.
const BREAKER: &str = "holdfast";

impl Draft {
    /// Pauses or resumes SKUs, all or none.
    pub(super) fn sell(
        &mut self,
        op: usize,
        (request, payload): (RequestId, PayloadHash),
        skus: &[Sku],
        pause: Option<&Pause>,
    ) -> Result<Answer, Refusal> {
        let is_unknown = |sku: &&Sku| self.policy(sku).is_none() && self.rows(sku).next().is_none();
        let unknown: Vec<_> = skus.iter().filter(is_unknown).map(|sku| (sku.clone(), None)).collect();
        if !unknown.is_empty() {
            return Err(Refusal::UnknownSku(unknown));
        }
        let changed: Vec<Sku> = skus.iter().filter(|sku| self.is_paused(sku) != pause.is_some()).cloned().collect();
        let cause = if pause.is_some() { Cause::Pause(request) } else { Cause::Resume(request) };
        self.turn(op, &changed, pause.is_some(), cause)?;
        for sku in &changed {
            // What was sold in the last minute is forgotten with the pause: who resumes has looked at it.
            let recent = match pause {
                Some(_) => self.selling(sku).map(|selling| selling.recent.clone()).unwrap_or_default(),
                None => Vec::new(),
            };
            self.set_selling(sku, Selling { pause: pause.cloned(), recent });
        }
        self.land(request, payload, StoredAnswer::Sold(changed.clone()));
        Ok(Answer::Sold { changed, replayed: false })
    }

    /// Refuses what would be more than a SKU's policy allows within a minute, and pauses the SKU: that stays, though the reservation is refused. To a marked retry the no
    /// is final (PROTOCOL 8).
    pub(super) fn check_pace(
        &mut self,
        op: usize,
        claim: &Claim<'_>,
        allocations: &[Allocation],
        retry: bool,
    ) -> Result<(), Refusal> {
        let mut wanted: BTreeMap<&Sku, i64> = BTreeMap::new();
        for allocation in allocations {
            let units = wanted.entry(&allocation.sku).or_default();
            *units = units.saturating_add(allocation.quantity);
        }
        let mut too_fast = Vec::new();
        for (sku, units) in wanted {
            let Some(most) = self.policy(sku).and_then(|policy| policy.max_per_minute) else { continue };
            let recent = self.selling(sku).map_or(0, |selling| selling.units_within_a_minute(self.now));
            if recent.saturating_add(units) > most {
                let text = format!("{recent} units within a minute, {units} more wanted, {most} allowed");
                too_fast.push((sku.clone(), text));
            }
        }
        if too_fast.is_empty() {
            return Ok(());
        }
        let skus: Vec<Sku> = too_fast.iter().map(|(sku, _)| sku.clone()).collect();
        self.turn(op, &skus, true, Cause::Pause(RequestId::from_bytes(claim.id.to_bytes())))?;
        for (sku, text) in too_fast {
            let pause = Pause {
                at: self.now,
                actor: Name::new(BREAKER).map_err(|_| Refusal::Inconsistent("the breaker has no name"))?,
                note: Note::new(&text).map_err(|_| Refusal::Inconsistent("the breaker's note is no note"))?,
            };
            let recent = self.selling(&sku).map(|selling| selling.recent.clone()).unwrap_or_default();
            self.set_selling(&sku, Selling { pause: Some(pause), recent });
        }
        if retry {
            self.close(claim, claim.cart.lines().iter().map(Line::not_sold).collect());
        }
        Err(Refusal::Paused(skus))
    }

    /// Notes units that were reserved, where a policy limits how many may be within a minute.
    pub(super) fn note_pace(&mut self, sku: &Sku, units: i64) {
        if self.policy(sku).is_some_and(|policy| policy.max_per_minute.is_some()) {
            let mut selling = self.selling(sku).cloned().unwrap_or_default();
            selling.note(self.now, units);
            self.set_selling(sku, selling);
        }
    }

    /// Offers nothing of the SKUs' rows, or something again.
    fn turn(&mut self, op: usize, skus: &[Sku], paused: bool, cause: Cause) -> Result<(), Refusal> {
        let turn = Turn { paused: Some(paused), ..Turn::default() };
        let rows = skus.iter().flat_map(|sku| self.rows(sku)).filter(|(_, level)| level.paused != paused);
        let change = |(row, _)| Change { row: Clone::clone(row), delta: Delta { turn, ..Delta::default() }, cause };
        let changes = rows.map(change).collect();
        self.write(Some(op), changes)
    }
}
