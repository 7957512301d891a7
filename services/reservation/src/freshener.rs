//! Brings rows to the freshness of their feed: what is overdue keeps more back, what is long overdue is not offered, and a fresh count restores.
//!
//! Reservation does this itself, from what it was told of whole runs: a vendor-sync that is dead cannot keep stale stock selling. Every replica does it; to do it
//! twice changes nothing.

use std::time::Duration;

use holdfast_kit::Tasks;
use holdfast_stock::{Answer, Op};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::committer::{Committer, Work};
use crate::metrics::FreshenerMetrics;
use crate::store::{Store, Unfresh};

/// How often and how much.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshenerConfig {
    /// From the end of one pass to the next, in milliseconds.
    pub period_ms: u64,
    /// Rows of one feed changed at once; a pass goes on until none is left.
    pub rows_max: u16,
}

/// Starts the freshener.
pub fn start(config: FreshenerConfig, store: Store, committer: Committer, metrics: FreshenerMetrics, tasks: &Tasks) {
    let stop = tasks.token().clone();
    tasks.spawn("freshener", async move {
        let period = Duration::from_millis(config.period_ms);
        while stop.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            while pass(config, &store, &committer, &metrics).await && !stop.is_cancelled() {}
        }
    });
}

/// One bounded batch of each feed; true if there may be more.
async fn pass(config: FreshenerConfig, store: &Store, committer: &Committer, metrics: &FreshenerMetrics) -> bool {
    let unfresh = match store.unfresh(i64::from(config.rows_max)).await {
        Ok(unfresh) => unfresh,
        Err(error) => {
            tracing::warn!(%error, "rows that are not as fresh as their feed could not be read; the next pass tries again");
            return false;
        }
    };
    let mut more = false;
    for Unfresh { connection, freshness, rows } in unfresh {
        let (full, count) = (rows.len() >= usize::from(config.rows_max), rows.len());
        tracing::info!(%connection, freshness = freshness.as_str(), rows = count, "rows follow the freshness of their feed");
        let op = Op::Freshen { connection, freshness, rows };
        let deadline = Instant::now() + Duration::from_secs(10);
        let work = Work { op, chosen: None, actor: "holdfast".to_owned(), deadline };
        match committer.commit(work).await {
            Ok(Answer::Freshened { rows }) => {
                metrics.freshened(freshness, rows);
                // Rows that another connection has counted meanwhile are not this feed's any more: progress all the same.
                more |= full && rows > 0;
            }
            Ok(_) => {}
            Err(failure) => {
                tracing::warn!(?failure, "rows were not brought to their feed's freshness; the next pass tries again")
            }
        }
    }
    more
}
