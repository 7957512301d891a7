//! Forgets what nobody needs any more: old answers, old reports. Takes no input; every replica runs it, and what one does the others find done.

use std::sync::Arc;
use std::time::Duration;

use holdfast_kit::CancellationToken;
use tokio::time::MissedTickBehavior;

use crate::config::JanitorConfig;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// Answers that one statement deletes.
const ANSWERS_PER_STATEMENT: u32 = 5000;
/// Reports dropped before looking anew.
const REPORTS_PER_LOOK: u32 = 10;

/// The janitor.
#[derive(Debug)]
pub struct Janitor {
    store: Store,
    config: JanitorConfig,
    metrics: Arc<Metrics>,
}

impl Janitor {
    /// For a store.
    #[must_use]
    pub fn new(store: Store, config: JanitorConfig, metrics: Arc<Metrics>) -> Self {
        Self { store, config, metrics }
    }

    /// Passes again and again until `shutdown` is cancelled.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(Duration::from_secs(self.config.period_seconds.into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.pass(&shutdown).await {
                tracing::warn!(%error, "the janitor's pass failed; the next one goes on");
            }
        }
    }

    /// One pass. Ends early, between two statements, when `shutdown` is cancelled.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; what was dropped until then stays dropped, the next pass goes on.
    pub async fn pass(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let JanitorConfig { retention_seconds, report_retention_seconds, .. } = self.config;
        while !shutdown.is_cancelled()
            && self.forgot(self.store.forget_requests(retention_seconds, ANSWERS_PER_STATEMENT).await?)
        {}
        while !shutdown.is_cancelled()
            && self.forgot(self.store.forget_reports(report_retention_seconds, REPORTS_PER_LOOK).await?)
        {}
        while !shutdown.is_cancelled()
            && self.forgot(self.store.forget_quarantined(report_retention_seconds, ANSWERS_PER_STATEMENT).await?)
        {
        }
        Ok(())
    }

    /// Counts what was dropped; whether there was anything.
    fn forgot(&self, items: u64) -> bool {
        self.metrics.forgotten(items);
        items > 0
    }
}
