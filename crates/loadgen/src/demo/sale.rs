//! The sale: buyers and shoppers at once, Redis wiped in the middle, until everything is sold or given up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_client::api::reservation::v1::{ReadSource, Reservation, ReservationState};
use holdfast_client::{ReservationClient, ReservationKey};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::buyers::{Buyer, Mood};
use super::evidence;
use super::say::{Say, count};
use super::setup::Shelf;
use super::shoppers::Shopper;
use super::{Backstage, Endpoints, Options, Services};
use crate::check::ClockReading;
use crate::history::{History, Recorder};
use crate::load::connect;
use crate::rng::Rng;

/// HTTP/2 connections of all buyers together: each carries the server's limit of 200 calls.
const CONNECTIONS: usize = 4;

/// How long buyers who wait do so at most.
const WAITING_MAX: Duration = Duration::from_secs(60);

/// How long the last holds may take to expire and be swept after the last buyer has left.
const SETTLING_MAX: Duration = Duration::from_secs(20);

/// What buyers share.
pub(super) struct Sale {
    pub(super) recorder: Recorder,
    pub(super) wanted: String,
    pub(super) only_here: Option<String>,
    units: i64,
    sold: AtomicI64,
    answered: AtomicUsize,
    half: usize,
    half_answered: Notify,
    closed: AtomicBool,
}

impl Sale {
    /// True once all units are sold, or the shop has closed.
    pub(super) fn is_over(&self) -> bool {
        self.sold.load(Ordering::Relaxed) >= self.units || self.closed.load(Ordering::Relaxed)
    }

    /// A buyer has had the first answer.
    pub(super) fn one_answered(&self) {
        if self.answered.fetch_add(1, Ordering::Relaxed) + 1 == self.half {
            self.half_answered.notify_one();
        }
    }

    /// A buyer has bought a unit.
    pub(super) fn one_sold(&self) {
        self.sold.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a sale leaves behind.
pub(super) struct Sold {
    pub(super) history: History,
    pub(super) clock: ClockReading,
    /// Buyers who waited to the end and left without a unit.
    pub(super) left_waiting: usize,
    /// Units of the wanted SKU that could still be reserved after everything.
    pub(super) left_over: i64,
    /// When Redis was wiped, after the sale began.
    pub(super) wiped_after: Option<Duration>,
    pub(super) options: Options,
}

impl Sold {
    /// Everybody wanted one cart: whoever was sold two was charged twice.
    pub(super) fn charged_twice(&self, records: &HashMap<ReservationKey, Reservation>) -> Option<String> {
        let mut sold: HashMap<usize, HashSet<ReservationKey>> = HashMap::new();
        for call in &self.history.calls {
            let confirmed = |record: &Reservation| record.state() == ReservationState::Confirmed;
            if records.get(&call.reservation).is_some_and(confirmed) {
                sold.entry(call.caller).or_default().insert(call.reservation);
            }
        }
        let twice = sold.values().filter(|reservations| reservations.len() > 1).count();
        (twice > 0).then(|| format!("I4: {twice} buyers were sold more than the one cart that they wanted"))
    }

    /// Nobody may have left without a unit while units were left.
    pub(super) fn turned_away(&self, shelf: &Shelf) -> Option<String> {
        (self.left_over > 0 && self.left_waiting > 0).then(|| {
            format!(
                "U: {} buyers waited in vain while {} units of {} were left",
                self.left_waiting, self.left_over, shelf.wanted
            )
        })
    }
}

/// Lets everybody loose and waits until the last one is gone.
///
/// # Errors
/// Reservation cannot be reached, or Redis not be wiped. Calls that fail are no error, they are in the history.
pub(super) async fn run<B: Backstage>(
    endpoints: &Endpoints,
    services: &Services,
    shelf: &Shelf,
    options: &Options,
    backstage: &B,
    say: &Say,
) -> anyhow::Result<Sold> {
    let connection = connect(std::slice::from_ref(&endpoints.reservation), endpoints.token.as_deref(), CONNECTIONS)?;
    let recorder = Recorder::new(ReservationClient::new(&connection), options.in_flight_max);
    let mut clock = evidence::clock(services, &recorder, &shelf.wanted).await?;
    let sale = Arc::new(Sale {
        recorder,
        wanted: shelf.wanted.clone(),
        only_here: shelf.only_here.clone(),
        units: options.units,
        sold: AtomicI64::new(0),
        answered: AtomicUsize::new(0),
        half: options.buyers.div_ceil(2),
        half_answered: Notify::new(),
        closed: AtomicBool::new(false),
    });
    let carts = if shelf.others.is_empty() { 0 } else { options.carts };
    let step = say.counted("Selling", options.buyers);
    let began = Instant::now();
    let mut people = admit(&sale, shelf, options, carts);
    let mut left_waiting = 0;
    let mut wiped_after = None;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            ended = people.join_next() => match ended {
                None => break,
                Some(in_vain) => left_waiting += usize::from(in_vain.context("a buyer panicked")?),
            },
            () = sale.half_answered.notified() => {
                backstage.wipe_redis().await.context("Redis could not be wiped")?;
                wiped_after = Some(began.elapsed());
                say.line(&format!("  ! Redis wiped after {:.1} s, with half of the buyers answered", began.elapsed().as_secs_f64()));
            }
            _ = tick.tick() => {
                step.at(sale.answered.load(Ordering::Relaxed));
                step.now(&format!("Selling ({} of {} sold)", sale.sold.load(Ordering::Relaxed), options.units));
                if began.elapsed() > WAITING_MAX {
                    sale.closed.store(true, Ordering::Relaxed);
                }
            }
        }
    }
    let sold = sale.sold.load(Ordering::Relaxed);
    step.done(&format!("{sold} of {} units sold, {} carts filled meanwhile", options.units, count(carts)));
    let left_over = settle(services, &sale.recorder, shelf, say).await?;
    let sale = Arc::into_inner(sale).expect("all buyers have left");
    clock = evidence::better(clock, evidence::clock(services, &sale.recorder, &shelf.wanted).await?);
    Ok(Sold { history: sale.recorder.finish(), clock, left_waiting, left_over, wiped_after, options: options.clone() })
}

/// Everybody at once, in an order that the seed decides.
fn admit(sale: &Arc<Sale>, shelf: &Shelf, options: &Options, carts: usize) -> JoinSet<bool> {
    enum Visitor {
        Buyer(Buyer),
        Shopper(Shopper),
    }
    let mut rng = Rng::new(options.seed);
    let mut visitors: Vec<Visitor> = Vec::with_capacity(options.buyers + carts);
    for number in 0..options.buyers {
        let mood = Mood::draw(&mut rng);
        visitors.push(Visitor::Buyer(Buyer { number, mood, rng: Rng::new(rng.next()) }));
    }
    for number in 0..carts {
        visitors.push(Visitor::Shopper(Shopper::fill(options.buyers + number, &shelf.others, &mut rng)));
    }
    rng.shuffle(&mut visitors);
    let mut people = JoinSet::new();
    for visitor in visitors {
        let sale = Arc::clone(sale);
        match visitor {
            Visitor::Buyer(buyer) => people.spawn(async move { buyer.run(&sale).await }),
            Visitor::Shopper(shopper) => people.spawn(async move {
                shopper.run(&sale).await;
                false
            }),
        };
    }
    people
}

/// Waits until no hold of the sale's is left, and answers with the units of the wanted SKU that could still be reserved.
async fn settle(services: &Services, recorder: &Recorder, shelf: &Shelf, say: &Say) -> anyhow::Result<i64> {
    let step = say.step("Waiting for the last holds to expire");
    let ours = recorder.reservations();
    let ends = Instant::now() + SETTLING_MAX;
    loop {
        let levels = services.stock.get_stock(&shelf.wanted).await.context("stock cannot be read")?.levels;
        let in_row: i64 = levels.iter().filter(|level| level.location == shelf.location).map(|level| level.held).sum();
        let held = evidence::held(services, &ours).await?;
        if (in_row == 0 && held == 0) || Instant::now() > ends {
            step.done(&if held == 0 { "none is left".to_owned() } else { format!("{held} are left") });
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let skus = vec![shelf.wanted.clone()];
    let answer = services.stock.batch_get_availability(skus, ReadSource::Record).await?;
    let locations = answer.results.into_iter().flat_map(|result| result.locations);
    Ok(locations.filter(|part| part.location == shelf.location).map(|part| part.available).sum())
}
