//! Looks all day long whether stock, ledger, reservations, policies and Redis still agree, and keeps what it finds in the table `discrepancy`.
//!
//! Every replica may audit, one at a time does: whoever holds the row `audit_turn`, which another one takes over when the holder is gone. Rows touched lately come first, so
//! that a fault in busy stock is found in seconds; then the pass through everything goes on where it was. It works for a small share of the time, one statement after the
//! other on a connection of its own.
//!
//! Architecture invariant: it changes nothing but its own tables. What it finds is put right by `Op::Repair`, when a person says so.

mod check;
mod counters;
mod kind;
mod whole;

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_kit::{CancellationToken, Tasks};
use holdfast_stock::{ReservationId, Sku, UnixMicros};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

pub use check::Checker;
pub(crate) use counters::COUNTER;
use counters::Suspects;
pub(crate) use kind::CHANNEL;
pub use kind::DiscrepancyKind;
pub(crate) use whole::Whole;

use crate::metrics::AuditorMetrics;
use crate::store::{Discrepancy, Finding, Store, StoreError};

/// Findings of one look: beyond them the row is wrong enough.
pub(crate) const FINDINGS_MAX: i64 = 1_000;
/// Resolved discrepancies that are forgotten at once.
const FORGOTTEN_MAX: i64 = 1_000;
/// How far back rows count as touched lately when the auditor begins, and how much passes overlap: longer than a transaction may take to become visible.
const OVERLAP_MICROS: i64 = 5_000_000;
/// SKUs touched lately that may wait for a look; further ones come with the pass.
const PENDING_MAX: usize = 50_000;
/// How often holds are counted, by whoever has the turn.
const HOLDS_PERIOD: Duration = Duration::from_secs(15);
/// How far before an instant the keys of reservations lie that were made just then.
const KEY_AGE_MILLIS: i64 = 60_000;

/// How often, how much and for how long.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditorConfig {
    /// Whether this replica may take the turn.
    pub enabled: bool,
    /// From the end of one round to the next at least, in milliseconds.
    pub period_ms: u64,
    /// The part of its time that it works, in percent.
    pub share_percent: u32,
    /// SKUs looked at in one statement.
    pub skus_max: u16,
    /// Ledger entries of late that are looked through for SKUs in one round.
    pub entries_max: u32,
    /// The longest statement, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long a turn lasts that is not prolonged, in milliseconds.
    pub turn_ms: u64,
    /// How long a counter in Redis may be wrong before it is a finding, in milliseconds.
    pub counter_grace_ms: u64,
    /// Discrepancies that may be open.
    pub open_max: u32,
    /// How long resolved ones are kept, in seconds.
    pub retention_seconds: u32,
    /// The longest audit that a call asks for, in seconds.
    pub run_seconds_max: u32,
}

impl AuditorConfig {
    /// What is wrong with these values.
    #[must_use]
    pub fn problems(&self, reconciler_period_ms: u64) -> Vec<String> {
        let mut problems = Vec::new();
        let positive = [
            ("period_ms", self.period_ms),
            ("skus_max", u64::from(self.skus_max)),
            ("entries_max", u64::from(self.entries_max)),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("open_max", u64::from(self.open_max)),
            ("run_seconds_max", u64::from(self.run_seconds_max)),
        ];
        problems.extend(
            positive
                .iter()
                .filter(|(_, value)| *value == 0)
                .map(|(key, _)| format!("auditor.{key} must be at least 1")),
        );
        if !(1..=100).contains(&self.share_percent) {
            problems.push(format!("auditor.share_percent must be 1 to 100, is {}", self.share_percent));
        }
        if self.turn_ms < 2 * self.statement_timeout_ms.max(self.period_ms) {
            problems.push(
                "auditor.turn_ms must be at least twice auditor.statement_timeout_ms and auditor.period_ms: it would be lost while it is used"
                    .to_owned(),
            );
        }
        if self.enabled && reconciler_period_ms < 60_000 && self.counter_grace_ms < 2 * reconciler_period_ms {
            problems.push(
                "auditor.counter_grace_ms must be at least twice reconciler.period_ms, in which counters come right by themselves".to_owned(),
            );
        }
        problems
    }

    fn turn_micros(&self) -> i64 {
        i64::try_from(self.turn_ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.counter_grace_ms)
    }
}

/// Starts the auditor.
pub fn start(config: AuditorConfig, checker: Checker, metrics: AuditorMetrics, tasks: &Tasks) {
    if !config.enabled {
        return;
    }
    let stop = tasks.token().clone();
    tasks.spawn("auditor", async move {
        let mut auditor = Auditor {
            config,
            store: checker.store.clone(),
            checker,
            metrics,
            stop,
            holder: Uuid::now_v7(),
            suspects: Suspects::default(),
            is_ours: false,
            touched_until: None,
            pending: BTreeSet::new(),
            after_open: Uuid::max(),
            after_reservation: ReservationId::from_bytes([0; 16]),
            started: Instant::now(),
            holds_counted: None,
        };
        let mut pause = Duration::from_millis(config.period_ms);
        while auditor.rest(pause).await {
            pause = auditor.round().await;
        }
    });
}

struct Auditor {
    config: AuditorConfig,
    checker: Checker,
    store: Store,
    metrics: AuditorMetrics,
    stop: CancellationToken,
    holder: Uuid,
    suspects: Suspects,
    is_ours: bool,
    /// Until when the rows touched lately are known, by Postgres's clock.
    touched_until: Option<i64>,
    /// SKUs touched lately that have not been looked at since.
    pending: BTreeSet<Sku>,
    /// The last open discrepancy that was looked at again.
    after_open: Uuid,
    after_reservation: ReservationId,
    started: Instant,
    /// When holds were counted last; none while it is another replica's turn.
    holds_counted: Option<Instant>,
}

impl Auditor {
    /// One round, if it is this replica's turn; gives how long to pause.
    async fn round(&mut self) -> Duration {
        let began = Instant::now();
        let period = Duration::from_millis(self.config.period_ms);
        match self.work(began).await {
            Ok(true) => {}
            Ok(false) => {
                self.suspects = Suspects::default();
                self.holds_counted = None;
                self.metrics.holds(None);
            }
            Err(error) => tracing::warn!(%error, "a round of the auditor failed; the next one goes on"),
        }
        let share = self.config.share_percent.clamp(1, 100);
        began.elapsed().mul_f64(f64::from(100 - share) / f64::from(share)).max(period)
    }

    /// Pauses, prolonging the turn meanwhile; false when the process ends.
    async fn rest(&mut self, mut pause: Duration) -> bool {
        let step = Duration::from_millis(self.config.turn_ms / 3);
        loop {
            let part = pause.min(step);
            if self.stop.run_until_cancelled(tokio::time::sleep(part)).await.is_none() {
                return false;
            }
            pause -= part;
            if pause.is_zero() {
                return true;
            }
            if self.is_ours {
                // Should it be lost, the next round learns of it.
                let _prolonged = self.store.audit_turn(self.holder, self.config.turn_micros()).await;
            }
        }
    }

    /// Whether it was this replica's turn.
    async fn work(&mut self, began: Instant) -> Result<bool, StoreError> {
        let turn = self.store.audit_turn(self.holder, self.config.turn_micros()).await;
        self.metrics.oversold(turn.as_ref().ok().map(|turn| turn.oversold));
        let turn = turn?;
        let uptime = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let age = turn.last_ended_at.map_or(uptime, |ended| turn.now.saturating_sub(ended));
        self.metrics.turn(turn.ours, age, &turn.open);
        self.is_ours = turn.ours;
        if !turn.ours {
            self.touched_until = None;
            self.pending.clear();
            return Ok(false);
        }
        self.count_holds().await;
        self.open_again().await?;
        self.learn(turn.now).await?;
        self.reservations(turn.now).await?;
        let counters = self.suspects.confirmed(&self.checker, self.config.grace()).await?;
        self.keep(counters).await?;
        let budget = Duration::from_millis(self.config.period_ms).mul_f64(f64::from(self.config.share_percent) / 100.0);
        // Of both something in every round, however busy the shop is.
        while !self.pending.is_empty() {
            self.lately().await?;
            if began.elapsed() >= budget || self.stop.is_cancelled() {
                break;
            }
        }
        let mut after = turn.after_sku;
        loop {
            after = self.slice(&after).await?;
            if after.is_empty() || began.elapsed() >= budget || self.stop.is_cancelled() {
                break;
            }
        }
        if after.is_empty() {
            let age_micros = i64::from(self.config.retention_seconds).saturating_mul(1_000_000);
            self.store.forget_discrepancies(age_micros, FORGOTTEN_MAX).await?;
        }
        Ok(true)
    }

    /// Says how many holds there are, now and then; what cannot be counted is counted another time.
    async fn count_holds(&mut self) {
        if self.holds_counted.is_some_and(|counted| counted.elapsed() < HOLDS_PERIOD) {
            return;
        }
        self.holds_counted = Some(Instant::now());
        let counts = self.store.count_holds().await;
        if let Err(error) = &counts {
            tracing::debug!(%error, "holds could not be counted");
        }
        self.metrics.holds(counts.ok());
    }

    /// The next SKUs of the pass through everything; gives the last of them, empty at the end.
    async fn slice(&mut self, after: &str) -> Result<String, StoreError> {
        let skus = self.store.skus_after(after, i32::from(self.config.skus_max)).await?;
        self.look(&skus).await?;
        let is_last = skus.len() < usize::from(self.config.skus_max);
        let after = skus.last().filter(|_| !is_last).map(ToString::to_string).unwrap_or_default();
        self.store.audit_advance(self.holder, &after).await?;
        if after.is_empty() {
            self.metrics.passed();
        }
        Ok(after)
    }

    /// Learns which SKUs' ledgers have grown since the last round, and a little before: a transaction is dated before it can be seen.
    async fn learn(&mut self, now: i64) -> Result<(), StoreError> {
        let since = self.touched_until.unwrap_or(now).saturating_sub(OVERLAP_MICROS);
        let skus = self.store.touched_since(UnixMicros(since), i64::from(self.config.entries_max)).await?;
        self.touched_until = Some(now);
        let room = PENDING_MAX.saturating_sub(self.pending.len());
        self.pending.extend(skus.into_iter().take(room));
        Ok(())
    }

    /// Some of the SKUs touched lately.
    async fn lately(&mut self) -> Result<(), StoreError> {
        let mut skus = Vec::new();
        while skus.len() < usize::from(self.config.skus_max)
            && let Some(sku) = self.pending.pop_first()
        {
            skus.push(sku);
        }
        self.look(&skus).await
    }

    /// Reservations made lately, and the next of all others, that have lost their units.
    async fn reservations(&mut self, now: i64) -> Result<(), StoreError> {
        let max = i64::from(self.config.skus_max);
        let (_, _, mut found) = self.store.audit_reservations(key_at(now / 1_000 - KEY_AGE_MILLIS), max).await?;
        let (last, _, further) = self.store.audit_reservations(self.after_reservation, max).await?;
        self.after_reservation = last.unwrap_or(ReservationId::from_bytes([0; 16]));
        found.extend(further);
        let found = self.checker.confirm_reservations(&found).await?;
        self.keep(found).await
    }

    async fn look(&mut self, skus: &[Sku]) -> Result<(), StoreError> {
        let began = Instant::now();
        let (found, skipped) = self.checker.check(skus).await?;
        self.suspects.note(&self.checker, skus).await?;
        self.metrics.looked(skus.len(), skipped, began.elapsed());
        self.keep(found).await
    }

    /// Open discrepancies, some in each round: those that are gone are noted so.
    async fn open_again(&mut self) -> Result<(), StoreError> {
        let max = i64::from(self.config.skus_max);
        let open = self.store.list_discrepancies(self.after_open, max, false).await?;
        self.after_open = match open.last() {
            Some(last) if open.len() as u64 >= max.unsigned_abs() => last.id,
            _ => Uuid::max(),
        };
        self.checker.resolve(&open).await?;
        Ok(())
    }

    async fn keep(&self, found: Vec<Finding>) -> Result<(), StoreError> {
        if found.is_empty() {
            return Ok(());
        }
        self.checker.keep(&found, &self.metrics).await?;
        Ok(())
    }
}

/// The lowest key that could have been made at that time.
fn key_at(millis: i64) -> ReservationId {
    let millis = u128::from(millis.unsigned_abs()) << 80;
    ReservationId::from_bytes(millis.to_be_bytes())
}

/// The SKUs and the reservations without SKU that discrepancies are about.
pub(crate) fn subjects(open: &[Discrepancy]) -> (Vec<Sku>, Vec<Uuid>) {
    let skus: BTreeSet<Sku> = open.iter().filter_map(|one| Sku::new(&one.sku).ok()).collect();
    let ids: BTreeSet<Uuid> = open.iter().filter(|one| one.sku.is_empty()).map(|one| one.reservation_id).collect();
    (skus.into_iter().collect(), ids.into_iter().collect())
}
