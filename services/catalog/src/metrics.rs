//! The catalog's own metrics: names, units and meanings in one place. The server stack has its own for each method.

use std::time::Duration;

use holdfast_kit::metrics::SECONDS;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::import::Report;

/// One label, `outcome`.
type Outcome = [(&'static str, &'static str); 1];

/// The catalog's metrics.
#[derive(Debug)]
pub struct Metrics {
    imports: Family<Outcome, Counter>,
    import_rows: Family<Outcome, Counter>,
    import_seconds: Histogram,
    forgotten_rows: Counter,
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
                "Rows that the janitor deleted: answers and imports past their retention, staged rows left over",
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
}
