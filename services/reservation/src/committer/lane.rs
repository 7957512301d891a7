//! One lane: takes what queued, sees to it that a batch has one operation a key, commits, answers.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use holdfast_kit::CancellationToken;
use holdfast_stock::{Count, CountMeaning, Limits, Op, RequestId, ReservationId, RowKey};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{self, Decided};
use super::{CommitterConfig, Failure, Queued};
use crate::metrics::CommitterMetrics;
use crate::publisher::Publisher;
use crate::store::Store;

/// Between two tries for units that another transaction is just freeing.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) config: CommitterConfig,
    pub(super) limits: Limits,
    pub(super) store: Store,
    pub(super) publisher: Publisher,
    pub(super) metrics: CommitterMetrics,
    queue: mpsc::Receiver<Queued>,
    /// Taken from the queue, but a key or a bound kept it from the last batch; the oldest first.
    postponed: VecDeque<Queued>,
}

impl Lane {
    pub(super) const fn new(
        name: &'static str,
        config: CommitterConfig,
        limits: Limits,
        store: Store,
        publisher: Publisher,
        metrics: CommitterMetrics,
        queue: mpsc::Receiver<Queued>,
    ) -> Self {
        Self { name, config, limits, store, publisher, metrics, queue, postponed: VecDeque::new() }
    }

    /// Runs until the token is cancelled and everything that was handed over is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            if self.postponed.is_empty() {
                let next = tokio::select! {
                    biased;
                    next = self.queue.recv() => next,
                    () = stop.cancelled(), if !self.queue.is_closed() => {
                        // Refuses what comes from now on; what is queued is still answered.
                        self.queue.close();
                        continue;
                    }
                };
                match next {
                    Some(queued) => self.postponed.push_back(queued),
                    None => return,
                }
            }
            let batch = self.next_batch();
            self.commit(batch).await;
        }
    }

    /// As much of what waits as the bounds allow, in the order of arrival, with one operation a key; the others stay for the next batch.
    fn next_batch(&mut self) -> Vec<Queued> {
        let now = Instant::now();
        let mut keys = Keys::default();
        let mut batch = Vec::new();
        let mut rows = 0;
        let mut kept = VecDeque::new();
        while batch.len() < self.config.batch_operations_max && rows < self.config.batch_rows_max {
            let Some(queued) = self.postponed.pop_front().or_else(|| self.queue.try_recv().ok()) else { break };
            if queued.work.deadline <= now {
                let _ = queued.reply.send(Err(Failure::TooLate));
            } else if keys.claim(&queued.work.op) {
                rows += row_count(&queued.work.op);
                batch.push(queued);
            } else {
                kept.push_back(queued);
                // Bounds what one batch looks at, however often a key was sent.
                if kept.len() >= self.config.batch_operations_max {
                    break;
                }
            }
        }
        kept.append(&mut self.postponed);
        self.postponed = kept;
        batch
    }

    async fn commit(&mut self, batch: Vec<Queued>) {
        if batch.is_empty() {
            return;
        }
        let started = Instant::now();
        self.metrics.batch(self.name, batch.len(), batch.iter().map(|queued| started - queued.queued_at));
        let mut again = Vec::new();
        let mut sink = |queued: Queued, decided: Decided| match decided {
            Decided::Answer(outcome) => {
                let Queued { work, reply, .. } = queued;
                // Who hears the answer finds the place free that it took.
                drop(work);
                // Nobody may be waiting any more; the operation has run to its end all the same.
                let _ = reply.send(outcome);
            }
            Decided::Again => again.push(queued),
        };
        batch::commit(self, batch, &mut sink).await;
        let is_again = !again.is_empty();
        self.postponed.extend(again);
        self.metrics.committed(self.name, started.elapsed());
        if is_again && self.queue.is_empty() {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// The keys of a batch, and what else its operations must not share.
#[derive(Default)]
struct Keys {
    reservations: BTreeSet<ReservationId>,
    requests: BTreeSet<RequestId>,
    /// Rows that the batch counts as AVAILABLE. An ON_HAND number behind such a one has booked units in it again; a batch reads which these are by what the row's number
    /// means before it, so the second number waits until the first is there.
    available: BTreeSet<RowKey>,
}

impl Keys {
    /// Whether the batch can take the operation; if so, its keys are in it now.
    fn claim(&mut self, op: &Op) -> bool {
        let request = op.request().map(|(request, _)| request);
        if request.is_some_and(|request| self.requests.contains(&request)) {
            return false;
        }
        if let Op::Count { meaning, counts, .. } = op {
            let mut rows = counts.iter().map(Count::row);
            match meaning {
                CountMeaning::OnHand if rows.any(|row| self.available.contains(&row)) => return false,
                CountMeaning::OnHand => {}
                CountMeaning::Available => self.available.extend(rows),
            }
        }
        let reservations = reservations_of(op);
        if reservations.iter().any(|id| self.reservations.contains(id)) {
            return false;
        }
        self.reservations.extend(reservations);
        self.requests.extend(request);
        true
    }
}

/// Every reservation that an operation may make or change.
fn reservations_of(op: &Op) -> Vec<ReservationId> {
    let other = match op {
        Op::Reserve { terms, .. } => terms.replaces,
        Op::Confirm { reacquire, .. } => *reacquire,
        Op::Repair { reservations, .. } => return reservations.iter().copied().collect(),
        Op::Refuse { .. }
        | Op::Release { .. }
        | Op::Extend { .. }
        | Op::Fulfil { .. }
        | Op::Cancel { .. }
        | Op::Return { .. }
        | Op::Evidence { .. }
        | Op::Expire { .. }
        | Op::Sell { .. }
        | Op::Count { .. }
        | Op::Adjust { .. }
        | Op::Policies { .. }
        | Op::Freshen { .. } => None,
    };
    op.reservation().into_iter().chain(other).collect()
}

/// Rows of stock that an operation names; those of a reservation are not known before it is read.
fn row_count(op: &Op) -> usize {
    match op {
        Op::Reserve { cart, .. } => cart.lines().len(),
        Op::Count { counts, .. } => counts.len(),
        Op::Adjust { adjustments, .. } => adjustments.len(),
        Op::Policies { policies } => policies.len(),
        Op::Freshen { rows, .. } => rows.len(),
        Op::Repair { rows, reservations, .. } => rows.len() + reservations.len(),
        Op::Sell { skus, .. } => skus.len(),
        Op::Refuse { .. }
        | Op::Confirm { .. }
        | Op::Release { .. }
        | Op::Extend { .. }
        | Op::Fulfil { .. }
        | Op::Cancel { .. }
        | Op::Return { .. }
        | Op::Evidence { .. }
        | Op::Expire { .. } => 1,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_stock::{CountEffect, Location, Name, PayloadHash, Sku, UnixMicros};

    use super::*;

    fn count(n: u8, meaning: CountMeaning, location: &str) -> Op {
        let (sku, location) = (Sku::new("A").unwrap(), Location::new(location).unwrap());
        Op::Count {
            request: RequestId::from_bytes([n; 16]),
            payload: PayloadHash([n; 32]),
            connection: Name::new("acme").unwrap(),
            run: Name::new("run").unwrap(),
            as_of: UnixMicros(i64::from(n)),
            sequence: 0,
            meaning,
            covers_all: false,
            counts: vec![Count { sku, location, units: 1, effect: CountEffect::Set, expected: None }],
        }
    }

    #[test]
    fn a_number_of_everything_waits_for_one_without_booked_units() {
        let mut keys = Keys::default();
        assert!(keys.claim(&count(1, CountMeaning::OnHand, "W1")));
        assert!(keys.claim(&count(2, CountMeaning::Available, "W1")));
        assert!(!keys.claim(&count(3, CountMeaning::OnHand, "W1")), "the row's number means something else before it");
        assert!(keys.claim(&count(4, CountMeaning::OnHand, "W2")), "another row does not wait");
        assert!(keys.claim(&count(5, CountMeaning::Available, "W1")));
    }

    #[test]
    fn a_key_is_in_a_batch_once() {
        let mut keys = Keys::default();
        let op = count(1, CountMeaning::OnHand, "W1");
        assert!(keys.claim(&op) && !keys.claim(&op));
        assert!(Keys::default().claim(&op));
    }
}
