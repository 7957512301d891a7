//! Places for requests in flight: taken without waiting, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use crate::methods::Priority;
use crate::saturation::Fill;

/// The places of a process.
///
/// A request has its place until its handler has answered; an open stream then has none, for streams are bounded per connection.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    shown: Gauge,
    max: usize,
}

impl Places {
    pub(super) fn new(max: usize, shown: Gauge) -> Self {
        Self { taken: Arc::default(), shown, max }
    }

    /// A place, if calls of this priority may still have one.
    pub(super) fn take(&self, priority: Priority) -> Option<Place> {
        let limit = priority.places(self.max);
        let place = |taken: usize| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, place).ok()?;
        self.shown.inc();
        Some(Place { taken: Arc::clone(&self.taken), shown: self.shown.clone() })
    }

    /// How full it is for new work, which is shed before what ends a promise.
    pub(super) fn fill(&self) -> Fill {
        Fill { used: self.taken(), limit: Priority::Begin.places(self.max) }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

/// A taken place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<AtomicUsize>,
    shown: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        self.shown.dec();
    }
}
