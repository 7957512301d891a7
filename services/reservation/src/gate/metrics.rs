//! The gate's metrics: names, units and meanings, declared here and nowhere else.

use super::scripts::Call;
use holdfast_kit::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Counts and times of the calls to Redis. Clones share their values.
#[derive(Debug, Clone)]
pub struct GateMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<ScriptLabels, Histogram, fn() -> Histogram>,
    up: Gauge<f64, AtomicU64>,
    redirects: Family<RedirectLabels, Counter>,
}

impl GateMetrics {
    /// Declares the gate's metrics in a registry.
    #[must_use]
    pub fn register(registry: &Metrics) -> Self {
        Self {
            calls: registry.register(
                "holdfast_gate_calls",
                "Calls to the Redis gate, by script and by how they ended; a call may carry many SKUs",
                Family::default(),
            ),
            seconds: registry.register(
                "holdfast_gate_seconds",
                "Time from a call's turn to the end of the call to the Redis gate, in seconds",
                Family::new_with_constructor(histogram),
            ),
            up: registry.register(
                "holdfast_gate_up",
                "1 while Redis is asked, 0 while it counts as dead and requests go past it; in a cluster the part of the hash slots whose master is asked",
                Gauge::default(),
            ),
            redirects: registry.register(
                "holdfast_gate_redirects",
                "Answers of a cluster's nodes that they do not have a slot, by what they said: a few while slots move",
                Family::default(),
            ),
        }
    }

    pub(super) fn call(&self, call: Call, outcome: Outcome) {
        self.calls.get_or_create(&CallLabels { script: call.name(), outcome: outcome.name() }).inc();
    }

    pub(super) fn took(&self, call: Call, time: Duration) {
        self.seconds.get_or_create(&ScriptLabels { script: call.name() }).observe(time.as_secs_f64());
    }

    pub(super) fn up(&self, part: f64) {
        self.up.set(part);
    }

    pub(super) fn redirected(&self, answer: &'static str) {
        self.redirects.get_or_create(&RedirectLabels { answer }).inc();
    }
}

/// How a call to Redis ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A take: all units of the cart.
    Granted,
    /// A take: at least one SKU had too few free units.
    Refused,
    /// A take: at least one SKU was missing or unreadable.
    Missing,
    /// Anything else that was done as asked.
    Done,
    /// Not made, because Redis counts as dead.
    NotAsked,
    /// Not made, because too many calls wait for their turn.
    Crowded,
    /// No answer in time.
    TimedOut,
    /// The connection broke.
    Lost,
    /// Redis has no memory left.
    OutOfMemory,
    /// Redis takes no writes: a replica, or its disk fails.
    ReadOnly,
    /// Redis is starting, busy, or has lost its master or most of its cluster.
    Loading,
    /// The slot was on its way from one node of a cluster to another for longer than a call waits.
    Moving,
    /// The Redis user may not do this, or its password is wrong.
    Denied,
    /// Another error of Redis.
    Failed,
    /// An answer that makes no sense.
    Garbage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    script: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScriptLabels {
    script: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RedirectLabels {
    answer: &'static str,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Done => "done",
            Self::NotAsked => "not_asked",
            Self::Crowded => "crowded",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
            Self::OutOfMemory => "out_of_memory",
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::Moving => "moving",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Garbage => "garbage",
        }
    }
}

/// From 50 µs, a round trip on one machine, to 0.8 s, beyond every sensible timeout.
fn histogram() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.000_05, 2.0, 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_called_what_dashboards_expect() {
        let registry = Metrics::new();
        let metrics = GateMetrics::register(&registry);
        metrics.call(Call::Take, Outcome::OutOfMemory);
        metrics.took(Call::Take, Duration::from_millis(1));
        metrics.up(1.0);
        metrics.redirected("moved");
        let text = registry.encode();
        for line in [
            r#"holdfast_gate_calls_total{script="take",outcome="out_of_memory"} 1"#,
            r#"holdfast_gate_seconds_count{script="take"} 1"#,
            "holdfast_gate_up 1.0",
            r#"holdfast_gate_redirects_total{answer="moved"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
