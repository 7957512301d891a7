//! Frees the units of holds whose time is over. Every replica sweeps; to expire a hold twice does nothing.

use std::time::Duration;

use holdfast_kit::Tasks;
use holdfast_stock::{Answer, Op};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::PostgresClock;
use crate::committer::{Committer, Work};
use crate::metrics::SweeperMetrics;
use crate::store::Store;

/// How often and how much.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweeperConfig {
    /// From the end of one sweep to the next, in milliseconds.
    pub period_ms: u64,
    /// Holds expired at once; a sweep goes on until none is left.
    pub holds_max: u16,
}

/// Starts the sweeper.
pub fn start(
    config: SweeperConfig,
    store: Store,
    committer: Committer,
    clock: PostgresClock,
    metrics: SweeperMetrics,
    tasks: &Tasks,
) {
    let stop = tasks.token().clone();
    tasks.spawn("sweeper", async move {
        let period = Duration::from_millis(config.period_ms);
        let mut looked = Instant::now();
        while stop.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
            while sweep(config, &store, &committer, &clock, &metrics, &mut looked).await && !stop.is_cancelled() {}
        }
    });
}

/// One bounded batch; true if there may be more.
async fn sweep(
    config: SweeperConfig,
    store: &Store,
    committer: &Committer,
    clock: &PostgresClock,
    metrics: &SweeperMetrics,
    looked: &mut Instant,
) -> bool {
    let due = match store.due(i64::from(config.holds_max)).await {
        Ok(due) => {
            clock.set(due.now);
            *looked = Instant::now();
            due
        }
        Err(error) => {
            metrics.blind_for(looked.elapsed());
            tracing::warn!(%error, "holds that are over could not be read; the next sweep tries again");
            return false;
        }
    };
    metrics.swept(&due);
    let full = due.holds.len() >= usize::from(config.holds_max);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut expiring = JoinSet::new();
    for id in due.holds {
        let committer = committer.clone();
        let work = Work {
            op: Op::Expire { id },
            chosen: None,
            actor: "holdfast".to_owned(),
            deadline,
            dry: false,
            place: None,
        };
        expiring.spawn(async move { committer.commit(work).await });
    }
    let mut failed = false;
    while let Some(joined) = expiring.join_next().await {
        match joined {
            Ok(Ok(Answer::Expiry { expired })) => metrics.expired(expired),
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                failed = true;
                tracing::debug!(?failure, "a hold was not expired; the next sweep tries again");
            }
            Err(error) => {
                failed = true;
                tracing::error!(%error, "a task of the sweeper panicked");
            }
        }
    }
    full && !failed
}
