//! The catalog's own metrics: names, units and meanings in one place. The server stack has its own for each method.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdfast_kit::metrics::SECONDS;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::import::Report;
use crate::store::Lag;

/// One label, `outcome`.
type Outcome = [(&'static str, &'static str); 1];

/// One label, `destination`.
type To = [(&'static str, &'static str); 1];

/// The catalog's metrics.
#[derive(Debug)]
pub struct Metrics {
    imports: Family<Outcome, Counter>,
    import_rows: Family<Outcome, Counter>,
    import_seconds: Histogram,
    forgotten_rows: Counter,
    watchers: Gauge,
    relayed_skus: Family<To, Counter>,
    relay_failures: Family<To, Counter>,
    relay_lag_changes: Family<To, Gauge>,
    relay_lag_seconds: Family<To, Gauge<f64, AtomicU64>>,
    relay_parked: Family<To, Gauge>,
}

impl Metrics {
    /// Declares them.
    #[must_use]
    pub fn new(registry: &holdfast_kit::Metrics) -> Self {
        Self {
            imports: registry.register(
                "holdfast_catalog_imports",
                "Imports of SKUs that ended, by outcome: applied, refused, replayed, broken_off",
                Family::default(),
            ),
            import_rows: registry.register(
                "holdfast_catalog_import_rows",
                "Rows of answered imports, by outcome: created, updated, unchanged, failed",
                Family::default(),
            ),
            import_seconds: registry.histogram(
                "holdfast_catalog_import_duration_seconds",
                "How long imports took from their first byte to their answer, in seconds",
                SECONDS,
            ),
            forgotten_rows: registry.counter(
                "holdfast_catalog_janitor_rows",
                "Rows that the janitor deleted: answers, imports and changes past their retention, staged rows left over",
            ),
            watchers: registry.register("holdfast_catalog_watchers", "Open watches of SKUs", Gauge::default()),
            relayed_skus: registry.register(
                "holdfast_catalog_relay_skus",
                "SKUs that a destination took, repetitions counted",
                Family::default(),
            ),
            relay_failures: registry.register(
                "holdfast_catalog_relay_failures",
                "Turns of a relay that failed, because its destination or the record did not answer",
                Family::default(),
            ),
            relay_lag_changes: registry.register(
                "holdfast_catalog_relay_lag_changes",
                "Changes that a destination was not told of yet, counted up to 100,000",
                Family::default(),
            ),
            relay_lag_seconds: registry.register(
                "holdfast_catalog_relay_lag_seconds",
                "Age of the oldest change that a destination was not told of yet, in seconds",
                Family::default(),
            ),
            relay_parked: registry.register(
                "holdfast_catalog_relay_parked_skus",
                "SKUs that a destination refused and that have not changed since",
                Family::default(),
            ),
        }
    }

    /// An import ended.
    pub fn imported(&self, outcome: &'static str, took: Duration) {
        self.imports.get_or_create(&[("outcome", outcome)]).inc();
        self.import_seconds.observe(took.as_secs_f64());
    }

    /// An import was answered.
    pub fn imported_rows(&self, report: &Report) {
        let counts = [
            ("created", report.applied.created),
            ("updated", report.applied.updated),
            ("unchanged", report.applied.unchanged),
            ("failed", report.failed()),
        ];
        for (outcome, rows) in counts {
            self.import_rows.get_or_create(&[("outcome", outcome)]).inc_by(u64::try_from(rows).unwrap_or(0));
        }
    }

    /// The janitor deleted rows.
    pub fn forgotten(&self, rows: u64) {
        self.forgotten_rows.inc_by(rows);
    }

    /// Watches began or ended.
    pub fn watchers(&self, change: i64) {
        self.watchers.inc_by(change);
    }

    /// A destination took SKUs.
    pub fn relayed(&self, destination: &'static str, skus: usize) {
        self.relayed_skus.get_or_create(&[("destination", destination)]).inc_by(skus as u64);
    }

    /// A turn of a relay failed.
    pub fn relay_failed(&self, destination: &'static str) {
        self.relay_failures.get_or_create(&[("destination", destination)]).inc();
    }

    /// A destination waits for so much.
    pub fn relay_lag(&self, destination: &'static str, lag: Lag) {
        let label = [("destination", destination)];
        self.relay_lag_changes.get_or_create(&label).set(lag.changes);
        self.relay_lag_seconds.get_or_create(&label).set(lag.seconds);
        self.relay_parked.get_or_create(&label).set(lag.parked);
    }
}
