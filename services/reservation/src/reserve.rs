//! The reserve use case: the gate says which queue, Postgres says yes or no.
//!
//! Granted by the gate → the committer. Anything else → a shared read of the key and the rows: a replay gets its answer, a true shortage is said, a stale counter is
//! published anew and the gate asked again; after a while, or when the gate is out of reach, past it to the committer through the limiter.
//!
//! What the gate cannot know goes another way. A hold that takes another one's place has that one's units, so it is read first, with them, and goes past the gate; so
//! does a dry run, which must take nothing. To best effort the gate's no is no answer: only if the read finds nothing at all is it refused, else it goes past the gate.
//!
//! Architecture invariant: no refusal leaves here that Postgres did not speak for this request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_stock::{
    Allocation, Answer, Availability, Cart, HoldMicros, Op, Owner, PayloadHash, Reading, Refusal, ReservationAnswer,
    ReservationId, Shortage, Sku, State, Terms, Wanted, choose_cart, read,
};
use tokio::time::Instant;

use crate::committer::{Committer, Failure, Work};
use crate::gate::{Gate, Taken, UnknownCause};
use crate::limiter::{Limiter, Place};
use crate::looker::{Looker, Sight};
use crate::metrics::{Decided, ReserveMetrics, Route};
use crate::publisher::{Publisher, totals};
use crate::reconciler::AskedFor;
use crate::settler::Settler;
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
    /// How it is to be carried out.
    pub terms: Box<Terms>,
    /// Whether only to say what would be answered.
    pub dry: bool,
}

/// Who asks, and until when it may begin.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The caller, for the ledger.
    pub actor: &'a str,
    /// Not begun after this.
    pub deadline: Instant,
}

/// What a read says to a request.
enum Word {
    /// Its answer, whatever stock there is.
    Answer(Box<Result<ReservationAnswer, Failure>>),
    /// A no, and what a closed key keeps of it.
    No(Refusal, Vec<Shortage>),
    /// There is enough: the write queue may decide.
    GoOn,
}

/// The parts that reserving needs. Clones share them.
#[derive(Debug, Clone)]
pub struct Reserver {
    /// Which queue?
    pub gate: Gate,
    /// The read queue.
    pub looker: Looker,
    /// Sees to it that what is repeated cannot be lost any more.
    pub settler: Settler,
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
    /// Holds all lines, or none, or as the terms say.
    ///
    /// # Errors
    /// [`Failure`]; only [`StoreError::Unknown`] leaves open whether the hold was made: the same key tells.
    pub async fn reserve(&self, ask: Ask, by: By<'_>) -> Result<ReservationAnswer, Failure> {
        let (verb, dry) = (if ask.terms.replaces.is_some() { "replace" } else { "reserve" }, ask.dry);
        let answer = self.ask(ask, by).await;
        if !dry {
            self.metrics.decided(verb, Decided::of(&answer));
        }
        if let Err(Failure::Refused(Refusal::Paused(_))) = &answer {
            self.metrics.paused();
        }
        answer
    }

    async fn ask(&self, ask: Ask, by: By<'_>) -> Result<ReservationAnswer, Failure> {
        let wanted = totals(&ask.cart);
        self.asked_for.note(wanted.keys());
        if ask.dry || ask.terms.replaces.is_some() {
            return self.read_first(ask, &wanted, by).await;
        }
        let began = Instant::now();
        loop {
            let past_gate = match self.gate.take(ask.id, &wanted).await {
                Taken::Granted(published) => {
                    match choose_cart(&ask.cart, &ask.terms.strategy, &availability(published)) {
                        Ok(chosen) => {
                            self.metrics.route(Route::Gate);
                            return self.commit(ask, Some(chosen), None, by).await;
                        }
                        // Enough in all, but not where it is wanted: Postgres shall say so.
                        Err(_) => {
                            self.publisher.give_back(ask.id, &wanted);
                            false
                        }
                    }
                }
                Taken::Refused | Taken::Unknown(UnknownCause::Missing) => false,
                Taken::Unknown(UnknownCause::Unreachable | UnknownCause::TimedOut) => true,
            };
            let sight = self.looker.look(Some(ask.id), wanted.keys().cloned().collect()).await?;
            let past_gate = past_gate || ask.terms.best_effort || began.elapsed() >= BETWEEN_GATE_AND_READS_MAX;
            match word(&ask, &sight, &wanted) {
                Word::Answer(answer) => {
                    self.metrics.route(Route::Read);
                    return self.settled(ask.id, &sight, *answer).await;
                }
                Word::No(refusal, shortages) => {
                    self.metrics.route(Route::Read);
                    return self.refuse(ask, refusal, shortages, by).await;
                }
                Word::GoOn if past_gate => return self.past_gate(ask, &wanted, &sight, by).await,
                Word::GoOn => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The way of what the gate cannot judge: Postgres is read, and if that is no no, the write queue decides.
    async fn read_first(
        &self,
        ask: Ask,
        wanted: &BTreeMap<Sku, i64>,
        by: By<'_>,
    ) -> Result<ReservationAnswer, Failure> {
        let keys = std::iter::once(ask.id).chain(ask.terms.replaces);
        let sight = self.looker.look(keys, wanted.keys().cloned().collect()).await?;
        match word(&ask, &sight, wanted) {
            Word::Answer(answer) => {
                self.metrics.route(Route::Read);
                self.settled(ask.id, &sight, *answer).await
            }
            Word::No(refusal, shortages) => {
                self.metrics.route(Route::Read);
                self.refuse(ask, refusal, shortages, by).await
            }
            Word::GoOn => self.past_gate(ask, wanted, &sight, by).await,
        }
    }

    /// An answer that a read gave. What it repeats may stand here and not yet at the standby that commits wait for: then it is as if it were being committed now.
    async fn settled(
        &self,
        id: ReservationId,
        sight: &Sight,
        answer: Result<ReservationAnswer, Failure>,
    ) -> Result<ReservationAnswer, Failure> {
        if sight.look().has_standby && sight.record(id).is_some() {
            self.settler.settled().await?;
        }
        answer
    }

    /// A no that Postgres has spoken. To a retry it is said only once the key is closed: the first attempt may still be on its way.
    async fn refuse(
        &self,
        ask: Ask,
        refusal: Refusal,
        shortages: Vec<Shortage>,
        by: By<'_>,
    ) -> Result<ReservationAnswer, Failure> {
        if !ask.retry || ask.dry {
            return Err(Failure::Refused(refusal));
        }
        let Ask { id, owner, payload, cart, .. } = ask;
        let op = Op::Refuse { id, owner, payload, cart, shortages };
        match reservation(self.committer.commit(by.work(op)).await) {
            // Closed by this: with its own words. What was closed before has the words of then.
            Err(Failure::Refused(Refusal::Insufficient(_))) => Err(Failure::Refused(refusal)),
            other => other,
        }
    }

    async fn past_gate(
        &self,
        ask: Ask,
        wanted: &BTreeMap<Sku, i64>,
        sight: &Sight,
        by: By<'_>,
    ) -> Result<ReservationAnswer, Failure> {
        let Some(place) = self.limiter.enter(wanted.keys().cloned().collect()) else {
            self.metrics.route(Route::Shed);
            return Err(Failure::Overloaded { retry_after: Duration::from_millis(250) });
        };
        self.metrics.route(Route::PastGate);
        let chosen = choose_cart(&ask.cart, &ask.terms.strategy, sight.availability()).ok();
        self.commit(ask, chosen, Some(place), by).await
    }

    async fn commit(
        &self,
        ask: Ask,
        chosen: Option<Vec<Allocation>>,
        place: Option<Place>,
        by: By<'_>,
    ) -> Result<ReservationAnswer, Failure> {
        let Ask { id, owner, payload, cart, hold, retry, terms, dry } = ask;
        // A dry run closes no key.
        let op = Op::Reserve { id, owner, payload, cart, hold, retry: retry && !dry, terms };
        reservation(self.committer.commit(Work { chosen, dry, place, ..by.work(op) }).await)
    }
}

impl By<'_> {
    /// An operation of this caller's, to be decided on the record as it is then.
    pub(crate) fn work(self, op: Op) -> Work {
        Work { op, chosen: None, actor: self.actor.to_owned(), deadline: self.deadline, dry: false, place: None }
    }
}

fn word(ask: &Ask, sight: &Sight, wanted: &BTreeMap<Sku, i64>) -> Word {
    match reading(ask, sight) {
        Reading::Settled(answer) => Word::Answer(Box::new(reservation(answer.map_err(Failure::Refused)))),
        Reading::UnknownSku(lines) => Word::Answer(Box::new(Err(Failure::Refused(Refusal::UnknownSku(lines))))),
        Reading::Insufficient(shortages) | Reading::Paused { shortages, .. } if sight.has_archived(wanted.keys()) => {
            Word::No(Refusal::Archived(sight.archived(wanted.keys())), shortages)
        }
        Reading::Insufficient(shortages) => Word::No(Refusal::Insufficient(shortages.clone()), shortages),
        Reading::Paused { skus, shortages } => Word::No(Refusal::Paused(skus), shortages),
        Reading::Enough => Word::GoOn,
    }
}

fn reading(ask: &Ask, sight: &Sight) -> Reading {
    let mut availability = Cow::Borrowed(sight.availability());
    if let Some(old) = ask.terms.replaces {
        let is_his = |hold: &&holdfast_stock::Record| {
            hold.state_at_time(sight.read_at) == State::Held && hold.owner.as_ref() == Some(&ask.owner)
        };
        match sight.record(old).filter(is_his) {
            Some(hold) => availability.to_mut().give_back(hold),
            // What is wrong with the old hold is not to be hidden behind a shortage that it may be the reason of.
            None if sight.record(ask.id).is_none() => return Reading::Enough,
            None => {}
        }
    }
    let wanted = Wanted { cart: &ask.cart, terms: &ask.terms, paused: sight.paused() };
    read(sight.read_at, sight.record(ask.id), ask.payload, wanted, &availability)
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
        | Answer::Sold { .. }
        | Answer::Policies { .. }
        | Answer::Freshened { .. }
        | Answer::Repaired { .. } => {
            Err(Failure::Store(StoreError::Defect("an operation on a reservation was answered as another".to_owned())))
        }
    }
}
