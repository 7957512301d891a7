//! Forgets what nobody needs any more: old answers, ended imports, staged rows left over, old changes. Takes no input; every replica runs it, and what one does the others
//! find done.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::JanitorConfig;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// How many broken-off imports a pass cleans up.
const IMPORTS_PER_PASS: u32 = 100;

/// The janitor.
#[derive(Debug)]
pub struct Janitor {
    store: Store,
    config: JanitorConfig,
    changes_retention_seconds: u32,
    metrics: Arc<Metrics>,
}

impl Janitor {
    /// For a store, whose changes are kept for so long.
    #[must_use]
    pub fn new(store: Store, config: JanitorConfig, changes_retention_seconds: u32, metrics: Arc<Metrics>) -> Self {
        Self { store, config, changes_retention_seconds, metrics }
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
    /// [`StoreError::Postgres`]; what was deleted until then stays deleted, the next pass goes on.
    pub async fn pass(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let JanitorConfig { retention_seconds, import_silence_seconds_max, batch_rows_max, .. } = self.config;
        self.store.abandon_imports(import_silence_seconds_max).await?;
        for import_id in self.store.leftover_imports(IMPORTS_PER_PASS).await? {
            while !shutdown.is_cancelled() && self.forgot(self.store.unstage(import_id, batch_rows_max).await?) {}
        }
        while !shutdown.is_cancelled()
            && self.forgot(self.store.forget_requests(retention_seconds, batch_rows_max).await?)
        {}
        while !shutdown.is_cancelled()
            && self.forgot(self.store.forget_imports(retention_seconds, batch_rows_max).await?)
        {}
        while !shutdown.is_cancelled()
            && self.forgot(self.store.drop_changes(self.changes_retention_seconds, batch_rows_max).await?)
        {}
        Ok(())
    }

    /// Counts deleted rows; whether there were any.
    fn forgot(&self, rows: u64) -> bool {
        self.metrics.forgotten(rows);
        rows > 0
    }
}
