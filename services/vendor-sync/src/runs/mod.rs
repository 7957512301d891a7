//! Runs are worked on here: by whichever process takes their connection, one after the other for each connection, until every row has its outcome.
//!
//! A run's file is in the record before anything is done with it, its counts and the keys of their requests before the first is sent, and reservation's
//! answers as they come. So a process may die at any moment: another one, or the same after its restart, goes on where it stopped, and what it repeats
//! has its effect once.
//!
//! Architecture invariant: a database transaction is never dropped in the middle. Work is only interrupted between its steps.

mod apply;
mod decide;
mod prepare;
mod typed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_feeds::guards::file::FileLimits;
use holdfast_feeds::guards::jump::RowLimits;
use holdfast_feeds::observation::Mode;
use holdfast_kit::CancellationToken;
use tokio::sync::{Notify, watch};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::config::{Config, RunsConfig};
use crate::metrics::Metrics;
use crate::model::{CountsOf, Quarantined, Run};
use crate::peers::{PeerError, Peers};
use crate::store::{Store, StoreError};

/// How often a waiting upload looks whether another process has finished its run.
const LOOK: Duration = Duration::from_millis(250);

/// From one look at what waits to the next: alarms wait for minutes.
const BACKLOG_PERIOD: Duration = Duration::from_secs(5);
/// Lower numbers that one look believes.
const BELIEVED_PER_LOOK: u32 = 1000;

/// What works on runs. Clones share the work.
#[derive(Debug, Clone)]
pub struct Runs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    peers: Peers,
    config: RunsConfig,
    gate: FileLimits,
    guards: Arc<RowLimits>,
    holds_in_row_max: u32,
    apply_at_once_max: usize,
    metrics: Arc<Metrics>,
    work: Notify,
    /// Counts the steps that ended a run or an attempt, for those who wait.
    steps: watch::Sender<u64>,
}

/// Why an attempt at a run broke off. The run is as it was after its last whole step.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// The record did not do its part.
    #[error("waiting for the record: {0}")]
    Store(#[from] StoreError),
    /// Another service did not do its part.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The process ends, or another one took over.
    #[error("interrupted")]
    Interrupted,
    /// A step panicked; the log has it.
    #[error("waiting for a defect to be repaired: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Something to be done for a connection.
#[derive(Debug)]
enum Work {
    /// A run to be worked on.
    Run(Box<Run>),
    /// A decision to be carried out.
    Decision(Box<Quarantined>),
}

/// A connection that is worked on, until it is let go.
#[derive(Debug)]
struct Claim {
    connection: String,
    holder: Uuid,
    /// Set when another process took over.
    lost: AtomicBool,
    shutdown: CancellationToken,
}

impl Claim {
    /// Between two steps: whether to go on.
    fn proceed(&self) -> Result<(), Broken> {
        if self.shutdown.is_cancelled() || self.lost.load(Ordering::Relaxed) {
            Err(Broken::Interrupted)
        } else {
            Ok(())
        }
    }
}

impl Runs {
    /// Nothing is worked on yet: see [`Runs::work`].
    #[must_use]
    pub fn new(store: Store, peers: Peers, config: &Config, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            store,
            peers,
            config: config.runs.clone(),
            gate: config.gate.limits(),
            guards: Arc::new(config.guards.limits()),
            holds_in_row_max: config.gate.holds_in_row_max,
            apply_at_once_max: config.reservation.requests_at_once_max,
            metrics,
            work: Notify::new(),
            steps: watch::Sender::new(0),
        }))
    }

    /// Says that there may be work.
    pub fn wake(&self) {
        self.0.work.notify_one();
    }

    /// Waits until a run is finished, but not past an instant; answers it as it is then. A record that does not answer is asked again.
    ///
    /// # Errors
    /// [`StoreError`] when the record did not answer at the end; the run goes on.
    pub async fn wait(&self, run_id: Uuid, until: Instant) -> Result<Option<Run>, StoreError> {
        let mut steps = self.0.steps.subscribe();
        loop {
            steps.mark_unchanged();
            let run = self.0.store.run(run_id).await;
            let left = until.saturating_duration_since(Instant::now());
            let is_settled = match &run {
                Ok(run) => run.as_ref().is_none_or(|run| run.state.is_settled()),
                Err(_) => false,
            };
            if is_settled || left.is_zero() {
                return run;
            }
            // Either way it is looked at again: after a step of this process, or because another one may have made it.
            drop(tokio::time::timeout(left.min(LOOK), steps.changed()).await);
        }
    }

    /// Waits until a decision is carried out, but not past an instant; answers the number as it is then.
    ///
    /// # Errors
    /// [`StoreError`] when the record did not answer at the end; the decision is carried out all the same.
    pub async fn wait_decided(&self, id: Uuid, until: Instant) -> Result<Option<Quarantined>, StoreError> {
        let mut steps = self.0.steps.subscribe();
        loop {
            steps.mark_unchanged();
            let row = self.0.store.quarantined(id).await;
            let left = until.saturating_duration_since(Instant::now());
            let is_settled = match &row {
                Ok(row) => row.as_ref().is_none_or(|row| row.done_time.is_some()),
                Err(_) => false,
            };
            if is_settled || left.is_zero() {
                return row;
            }
            drop(tokio::time::timeout(left.min(LOOK), steps.changed()).await);
        }
    }

    /// The row guards' numbers.
    #[must_use]
    pub fn guards(&self) -> &RowLimits {
        &self.0.guards
    }

    /// Works on runs, one connection at a time, until `shutdown` is cancelled.
    pub async fn work(self, shutdown: CancellationToken) {
        let poll = Duration::from_millis(self.0.config.poll_ms);
        while !shutdown.is_cancelled() {
            let holder = Uuid::now_v7();
            match self.0.store.claim_connection(holder, self.lease()).await {
                Ok(Some(connection)) => {
                    let (lost, shutdown) = (AtomicBool::new(false), shutdown.clone());
                    self.work_on(Arc::new(Claim { connection, holder, lost, shutdown })).await;
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot look for unfinished runs; the next look goes on"),
            }
            self.believe_due().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.0.work.notified() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    async fn believe_due(&self) {
        match self.0.store.believe_due(BELIEVED_PER_LOOK).await {
            Ok(0) => {}
            Ok(numbers) => {
                tracing::info!(numbers, "lower numbers are believed after a cadence without another word");
                self.wake();
            }
            Err(error) => tracing::warn!(%error, "cannot look for lower numbers to believe; the next look goes on"),
        }
    }

    /// Says what is not done and what waits for a person, until `shutdown` is cancelled. Every process does, however busy it is, so that alarms do not hang on one.
    pub async fn tell_backlog(self, shutdown: CancellationToken) {
        loop {
            match self.0.store.backlog().await {
                Ok(backlog) => self.0.metrics.backlog(&backlog),
                Err(error) => tracing::debug!(%error, "the backlog cannot be read; the next look says it"),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(BACKLOG_PERIOD)).await.is_none() {
                return;
            }
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.0.config.lease_ms)
    }

    /// Works on a connection's runs until there is none, an attempt breaks off, or the claim is lost.
    async fn work_on(&self, claim: Arc<Claim>) {
        let stop = CancellationToken::new();
        let beat = tokio::spawn(self.clone().keep(Arc::clone(&claim), stop.clone()).in_current_span());
        while claim.proceed().is_ok() {
            let done = match self.next_work(&claim.connection).await {
                Ok(Some(Work::Run(run))) => {
                    let span = tracing::info_span!("run", run_id = %run.run_id, connection = run.connection);
                    self.attempt(&claim, &run).instrument(span).await
                }
                Ok(Some(Work::Decision(decided))) => self.carry_out(&decided).await,
                Ok(None) => false,
                Err(error) => {
                    tracing::warn!(connection = claim.connection, %error, "cannot read what is to be done next; a later look goes on");
                    false
                }
            };
            if !done {
                break;
            }
        }
        stop.cancel();
        drop(beat.await);
        if let Err(error) = self.0.store.release_connection(&claim.connection, claim.holder).await {
            tracing::warn!(connection = claim.connection, %error, "cannot let a connection go; its lease ends by itself");
        }
    }

    /// What is to be done next: a run whose rows are stored is finished first, then decisions are carried out (what they say of a SKU must not be computed while
    /// a run is half applied), then runs are begun.
    async fn next_work(&self, connection: &str) -> Result<Option<Work>, StoreError> {
        let run = self.0.store.next_run(connection).await?;
        if run.as_ref().is_some_and(|run| run.plan_time.is_some()) {
            return Ok(run.map(Box::new).map(Work::Run));
        }
        let decision = self.0.store.next_decision(connection).await?;
        Ok(decision.map(Box::new).map(Work::Decision).or_else(|| run.map(Box::new).map(Work::Run)))
    }

    /// Gives signs of life until told to stop, so that no other process takes over.
    async fn keep(self, claim: Arc<Claim>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.lease() / 3) => {}
            }
            match self.0.store.renew_claim(&claim.connection, claim.holder, self.lease()).await {
                Ok(true) => {}
                Ok(false) => {
                    claim.lost.store(true, Ordering::Relaxed);
                    return;
                }
                Err(error) => tracing::warn!(connection = claim.connection, %error, "cannot give a sign of life"),
            }
        }
    }

    /// Works on a run until it is finished; false when the attempt broke off and the connection is to be let go.
    async fn attempt(&self, claim: &Arc<Claim>, run: &Run) -> bool {
        let done = self.advance(claim, run).await;
        match &done {
            Ok(()) => match self.0.store.run(run.run_id).await {
                Ok(Some(run)) => {
                    self.0.metrics.finished(&run);
                    let (state, totals) = (run.state.name(), run.totals);
                    tracing::info!(state, reason = run.reason, ?totals, "a run is finished");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a run is finished and cannot be read"),
            },
            Err(Broken::Interrupted) => {}
            Err(broken) => self.postpone(run, broken).await,
        }
        self.0.steps.send_modify(|steps| *steps += 1);
        done.is_ok()
    }

    /// Puts a run off, because an attempt at it broke off.
    async fn postpone(&self, run: &Run, broken: &Broken) {
        let because_of = match broken {
            Broken::Peer(PeerError::Later { peer, .. }) => *peer,
            Broken::Peer(PeerError::Counts(_) | PeerError::Request(_) | PeerError::Key(_)) => "reservation",
            Broken::Store(_) => "record",
            Broken::Interrupted | Broken::Panicked(_) => "defect",
        };
        self.0.metrics.broken_off(because_of);
        let pause = self.0.config.pause(run.attempts);
        tracing::warn!(%broken, attempts = run.attempts + 1, ?pause, "an attempt at a run broke off and will be repeated");
        // The record's own words are for the log only: a report is read by people outside.
        let reason = match broken {
            Broken::Store(_) => "waiting for the record".to_owned(),
            Broken::Panicked(_) => "waiting for a defect to be repaired".to_owned(),
            Broken::Peer(_) | Broken::Interrupted => broken.to_string(),
        };
        if let Err(error) = self.0.store.postpone(run.run_id, pause, &reason).await {
            tracing::warn!(%error, "cannot put a run off; it is taken up again after the lease");
        }
    }

    /// Every step that the run still needs.
    async fn advance(&self, claim: &Arc<Claim>, run: &Run) -> Result<(), Broken> {
        let found = self.0.store.connection(&run.connection).await?;
        let mut connection = found.ok_or_else(|| StoreError::UnknownConnection(run.connection.clone()))?.connection;
        // The connection may have been changed since: a repeated request must be the same request.
        (connection.content.mode, connection.content.class) = self.0.store.begin_run(run.run_id).await?;
        if run.plan_time.is_none() && !self.prepare(claim, run, &connection).await? {
            return Ok(());
        }
        let content = &connection.content;
        let of = CountsOf {
            run_id: run.run_id,
            connection: run.connection.clone(),
            location: run.location.clone(),
            moment: run.moment,
            place: 0,
            class: content.class,
            covers_all: content.mode == Mode::Full,
        };
        self.apply(claim, run, &of).await?;
        self.complete(run, &of, content.promise).await?;
        self.0.store.end_applied(run.run_id).await?;
        Ok(())
    }
}
