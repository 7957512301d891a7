//! The only way to change stock: operations queue here and are committed in batches.
//!
//! Natural batching: a batch is whatever queued while the previous one was being committed, bounded in operations and rows; there is no timer. There are three lanes,
//! each with its own queue and task: `checkout` for what buyers and the people who serve them wait for, `bulk` for counts, evidence, adjustments and expiry, so that a file of 40,000 rows does
//! not stand in front of a cart, and `trial` for dry runs, each a transaction by itself, so that carts that only ask do not stand in front of those that buy. To each other they are like replicas:
//! Postgres's locks decide.
//!
//! A queue that fills refuses new work first and what ends a promise last, by the same shares as the server's admission: a sale that was held is not lost because others
//! would like to hold something.
//!
//! Architecture invariant: an operation that was handed over runs to its end in the lane's task, whether or not somebody still waits for the answer.

mod batch;
mod lane;

use std::time::Duration;

use holdfast_kit::{Priority, Saturation, Tasks};
use holdfast_stock::{Allocation, Answer, KeyProblem, Limits, Op, Refusal};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::keys::KeyGuard;
use crate::limiter::Place;
use crate::metrics::CommitterMetrics;
use crate::publisher::Publisher;
use crate::store::{Store, StoreError};

/// How long a caller is asked to stay away from a full queue.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of a lane.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitterConfig {
    /// Operations that may wait in a lane; when it is full, callers are told to come back.
    pub queue_max: usize,
    /// Operations in one transaction.
    pub batch_operations_max: usize,
    /// Rows of stock named by the operations of one transaction.
    pub batch_rows_max: usize,
    /// How often a batch is repeated that another transaction was in the way of.
    pub contended_attempts_max: u32,
}

/// An operation to commit.
#[derive(Debug)]
pub struct Work {
    /// What to do.
    pub op: Op,
    /// For a Reserve that the gate granted or a read found to fit: where to take the units, so that the fast path can be tried.
    pub chosen: Option<Vec<Allocation>>,
    /// Who asked.
    pub actor: String,
    /// Not begun after this.
    pub deadline: Instant,
    /// Whether only to say what would be answered: it is decided under the locks as any other, and taken back.
    pub dry: bool,
    /// The place past the gate that it has. It is given back once the work is done, not when a caller no longer waits for it.
    pub place: Option<Place>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// A definite no.
    Refused(Refusal),
    /// Come back after a while: the queue is full, or the units asked for are just being freed. Nothing has happened.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// The deadline passed while the operation waited. Nothing has happened.
    TooLate,
    /// The request's key is outside its window: what became of it before may be forgotten. Nothing has happened now.
    Key(KeyProblem),
    /// Postgres gave no result; the variant says whether something may have happened.
    Store(StoreError),
}

/// What the caller gets once the batch is committed.
pub type Outcome = Result<Answer, Failure>;

struct Queued {
    work: Work,
    reply: oneshot::Sender<Outcome>,
    queued_at: Instant,
    span: tracing::Span,
}

/// A handle to the lanes. Clones share them.
#[derive(Debug, Clone)]
pub struct Committer {
    checkout: mpsc::Sender<Queued>,
    bulk: mpsc::Sender<Queued>,
    trial: mpsc::Sender<Queued>,
    keys: KeyGuard,
}

impl Committer {
    /// Starts the lanes. Dry runs share the connections of the bulk lane.
    #[must_use]
    pub fn start(
        config: CommitterConfig,
        limits: Limits,
        keys: KeyGuard,
        (checkout, bulk): (Store, Store),
        publisher: &Publisher,
        metrics: &CommitterMetrics,
        tasks: &Tasks,
    ) -> Self {
        let start = |name: &'static str, store| {
            let (sender, receiver) = mpsc::channel(config.queue_max);
            let lane = lane::Lane::new(name, config, limits, store, publisher.clone(), metrics.clone(), receiver);
            tasks.spawn(name, lane.run(tasks.token().clone()));
            sender
        };
        let trial = start("trial", bulk.clone());
        Self { checkout: start("checkout", checkout), bulk: start("bulk", bulk), trial, keys }
    }

    /// Commits an operation and says how it ended. If the caller stops waiting, the operation still runs to its end.
    ///
    /// # Errors
    /// [`Failure`]; only [`StoreError::Unknown`] leaves open whether the effect happened.
    pub async fn commit(&self, work: Work) -> Outcome {
        self.keys.check(&work.op).map_err(Failure::Key)?;
        let lane = match work.op {
            _ if work.dry => &self.trial,
            Op::Reserve { .. }
            | Op::Refuse { .. }
            | Op::Confirm { .. }
            | Op::Release { .. }
            | Op::Extend { .. }
            | Op::Fulfil { .. }
            | Op::Cancel { .. }
            | Op::Return { .. }
            | Op::Sell { .. } => &self.checkout,
            Op::Expire { .. }
            | Op::Evidence { .. }
            | Op::Count { .. }
            | Op::Adjust { .. }
            | Op::Policies { .. }
            | Op::Freshen { .. }
            | Op::Repair { .. } => &self.bulk,
        };
        // Two that look at the same time may both find the last place of their share: the queue's end is the bound, this only orders who meets it.
        let waiting = lane.max_capacity() - lane.capacity();
        if waiting >= priority(&work.op).places(lane.max_capacity()) {
            return Err(Failure::Overloaded { retry_after: FULL_PAUSE });
        }
        let (reply, answer) = oneshot::channel();
        let queued = Queued { work, reply, queued_at: Instant::now(), span: tracing::Span::current() };
        match lane.try_send(queued) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(Failure::Overloaded { retry_after: FULL_PAUSE });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Err(Failure::Store(StoreError::Unreachable("the service is shutting down".to_owned())));
            }
        }
        // The lane drops a reply only if its task died in the middle of a batch.
        answer.await.unwrap_or_else(|_| Err(Failure::Store(StoreError::Unknown("the committer stopped".to_owned()))))
    }

    /// Lets the lanes' queues count for how full the process is.
    pub fn watch_by(&self, saturation: &Saturation) {
        for (part, lane) in
            [("checkout_queue", &self.checkout), ("bulk_queue", &self.bulk), ("trial_queue", &self.trial)]
        {
            saturation.watch_queue(part, lane, Priority::Begin.places(lane.max_capacity()));
        }
    }

    /// Operations waiting in the checkout lane and in the bulk lane.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let waiting = |lane: &mpsc::Sender<Queued>| lane.max_capacity() - lane.capacity();
        (waiting(&self.checkout), waiting(&self.bulk))
    }
}

/// Who may fill how much of a queue: new work 90 %, what gives something back 95 %, what ends a promise or stops a sale all of it.
const fn priority(op: &Op) -> Priority {
    match op {
        Op::Reserve { .. }
        | Op::Refuse { .. }
        | Op::Count { .. }
        | Op::Adjust { .. }
        | Op::Policies { .. }
        | Op::Freshen { .. }
        | Op::Repair { .. } => Priority::Begin,
        Op::Release { .. } | Op::Extend { .. } | Op::Return { .. } | Op::Evidence { .. } | Op::Expire { .. } => {
            Priority::Undo
        }
        Op::Confirm { .. } | Op::Fulfil { .. } | Op::Cancel { .. } | Op::Sell { .. } => Priority::Finish,
    }
}
