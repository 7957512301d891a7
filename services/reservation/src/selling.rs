//! Says how selling stands, for alarms: how many SKUs are paused, how long the oldest sale has waited to be in a vendor's number, and how many promised
//! units are not there.
//!
//! Takes no part in any decision. A read that fails leaves the numbers as they were; the next one comes soon.

use std::time::Duration;

use holdfast_kit::Tasks;

use crate::metrics::SellingMetrics;
use crate::store::Store;

/// From the end of one look to the next: an alarm that waits for a minute needs no more.
const PERIOD: Duration = Duration::from_secs(2);

/// Starts looking. Every replica does, so that the alarm does not hang on one.
pub fn start(store: Store, metrics: SellingMetrics, tasks: &Tasks) {
    let stop = tasks.token().clone();
    tasks.spawn("selling", async move {
        loop {
            match store.standing().await {
                Ok(standing) => metrics.stands(&standing),
                Err(error) => tracing::warn!(%error, "how selling stands could not be read; the next look tries again"),
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}
