//! How long the oldest open transaction has been open.
//!
//! Watches do not wait for it, but what it has locked does, and Postgres keeps every dead row for as long: an operator wants to know (a metric and a line in the log).

use std::time::Duration;

use holdfast_kit::Tasks;
use tokio::time::Instant;

use super::WatchConfig;
use crate::metrics::WatchMetrics;
use crate::store::Store;

/// Between two looks: coarse enough to cost nothing, fine enough for an alarm.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) fn start(config: WatchConfig, store: Store, metrics: WatchMetrics, tasks: &Tasks) {
    let stop = tasks.token().clone();
    tasks.spawn("open-transactions", async move {
        let mut oldest: Option<(i64, Instant)> = None;
        let mut said = None;
        while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            // While Postgres does not answer, the oldest one is as old as it was.
            let Ok(present) = store.beginning().await else { continue };
            oldest = present.seen.oldest_under_way().map(|xid| match oldest {
                Some((same, since)) if same == xid => (xid, since),
                _ => (xid, Instant::now()),
            });
            let age = oldest.map_or(Duration::ZERO, |(_, since)| since.elapsed());
            metrics.oldest_transaction(age);
            if age.as_secs() >= config.open_transaction_seconds_max && said != oldest {
                said = oldest;
                let (transaction, seconds) = (oldest.map(|(xid, _)| xid), age.as_secs());
                tracing::warn!(
                    transaction,
                    seconds,
                    "a transaction has been open for long: rows that it locked are blocked, and dead rows are kept. Find it in pg_stat_activity by backend_xid"
                );
            }
        }
    });
}
