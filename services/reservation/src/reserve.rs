//! The reserve use case: the gate says which queue, Postgres says yes or no.
//!
//! Granted by the gate → the committer. Anything else → a shared read of the key and the rows: a replay gets its answer, a true shortage is said, a stale counter is
//! published anew and the gate asked again; after a while, or when the gate is out of reach, past it to the committer through the limiter.
//!
//! Architecture invariant: no refusal leaves here that Postgres did not speak for this request.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_stock::{
    Allocation, Answer, Availability, Cart, HoldMicros, Op, Owner, PayloadHash, Reading, Refusal, ReservationAnswer,
    ReservationId, Shortage, Sku, choose_cart, read,
};
use tokio::time::Instant;

use crate::committer::{Committer, Failure, Work};
use crate::gate::{Gate, Taken, UnknownCause};
use crate::limiter::Limiter;
use crate::looker::{Looker, Sight};
use crate::metrics::{ReserveMetrics, Route};
use crate::publisher::{Publisher, totals};
use crate::reconciler::AskedFor;
use crate::store::StoreError;

/// How long a request goes back and forth between gate and reads before it goes past the gate.
const BETWEEN_GATE_AND_READS_MAX: Duration = Duration::from_millis(250);
/// Before the gate is asked again, so that what was read has been published.
const PAUSE: Duration = Duration::from_millis(4);

/// A well-formed request for a hold.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The key.
    pub id: ReservationId,
    /// Whose it is.
    pub owner: Owner,
    /// What the request said.
    pub payload: PayloadHash,
    /// What to hold.
    pub cart: Cart,
    /// How long; none: as the policies of the cart's SKUs, or else the service's configuration say.
    pub hold: Option<HoldMicros>,
    /// Whether the caller marked it as a retry: a no then closes the key.
    pub retry: bool,
}

/// The parts that reserving needs. Clones share them.
#[derive(Debug, Clone)]
pub struct Reserver {
    /// Which queue?
    pub gate: Gate,
    /// The read queue.
    pub looker: Looker,
    /// The write queue.
    pub committer: Committer,
    /// Gives takes back.
    pub publisher: Publisher,
    /// Who goes past the gate.
    pub limiter: Limiter,
    /// Tells the reconciler which SKUs to look after.
    pub asked_for: AskedFor,
    /// Counts.
    pub metrics: ReserveMetrics,
}

impl Reserver {
    /// Holds all lines, or none.
    ///
    /// # Errors
    /// [`Failure`]; only [`StoreError::Unknown`] leaves open whether the hold was made: the same key tells.
    pub async fn reserve(&self, ask: Ask, actor: &str, deadline: Instant) -> Result<ReservationAnswer, Failure> {
        let wanted = totals(&ask.cart);
        self.asked_for.note(wanted.keys());
        let began = Instant::now();
        loop {
            let past_gate = match self.gate.take(ask.id, &wanted).await {
                Taken::Granted(published) => match choose_cart(&ask.cart, &availability(published)) {
                    Ok(chosen) => {
                        self.metrics.route(Route::Gate);
                        return self.commit(ask, Some(chosen), actor, deadline).await;
                    }
                    // Enough in all, but not where it is wanted: Postgres shall say so.
                    Err(_) => {
                        self.publisher.give_back(ask.id, &wanted);
                        false
                    }
                },
                Taken::Refused | Taken::Unknown(UnknownCause::Missing) => false,
                Taken::Unknown(UnknownCause::Unreachable | UnknownCause::TimedOut) => true,
            };
            let sight = self.looker.look(Some(ask.id), wanted.keys().cloned().collect()).await?;
            match self.reading(&ask, &sight) {
                Reading::Settled(answer) => {
                    self.metrics.route(Route::Read);
                    return reservation(answer.map_err(Failure::Refused));
                }
                Reading::UnknownSku(lines) => return Err(Failure::Refused(Refusal::UnknownSku(lines))),
                Reading::Insufficient(shortages) if sight.has_archived(wanted.keys()) => {
                    self.metrics.route(Route::Read);
                    let archived = Refusal::Archived(sight.archived(wanted.keys()));
                    return match self.refuse(ask, shortages, actor, deadline).await {
                        Err(Failure::Refused(Refusal::Insufficient(_))) => Err(Failure::Refused(archived)),
                        other => other,
                    };
                }
                Reading::Insufficient(shortages) => {
                    self.metrics.route(Route::Read);
                    return self.refuse(ask, shortages, actor, deadline).await;
                }
                Reading::Enough if past_gate || began.elapsed() >= BETWEEN_GATE_AND_READS_MAX => {
                    return self.past_gate(ask, &wanted, &sight, actor, deadline).await;
                }
                Reading::Enough => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn reading(&self, ask: &Ask, sight: &Sight) -> Reading {
        read(sight.read_at, sight.record(ask.id), ask.payload, &ask.cart, sight.availability())
    }

    /// A shortage that Postgres has spoken. To a retry it is said only once the key is closed: the first attempt may still be on its way.
    async fn refuse(
        &self,
        ask: Ask,
        shortages: Vec<Shortage>,
        actor: &str,
        deadline: Instant,
    ) -> Result<ReservationAnswer, Failure> {
        if !ask.retry {
            return Err(Failure::Refused(Refusal::Insufficient(shortages)));
        }
        let Ask { id, owner, payload, cart, .. } = ask;
        let op = Op::Refuse { id, owner, payload, cart, shortages };
        reservation(self.committer.commit(Work { op, chosen: None, actor: actor.to_owned(), deadline }).await)
    }

    async fn past_gate(
        &self,
        ask: Ask,
        wanted: &BTreeMap<Sku, i64>,
        sight: &Sight,
        actor: &str,
        deadline: Instant,
    ) -> Result<ReservationAnswer, Failure> {
        let Some(_place) = self.limiter.enter(wanted.keys().cloned().collect()) else {
            self.metrics.route(Route::Shed);
            return Err(Failure::Overloaded { retry_after: Duration::from_millis(250) });
        };
        self.metrics.route(Route::PastGate);
        let chosen = choose_cart(&ask.cart, sight.availability()).ok();
        self.commit(ask, chosen, actor, deadline).await
    }

    async fn commit(
        &self,
        ask: Ask,
        chosen: Option<Vec<Allocation>>,
        actor: &str,
        deadline: Instant,
    ) -> Result<ReservationAnswer, Failure> {
        let Ask { id, owner, payload, cart, hold, retry } = ask;
        let op = Op::Reserve { id, owner, payload, cart, hold, retry };
        reservation(self.committer.commit(Work { op, chosen, actor: actor.to_owned(), deadline }).await)
    }
}

fn availability(published: BTreeMap<Sku, Vec<(holdfast_stock::Location, i64)>>) -> Availability {
    published
        .into_iter()
        .flat_map(|(sku, rows)| rows.into_iter().map(move |(at, units)| (sku.clone(), at, units)))
        .collect()
}

/// The answer to an operation on a reservation.
///
/// # Errors
/// The failure as it is; a defect if the answer is of another kind.
pub(crate) fn reservation(outcome: Result<Answer, Failure>) -> Result<ReservationAnswer, Failure> {
    match outcome? {
        Answer::Reservation(answer) => Ok(*answer),
        Answer::Expiry { .. }
        | Answer::Counted { .. }
        | Answer::Adjusted { .. }
        | Answer::Policies { .. }
        | Answer::Freshened { .. }
        | Answer::Repaired { .. } => {
            Err(Failure::Store(StoreError::Defect("an operation on a reservation was answered as another".to_owned())))
        }
    }
}
