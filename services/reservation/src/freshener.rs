//! Brings rows to the freshness of their feed: what is overdue keeps more back, what is long overdue is not offered, and a fresh count restores.
//!
//! Reservation does this itself, from what it was told of whole runs: a vendor-sync that is dead cannot keep stale stock selling. Every replica does it; to do it
//! twice changes nothing. What another connection counts is fresh at once (`holdfast_stock`), so a row is never stale for want of a feed.

use std::time::Duration;

use holdfast_kit::Tasks;
use holdfast_stock::{Answer, Name, Op};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::committer::{Committer, Failure, Work};
use crate::metrics::FreshenerMetrics;
use crate::store::{Feed, Store, StoreError};

/// Feeds read at once.
const FEEDS_AT_ONCE: i64 = 1_000;

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
    let mut more = false;
    let (mut after, mut all) = (String::new(), Vec::new());
    loop {
        let feeds = match store.list_feeds(&after, FEEDS_AT_ONCE).await {
            Ok(feeds) => feeds,
            Err(error) => {
                tracing::warn!(%error, "the feeds could not be read; the next pass tries again");
                return false;
            }
        };
        let Some(last) = feeds.last() else {
            metrics.stand(&all);
            return more;
        };
        after.clone_from(&last.connection);
        for feed in &feeds {
            // One feed that cannot be followed must not keep the others from ageing.
            match follow(config, store, committer, metrics, feed).await {
                Ok(has_more) => more |= has_more,
                Err(failure) => {
                    let connection = &feed.connection;
                    tracing::warn!(
                        connection,
                        ?failure,
                        "rows do not follow their feed's freshness; the next pass tries again"
                    );
                }
            }
        }
        all.extend(feeds);
    }
}

/// Brings some rows of a connection to its feed's freshness; true if there may be more.
async fn follow(
    config: FreshenerConfig,
    store: &Store,
    committer: &Committer,
    metrics: &FreshenerMetrics,
    feed: &Feed,
) -> Result<bool, Failure> {
    let rows = store.unfresh(feed, i64::from(config.rows_max)).await.map_err(Failure::Store)?;
    if rows.is_empty() {
        return Ok(false);
    }
    let (full, count, freshness) = (rows.len() >= usize::from(config.rows_max), rows.len(), feed.freshness());
    let connection = &feed.connection;
    tracing::info!(connection, freshness = freshness.as_str(), rows = count, "rows follow the freshness of their feed");
    let connection = Name::new(connection)
        .map_err(|_| Failure::Store(StoreError::Defect("the record is damaged: a connection".to_owned())))?;
    let op = Op::Freshen { connection, freshness, rows };
    let deadline = Instant::now() + Duration::from_secs(10);
    match committer
        .commit(Work { op, chosen: None, actor: "holdfast".to_owned(), deadline, dry: false, place: None })
        .await?
    {
        Answer::Freshened { rows } => {
            metrics.freshened(freshness, rows);
            // Rows that another connection has counted meanwhile are not this feed's any more: without progress the next pass goes on.
            Ok(full && rows > 0)
        }
        _ => Err(Failure::Store(StoreError::Defect("a Freshen was answered as another".to_owned()))),
    }
}
