//! How full a process is: the fullest of its bounded resources, for an autoscaler.
//!
//! CPU says little about a service that waits for others. What callers feel first is a queue or a number of places that runs out, because then they are shed; so each
//! part that is bounded says how much of its limit is in use, and the fullest one is the process's. It is asked when metrics are read, so it costs nothing otherwise.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::{Semaphore, mpsc};

/// How much of a limit is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// What is in use or waits.
    pub used: usize,
    /// From when on new work is shed; what must not be refused may go beyond.
    pub limit: usize,
}

impl Fill {
    /// The share in use, 0 to 1. A limit of 0 lets nobody in, which is full.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    pub fn ratio(self) -> f64 {
        if self.limit == 0 { 1.0 } else { (self.used as f64 / self.limit as f64).min(1.0) }
    }
}

/// Something that has a limit.
pub trait Bounded: Send + Sync + 'static {
    /// How much of it is in use now. It is asked while metrics are read and must answer at once.
    fn fill(&self) -> Fill;
}

impl<F: Fn() -> Fill + Send + Sync + 'static> Bounded for F {
    fn fill(&self) -> Fill {
        self()
    }
}

type Parts = Arc<Mutex<Vec<(&'static str, Box<dyn Bounded>)>>>;

/// The bounded resources of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Saturation(Parts);

impl Saturation {
    /// Adds a resource; `part` is its name as a label: short, of the code, with underscores.
    pub fn watch(&self, part: &'static str, bounded: impl Bounded) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((part, Box::new(bounded)));
    }

    /// Adds a semaphore's permits, of which there are `limit`.
    pub fn watch_permits(&self, part: &'static str, permits: &Arc<Semaphore>, limit: usize) {
        let permits = Arc::clone(permits);
        self.watch(part, move || Fill { used: limit.saturating_sub(permits.available_permits()), limit });
    }

    /// Adds a queue, which is full for new work once `limit` wait in it. The queue lives no longer for it.
    pub fn watch_queue<T: Send + 'static>(&self, part: &'static str, queue: &mpsc::Sender<T>, limit: usize) {
        let queue = queue.downgrade();
        self.watch(part, move || {
            let used = queue.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity());
            Fill { used, limit }
        });
    }

    /// The fullest part's share, 0 to 1; 0 when there is none.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ratios().into_iter().map(|(_, ratio)| ratio).fold(0.0, f64::max)
    }

    fn ratios(&self) -> Vec<(&'static str, f64)> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().map(|(part, bounded)| (*part, bounded.fill().ratio())).collect()
    }
}

impl std::fmt::Debug for Saturation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.ratios()).finish()
    }
}

impl Collector for Saturation {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ratios = self.ratios();
        let fullest = ratios.iter().map(|(_, ratio)| *ratio).fold(0.0, f64::max);
        let help = "How full the fullest bounded resource of the process is, 0 to 1; at 1 new work is shed";
        let metric = encoder.encode_descriptor("holdfast_saturation_ratio", help, None, MetricType::Gauge)?;
        ConstGauge::new(fullest).encode(metric)?;
        let help = "How full each bounded resource of the process is, 0 to 1, by part";
        let mut metric = encoder.encode_descriptor("holdfast_saturation_part_ratio", help, None, MetricType::Gauge)?;
        for (part, ratio) in ratios {
            ConstGauge::new(ratio).encode(metric.encode_family(&[("part", part)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    fn shown(metrics: &Metrics) -> f64 {
        let text = metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix("holdfast_saturation_ratio "));
        line.expect("the metric").parse().expect("a number")
    }

    #[tokio::test]
    async fn the_fullest_part_is_shown_as_it_fills_and_drains() {
        let metrics = Metrics::new();
        assert_eq!(shown(&metrics), 0.0, "nothing is bounded yet");
        let permits = Arc::new(Semaphore::new(4));
        metrics.saturation().watch_permits("places", &permits, 4);
        let (queue, mut waiting) = mpsc::channel(2);
        metrics.saturation().watch_queue("queue", &queue, 2);
        assert_eq!(shown(&metrics), 0.0);

        let taken = permits.clone().acquire_many_owned(1).await.expect("open");
        assert_eq!(shown(&metrics), 0.25);
        queue.send(()).await.expect("open");
        assert_eq!(shown(&metrics), 0.5, "the queue is fuller");
        queue.send(()).await.expect("open");
        assert_eq!(shown(&metrics), 1.0);
        let text = metrics.encode();
        assert!(text.contains("holdfast_saturation_part_ratio{part=\"places\"} 0.25"), "{text}");
        assert!(text.contains("holdfast_saturation_part_ratio{part=\"queue\"} 1.0"), "{text}");

        waiting.recv().await.expect("the first");
        waiting.recv().await.expect("the second");
        assert_eq!(shown(&metrics), 0.25);
        drop(taken);
        assert_eq!(shown(&metrics), 0.0);
    }

    #[tokio::test]
    async fn watching_a_queue_keeps_nobody_waiting_for_its_end() {
        let metrics = Metrics::new();
        let (queue, mut waiting) = mpsc::channel::<()>(2);
        metrics.saturation().watch_queue("queue", &queue, 2);
        drop(queue);
        assert_eq!(waiting.recv().await, None, "the queue has ended");
        assert_eq!(shown(&metrics), 0.0);
    }

    #[test]
    fn more_than_the_limit_is_full_and_so_is_a_limit_of_none() {
        assert_eq!(Fill { used: 9, limit: 4 }.ratio(), 1.0);
        assert_eq!(Fill { used: 0, limit: 0 }.ratio(), 1.0);
        assert_eq!(Fill { used: 1, limit: 4 }.ratio(), 0.25);
    }
}
