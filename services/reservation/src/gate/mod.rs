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
//! **Redis Cluster**: both keys of a SKU lie in one slot, and [`Carts::SkuBySku`] asks in calls that never span two. Each master has a link and a breaker of its own
//! (`cluster.rs`), so that a shard that is dead or slow makes nothing unknown but its own SKUs.

mod access;
mod breaker;
mod cluster;
mod config;
mod keys;
mod link;
mod metrics;
mod scripts;
mod slots;
mod turns;

pub use config::{Carts, GateConfig, Mode};
pub use metrics::GateMetrics;

use access::Target;
use cluster::Cluster;
use holdfast_kit::Fill;
use holdfast_stock::{Location, ReservationId, Sku, UnixMicros};
use link::{Failure, Link};
use metrics::Outcome;
use redis::{Cmd, Pipeline, Value};
use scripts::{Call, TakeCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// A handle to the gate. Clones share its connections, which close when the last of them is dropped.
#[derive(Debug, Clone)]
pub struct Gate {
    route: Arc<Route>,
    config: Arc<GateConfig>,
    metrics: GateMetrics,
}

/// Where calls go.
#[derive(Debug)]
enum Route {
    Single(Link),
    Cluster(Cluster),
}

/// A command about one SKU, or in a single Redis about a cart.
#[derive(Debug)]
struct Keyed<'a> {
    sku: &'a Sku,
    command: Cmd,
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
    /// SKUs of a cluster's nodes that are not asked or did not answer: left as they are, to be tried again.
    pub unanswered: Vec<Sku>,
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
    /// Its node of the cluster did not answer.
    Unanswered,
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
    /// Some masters of the cluster are, others are not, or nobody has their slots: calls about those SKUs return at once.
    Partly,
    /// It counts as dead: calls return at once, and a probe runs in the background.
    Down,
}

/// Why a call about published numbers was not done, or not wholly. Whoever gets it leaves it to the next publish or to the reconciler. In a cluster, SKUs of
/// other nodes were done all the same.
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
        let route = match config.mode {
            Mode::Single => {
                metrics.up(0.0);
                let up = metrics.clone();
                let on_change = Arc::new(move |is_up| up.up(if is_up { 1.0 } else { 0.0 }));
                Route::Single(Link::connect(Target::Configured, config, metrics.clone(), on_change).await)
            }
            Mode::Cluster => Route::Cluster(Cluster::connect(config, metrics.clone()).await),
        };
        Self { route: Arc::new(route), config: Arc::new(config.clone()), metrics }
    }

    /// Whether Redis is asked at present.
    #[must_use]
    pub fn state(&self) -> GateState {
        match &*self.route {
            Route::Single(link) if link.is_up() => GateState::Up,
            Route::Single(_) => GateState::Down,
            Route::Cluster(cluster) => cluster.state(),
        }
    }

    /// Of how many Redis servers one may be lost by itself: the masters of a cluster, or 1.
    #[must_use]
    pub fn shards(&self) -> usize {
        match &*self.route {
            Route::Single(_) => 1,
            Route::Cluster(cluster) => cluster.masters().max(1),
        }
    }

    /// How many calls have their turn or wait for one; in a cluster at the node where it is closest.
    #[must_use]
    pub fn fill(&self) -> Fill {
        match &*self.route {
            Route::Single(link) => link.fill(),
            Route::Cluster(cluster) => cluster.fill(),
        }
    }

    /// Asks for all units of a cart, or none. Waits for its turn, which is bounded by who may wait, then at most the response timeout. Asking again under the same id while the take stands is
    /// granted and takes nothing more.
    ///
    /// `wanted` holds units above 0, the lines of a SKU summed.
    pub async fn take(&self, id: ReservationId, wanted: &BTreeMap<Sku, i64>) -> Taken {
        debug_assert!(wanted.values().all(|units| *units > 0), "units to take are above 0");
        let mut granted = BTreeMap::new();
        for cart in calls(self.config.is_sku_by_sku(), wanted) {
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
        let accept = |_, answer: &Value| scripts::is_publish_reply(answer);
        let left = self.in_batches(Call::Publish, updates, |update| &update.sku, scripts::publish, accept).await?;
        left.is_empty().then_some(()).ok_or(GateError::Unanswered)
    }

    /// Overwrites what is published about these SKUs with what Postgres says, whatever is there, and adds up takes anew. Takes stay. A SKU without locations becomes
    /// unknown. In a cluster the report names the SKUs whose node did not answer.
    ///
    /// # Errors
    /// [`GateError`]; each variant says what may have been done. All of it may be done again. What was found until then is lost. In a cluster only if no node is asked.
    pub async fn reconcile(&self, records: Vec<Published>) -> Result<ReconcileReport, GateError> {
        let mut report = ReconcileReport::default();
        let accept = |record, answer: &Value| {
            let Some(reply) = scripts::decode_reconcile(answer) else { return false };
            report.add(record, &reply);
            true
        };
        let left = self.in_batches(Call::Reconcile, records, |record| &record.sku, scripts::reconcile, accept).await?;
        report.unanswered = left.into_iter().map(|record| record.sku).collect();
        Ok(report)
    }

    /// Reads what is published about these SKUs, in their order; none where nothing readable is, or Redis answered with an
    /// error for it, or did not answer while other nodes of the cluster do.
    ///
    /// # Errors
    /// [`GateError`]; nothing is ever changed.
    pub async fn read(&self, skus: &[Sku]) -> Result<Vec<Option<Published>>, GateError> {
        let seen = self.inspect(skus).await?;
        let readable = |seen| match seen {
            Seen::Readable(published) => Some(published),
            Seen::Missing | Seen::Unanswered | Seen::Garbage => None,
        };
        Ok(seen.into_iter().map(readable).collect())
    }

    /// As [`Gate::read`], telling what is not published from what cannot be read, and both from what is not known.
    ///
    /// # Errors
    /// [`GateError`]; nothing is ever changed.
    pub async fn inspect(&self, skus: &[Sku]) -> Result<Vec<Seen>, GateError> {
        let mut seen: Vec<Seen> = skus.iter().map(|_| Seen::Unanswered).collect();
        let places = skus.iter().enumerate();
        let accept = |(place, sku): (usize, &Sku), answer: &Value| {
            // A hash of a wrong type is as unreadable as one of junk: nothing readable, and no failure of this call.
            seen[place] = match scripts::decode_hash(answer) {
                Some((locations, at)) => Seen::Readable(Published { sku: sku.clone(), locations, at }),
                None if scripts::is_empty(answer) => Seen::Missing,
                None if scripts::is_moving(answer) => Seen::Unanswered,
                None => Seen::Garbage,
            };
            true
        };
        let read = |(_, sku): &(usize, &Sku)| scripts::read(sku);
        let _they_stay_unanswered = self.in_batches(Call::Read, places, |(_, sku)| sku, read, accept).await?;
        Ok(seen)
    }

    async fn take_in_one_call(&self, id: ReservationId, cart: &[(&Sku, i64)]) -> Taken {
        let Some((first, _)) = cart.first() else { return Taken::Granted(BTreeMap::new()) };
        let keyed = Keyed { sku: first, command: scripts::take(id, self.config.take_lapse_ms, cart) };
        let answer = match self.route.ask(Call::Take, vec![keyed]).await.pop().unwrap_or(Err(Failure::NotAsked)) {
            Ok(answer) => answer,
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
        self.metrics.call(Call::Take, outcome);
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

    /// Makes one call per item, so many of them per round trip, and hands each answer over; `accept` says whether it made sense. What a node of a cluster did not
    /// answer or has lost is given back, and the others go on; a single Redis that fails ends it.
    async fn in_batches<T>(
        &self,
        call: Call,
        items: impl IntoIterator<Item = T>,
        sku: impl for<'a> Fn(&'a T) -> &'a Sku,
        command: impl Fn(&T) -> Cmd,
        mut accept: impl FnMut(T, &Value) -> bool,
    ) -> Result<Vec<T>, GateError> {
        let mut rejected = None;
        let mut left = Vec::new();
        let mut items = items.into_iter();
        loop {
            let batch: Vec<T> = items.by_ref().take(self.config.batch_skus_max.max(1)).collect();
            if batch.is_empty() {
                return rejected.map_or(Ok(left), |what| Err(GateError::Rejected(what)));
            }
            let commands = batch.iter().map(|item| Keyed { sku: sku(item), command: command(item) }).collect();
            let answers = self.route.ask(call, commands).await;
            self.is_over(&answers)?;
            let (mut outcome, mut is_moving, mut is_answered) = (Outcome::Done, false, false);
            for (item, answer) in batch.into_iter().zip(&answers) {
                let Ok(answer) = answer else {
                    left.push(item);
                    continue;
                };
                is_answered = true;
                if scripts::is_moving(answer) && call != Call::Read {
                    is_moving = true;
                    left.push(item);
                    continue;
                }
                let fault = link::outcome([answer]);
                let is_sense = accept(item, answer);
                if outcome == Outcome::Done {
                    outcome = if fault == Outcome::Done && !is_sense { Outcome::Garbage } else { fault };
                }
            }
            if is_answered {
                let is_only_moving = outcome == Outcome::Done && is_moving;
                self.metrics.call(call, if is_only_moving { Outcome::Moving } else { outcome });
            }
            if outcome != Outcome::Done && call != Call::Read {
                rejected = rejected.or(Some(outcome.name()));
            }
        }
    }

    /// Fails if nothing was answered and nothing else will be: the only Redis has failed, or no node of the cluster is asked.
    fn is_over(&self, answers: &[Result<Value, Failure>]) -> Result<(), GateError> {
        let Some(Err(failure)) = answers.iter().find(|answer| answer.is_err()) else { return Ok(()) };
        let is_over = match &*self.route {
            Route::Single(_) => true,
            Route::Cluster(cluster) => answers.iter().all(Result::is_err) && cluster.state() == GateState::Down,
        };
        match failure {
            _ if !is_over => Ok(()),
            Failure::NotAsked => Err(GateError::NotAsked),
            Failure::TimedOut | Failure::Lost => Err(GateError::Unanswered),
        }
    }
}

impl Route {
    /// One answer or failure for each command, in their order.
    async fn ask(&self, call: Call, commands: Vec<Keyed<'_>>) -> Vec<Result<Value, Failure>> {
        match self {
            Self::Cluster(cluster) => cluster.ask(call, &commands).await,
            Self::Single(link) => {
                let count = commands.len();
                let mut pipeline = Pipeline::with_capacity(count);
                for keyed in commands {
                    pipeline.add_command(keyed.command);
                }
                match link.ask(call, &pipeline).await {
                    Ok(answers) => answers.into_iter().map(Ok).collect(),
                    Err(failure) => (0..count).map(|_| Err(failure)).collect(),
                }
            }
        }
    }
}

impl ReconcileReport {
    fn add(&mut self, record: Published, reply: &scripts::ReconcileReply) {
        self.checked += 1;
        let recorded = record.locations.iter().fold(0_i64, |sum, (_, units)| sum.saturating_add((*units).max(0)));
        let drifted = match reply.found {
            // What the record does not know is nowhere to be published.
            Found::Missing => {
                self.missing += usize::from(!record.locations.is_empty());
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
fn calls(sku_by_sku: bool, wanted: &BTreeMap<Sku, i64>) -> Vec<Vec<(&Sku, i64)>> {
    let skus = wanted.iter().map(|(sku, units)| (sku, *units));
    match sku_by_sku {
        false => vec![skus.collect()],
        true => skus.map(|sku| vec![sku]).collect(),
    }
}
