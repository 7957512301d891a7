//! vendor-sync's own metrics: names, units and meanings in one place. The server stack has its own for each method.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdfast_kit::metrics::SECONDS;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::model::{RowOutcome, Run, RunState};
use crate::store::Backlog;

/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// One label.
type Label = [(&'static str, &'static str); 1];

/// vendor-sync's metrics.
#[derive(Debug)]
pub struct Metrics {
    runs: Family<Label, Counter>,
    rows: Family<Label, Counter>,
    run_seconds: Histogram,
    apply_seconds: Histogram,
    attempts_broken_off: Family<Label, Counter>,
    looks: Family<[(&'static str, &'static str); 2], Counter>,
    unfinished: Gauge,
    unfinished_seconds: Seconds,
    quarantined: Family<Label, Gauge>,
    quarantined_seconds: Family<Label, Seconds>,
    connections: Family<Label, Gauge>,
    guard_decisions: Family<[(&'static str, &'static str); 2], Counter>,
    forgotten: Counter,
}

impl Metrics {
    /// Declares them.
    #[must_use]
    pub fn new(registry: &holdfast_kit::Metrics) -> Self {
        Self {
            runs: registry.register(
                "holdfast_vendor_sync_runs",
                "Runs that this process worked on to an end, by state: applied, refused, held, rejected, superseded",
                Family::default(),
            ),
            rows: registry.register(
                "holdfast_vendor_sync_rows",
                "Rows of runs that this process finished, by outcome: applied, unchanged, stale, unmapped, rejected, quarantined",
                Family::default(),
            ),
            run_seconds: registry.histogram(
                "holdfast_vendor_sync_run_duration_seconds",
                "From a file's complete upload to its run's end, in seconds",
                SECONDS,
            ),
            apply_seconds: registry.histogram(
                "holdfast_vendor_sync_apply_duration_seconds",
                "How long reservation took for one batch of counts, in seconds",
                SECONDS,
            ),
            attempts_broken_off: registry.register(
                "holdfast_vendor_sync_attempts_broken_off",
                "Attempts at a run that broke off and will be repeated, by what did not do its part: catalog, reservation, record; decision: of a decision",
                Family::default(),
            ),
            looks: registry.register(
                "holdfast_vendor_sync_looks",
                "Looks at connections' folders and addresses, by source (folder, address) and outcome (ok, failed)",
                Family::default(),
            ),
            unfinished: registry.gauge(
                "holdfast_vendor_sync_unfinished_runs",
                "Runs that are not finished, of all processes, when last looked",
            ),
            unfinished_seconds: registry.register(
                "holdfast_vendor_sync_unfinished_oldest_seconds",
                "Age of the oldest run that is not finished, of all processes, when last looked; 0 if there is none",
                Gauge::default(),
            ),
            quarantined: registry.register(
                "holdfast_vendor_sync_quarantine_waiting",
                "What guards stopped and nobody has decided (number: of a SKU, file: as a whole), counted to 10,000; the same on every replica",
                Family::default(),
            ),
            quarantined_seconds: registry.register(
                "holdfast_vendor_sync_quarantine_oldest_seconds",
                "For how long the oldest of them has waited, by what it is (number, file); 0 if none waits",
                Family::default(),
            ),
            connections: registry.register(
                "holdfast_vendor_sync_connections",
                "Connections by state: active, paused (their files are held); the same on every replica",
                Family::default(),
            ),
            guard_decisions: registry.register(
                "holdfast_vendor_sync_guard_decisions",
                "What guards said: of files (guard file: applied, warned, held), and by each row guard (R1 to R5) numbers that are quarantined",
                Family::default(),
            ),
            forgotten: registry.counter(
                "holdfast_vendor_sync_janitor_items",
                "What the janitor dropped: answers and reports past their retention",
            ),
        }
    }

    /// A run was finished.
    pub fn finished(&self, run: &Run) {
        let state = match run.state {
            RunState::Applying => return,
            RunState::Applied => "applied",
            RunState::Refused => "refused",
            RunState::Held => "held",
            RunState::Rejected => "rejected",
            RunState::Superseded => "superseded",
        };
        self.runs.get_or_create(&[("state", state)]).inc();
        for (outcome, rows) in [
            (RowOutcome::Applied, run.totals.applied),
            (RowOutcome::Unchanged, run.totals.unchanged),
            (RowOutcome::Stale, run.totals.stale),
            (RowOutcome::Unmapped, run.totals.unmapped),
            (RowOutcome::Rejected, run.totals.rejected),
            (RowOutcome::Quarantined, run.totals.quarantined),
        ] {
            let rows = u64::try_from(rows).unwrap_or(0);
            self.rows.get_or_create(&[("outcome", label(outcome))]).inc_by(rows);
        }
        if let Some(end_time) = run.end_time {
            self.run_seconds.observe((end_time - run.create_time).as_seconds_f64());
        }
    }

    /// Reservation answered a batch.
    pub fn applied(&self, took: Duration) {
        self.apply_seconds.observe(took.as_secs_f64());
    }

    /// An attempt at a run broke off.
    pub fn broken_off(&self, because_of: &'static str) {
        self.attempts_broken_off.get_or_create(&[("because_of", because_of)]).inc();
    }

    /// A folder or an address was looked at.
    pub fn looked(&self, source: &'static str, failed: bool) {
        let outcome = if failed { "failed" } else { "ok" };
        self.looks.get_or_create(&[("source", source), ("outcome", outcome)]).inc();
    }

    /// So much is not done, or waits for a person.
    pub fn backlog(&self, backlog: &Backlog) {
        self.unfinished.set(backlog.unfinished_runs);
        self.unfinished_seconds.set(backlog.unfinished_seconds);
        for (what, waiting, seconds) in [
            ("number", backlog.waiting_numbers, backlog.waiting_number_seconds),
            ("file", backlog.held_files, backlog.held_file_seconds),
        ] {
            self.quarantined.get_or_create(&[("what", what)]).set(waiting);
            self.quarantined_seconds.get_or_create(&[("what", what)]).set(seconds);
        }
        for (state, connections) in [("active", backlog.active_connections), ("paused", backlog.paused_connections)] {
            self.connections.get_or_create(&[("state", state)]).set(connections);
        }
    }

    /// A guard said something of so many numbers or files.
    pub fn guarded(&self, guard: &'static str, decision: &'static str, times: u64) {
        self.guard_decisions.get_or_create(&[("guard", guard), ("decision", decision)]).inc_by(times);
    }

    /// The janitor dropped something.
    pub fn forgotten(&self, items: u64) {
        self.forgotten.inc_by(items);
    }
}

fn label(outcome: RowOutcome) -> &'static str {
    match outcome {
        RowOutcome::Pending => "pending",
        RowOutcome::Applied => "applied",
        RowOutcome::Unchanged => "unchanged",
        RowOutcome::Stale => "stale",
        RowOutcome::Unmapped => "unmapped",
        // What was not accepted for either reason is one total.
        RowOutcome::Rejected | RowOutcome::Conflict => "rejected",
        RowOutcome::Quarantined => "quarantined",
    }
}
