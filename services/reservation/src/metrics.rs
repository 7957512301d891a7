//! The service's metrics: names, units and meanings, declared here (the gate's beside the gate) and nowhere else.

mod upkeep;

pub use upkeep::{FreshenerMetrics, ReconcilerMetrics, SellingMetrics, SweeperMetrics};

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdfast_kit::Metrics;
use holdfast_kit::metrics::{SECONDS, SIZES};
use holdfast_stock::{Refusal, ReservationAnswer};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::auditor::DiscrepancyKind;
use crate::committer::Failure;
use crate::gate::GateMetrics;

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
            sweeper: SweeperMetrics::register(registry),
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
    outcomes: Family<VerbLabels, Counter>,
    paused: Counter,
}

/// What became of a request that was well-formed. What is wrong by itself never gets here: the server counts it, by its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// A yes that was given now.
    Granted,
    /// The first answer to the same key, once more.
    Replay,
    /// Too few units.
    Short,
    /// A definite no for another reason.
    Refused,
    /// Too much to do: nothing was done.
    Shed,
    /// Postgres gave no result, or the deadline passed: the outcome may be unknown.
    Failed,
}

impl Decided {
    const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Replay => "replay",
            Self::Short => "short",
            Self::Refused => "refused",
            Self::Shed => "shed",
            Self::Failed => "failed",
        }
    }

    pub(crate) const fn of(answer: &Result<ReservationAnswer, Failure>) -> Self {
        match answer {
            Ok(answer) if answer.replayed => Self::Replay,
            Ok(_) => Self::Granted,
            Err(Failure::Refused(Refusal::Insufficient(_))) => Self::Short,
            Err(Failure::Overloaded { .. } | Failure::Refused(Refusal::Contended)) => Self::Shed,
            Err(Failure::Refused(_) | Failure::Key(_)) => Self::Refused,
            Err(Failure::TooLate | Failure::Store(_)) => Self::Failed,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
    outcome: &'static str,
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
            outcomes: registry.register(
                "holdfast_outcomes",
                "Well-formed requests for or about reservations by verb and outcome (granted, replay, short, refused, shed, failed), each cart of a batch by itself; dry runs not counted",
                Family::default(),
            ),
            paused: registry
                .counter("holdfast_reserve_paused", "Reserves refused because the selling of a SKU is paused"),
        }
    }

    pub(crate) fn paused(&self) {
        self.paused.inc();
    }

    pub(crate) fn decided(&self, verb: &'static str, outcome: Decided) {
        self.outcomes.get_or_create(&VerbLabels { verb, outcome: outcome.name() }).inc();
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

/// The watches' metrics.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    watchers: Family<TopicLabels, Gauge>,
    changes: Family<TopicLabels, Counter>,
    too_slow: Family<TopicLabels, Counter>,
    oldest_transaction_seconds: Gauge<f64, AtomicU64>,
    lag_seconds: Family<TopicLabels, Histogram, fn() -> Histogram>,
    behind_seconds: Family<TopicLabels, Gauge<f64, AtomicU64>>,
}

/// Bounds of how late a watcher hears of a change, in seconds; the objective is 2.
const LAG_SECONDS: &[f64] = &[0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

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
            lag_seconds: registry.register(
                "holdfast_watch_lag_seconds",
                "Time from a change's decision, by Postgres's clock, to when it was handed to this replica's watchers, by topic; how fast a reader reads is not in it",
                Family::new_with_constructor(lags),
            ),
            behind_seconds: registry.register(
                "holdfast_watch_behind_seconds",
                "For how long this replica has not read the ledger to its end for its watchers, by topic; 0 while nobody watches",
                Family::default(),
            ),
        }
    }

    pub(crate) fn lag(&self, topic: &'static str, micros: i64) {
        self.lag_seconds.get_or_create(&TopicLabels { topic }).observe(seconds_of(micros));
    }

    pub(crate) fn behind(&self, topic: &'static str, time: Duration) {
        self.behind_seconds.get_or_create(&TopicLabels { topic }).set(time.as_secs_f64());
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
    oversold: Family<Unlabelled, Gauge>,
    holds: Family<StateLabels, Gauge>,
}

/// The labels of a metric that has none, and may be absent.
type Unlabelled = [(&'static str, &'static str); 0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
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
            oversold: registry.register(
                "holdfast_oversold_units",
                "Units that reservations took beyond what was available, of what the auditor found and nobody has repaired; must stay 0. The same on every replica; absent where it is not known",
                Family::default(),
            ),
            holds: registry.register(
                "holdfast_holds",
                "Holds by state (in_time, over: past their time and not swept), counted to 100,000, every 15 seconds, by the replica that audits; absent on the others",
                Family::default(),
            ),
        }
    }

    /// How many units were oversold; none: it is not known.
    pub(crate) fn oversold(&self, units: Option<i64>) {
        match units {
            Some(units) => {
                self.oversold.get_or_create(&[]).set(units);
            }
            None => self.oversold.clear(),
        }
    }

    /// Holds in time and those that are over; none: another replica says so, or nobody.
    pub(crate) fn holds(&self, counts: Option<(i64, i64)>) {
        let Some((in_time, over)) = counts else { return self.holds.clear() };
        for (state, count) in [("in_time", in_time), ("over", over)] {
            self.holds.get_or_create(&StateLabels { state }).set(count);
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

    pub(crate) fn found(&self, unseen_micros: i64) {
        self.detection_seconds.observe(seconds_of(unseen_micros));
    }
}

fn lags() -> Histogram {
    Histogram::new(LAG_SECONDS.iter().copied())
}

/// A time that is never below 0: two clocks may differ by a little.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 microseconds")]
fn seconds_of(micros: i64) -> f64 {
    micros.max(0) as f64 / 1e6
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
