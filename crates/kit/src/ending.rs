//! The end of a process: one span of time for all that has to end in order.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// What is left for those who come after the server, even if its requests took all the time.
const LEAST: Duration = Duration::from_secs(2);
/// How long saying goodbye to the stores may take.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// How much of the drain is left: requests, work that goes on behind them and connections share one `drain_seconds_max`, for whoever ends the process counts it
/// once. Together with the admin port they take at most 4 s more.
#[derive(Debug)]
pub struct Ending {
    began: Arc<OnceLock<Instant>>,
    max: Duration,
}

impl Ending {
    /// Counts from the moment that `shutdown` is cancelled.
    #[must_use]
    pub fn watch(shutdown: &CancellationToken, drain_max: Duration) -> Self {
        let began: Arc<OnceLock<Instant>> = Arc::default();
        let (noted, shutdown) = (Arc::clone(&began), shutdown.clone());
        tokio::spawn(async move {
            shutdown.cancelled().await;
            let _only_once = noted.set(Instant::now());
        });
        Self { began, max: drain_max }
    }

    /// How long what still has to end may take: what is left of the drain, and never less than 2 s.
    #[must_use]
    pub fn left(&self) -> Duration {
        left_of(self.max, self.began.get().map(Instant::elapsed))
    }

    /// Closes connections, for 1 s at most: the stores notice by themselves when the process has gone.
    pub async fn farewell(&self, closing: impl Future<Output = ()>) {
        if timeout(FAREWELL_MAX, closing).await.is_err() {
            tracing::warn!("connections to the record were busy to the end; they are cut off");
        }
    }
}

/// What is left of a drain that began so long ago, if it began.
fn left_of(max: Duration, passed: Option<Duration>) -> Duration {
    max.saturating_sub(passed.unwrap_or_default()).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_ends_shares_one_drain_and_the_last_has_two_seconds() {
        let seconds = Duration::from_secs;
        for (passed, left) in [(None, 20), (Some(0), 20), (Some(15), 5), (Some(19), 2), (Some(100), 2)] {
            assert_eq!(left_of(seconds(20), passed.map(seconds)), seconds(left));
        }
    }

    #[tokio::test]
    async fn the_drain_counts_from_the_signal_and_a_farewell_has_an_end() {
        let shutdown = CancellationToken::new();
        let ending = Ending::watch(&shutdown, Duration::from_secs(20));
        tokio::task::yield_now().await;
        assert_eq!(ending.left(), Duration::from_secs(20), "serving takes nothing from it");
        shutdown.cancel();
        while ending.began.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(ending.left() < Duration::from_secs(20));
        ending.farewell(std::future::pending()).await;
    }
}
