//! Makes Redis converge: reads Postgres and overwrites what is published, whatever it finds; the SKUs asked for since the last pass first, all others in turn.
//!
//! Where most of what it looks at is missing, or in a cluster most of what one master has, Redis was wiped or is new: then it goes on without a pause until everything has come round, slice by slice, one after the
//! other, so that buyers' calls find their way between. Requests for a SKU that has not come yet are decided by the record meanwhile, and publish it.
//!
//! Architecture invariant: it takes no input but Postgres. It never adds to a counter and never touches a take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_kit::Tasks;
use holdfast_stock::Sku;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::gate::{Drift, Gate, GateError, GateState, Published, ReconcileReport};
use crate::metrics::ReconcilerMetrics;
use crate::store::{Look, Store, StoreError};

/// SKUs of those that come in turn that are published before it is noted how far they are.
const PART_SKUS: usize = 128;
/// The pause of a rebuild when Redis did not answer: it has others to serve.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How often and how much.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcilerConfig {
    /// From the end of one pass to the next, in milliseconds.
    pub period_ms: u64,
    /// SKUs read and published at once.
    pub skus_max: u16,
    /// Rows of stock that were not asked for, in one pass: how fast everything comes round.
    pub others_max: u16,
    /// SKUs that are remembered as asked for; further ones come in turn.
    pub asked_max: usize,
}

impl ReconcilerConfig {
    /// How long a change that was not published at once takes to be, in microseconds, while Redis can be reached: two passes.
    pub(crate) fn publish_micros_max(&self) -> i64 {
        i64::try_from(self.period_ms.saturating_mul(2_000)).unwrap_or(i64::MAX)
    }
}

/// The SKUs asked for since the last pass. Clones share them.
#[derive(Debug, Clone)]
pub struct AskedFor {
    skus: Arc<Mutex<BTreeSet<Sku>>>,
    max: usize,
}

impl AskedFor {
    /// Remembers at most so many.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { skus: Arc::default(), max }
    }

    /// Notes that these were asked for.
    pub fn note<'a>(&self, skus: impl Iterator<Item = &'a Sku>) {
        let mut known = self.skus.lock().unwrap_or_else(PoisonError::into_inner);
        for sku in skus {
            if known.len() >= self.max {
                return;
            }
            if !known.contains(sku) {
                known.insert(sku.clone());
            }
        }
    }

    fn take(&self) -> Vec<Sku> {
        let mut known = self.skus.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *known).into_iter().collect()
    }
}

/// Starts the reconciler.
pub fn start(
    config: ReconcilerConfig,
    store: Store,
    gate: Gate,
    asked_for: AskedFor,
    metrics: ReconcilerMetrics,
    tasks: &Tasks,
) {
    let stop = tasks.token().clone();
    tasks.spawn("reconciler", async move {
        let period = Duration::from_millis(config.period_ms);
        let came_round = Instant::now();
        let mut reconciler = Reconciler {
            config,
            store,
            gate,
            metrics,
            asked_for: asked_for.clone(),
            cursor: String::new(),
            rebuild: None,
            came_round,
            drifted: Drifted::default(),
        };
        let mut pause = period;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            reconciler.metrics.round_age(reconciler.came_round.elapsed());
            if reconciler.gate.state() == GateState::Down {
                pause = if reconciler.rebuild.is_some() { BUSY_PAUSE.min(period) } else { period };
                continue;
            }
            let asked = asked_for.take();
            if let Err(error) = reconciler.pass(&asked).await {
                tracing::warn!(%error, "a pass of the reconciler failed; the next one tries again");
                asked_for.note(asked.iter());
                pause = period;
                continue;
            }
            let until = Instant::now() + period;
            pause = period;
            while reconciler.rebuild.is_some() && !stop.is_cancelled() {
                if Instant::now() >= until {
                    // What was asked for meanwhile is looked at as often as ever.
                    pause = Duration::ZERO;
                    break;
                }
                match reconciler.others().await {
                    Ok(true) => {}
                    Ok(false) => {
                        pause = BUSY_PAUSE.min(period);
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "Redis could not be rebuilt further; the next pass goes on");
                        break;
                    }
                }
            }
        }
    });
}

/// Suspects that are remembered from one pass to the next.
const SUSPECTS_MAX: usize = 10_000;

/// Counters that differed from the record. One that does so once was on its way to be right, most likely: somebody bought just then. One that does so again in the next
/// pass, though it was overwritten and the record is as it was, is wrong.
#[derive(Debug, Default)]
struct Drifted {
    /// What the last pass found, with what the record had.
    before: BTreeMap<Sku, i64>,
    now: BTreeMap<Sku, i64>,
    confirmed: bool,
}

impl Drifted {
    /// Notes one; whether it is confirmed by the last pass.
    fn again(&mut self, drift: &Drift) -> bool {
        let again = self.before.get(&drift.sku) == Some(&drift.recorded);
        self.confirmed |= again;
        if self.now.len() < SUSPECTS_MAX {
            self.now.insert(drift.sku.clone(), drift.recorded);
        }
        again
    }

    /// Whether the pass was clean.
    fn pass_ended(&mut self) -> bool {
        self.before = std::mem::take(&mut self.now);
        !std::mem::take(&mut self.confirmed)
    }
}

/// What is left of a rebuild.
#[derive(Debug)]
struct Rebuild {
    began: Instant,
    /// Where it began; it ends there, once it has come round.
    from: String,
    has_come_round: bool,
    /// SKUs that were missing.
    missing: usize,
}

struct Reconciler {
    config: ReconcilerConfig,
    store: Store,
    gate: Gate,
    metrics: ReconcilerMetrics,
    asked_for: AskedFor,
    /// The last SKU of those that come in turn; empty at the beginning of a round.
    cursor: String,
    rebuild: Option<Rebuild>,
    /// When it last came round, or started.
    came_round: Instant,
    drifted: Drifted,
}

impl Reconciler {
    async fn pass(&mut self, asked: &[Sku]) -> Result<(), StoreError> {
        let mut parts = asked.chunks(usize::from(self.config.skus_max));
        while let Some(skus) = parts.next() {
            match self.overwrite(skus).await? {
                Ok(()) => {}
                // All but some were done; which, it does not say.
                Err(GateError::Rejected(_)) => self.asked_for.note(skus.iter()),
                Err(GateError::NotAsked | GateError::Unanswered) => {
                    // The next pass begins with them.
                    std::iter::once(skus).chain(parts).for_each(|skus| self.asked_for.note(skus.iter()));
                    break;
                }
            }
        }
        self.others().await?;
        let is_clean = self.drifted.pass_ended();
        self.metrics.passed(is_clean);
        Ok(())
    }

    /// Overwrites what is published about these; what is published about one that is not in the record goes.
    async fn overwrite(&mut self, skus: &[Sku]) -> Result<Result<(), GateError>, StoreError> {
        let look = self.store.availability(skus).await?;
        let mut found = published(&look);
        let known: BTreeSet<Sku> = found.iter().map(|one| one.sku.clone()).collect();
        let absent = skus.iter().filter(|sku| !known.contains(*sku)).cloned();
        found.extend(absent.map(|sku| Published { sku, locations: Vec::new(), at: look.read_at }));
        let told = self.publish(found).await.map(|report| {
            // Of a shard that is out of reach: they are due as soon as it is back.
            self.asked_for.note(report.unanswered.iter());
            self.count(&report);
        });
        Ok(told)
    }

    /// The next of those that come in turn; false if Redis did not take them.
    async fn others(&mut self) -> Result<bool, StoreError> {
        let rows_max = usize::from(self.config.others_max);
        let look = self.store.available_after(&self.cursor, i64::from(self.config.others_max)).await?;
        // Fewer rows than asked for are the last ones.
        let ended = look.available.len() < rows_max;
        let mut found = published(&look);
        if !ended {
            // The last SKU may have further locations: it comes with the next ones, or, if it fills a slice by itself, is read whole.
            match found.len() {
                0 | 1 => {
                    let only: Vec<Sku> = found.iter().map(|one| one.sku.clone()).collect();
                    found = published(&self.store.availability(&only).await?);
                }
                _ => drop(found.pop()),
            }
        }
        let before = self.cursor.clone();
        let mut report = ReconcileReport::default();
        while !found.is_empty() {
            // Two at once: Redis works on one while the other is written or read.
            let (first, second) = (next_part(&mut found), next_part(&mut found));
            let ends = [&first, &second].map(|part| part.last().map(|last| last.sku.to_string()));
            let (first, second) = tokio::join!(self.publish(first), self.publish(second));
            // What Redis did not take is tried again before anything else; what it took stays done.
            for (taken, end) in [first, second].into_iter().zip(ends) {
                let more = match taken {
                    Ok(more) => more,
                    // They come round again.
                    Err(GateError::Rejected(_)) => ReconcileReport::default(),
                    Err(GateError::NotAsked | GateError::Unanswered) => return Ok(false),
                };
                self.count(&more);
                (report.checked, report.missing) = (report.checked + more.checked, report.missing + more.missing);
                if let Some(end) = end {
                    self.cursor = end;
                }
            }
        }
        if ended {
            self.cursor = String::new();
            self.came_round = Instant::now();
            self.metrics.round_age(Duration::ZERO);
        }
        self.metrics.came_round(ended);
        self.note(before, &report, ended);
        Ok(true)
    }

    /// Notes what a slice after that SKU found, and whether a rebuild is to begin or has ended.
    fn note(&mut self, after: String, report: &ReconcileReport, ended: bool) {
        let is_wiped = report.missing * 2 * self.gate.shards() > report.checked;
        if self.rebuild.is_none() && is_wiped {
            tracing::info!("most counters are missing in Redis, or in a part of it: all are published anew");
            self.rebuild = Some(Rebuild { began: Instant::now(), from: after, has_come_round: false, missing: 0 });
        }
        let Some(rebuild) = &mut self.rebuild else { return };
        rebuild.missing += report.missing;
        rebuild.has_come_round |= ended;
        let is_over = rebuild.has_come_round && (rebuild.from.is_empty() || (!ended && self.cursor >= rebuild.from));
        if is_over {
            let took = rebuild.began.elapsed();
            tracing::info!(counters = rebuild.missing, seconds = took.as_secs_f64(), "all counters are in Redis again");
            self.metrics.rebuilt(took);
            self.rebuild = None;
        }
    }

    fn count(&mut self, report: &ReconcileReport) {
        self.metrics.reconciled(report);
        for drift in report.drifts.iter().filter(|drift| drift.units() != 0) {
            if self.drifted.again(drift) {
                self.metrics.drifted(drift.units() > 0);
            }
            // The next pass looks at it again.
            self.asked_for.note(std::iter::once(&drift.sku));
        }
    }

    async fn publish(&self, found: Vec<Published>) -> Result<ReconcileReport, GateError> {
        let told = self.gate.reconcile(found).await;
        if let Err(error) = &told {
            tracing::debug!(%error, "Redis was not overwritten; it is tried again");
        }
        told
    }
}

/// Takes the next SKUs to publish at once.
fn next_part(found: &mut Vec<Published>) -> Vec<Published> {
    let rest = found.split_off(found.len().min(PART_SKUS));
    std::mem::replace(found, rest)
}

/// What a read found, by SKU: rows come in the order of SKU and location.
pub(crate) fn published(look: &Look) -> Vec<Published> {
    look.available
        .chunk_by(|a, b| a.0 == b.0)
        .map(|rows| Published {
            sku: rows[0].0.clone(),
            locations: rows.iter().map(|(_, location, units)| (location.clone(), *units)).collect(),
            at: look.read_at,
        })
        .collect()
}
