//! Buyers who reserve, confirm, release, try again and walk away, until they are told to stop; what each of them saw is written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_client::{
    Connection, Line, RequestKey, ReservationClient, ReservationKey, Reserve, RetryPolicy, Settings,
};
use holdfast_loadgen::check::ClockReading;
use holdfast_loadgen::history::{Answer, Call, History, Recorder};
use holdfast_testkit::{Seed, eventually};
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::world::Cluster;

/// How long a buyer waits for an answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often a buyer tries a call whose outcome is unknown, or that found nobody there: longer than any fault lasts.
const ATTEMPTS_MAX: u32 = 2000;
/// A buyer's pause before he tries again, where he was not told how long.
const PAUSE: Duration = Duration::from_millis(25);
/// Longer than a busy machine takes for anything that a load waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running load.
pub(crate) struct Load {
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    unknown: Arc<AtomicUsize>,
    buyers: JoinSet<()>,
    clock: ClockReading,
}

/// What is left of a load.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the buyers saw.
    pub(crate) history: History,
    /// How their clock and Postgres's relate.
    pub(crate) clock: ClockReading,
}

impl Ended {
    /// What callers were told whom a call left without a definite answer, and how many were told so.
    pub(crate) fn unknown(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for Call { verb, answer, .. } in &self.history.calls {
            if let Answer::Unknown(message) = answer {
                *told.entry(format!("{}: {message}", verb.name())).or_default() += 1;
            }
        }
        told
    }
}

impl Load {
    /// So many buyers of these SKUs, over all replicas.
    pub(crate) async fn start(cluster: &Cluster, skus: &[&str], buyers: usize, seed: &Seed) -> Self {
        let reservations = ReservationClient::new(&without_retries(cluster));
        let recorder = Arc::new(Recorder::new(reservations, buyers));
        let clock = read_clock(cluster, &recorder).await;
        eprintln!("to repeat what the buyers do: HOLDFAST_TEST_SEED={}", seed.value());
        let (stop, answers, unknown) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { recorder, stop, answers, unknown, buyers: JoinSet::new(), clock };
        for number in 0..buyers {
            let buyer = Buyer {
                number,
                rng: seed.rng(number as u64 + 1),
                skus: skus.iter().map(|sku| (*sku).to_owned()).collect(),
                recorder: Arc::clone(&load.recorder),
                stop: Arc::clone(&load.stop),
                answers: Arc::clone(&load.answers),
                unknown: Arc::clone(&load.unknown),
            };
            load.buyers.spawn(buyer.shop());
        }
        load.goes_on(50).await;
        load
    }

    /// Waits until so many more calls have had a definite answer.
    pub(crate) async fn goes_on(&self, answers: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + answers;
        eventually("buyers get answers", PATIENCE, || async {
            (self.answers.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until so many more calls have ended without anybody knowing their outcome.
    pub(crate) async fn is_left_in_doubt(&self, calls: usize) {
        let wanted = self.unknown.load(Ordering::Relaxed) + calls;
        eventually("buyers are left in doubt", PATIENCE, || async {
            (self.unknown.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// The moment, as the calls of the history have theirs.
    pub(crate) fn now_micros(&self) -> i64 {
        self.recorder.now_micros()
    }

    /// Lets the load run until a moment that has nothing to do with what it does.
    pub(crate) async fn until(&mut self, moment: Instant) {
        let ended = tokio::time::timeout_at(moment, self.buyers.join_next()).await;
        assert!(ended.is_err(), "a buyer stopped before he was told to: {ended:?}");
    }

    /// Tells the buyers to stop, and waits until each knows what became of his last cart.
    pub(crate) async fn end(mut self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.buyers.join_next().await {
            ended.expect("a buyer does not panic");
        }
        let recorder = Arc::into_inner(self.recorder).expect("all buyers have ended");
        Ended { history: recorder.finish(), clock: self.clock }
    }
}

/// A connection whose every attempt is a call of its own.
fn without_retries(cluster: &Cluster) -> Connection {
    let settings = Settings {
        attempt_timeout: PATIENCE,
        // One endpoint for all replicas needs more, for each connection stays with one of them.
        connections_per_endpoint: if cluster.reservation.is_empty() { 6 } else { 2 },
        retry: RetryPolicy::NEVER,
        ..Settings::default()
    };
    cluster.connection_with(settings, |doors| &doors.buyers)
}

/// Compares the buyers' clock with Postgres's; the best of a few tries, because either side may have been kept waiting.
pub(crate) async fn read_clock(cluster: &Cluster, recorder: &Recorder) -> ClockReading {
    let mut best: Option<ClockReading> = None;
    for _ in 0..10 {
        let before = recorder.now_micros();
        let there = cluster.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await;
        let after = recorder.now_micros();
        let reading =
            ClockReading { offset_micros: there - (before + after) / 2, uncertainty_micros: (after - before) / 2 + 1 };
        if best.is_none_or(|best| reading.uncertainty_micros < best.uncertainty_micros) {
            best = Some(reading);
        }
    }
    best.expect("it was read")
}

struct Buyer {
    number: usize,
    rng: StdRng,
    skus: Vec<String>,
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    unknown: Arc<AtomicUsize>,
}

/// What a buyer does with a hold.
#[derive(Clone, Copy)]
enum Intent {
    Buy,
    AskAgainAndBuy,
    GiveBack,
    WalkAway,
}

impl Buyer {
    async fn shop(mut self) {
        let mut cart = 0;
        while !self.stop.load(Ordering::Relaxed) {
            cart += 1;
            let reserve = self.cart(cart);
            let Some(attempt) = self.reserve(&reserve).await else { continue };
            let intent = match self.rng.random_range(0..100) {
                0..35 => Intent::Buy,
                35..50 => Intent::AskAgainAndBuy,
                50..75 => Intent::GiveBack,
                _ => Intent::WalkAway,
            };
            self.follow(intent, &reserve, attempt).await;
        }
    }

    /// A cart of its own key: one to three SKUs, held for one to three seconds.
    fn cart(&mut self, cart: usize) -> Reserve {
        let lines = self.rng.random_range(1..=self.skus.len().min(3));
        let first = self.rng.random_range(0..self.skus.len());
        let skus = self.skus.iter().cycle().skip(first).take(lines);
        let lines: Vec<_> = skus.map(|sku| Line::anywhere(sku, self.rng.random_range(1..=2))).collect();
        let owner = format!("buyer-{}-{cart}", self.number);
        Reserve::new(ReservationKey::new(), owner, lines).hold_for(Duration::from_secs(self.rng.random_range(1..=3)))
    }

    /// Tries until the outcome is known, or the buyer has had enough; the attempt that got the hold.
    async fn reserve(&mut self, reserve: &Reserve) -> Option<u32> {
        let mut attempt = 1;
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.recorder.reserve(self.number, reserve, attempt, DEADLINE).await;
            match answer {
                Answer::Unknown(_) => {
                    self.in_doubt();
                    if self.rng.random_ratio(1, 8) {
                        return None;
                    }
                    attempt += 1;
                    wait(None).await;
                }
                Answer::Busy(pause) => wait(pause).await,
                Answer::Done { .. } => {
                    self.answered();
                    return Some(attempt);
                }
                Answer::SoldOut(_) | Answer::Refused(_) => {
                    self.answered();
                    return None;
                }
            }
        }
        panic!("buyer {} got no answer about {} in {ATTEMPTS_MAX} attempts", self.number, reserve.key());
    }

    async fn follow(&mut self, intent: Intent, reserve: &Reserve, attempt: u32) {
        let (id, key) = (reserve.key(), RequestKey::new());
        if matches!(intent, Intent::AskAgainAndBuy) {
            // Whatever comes back is written down, and must be what came before.
            self.recorder.reserve(self.number, reserve, attempt, DEADLINE).await;
        }
        for _ in 0..ATTEMPTS_MAX {
            let answer = match intent {
                Intent::WalkAway => return,
                Intent::Buy | Intent::AskAgainAndBuy => self.recorder.confirm(self.number, key, id, DEADLINE).await,
                Intent::GiveBack => self.recorder.release(self.number, key, id, DEADLINE).await,
            };
            match answer {
                Answer::Busy(pause) => wait(pause).await,
                Answer::Unknown(_) => {
                    self.in_doubt();
                    wait(None).await;
                }
                Answer::Done { .. } | Answer::SoldOut(_) | Answer::Refused(_) => return self.answered(),
            }
        }
        panic!("buyer {} never heard what became of {id}", self.number);
    }

    fn in_doubt(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

async fn wait(pause: Option<Duration>) {
    sleep_until(Instant::now() + pause.unwrap_or(PAUSE)).await;
}
