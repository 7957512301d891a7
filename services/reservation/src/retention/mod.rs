//! How long the record is kept: makes partitions ahead of time, drops those whose time is over, and purges finished reservations in small steps.
//!
//! Every replica tries, one does it: whoever has the janitor's lease. To do something twice changes nothing. Never waited for on the hot path: a lock that is not had
//! within a tenth of a second is given up, and the next pass tries again. What still counts is never removed, however old.

use std::time::Duration;

use holdfast_kit::Tasks;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metrics::RetentionMetrics;
use crate::store::{Store, StoreError, Subject};

/// Younger than this, the record's functions drop nothing, whatever they are told: seven days.
const KEPT_SECONDS_MIN: u32 = 7 * 86_400;

/// How long what is kept, and how it goes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// From the end of one pass to the next, in milliseconds.
    pub period_ms: u64,
    /// How long one replica is the janitor without a sign of life, in milliseconds.
    pub lease_ms: u64,
    /// How far ahead partitions are made, in seconds.
    pub ahead_seconds: u32,
    /// How long the keys and answers of requests are kept, in seconds.
    pub operations_seconds: u32,
    /// How long finished reservations are kept, in seconds.
    pub reservations_seconds: u32,
    /// How long ledger entries are kept, in seconds.
    pub ledger_seconds: u32,
    /// Rows looked at in one step of a purge.
    pub purge_rows_max: u16,
    /// From one step of a purge to the next, in milliseconds.
    pub purge_pause_ms: u64,
}

impl RetentionConfig {
    /// What contradicts itself, or the longest time for which a key may still be sent again or a hold may run, in seconds.
    pub(crate) fn problems(&self, key_seconds: u64, bulk_key_seconds: u64) -> Vec<String> {
        let mut problems = Vec::new();
        let mut at_least = |key: &str, seconds: u32, min: u64, why: &str| {
            if u64::from(seconds) < min {
                problems.push(format!("retention.{key} must be at least {min}: {why}"));
            }
        };
        let week = u64::from(KEPT_SECONDS_MIN);
        let keys = "what became of a key must be known for as long as it is taken, and a hold may run";
        at_least("operations_seconds", self.operations_seconds, bulk_key_seconds.max(week), keys);
        at_least("reservations_seconds", self.reservations_seconds, key_seconds.max(week), keys);
        let reservations = u64::from(self.reservations_seconds);
        at_least("ledger_seconds", self.ledger_seconds, reservations, "reservations are checked against it");
        at_least("ahead_seconds", self.ahead_seconds, 86_400, "somebody must have the time to look why none are made");
        let positive = [
            ("period_ms", self.period_ms),
            ("lease_ms", self.lease_ms),
            ("purge_rows_max", u64::from(self.purge_rows_max)),
        ];
        let zero = positive.iter().filter(|(_, value)| *value == 0);
        problems.extend(zero.map(|(key, _)| format!("retention.{key} must be at least 1")));
        problems
    }
}

/// Starts the janitor.
pub fn start(config: RetentionConfig, store: Store, metrics: RetentionMetrics, tasks: &Tasks) {
    let stop = tasks.token().clone();
    let janitor = Janitor { config, store, metrics, me: Uuid::now_v7() };
    tasks.spawn("janitor", async move {
        loop {
            // A pass ends between two steps when the service does.
            let _stopped = Box::pin(stop.run_until_cancelled(janitor.pass())).await;
            let period = tokio::time::sleep(Duration::from_millis(config.period_ms));
            if stop.run_until_cancelled(period).await.is_none() {
                return;
            }
        }
    });
}

#[derive(Debug)]
struct Janitor {
    config: RetentionConfig,
    store: Store,
    metrics: RetentionMetrics,
    me: Uuid,
}

impl Janitor {
    /// One pass. What fails is left to the next one, and does not keep the rest from being done.
    async fn pass(&self) {
        match self.claim().await {
            Ok(true) => {
                let steps = [
                    ("make partitions", self.make().await),
                    ("drop keys", self.drop(Subject::Operation, self.config.operations_seconds).await),
                    ("drop ledger entries", self.drop(Subject::Ledger, self.config.ledger_seconds).await),
                    ("purge stray keys", self.purge_operations().await),
                    ("purge reservations", self.purge_reservations().await),
                ];
                for (step, done) in steps {
                    if let Err(error) = done {
                        self.metrics.failed();
                        tracing::warn!(step, %error, "the janitor could not do a step; the next pass tries again");
                    }
                }
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the janitor cannot ask for its lease; the next pass tries again"),
        }
        self.look().await;
    }

    async fn claim(&self) -> Result<bool, StoreError> {
        self.store.claim_janitor(self.me, Duration::from_millis(self.config.lease_ms)).await
    }

    /// Says how far ahead there are partitions, and what has come to the default ones: every replica does, so that it is seen when there is no janitor.
    async fn look(&self) {
        for subject in [Subject::Ledger, Subject::Operation] {
            match self.store.partition_state(subject).await {
                Ok(state) => {
                    if state.strayed > 0 {
                        let (table, rows) = (subject.as_str(), state.strayed);
                        tracing::error!(
                            table,
                            rows,
                            "rows have no partition of their own; they are kept in the default one"
                        );
                    }
                    self.metrics.partitions(subject.as_str(), state.ahead_seconds, state.strayed);
                }
                Err(error) => tracing::warn!(%error, "the partitions cannot be looked at"),
            }
        }
    }

    async fn make(&self) -> Result<(), StoreError> {
        let made = self.store.make_partitions(Duration::from_secs(self.config.ahead_seconds.into())).await?;
        if !made.is_empty() {
            tracing::info!(?made, "partitions were made ahead");
        }
        Ok(())
    }

    async fn drop(&self, subject: Subject, kept_seconds: u32) -> Result<(), StoreError> {
        let kept = Duration::from_secs(kept_seconds.into());
        while self.claim().await? {
            let Some(dropped) = self.store.drop_partition(subject, kept).await? else { return Ok(()) };
            self.metrics.dropped();
            tracing::info!(dropped, "a partition's time was over");
        }
        Ok(())
    }

    async fn purge_operations(&self) -> Result<(), StoreError> {
        let kept = Duration::from_secs(self.config.operations_seconds.into());
        while self.store.purge_operations(kept, self.config.purge_rows_max).await? > 0 && self.claim().await? {
            self.pause().await;
        }
        Ok(())
    }

    async fn purge_reservations(&self) -> Result<(), StoreError> {
        let kept = Duration::from_secs(self.config.reservations_seconds.into());
        loop {
            let step = self.store.purge_reservations(kept, self.config.purge_rows_max).await?;
            self.metrics.purged(step.purged);
            if step.seen < u64::from(self.config.purge_rows_max) || !self.claim().await? {
                return Ok(());
            }
            self.pause().await;
        }
    }

    /// Between two steps, so that a purge of much is never a storm.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(self.config.purge_pause_ms)).await;
    }
}
