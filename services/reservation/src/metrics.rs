//! The service's metrics: names, units and meanings, declared here (the gate's beside the gate) and nowhere else.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdfast_kit::Metrics;
use holdfast_kit::metrics::{SECONDS, SIZES};
use holdfast_stock::Freshness;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::auditor::DiscrepancyKind;
use crate::gate::{GateMetrics, ReconcileReport};

/// All metrics of the service.
#[derive(Debug, Clone)]
pub struct ReservationMetrics {
    /// The Redis gate's.
    pub gate: GateMetrics,
    /// The reserve use case's.
    pub reserve: ReserveMetrics,
    /// The committer's.
    pub committer: CommitterMetrics,
    /// The read queue's.
    pub looker: LookerMetrics,
    /// The publisher's.
    pub publisher: PublisherMetrics,
    /// The sweeper's.
    pub sweeper: SweeperMetrics,
    /// The freshener's.
    pub freshener: FreshenerMetrics,
    /// How selling stands.
    pub selling: SellingMetrics,
    /// The reconciler's.
    pub reconciler: ReconcilerMetrics,
    /// The watches'.
    pub watch: WatchMetrics,
    /// The janitor's.
    pub retention: RetentionMetrics,
    /// The auditor's.
    pub auditor: AuditorMetrics,
}

impl ReservationMetrics {
    /// Declares them.
    #[must_use]
    pub fn register(registry: &Metrics) -> Self {
        Self {
            gate: GateMetrics::register(registry),
            reserve: ReserveMetrics::register(registry),
            committer: CommitterMetrics::register(registry),
            looker: LookerMetrics {
                keys: registry.histogram("holdfast_read_keys", "Requests that shared one read of the record", SIZES),
            },
            publisher: PublisherMetrics {
                dropped: registry.counter(
                    "holdfast_publish_dropped",
                    "Changes that Redis was not told of at once, left to the reconciler",
                ),
            },
            sweeper: SweeperMetrics {
                due: registry.gauge("holdfast_holds_due", "Holds past their time that the last sweep found"),
                expired: registry.counter("holdfast_holds_expired", "Holds whose units this replica freed"),
            },
            freshener: FreshenerMetrics::register(registry),
            selling: SellingMetrics::register(registry),
            reconciler: ReconcilerMetrics::register(registry),
            watch: WatchMetrics::register(registry),
            retention: RetentionMetrics::register(registry),
            auditor: AuditorMetrics::register(registry),
        }
    }
}

/// How a Reserve was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Route {
    /// The gate let it through to the committer.
    Gate,
    /// The read queue answered.
    Read,
    /// It went to the committer past the gate.
    PastGate,
    /// The limiter turned it away.
    Shed,
}

/// The reserve use case's metrics.
#[derive(Debug, Clone)]
pub struct ReserveMetrics {
    routes: Family<RouteLabels, Counter>,
    paused: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

impl ReserveMetrics {
    fn register(registry: &Metrics) -> Self {
        let help = "Reserves by the way on which they were decided";
        Self {
            routes: registry.register("holdfast_reserve_routes", help, Family::default()),
            paused: registry
                .counter("holdfast_reserve_paused", "Reserves refused because the selling of a SKU is paused"),
        }
    }

    pub(crate) fn paused(&self) {
        self.paused.inc();
    }

    pub(crate) fn route(&self, route: Route) {
        self.routes.get_or_create(&RouteLabels { route }).inc();
    }
}

/// How a batch was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Path {
    /// In one round trip.
    Fast,
    /// Locked, planned, written.
    Planned,
}

/// The committer's metrics.
#[derive(Debug, Clone)]
pub struct CommitterMetrics {
    operations: Family<LaneLabels, Histogram, fn() -> Histogram>,
    wait_seconds: Family<LaneLabels, Histogram, fn() -> Histogram>,
    commit_seconds: Family<LaneLabels, Histogram, fn() -> Histogram>,
    paths: Family<PathLabels, Counter>,
    contended: Counter,
    shortfall_units: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    path: Path,
}

impl CommitterMetrics {
    fn register(registry: &Metrics) -> Self {
        let family =
            |name, help, of: fn() -> Histogram| registry.register(name, help, Family::new_with_constructor(of));
        Self {
            operations: family("holdfast_batch_operations", "Operations committed together, by lane", sizes),
            wait_seconds: family("holdfast_queue_wait_seconds", "Time from queue to batch, by lane", seconds),
            commit_seconds: family("holdfast_commit_seconds", "Time that a batch took, by lane", seconds),
            paths: registry.register(
                "holdfast_committed_operations",
                "Operations by the path on which they were committed",
                Family::default(),
            ),
            contended: registry
                .counter("holdfast_commit_contended", "Batches repeated because another transaction was in the way"),
            shortfall_units: registry.counter(
                "holdfast_shortfall_units",
                "Units promised that a count or an adjustment said are not there, when it said so",
            ),
        }
    }

    pub(crate) fn batch(&self, lane: &'static str, operations: usize, waits: impl Iterator<Item = Duration>) {
        self.operations.get_or_create(&LaneLabels { lane }).observe(number(operations));
        let histogram = self.wait_seconds.get_or_create(&LaneLabels { lane });
        waits.for_each(|wait| histogram.observe(wait.as_secs_f64()));
    }

    pub(crate) fn committed(&self, lane: &'static str, took: Duration) {
        self.commit_seconds.get_or_create(&LaneLabels { lane }).observe(took.as_secs_f64());
    }

    pub(crate) fn path(&self, path: Path, operations: usize) {
        self.paths.get_or_create(&PathLabels { path }).inc_by(operations as u64);
    }

    pub(crate) fn contended(&self) {
        self.contended.inc();
    }

    pub(crate) fn shortfall(&self, units: i64) {
        self.shortfall_units.inc_by(u64::try_from(units).unwrap_or(0));
    }
}

/// The read queue's metrics.
#[derive(Debug, Clone)]
pub struct LookerMetrics {
    keys: Histogram,
}

impl LookerMetrics {
    pub(crate) fn read(&self, requests: usize) {
        self.keys.observe(number(requests));
    }
}

/// The publisher's metrics.
#[derive(Debug, Clone)]
pub struct PublisherMetrics {
    dropped: Counter,
}

impl PublisherMetrics {
    pub(crate) fn dropped(&self) {
        self.dropped.inc();
    }
}

/// The sweeper's metrics.
#[derive(Debug, Clone)]
pub struct SweeperMetrics {
    due: Gauge,
    expired: Counter,
}

impl SweeperMetrics {
    pub(crate) fn swept(&self, due: usize) {
        self.due.set(i64::try_from(due).unwrap_or(i64::MAX));
    }

    pub(crate) fn expired(&self, expired: bool) {
        self.expired.inc_by(u64::from(expired));
    }
}

/// The freshener's metrics.
#[derive(Debug, Clone)]
pub struct FreshenerMetrics {
    fresh: Counter,
    late: Counter,
    stale: Counter,
}

impl FreshenerMetrics {
    fn register(registry: &Metrics) -> Self {
        Self {
            fresh: registry.counter("holdfast_rows_freshened", "Rows whose number became fresh again"),
            late: registry.counter("holdfast_rows_late", "Rows whose number became overdue, so that more is kept back"),
            stale: registry
                .counter("holdfast_rows_stale", "Rows whose number became long overdue, so that nothing is offered"),
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
}

/// How selling stands.
#[derive(Debug, Clone)]
pub struct SellingMetrics {
    paused: Gauge,
    oldest_seconds: Gauge,
}

impl SellingMetrics {
    fn register(registry: &Metrics) -> Self {
        let oldest = "How long the oldest sold units of which something is known at their vendor have waited for a count that reflects them, in seconds; 0 if none wait";
        Self {
            paused: registry.gauge(
                "holdfast_paused_skus",
                "SKUs whose selling is paused, by somebody or because they sold too fast",
            ),
            oldest_seconds: registry.gauge("holdfast_unreflected_oldest_seconds", oldest),
        }
    }

    pub(crate) fn stands(&self, paused: i64, oldest_micros: i64) {
        self.paused.set(paused);
        self.oldest_seconds.set(oldest_micros / 1_000_000);
    }
}

/// The reconciler's metrics.
#[derive(Debug, Clone)]
pub struct ReconcilerMetrics {
    passes: Counter,
    rounds: Counter,
    above: Counter,
    below: Counter,
    missing: Counter,
    rebuild_seconds: Histogram,
}

impl ReconcilerMetrics {
    fn register(registry: &Metrics) -> Self {
        Self {
            passes: registry.counter("holdfast_reconcile_passes", "Passes of the reconciler"),
            rounds: registry.counter("holdfast_reconcile_rounds", "Rounds of the reconciler through all SKUs"),
            above: registry.counter("holdfast_counter_above_skus", "SKUs found published above the record"),
            below: registry.counter("holdfast_counter_below_skus", "SKUs found published below the record"),
            missing: registry.counter("holdfast_counter_missing_skus", "SKUs found not published"),
            rebuild_seconds: registry.histogram(
                "holdfast_counter_rebuild_seconds",
                "Time from when most counters were found missing to when all had been published anew",
                DETECTION_SECONDS,
            ),
        }
    }

    pub(crate) fn passed(&self) {
        self.passes.inc();
    }

    pub(crate) fn came_round(&self, round_ended: bool) {
        self.rounds.inc_by(u64::from(round_ended));
    }

    pub(crate) fn rebuilt(&self, took: Duration) {
        self.rebuild_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn reconciled(&self, report: &ReconcileReport) {
        let above = report.drifts.iter().filter(|drift| drift.units() > 0).count();
        let below = report.drifts.iter().filter(|drift| drift.units() < 0).count();
        self.above.inc_by(above as u64);
        self.below.inc_by(below as u64);
        self.missing.inc_by(report.missing as u64);
    }
}

/// The watches' metrics.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    watchers: Family<TopicLabels, Gauge>,
    changes: Family<TopicLabels, Counter>,
    too_slow: Family<TopicLabels, Counter>,
    oldest_transaction_seconds: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: &'static str,
}

impl WatchMetrics {
    fn register(registry: &Metrics) -> Self {
        Self {
            watchers: registry.register("holdfast_watchers", "Open watches, by topic", Family::default()),
            changes: registry.register(
                "holdfast_watch_changes",
                "Changes that this replica found for its watchers together, by topic",
                Family::default(),
            ),
            too_slow: registry.register(
                "holdfast_watchers_too_slow",
                "Watches ended because too many changes waited for their reader, by topic",
                Family::default(),
            ),
            oldest_transaction_seconds: registry.register(
                "holdfast_oldest_transaction_seconds",
                "For how long at least the oldest transaction that has written anything on this Postgres has been open",
                Gauge::default(),
            ),
        }
    }

    pub(crate) fn watchers(&self, topic: &'static str, change: i64) {
        self.watchers.get_or_create(&TopicLabels { topic }).inc_by(change);
    }

    pub(crate) fn found(&self, topic: &'static str, changes: usize) {
        self.changes.get_or_create(&TopicLabels { topic }).inc_by(changes as u64);
    }

    pub(crate) fn too_slow(&self, topic: &'static str) {
        self.too_slow.get_or_create(&TopicLabels { topic }).inc();
    }

    pub(crate) fn oldest_transaction(&self, age: Duration) {
        self.oldest_transaction_seconds.set(age.as_secs_f64());
    }
}

/// The janitor's metrics.
#[derive(Debug, Clone)]
pub struct RetentionMetrics {
    ahead_seconds: Family<TableLabels, Gauge>,
    strayed_rows: Family<TableLabels, Gauge>,
    dropped: Counter,
    purged: Counter,
    failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: &'static str,
}

impl RetentionMetrics {
    fn register(registry: &Metrics) -> Self {
        let gauges = |name, help| registry.register(name, help, Family::default());
        Self {
            ahead_seconds: gauges("holdfast_partitions_ahead_seconds", "How long from now on a table has partitions"),
            strayed_rows: gauges(
                "holdfast_strayed_rows",
                "Rows in a table's default partition, for want of one of their own; counted to 10,000",
            ),
            dropped: registry.counter("holdfast_partitions_dropped", "Partitions that this replica dropped"),
            purged: registry.counter("holdfast_reservations_purged", "Finished reservations that this replica removed"),
            failures: registry.counter("holdfast_retention_failures", "Steps that the janitor left to its next pass"),
        }
    }

    pub(crate) fn partitions(&self, table: &'static str, ahead_seconds: i64, strayed: i64) {
        self.ahead_seconds.get_or_create(&TableLabels { table }).set(ahead_seconds);
        self.strayed_rows.get_or_create(&TableLabels { table }).set(strayed);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.inc();
    }

    pub(crate) fn purged(&self, reservations: u64) {
        self.purged.inc_by(reservations);
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }
}

/// Bounds of how long a fault was there before it was found or mended, in seconds: from a round of the auditor to days.
const DETECTION_SECONDS: &[f64] = &[1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

/// The auditor's metrics.
#[derive(Debug, Clone)]
pub struct AuditorMetrics {
    turn: Gauge,
    open: Family<KindLabels, Gauge>,
    pass_age_seconds: Gauge,
    passes: Counter,
    skus: Counter,
    skipped: Counter,
    look_seconds: Histogram,
    detection_seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

impl AuditorMetrics {
    fn register(registry: &Metrics) -> Self {
        Self {
            turn: registry.gauge("holdfast_audit_turn", "1 while this replica is the one that audits"),
            open: registry.register(
                "holdfast_discrepancies",
                "Discrepancies that are open, by kind; the same on every replica",
                Family::default(),
            ),
            pass_age_seconds: registry.gauge(
                "holdfast_audit_pass_age_seconds",
                "Time since the auditor last ended a pass through everything; since the process started if it never did",
            ),
            passes: registry.counter("holdfast_audit_passes", "Passes through everything that this replica ended"),
            skus: registry.counter("holdfast_audit_skus", "SKUs that this replica's auditor looked at"),
            skipped: registry
                .counter("holdfast_audit_skipped_skus", "SKUs that it could not look at within a statement's time"),
            look_seconds: registry.histogram("holdfast_audit_look_seconds", "Time of a look at some SKUs", SECONDS),
            detection_seconds: registry.histogram(
                "holdfast_audit_detection_seconds",
                "Time from when a discrepancy could first be seen to when it was found",
                DETECTION_SECONDS,
            ),
        }
    }

    pub(crate) fn turn(&self, is_ours: bool, pass_age_micros: i64, open: &[(String, i64)]) {
        self.turn.set(i64::from(is_ours));
        self.pass_age_seconds.set(pass_age_micros.max(0) / 1_000_000);
        for kind in DiscrepancyKind::ALL.map(DiscrepancyKind::as_str) {
            let count = open.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count);
            self.open.get_or_create(&KindLabels { kind: kind.to_owned() }).set(count);
        }
    }

    pub(crate) fn passed(&self) {
        self.passes.inc();
    }

    pub(crate) fn looked(&self, skus: usize, skipped: usize, took: Duration) {
        self.skus.inc_by(skus as u64);
        self.skipped.inc_by(skipped as u64);
        self.look_seconds.observe(took.as_secs_f64());
    }

    #[expect(clippy::cast_precision_loss, reason = "a histogram's bounds are no finer")]
    pub(crate) fn found(&self, unseen_micros: i64) {
        self.detection_seconds.observe(unseen_micros.max(0) as f64 / 1e6);
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS.iter().copied())
}

fn sizes() -> Histogram {
    Histogram::new(SIZES.iter().copied())
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}
