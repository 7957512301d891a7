//! Metrics: a registry that services declare theirs in, and its text for `/metrics`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::build::{REVISION, VERSION};
use crate::saturation::Saturation;

/// Bounds of histograms of durations, in seconds: 0.5 ms to 30 s, closest around the 50 ms and 250 ms that the objectives name.
pub const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds of histograms of sizes (rows of a batch, bytes …): powers of two from 1 to 4096.
pub const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

/// The metrics of a process. Clones share them.
///
/// A service declares all of its metrics in one place (a struct made by one function) and gives each its name, unit and meaning there. What every process shows
/// is in it from the beginning: which build it is, and how full.
#[derive(Debug, Clone)]
pub struct Metrics {
    declared: Arc<Mutex<Declared>>,
    saturation: Saturation,
}

/// What was declared.
#[derive(Debug, Default)]
struct Declared {
    registry: Registry,
    /// The same metrics: the registry leaves those out that have no value yet.
    all: Vec<(&'static str, &'static str, Box<dyn Metric>)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with what every process shows.
    #[must_use]
    pub fn new() -> Self {
        let mut declared = Declared::default();
        let saturation = Saturation::default();
        // The text format adds `_info`.
        let build = Info::new(vec![("version", VERSION), ("revision", REVISION)]);
        declared.registry.register("holdfast_build", "Which build runs", build);
        declared.registry.register_collector(Box::new(saturation.clone()));
        Self { declared: Arc::new(Mutex::new(declared)), saturation }
    }

    /// The process's bounded resources: a part that sheds when it is full adds itself.
    #[must_use]
    pub const fn saturation(&self) -> &Saturation {
        &self.saturation
    }

    /// Declares a metric and gives it back. `name` begins with `holdfast_`, has its unit last, and for counters leaves out `_total`, which the text
    /// format adds; `help` is a sentence without its full stop.
    ///
    /// # Panics
    /// In debug builds when the name lacks the prefix: such a metric would not be found.
    pub fn register<M: Metric + Clone>(&self, name: &'static str, help: &'static str, metric: M) -> M {
        debug_assert!(name.starts_with("holdfast_") && !name.ends_with("_total"), "{name} is no name for a metric");
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.registry.register(name, help, metric.clone());
        declared.all.push((name, help, Box::new(metric.clone())));
        metric
    }

    /// A counter without labels.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// A gauge without labels.
    #[must_use]
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// A histogram without labels; [`SECONDS`] and [`SIZES`] are bounds to use.
    #[must_use]
    pub fn histogram(&self, name: &'static str, help: &'static str, bounds: &'static [f64]) -> Histogram {
        self.register(name, help, Histogram::new(bounds.iter().copied()))
    }

    /// All metrics as OpenMetrics text. Those without a value are named too: whoever looks for a metric finds out what it means before it happens.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        encode_registry(&mut text, &declared.registry)
            .and_then(|()| {
                let mut empty = declared.all.iter().filter(|(.., metric)| metric.is_empty());
                empty.try_for_each(|(name, help, metric)| {
                    let kind = metric.metric_type();
                    write!(text, "# HELP {name} {help}.\n# TYPE {name} {}\n", kind.as_str())
                })
            })
            .and_then(|()| encode_eof(&mut text))
            .expect("writing into a String does not fail");
        text
    }
}
