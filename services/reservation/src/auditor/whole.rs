//! A whole audit on demand: everything once, at full speed, telling what it finds.

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::run_audit_response::Event;
use holdfast_stock::ReservationId;
use tokio::sync::mpsc;

use super::counters::Suspects;
use super::{AuditorConfig, Checker};
use crate::convert;
use crate::gate::GateState;
use crate::metrics::AuditorMetrics;
use crate::store::{Finding, StoreError};

/// A whole audit, whose messages are made by `encode`.
pub(crate) struct Whole<T> {
    pub(crate) checker: Checker,
    pub(crate) config: AuditorConfig,
    pub(crate) metrics: AuditorMetrics,
    pub(crate) events: mpsc::Sender<T>,
    pub(crate) encode: fn(Event) -> T,
}

impl<T> Whole<T> {
    /// Looks at everything. A reader who has gone ends it silently.
    ///
    /// # Errors
    /// [`StoreError`]: what was told until then was found, the rest was not looked at.
    pub(crate) async fn run(&self) -> Result<(), StoreError> {
        let mut suspects = Suspects::default();
        let (mut skus, mut reservations, mut skipped, mut discrepancies) = (0, 0, 0, 0);
        let mut after = String::new();
        loop {
            let next = self.checker.store.skus_after(&after, i32::from(self.config.skus_max)).await?;
            let Some(last) = next.last() else { break };
            after = last.to_string();
            let (found, too_long) = self.checker.check(&next).await?;
            suspects.note(&self.checker, &next).await?;
            (skus, skipped) = (skus + next.len(), skipped + too_long);
            discrepancies += self.tell(&found).await?;
            self.say(Event::Progress(pb::AuditProgress { skus: number(skus), reservations: 0 })).await;
        }
        let mut after = Some(ReservationId::from_bytes([0; 16]));
        while let Some(from) = after {
            // Cheaper by far than SKUs.
            let max = i64::from(self.config.skus_max) * 10;
            let (last, count, found) = self.checker.store.audit_reservations(from, max).await?;
            (after, reservations) = (last, reservations + count);
            discrepancies += self.tell(&self.checker.confirm_reservations(&found).await?).await?;
            let (skus, reservations) = (number(skus), number(reservations));
            self.say(Event::Progress(pb::AuditProgress { skus, reservations })).await;
        }
        if !suspects.is_empty() {
            tokio::time::sleep(self.config.grace()).await;
            let found = suspects.confirmed(&self.checker, self.config.grace()).await?;
            discrepancies += self.tell(&found).await?;
        }
        self.say(Event::End(pb::AuditEnd {
            skus: number(skus),
            reservations: number(reservations),
            discrepancies: number(discrepancies),
            skipped_skus: number(skipped),
            counters_checked: self.checker.gate.state() == GateState::Up,
        }))
        .await;
        Ok(())
    }

    async fn tell(&self, found: &[Finding]) -> Result<usize, StoreError> {
        if found.is_empty() {
            return Ok(0);
        }
        self.checker.keep(found, &self.metrics).await?;
        for discrepancy in self.checker.kept(found).await? {
            self.say(Event::Discrepancy(convert::discrepancy(discrepancy))).await;
        }
        Ok(found.len())
    }

    async fn say(&self, event: Event) {
        // Who has gone is noticed by whoever runs this.
        let _gone = self.events.send((self.encode)(event)).await;
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
