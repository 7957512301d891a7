//! Makes Redis converge: reads Postgres and overwrites what is published, whatever it finds; the SKUs asked for since the last pass first, all others in turn.
//!
//! Architecture invariant: it takes no input but Postgres. It never adds to a counter and never touches a take.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_kit::Tasks;
use holdfast_stock::Sku;
use serde::{Deserialize, Serialize};

use crate::gate::{Gate, GateState, Published};
use crate::metrics::ReconcilerMetrics;
use crate::store::{Look, Store, StoreError};

/// How often and how much.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcilerConfig {
    /// From the end of one pass to the next, in milliseconds.
    pub period_ms: u64,
    /// SKUs read and published at once.
    pub skus_max: u16,
    /// Rows of stock that were not asked for, in one pass: how fast everything comes round. More than a SKU has locations.
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
        let mut reconciler = Reconciler { config, store, gate, metrics, cursor: String::new() };
        while stop.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            if reconciler.gate.state() == GateState::Down {
                continue;
            }
            let asked = asked_for.take();
            if let Err(error) = reconciler.pass(&asked).await {
                tracing::warn!(%error, "a pass of the reconciler failed; the next one tries again");
                asked_for.note(asked.iter());
            }
        }
    });
}

struct Reconciler {
    config: ReconcilerConfig,
    store: Store,
    gate: Gate,
    metrics: ReconcilerMetrics,
    /// The last SKU of those that come in turn; empty at the beginning of a round.
    cursor: String,
}

impl Reconciler {
    async fn pass(&mut self, asked: &[Sku]) -> Result<(), StoreError> {
        for skus in asked.chunks(usize::from(self.config.skus_max)) {
            self.overwrite(skus).await?;
        }
        let ended = self.others().await?;
        self.metrics.passed(ended);
        Ok(())
    }

    async fn overwrite(&self, skus: &[Sku]) -> Result<(), StoreError> {
        let look = self.store.availability(skus).await?;
        self.publish(published(&look)).await;
        Ok(())
    }

    /// The next of those that come in turn; true at the end of a round.
    async fn others(&mut self) -> Result<bool, StoreError> {
        let rows_max = usize::from(self.config.others_max);
        let look = self.store.available_after(&self.cursor, i64::from(self.config.others_max)).await?;
        // Fewer rows than asked for are the last ones.
        let ended = look.available.len() < rows_max;
        let mut found = published(&look);
        if !ended && found.len() > 1 {
            // The last SKU may have further locations: it comes with the next ones.
            found.pop();
        }
        self.cursor = match found.last() {
            Some(last) if !ended => last.sku.to_string(),
            _ => String::new(),
        };
        self.publish(found).await;
        Ok(ended)
    }

    async fn publish(&self, found: Vec<Published>) {
        match self.gate.reconcile(found).await {
            Ok(report) => self.metrics.reconciled(&report),
            Err(error) => tracing::debug!(%error, "Redis was not overwritten; the next pass tries again"),
        }
    }
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
