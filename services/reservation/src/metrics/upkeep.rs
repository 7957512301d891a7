//! What the parts beside the path say of themselves: sweeper, freshener, reconciler, and how selling stands.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_kit::Metrics;
use holdfast_stock::Freshness;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{DETECTION_SECONDS, seconds_of};
use crate::gate::ReconcileReport;
use crate::store::{Due, Feed, Standing};

/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// The sweeper's metrics.
#[derive(Debug, Clone)]
pub struct SweeperMetrics {
    due: Gauge,
    expired: Counter,
    lag_seconds: Seconds,
}

impl SweeperMetrics {
    pub(super) fn register(registry: &Metrics) -> Self {
        Self {
            due: registry.gauge("holdfast_holds_due", "Holds past their time that the last sweep found"),
            expired: registry.counter("holdfast_holds_expired", "Holds whose units this replica freed"),
            lag_seconds: registry.register(
                "holdfast_expired_hold_lag_seconds",
                "For how long the oldest hold had been over that the last sweep found; while sweeps cannot look, at least since the last one could",
                Gauge::default(),
            ),
        }
    }

    pub(crate) fn swept(&self, due: &Due) {
        self.due.set(i64::try_from(due.holds.len()).unwrap_or(i64::MAX));
        self.lag_seconds.set(seconds_of(due.lag_micros));
    }

    /// Sweeps have not been able to look for so long.
    pub(crate) fn blind_for(&self, time: Duration) {
        self.lag_seconds.set(self.lag_seconds.get().max(time.as_secs_f64()));
    }

    pub(crate) fn expired(&self, expired: bool) {
        self.expired.inc_by(u64::from(expired));
    }
}

/// Connections that have series of their own; all are counted.
const CONNECTIONS_SHOWN_MAX: usize = 500;

/// The freshener's metrics.
#[derive(Debug, Clone)]
pub struct FreshenerMetrics {
    fresh: Counter,
    late: Counter,
    stale: Counter,
    feeds: Family<FreshnessLabels, Gauge>,
    age_seconds: Family<ConnectionLabels, Seconds>,
    promised_seconds: Family<ConnectionLabels, Seconds>,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FreshnessLabels {
    freshness: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    connection: String,
}

impl FreshenerMetrics {
    pub(super) fn register(registry: &Metrics) -> Self {
        let seconds = |name, help| registry.register(name, help, Family::default());
        Self {
            fresh: registry.counter("holdfast_rows_freshened", "Rows whose number became fresh again"),
            late: registry.counter("holdfast_rows_late", "Rows whose number became overdue, so that more is kept back"),
            stale: registry
                .counter("holdfast_rows_stale", "Rows whose number became long overdue, so that nothing is offered"),
            feeds: registry.register(
                "holdfast_feeds",
                "Connections that promise numbers, by how fresh their last one is (FRESH, LATE, STALE); the same on every replica",
                Family::default(),
            ),
            age_seconds: seconds(
                "holdfast_feed_age_seconds",
                "Time since a connection's vendor counted what its last whole run said, by connection, for those that promise numbers, 500 at most",
            ),
            promised_seconds: seconds(
                "holdfast_feed_promised_seconds",
                "How often a connection promises a number, by connection, as holdfast_feed_age_seconds",
            ),
            shown: Arc::default(),
        }
    }

    pub(crate) fn freshened(&self, to: Freshness, rows: usize) {
        let counter = match to {
            Freshness::Fresh => &self.fresh,
            Freshness::Late => &self.late,
            Freshness::Stale => &self.stale,
        };
        counter.inc_by(rows as u64);
    }

    /// How the feeds stand, all of them. The first of them by their codes have series of their own, and those that are gone have none any more.
    pub(crate) fn stand(&self, feeds: &[Feed]) {
        let promising: Vec<_> = feeds.iter().filter_map(|feed| Some((feed, feed.promised_interval?))).collect();
        for freshness in [Freshness::Fresh, Freshness::Late, Freshness::Stale] {
            let count = promising.iter().filter(|(feed, _)| feed.freshness() == freshness).count();
            let labels = FreshnessLabels { freshness: freshness.as_str() };
            self.feeds.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *shown);
        for (feed, promised) in promising.iter().take(CONNECTIONS_SHOWN_MAX) {
            let labels = ConnectionLabels { connection: feed.connection.clone() };
            let age = feed.read_at.0.saturating_sub(feed.as_of.0);
            self.age_seconds.get_or_create(&labels).set(seconds_of(age));
            self.promised_seconds.get_or_create(&labels).set(seconds_of(*promised));
            gone.remove(&labels.connection);
            shown.insert(labels.connection);
        }
        for connection in gone {
            let labels = ConnectionLabels { connection };
            self.age_seconds.remove(&labels);
            self.promised_seconds.remove(&labels);
        }
    }
}

/// How selling stands.
#[derive(Debug, Clone)]
pub struct SellingMetrics {
    paused: Gauge,
    oldest_seconds: Gauge,
    short_rows: Gauge,
    short_units: Gauge,
}

impl SellingMetrics {
    pub(super) fn register(registry: &Metrics) -> Self {
        let oldest = "How long the oldest sold units of which something is known at their vendor have waited for a count that reflects them, in seconds; 0 if none wait";
        Self {
            paused: registry.gauge(
                "holdfast_paused_skus",
                "SKUs whose selling is paused, by somebody or because they sold too fast",
            ),
            oldest_seconds: registry.gauge("holdfast_unreflected_oldest_seconds", oldest),
            short_rows: registry.gauge(
                "holdfast_short_rows",
                "Rows of stock whose count says that promised units are not there, now, counted to 10,000; the same on every replica",
            ),
            short_units: registry.gauge(
                "holdfast_short_units",
                "Units promised that the counts say are not there, now, over 10,000 rows at most; the same on every replica",
            ),
        }
    }

    pub(crate) fn stands(&self, standing: &Standing) {
        self.paused.set(standing.paused_skus);
        self.oldest_seconds.set(standing.oldest_micros.unwrap_or(0) / 1_000_000);
        self.short_rows.set(standing.short_rows);
        self.short_units.set(standing.short_units);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

/// The reconciler's metrics.
#[derive(Debug, Clone)]
pub struct ReconcilerMetrics {
    passes: Counter,
    clean: Counter,
    rounds: Counter,
    round_age_seconds: Seconds,
    above: Counter,
    below: Counter,
    missing: Counter,
    drifted: Family<DirectionLabels, Counter>,
    rebuild_seconds: Histogram,
}

impl ReconcilerMetrics {
    pub(super) fn register(registry: &Metrics) -> Self {
        let declared = Self::declare(registry);
        for direction in ["above", "below"] {
            declared.drifted.get_or_create(&DirectionLabels { direction }).inc_by(0);
        }
        declared
    }

    fn declare(registry: &Metrics) -> Self {
        Self {
            passes: registry.counter("holdfast_reconcile_passes", "Passes of the reconciler"),
            clean: registry.counter(
                "holdfast_reconcile_clean_passes",
                "Passes of the reconciler that found no counter wrong which the pass before had found wrong too, the record being as it was; one that is missing is unknown, not wrong",
            ),
            rounds: registry.counter("holdfast_reconcile_rounds", "Rounds of the reconciler through all SKUs"),
            round_age_seconds: registry.register(
                "holdfast_reconcile_round_age_seconds",
                "Time since this replica's reconciler last came round through all SKUs; since it started if it never did",
                Gauge::default(),
            ),
            above: registry.counter("holdfast_counter_above_skus", "SKUs found published above the record, changes on their way included"),
            below: registry.counter("holdfast_counter_below_skus", "SKUs found published below the record, changes on their way included"),
            missing: registry.counter("holdfast_counter_missing_skus", "SKUs found not published"),
            drifted: registry.register(
                "holdfast_counter_drift_skus",
                "SKUs found published above or below the record by two passes in a row, the record being as it was, by direction (above, below)",
                Family::default(),
            ),
            rebuild_seconds: registry.histogram(
                "holdfast_counter_rebuild_seconds",
                "Time from when most counters were found missing to when all had been published anew",
                DETECTION_SECONDS,
            ),
        }
    }

    pub(crate) fn passed(&self, is_clean: bool) {
        self.passes.inc();
        self.clean.inc_by(u64::from(is_clean));
    }

    pub(crate) fn came_round(&self, round_ended: bool) {
        self.rounds.inc_by(u64::from(round_ended));
    }

    /// It has come round last so long ago.
    pub(crate) fn round_age(&self, age: Duration) {
        self.round_age_seconds.set(age.as_secs_f64());
    }

    pub(crate) fn rebuilt(&self, took: Duration) {
        self.rebuild_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn drifted(&self, is_above: bool) {
        let direction = if is_above { "above" } else { "below" };
        self.drifted.get_or_create(&DirectionLabels { direction }).inc();
    }

    /// Counts what was not as the record has it.
    pub(crate) fn reconciled(&self, report: &ReconcileReport) {
        let above = report.drifts.iter().filter(|drift| drift.units() > 0).count();
        let below = report.drifts.iter().filter(|drift| drift.units() < 0).count();
        self.above.inc_by(above as u64);
        self.below.inc_by(below as u64);
        self.missing.inc_by(report.missing as u64);
    }
}
