//! Postgres's clock, as far as a replica needs it between two questions: only to tell whether a key's own time lies in the retry window, which is a day wide.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use holdfast_stock::UnixMicros;
use tokio::time::Instant;

/// An estimate of Postgres's clock: what it last said, and this machine's monotonic clock since. Clones share it.
#[derive(Debug, Clone)]
pub struct PostgresClock {
    started: Instant,
    /// Postgres's clock when the process started.
    base_micros: Arc<AtomicI64>,
}

impl PostgresClock {
    /// A clock that Postgres has just said stands at `now`.
    #[must_use]
    pub fn new(now: UnixMicros) -> Self {
        Self { started: Instant::now(), base_micros: Arc::new(AtomicI64::new(now.0)) }
    }

    /// Notes what Postgres has just said.
    pub fn set(&self, now: UnixMicros) {
        self.base_micros.store(now.0 - self.elapsed_micros(), Ordering::Relaxed);
    }

    /// The estimate.
    #[must_use]
    pub fn now(&self) -> UnixMicros {
        UnixMicros(self.base_micros.load(Ordering::Relaxed) + self.elapsed_micros())
    }

    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
