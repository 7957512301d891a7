//! Asks Redis which queue a request joins: the fast path to the committer, or the read queue.
//!
//! The gate only routes. It promises nothing and refuses nobody: a yes may be wrong and Postgres will say no, a no may be wrong and Postgres will say yes. So nothing
//! in here may decide anything, and everything in here may fail: then the answer is that nothing is known, at once, and the request goes another way.
//!
//! What is stored, under which keys, is told in `keys.rs`; what each script does, in the headers of `lua/`.
//!
//! - **Availability** is published after commits, by reads and by the reconciler; a SKU that is missing is unknown, never sold out. Only a publisher that names all
//!   locations of a SKU ([`Scope::Whole`]) makes it known; a commit that touched some of them ([`Scope::Touched`]) changes what is known already.
//! - **Takes** hold units back between a yes here and the commit. They are given back together with the availability that counts their units as held
//!   ([`Publish::taken_back`]), or lapse by Redis's own clock. Scripts are idempotent per reservation id: a call whose answer was lost may be made again.
//! - **Failure**: an answer that does not come within the configured time is unknown. After several such in a row Redis is not asked any more and answers are
//!   immediate, until a probe in the background succeeds over a new connection. Errors (out of memory, read-only, wrong type, garbage) count as unknown too.
//!
//! **Redis Cluster**: both keys of a SKU lie in one slot, and [`Carts::SkuBySku`] asks in calls that never span two. The connection itself is to a single Redis.

mod breaker;
mod config;
mod keys;
mod link;
mod metrics;
mod scripts;
mod turns;

pub use config::{Carts, GateConfig};
pub use metrics::GateMetrics;

use holdfast_kit::Fill;
use holdfast_stock::{Location, ReservationId, Sku, UnixMicros};
use link::{Failure, Link};
use metrics::Outcome;
use redis::{Cmd, Pipeline, Value};
use scripts::{Call, TakeCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// A handle to the gate. Clones share one connection, which closes when the last of them is dropped.
#[derive(Debug, Clone)]
pub struct Gate {
    link: Arc<Link>,
    config: Arc<GateConfig>,
}

/// Where the gate sends a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// To the committer. For each SKU of the cart the units available by location as last published, takes not deducted, usually in the order in which they were
    /// published as a whole: from what to choose locations, not a promise.
    Granted(BTreeMap<Sku, Vec<(Location, i64)>>),
    /// To the read queue: a SKU seems to have too few free units. Nothing is taken.
    Refused,
    /// The gate does not know.
    Unknown(UnknownCause),
}

/// Why the gate does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCause {
    /// A SKU is not published, or unreadable: to the read queue, whose publishing it as a whole makes it known. Nothing is taken.
    Missing,
    /// Redis cannot be asked (dead, or too many ask), or cannot do its work (no memory, read-only, starting): to the committer through the limiter. The take may be there if
    /// the connection broke only just now.
    Unreachable,
    /// Redis did not answer in time: to the committer through the limiter. The take may be there.
    TimedOut,
}

/// What Postgres said about one SKU, to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The SKU.
    pub sku: Sku,
    /// When the availability was read, by Postgres's clock. It never blocks publishing; the newest is kept.
    pub read_at: UnixMicros,
    /// Whether `locations` are all of the SKU's.
    pub scope: Scope,
    /// Units available by location, each location once; below 0 is published as 0. Empty is allowed: with [`Scope::Touched`] only takes are given back, with
    /// [`Scope::Whole`] the SKU becomes unknown.
    pub locations: Vec<(Location, i64)>,
    /// Takes whose requests are decided, with the units that were taken of this SKU. One that is not there (lapsed, never taken) is passed over.
    pub taken_back: Vec<(ReservationId, i64)>,
}

/// Whether the locations of a [`Publish`] are all of the SKU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All: replaces what is published, or makes the SKU known.
    Whole,
    /// Perhaps only some: changes what is published; a SKU that is unknown stays so, for a part would pass for the whole.
    Touched,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Touched => "touched",
        }
    }
}

/// What is published about a SKU, or is to be: all its locations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The SKU.
    pub sku: Sku,
    /// Units available by location, takes not deducted; below 0 is published as 0.
    pub locations: Vec<(Location, i64)>,
    /// When they were read, by Postgres's clock.
    pub at: UnixMicros,
}

/// What the reconciler found before it overwrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReconcileReport {
    /// SKUs that were overwritten.
    pub checked: usize,
    /// SKUs of these that were not published: unknown, not wrong.
    pub missing: usize,
    /// SKUs whose published numbers were not Postgres's, or unreadable. A change on its way looks like drift too, for a moment.
    pub drifts: Vec<Drift>,
}

/// A SKU whose published numbers were not Postgres's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The SKU.
    pub sku: Sku,
    /// Whether its hash could be read.
    pub found: Found,
    /// Units published over all locations; 0 if they could not be read.
    pub published: i64,
    /// Units by Postgres over all locations.
    pub recorded: i64,
    /// By how much the running sum of takes was above the takes that are there.
    pub taken: i64,
}

impl Drift {
    /// Units published above the record; below 0: the published number was too low, and some requests took the longer way.
    #[must_use]
    pub const fn units(&self) -> i64 {
        self.published.saturating_sub(self.recorded)
    }
}

/// What is published about a SKU, as an inspector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it is unknown, not wrong.
    Missing,
    /// Something that cannot be read.
    Garbage,
    /// Units by location, takes not deducted.
    Readable(Published),
}

/// The state in which the reconciler found a SKU's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There was none.
    Missing,
    /// There was one that could be read.
    Readable,
    /// There was something else.
    Garbage,
}

/// Whether Redis is asked at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// It is.
    Up,
    /// It counts as dead: calls return at once, and a probe runs in the background.
    Down,
}

/// Why a call about published numbers was not done, or not wholly. Whoever gets it leaves it to the next publish or to the reconciler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GateError {
    /// Redis counts as dead, or too many calls wait for their turn. What came before this batch of SKUs was done, the rest was not.
    #[error("Redis is not asked at present")]
    NotAsked,
    /// Redis did not answer in time, or the connection broke. What came before this batch was done, this batch may have been, the rest was not.
    #[error("Redis did not answer")]
    Unanswered,
    /// Redis answered with an error, or with something that makes no sense, for at least one SKU. All others were done.
    #[error("Redis refused: {0}")]
    Rejected(&'static str),
}

impl Gate {
    /// Connects, if Redis answers within the configured time. If not the gate is [`GateState::Down`] and goes on trying in the background.
    pub async fn connect(config: &GateConfig, metrics: GateMetrics) -> Self {
        Self { link: Arc::new(Link::connect(config, metrics).await), config: Arc::new(config.clone()) }
    }

    /// Whether Redis is asked at present.
    #[must_use]
    pub fn state(&self) -> GateState {
        if self.link.is_up() { GateState::Up } else { GateState::Down }
    }

    /// How many calls have their turn or wait for one.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.link.fill()
    }

    /// Asks for all units of a cart, or none. Waits for its turn, which is bounded by who may wait, then at most the response timeout. Asking again under the same id while the take stands is
    /// granted and takes nothing more.
    ///
    /// `wanted` holds units above 0, the lines of a SKU summed.
    pub async fn take(&self, id: ReservationId, wanted: &BTreeMap<Sku, i64>) -> Taken {
        debug_assert!(wanted.values().all(|units| *units > 0), "units to take are above 0");
        let mut granted = BTreeMap::new();
        for cart in calls(self.config.carts, wanted) {
            match self.take_in_one_call(id, &cart).await {
                Taken::Granted(skus) => granted.extend(skus),
                Taken::Refused => {
                    self.give_back(id, granted.keys().map(|sku| (sku, wanted[sku]))).await;
                    return Taken::Refused;
                }
                Taken::Unknown(cause) => {
                    if cause == UnknownCause::Missing {
                        self.give_back(id, granted.keys().map(|sku| (sku, wanted[sku]))).await;
                    }
                    return Taken::Unknown(cause);
                }
            }
        }
        Taken::Granted(granted)
    }

    /// Publishes what Postgres said. Best effort: the answer to a caller never waits for it, and the reconciler repairs what it missed.
    ///
    /// # Errors
    /// [`GateError`]; each variant says what may have been done. All of it may be done again.
    pub async fn publish(&self, updates: Vec<Publish>) -> Result<(), GateError> {
        self.in_batches(Call::Publish, updates, scripts::publish, |_, answer| scripts::is_publish_reply(answer)).await
    }

    /// Overwrites what is published about these SKUs with what Postgres says, whatever is there, and adds up takes anew. Takes stay. A SKU without locations becomes
    /// unknown.
    ///
    /// # Errors
    /// [`GateError`]; each variant says what may have been done. All of it may be done again. What was found until then is lost.
    pub async fn reconcile(&self, records: Vec<Published>) -> Result<ReconcileReport, GateError> {
        let mut report = ReconcileReport::default();
        self.in_batches(Call::Reconcile, records, scripts::reconcile, |record, answer| {
            let Some(reply) = scripts::decode_reconcile(answer) else { return false };
            report.add(record, &reply);
            true
        })
        .await?;
        Ok(report)
    }

    /// Reads what is published about these SKUs, in their order; none where nothing readable is, or Redis answered with an
    /// error for it.
    ///
    /// # Errors
    /// [`GateError`]; nothing is ever changed.
    pub async fn read(&self, skus: &[Sku]) -> Result<Vec<Option<Published>>, GateError> {
        let mut read = Vec::with_capacity(skus.len());
        self.in_batches(
            Call::Read,
            skus,
            |sku| scripts::read(sku),
            |sku, answer| {
                let published = scripts::decode_hash(answer);
                read.push(published.map(|(locations, at)| Published { sku: sku.clone(), locations, at }));
                // A hash of a wrong type is as unreadable as one of junk: nothing readable, and no failure of this call.
                true
            },
        )
        .await?;
        Ok(read)
    }

    /// As [`Gate::read`], telling what is not published from what cannot be read.
    ///
    /// # Errors
    /// [`GateError`]; nothing is ever changed.
    pub async fn inspect(&self, skus: &[Sku]) -> Result<Vec<Seen>, GateError> {
        let mut seen = Vec::with_capacity(skus.len());
        self.in_batches(
            Call::Read,
            skus,
            |sku| scripts::read(sku),
            |sku, answer| {
                seen.push(match scripts::decode_hash(answer) {
                    Some((locations, at)) => Seen::Readable(Published { sku: sku.clone(), locations, at }),
                    None if scripts::is_empty(answer) => Seen::Missing,
                    None => Seen::Garbage,
                });
                true
            },
        )
        .await?;
        Ok(seen)
    }

    async fn take_in_one_call(&self, id: ReservationId, cart: &[(&Sku, i64)]) -> Taken {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(scripts::take(id, self.config.take_lapse_ms, cart));
        let answer = match self.link.ask(Call::Take, &commands).await {
            Ok(answers) => answers.into_iter().next().unwrap_or(Value::Nil),
            Err(Failure::TimedOut) => return Taken::Unknown(UnknownCause::TimedOut),
            Err(Failure::NotAsked | Failure::Lost) => return Taken::Unknown(UnknownCause::Unreachable),
        };
        let (taken, outcome) = match (scripts::decode_take(&answer, cart.len()), &answer) {
            (Some((TakeCode::Granted, hashes)), _) => {
                let skus = cart.iter().map(|(sku, _)| (*sku).clone());
                (Taken::Granted(skus.zip(hashes).collect()), Outcome::Granted)
            }
            (Some((TakeCode::Refused, _)), _) => (Taken::Refused, Outcome::Refused),
            (Some((TakeCode::Unknown, _)), _) => (Taken::Unknown(UnknownCause::Missing), Outcome::Missing),
            (None, Value::ServerError(error)) => {
                (Taken::Unknown(UnknownCause::Unreachable), scripts::outcome_of(error))
            }
            (None, _) => {
                // Published text that is no location, for one: publishing the SKU as a whole replaces it.
                self.give_back(id, cart.iter().copied()).await;
                (Taken::Unknown(UnknownCause::Missing), Outcome::Garbage)
            }
        };
        self.link.count(Call::Take, outcome);
        taken
    }

    /// Best effort, for takes lapse by themselves.
    async fn give_back(&self, id: ReservationId, takes: impl Iterator<Item = (&Sku, i64)>) {
        let updates: Vec<Publish> = takes
            .map(|(sku, units)| Publish {
                sku: sku.clone(),
                read_at: UnixMicros(0),
                scope: Scope::Touched,
                locations: Vec::new(),
                taken_back: vec![(id, units)],
            })
            .collect();
        if let Err(error) = self.publish(updates).await {
            tracing::debug!(%error, "takes were left to lapse");
        }
    }

    /// Makes one call per item, so many of them per round trip, and hands each answer over; `accept` says whether it made sense.
    async fn in_batches<T>(
        &self,
        call: Call,
        items: impl IntoIterator<Item = T>,
        command: impl Fn(&T) -> Cmd,
        mut accept: impl FnMut(T, &Value) -> bool,
    ) -> Result<(), GateError> {
        let mut rejected = None;
        let mut items = items.into_iter();
        loop {
            let batch: Vec<T> = items.by_ref().take(self.config.batch_skus_max.max(1)).collect();
            if batch.is_empty() {
                return rejected.map_or(Ok(()), |what| Err(GateError::Rejected(what)));
            }
            let mut commands = Pipeline::with_capacity(batch.len());
            for item in &batch {
                commands.add_command(command(item));
            }
            let answers = self.link.ask(call, &commands).await.map_err(|failure| match failure {
                Failure::NotAsked => GateError::NotAsked,
                Failure::TimedOut | Failure::Lost => GateError::Unanswered,
            })?;
            let mut outcome = link::outcome(&answers);
            for (item, answer) in batch.into_iter().zip(&answers) {
                if !accept(item, answer) && outcome == Outcome::Done {
                    outcome = Outcome::Garbage;
                }
            }
            self.link.count(call, outcome);
            if outcome != Outcome::Done && call != Call::Read {
                rejected = rejected.or(Some(outcome.name()));
            }
        }
    }
}

impl ReconcileReport {
    fn add(&mut self, record: Published, reply: &scripts::ReconcileReply) {
        self.checked += 1;
        let recorded = record.locations.iter().fold(0_i64, |sum, (_, units)| sum.saturating_add((*units).max(0)));
        let drifted = match reply.found {
            Found::Missing => {
                self.missing += 1;
                false
            }
            Found::Readable => reply.published != recorded || reply.taken_drift != 0,
            Found::Garbage => true,
        };
        if drifted {
            self.drifts.push(Drift {
                sku: record.sku,
                found: reply.found,
                published: reply.published,
                recorded,
                taken: reply.taken_drift,
            });
        }
    }
}

/// A cart as the calls that ask for it, SKUs ascending.
fn calls(carts: Carts, wanted: &BTreeMap<Sku, i64>) -> Vec<Vec<(&Sku, i64)>> {
    let skus = wanted.iter().map(|(sku, units)| (sku, *units));
    match carts {
        Carts::OneCall => vec![skus.collect()],
        Carts::SkuBySku => skus.map(|sku| vec![sku]).collect(),
    }
}
