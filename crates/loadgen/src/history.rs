//! What the callers saw, call by call: their own histories, kept apart from whatever Holdfast says about itself.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_client::api::reservation::v1::{Reservation, ReservationState};
use holdfast_client::{Error, Line, Outcome, RequestKey, ReservationClient, ReservationKey, Reserve, ShortLine};
use tokio::sync::Semaphore;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// A hold.
    Reserve,
    /// To turn a hold into a sale.
    Confirm,
    /// To give a hold back.
    Release,
}

impl Verb {
    /// All of them, in the order in which a buyer uses them.
    pub const ALL: [Self; 3] = [Self::Reserve, Self::Confirm, Self::Release];

    /// The verb as people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Confirm => "confirm",
            Self::Release => "release",
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Done, now or by an earlier attempt with the same key.
    Done {
        /// The reservation as the first answer had it.
        reservation: Box<Reservation>,
        /// Where it stands.
        current_state: ReservationState,
        /// True if an earlier attempt had landed.
        replayed: bool,
    },
    /// There is too little: certainly not done.
    SoldOut(Vec<ShortLine>),
    /// Another no: certainly not done. The reason as the server names it.
    Refused(&'static str),
    /// The service was too busy, or not reached: certainly not done, worth another try.
    Busy(Option<Duration>),
    /// Nobody knows whether it was done.
    Unknown(String),
}

impl Answer {
    /// True if it was done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    fn failed(error: Error) -> Self {
        match (error.outcome(), error.reason()) {
            (Outcome::Unknown, _) => Self::Unknown(error.to_string()),
            (Outcome::Certain, Some(reason)) => match error {
                Error::Insufficient { lines, .. } => Self::SoldOut(lines),
                Error::Overloaded { retry_after, .. } => Self::Busy(retry_after),
                _ => Self::Refused(reason),
            },
            // No connection: nothing was sent.
            (Outcome::Certain, None) => Self::Busy(None),
        }
    }
}

/// One call, as its caller saw it. Times are microseconds since the history began, by the caller's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who called.
    pub caller: usize,
    /// What was asked for.
    pub verb: Verb,
    /// For which reservation.
    pub reservation: ReservationKey,
    /// Under which key, where it is not the reservation's.
    pub request: Option<RequestKey>,
    /// Which attempt with this key it said it was.
    pub attempt: u32,
    /// For a Reserve: what was to be held.
    pub lines: Vec<Line>,
    /// When the caller sent it.
    pub invoked_micros: i64,
    /// When the caller had its answer.
    pub answered_micros: i64,
    /// What came back.
    pub answer: Answer,
}

/// Makes calls and writes each of them down, at most so many at a time.
#[derive(Debug)]
pub struct Recorder {
    reservations: ReservationClient,
    permits: Semaphore,
    began: Instant,
    calls: Mutex<Vec<Call>>,
}

impl Recorder {
    /// Records the calls of `reservations`, which should not retry by itself: each attempt is a call of its own. At most `in_flight_max` are under way at
    /// once; a caller's wait for its turn is not part of the call.
    pub fn new(reservations: ReservationClient, in_flight_max: usize) -> Self {
        Self { reservations, permits: Semaphore::new(in_flight_max), began: Instant::now(), calls: Mutex::default() }
    }

    /// Microseconds since the history began.
    pub fn now_micros(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).expect("a run lasts less than 292,000 years")
    }

    /// Asks for a hold, as the attempt of this number (from 1), within `deadline`.
    pub async fn reserve(&self, caller: usize, reserve: &Reserve, attempt: u32, deadline: Duration) -> Answer {
        let client = self.reservations.with_deadline(deadline);
        let reserve = reserve.clone().retry_of(attempt.saturating_sub(1));
        let call = async {
            let response = client.reserve(&reserve).await?;
            Ok((response.reservation, response.current_state, response.replayed))
        };
        let blank = blank(caller, Verb::Reserve, reserve.key(), None, attempt, reserve.lines().to_vec());
        self.record(blank, call).await
    }

    /// Asks to turn a hold into a sale.
    pub async fn confirm(&self, caller: usize, key: RequestKey, id: ReservationKey, deadline: Duration) -> Answer {
        let client = self.reservations.with_deadline(deadline);
        let call = async {
            let response = client.confirm(key, id).await?;
            Ok((response.reservation, response.current_state, response.replayed))
        };
        self.record(blank(caller, Verb::Confirm, id, Some(key), 1, Vec::new()), call).await
    }

    /// Asks to give a hold back.
    pub async fn release(&self, caller: usize, key: RequestKey, id: ReservationKey, deadline: Duration) -> Answer {
        let client = self.reservations.with_deadline(deadline);
        let call = async {
            let response = client.release(key, id).await?;
            Ok((response.reservation, response.current_state, response.replayed))
        };
        self.record(blank(caller, Verb::Release, id, Some(key), 1, Vec::new()), call).await
    }

    /// The reservations that were asked for so far.
    pub fn reservations(&self) -> HashSet<ReservationKey> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|call| call.reservation).collect()
    }

    /// Ends the history.
    pub fn finish(self) -> History {
        let calls = self.calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        History { calls, elapsed: self.began.elapsed() }
    }

    async fn record(
        &self,
        mut call: Call,
        answer: impl Future<Output = Result<(Option<Reservation>, i32, bool), Error>>,
    ) -> Answer {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        call.invoked_micros = self.now_micros();
        call.answer = match answer.await {
            Ok((reservation, current_state, replayed)) => Answer::Done {
                reservation: Box::new(reservation.unwrap_or_default()),
                current_state: ReservationState::try_from(current_state).unwrap_or_default(),
                replayed,
            },
            Err(error) => Answer::failed(error),
        };
        call.answered_micros = self.now_micros();
        let answer = call.answer.clone();
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        answer
    }
}

fn blank(
    caller: usize,
    verb: Verb,
    reservation: ReservationKey,
    request: Option<RequestKey>,
    attempt: u32,
    lines: Vec<Line>,
) -> Call {
    let answer = Answer::Unknown(String::new());
    Call { caller, verb, reservation, request, attempt, lines, invoked_micros: 0, answered_micros: 0, answer }
}

/// All calls of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The calls, in the order of their answers.
    pub calls: Vec<Call>,
    /// How long it all took.
    pub elapsed: Duration,
}

impl History {
    /// Calls of this verb with an answer that `is`.
    pub fn count(&self, verb: Verb, is: impl Fn(&Answer) -> bool) -> usize {
        self.calls.iter().filter(|call| call.verb == verb && is(&call.answer)).count()
    }

    /// How long calls of this verb took; `None` if there were none. Calls that their callers gave up are not among them.
    pub fn latency(&self, verb: Verb) -> Option<Latency> {
        let answered = |call: &&Call| call.verb == verb && !matches!(call.answer, Answer::Unknown(_));
        let times = self.calls.iter().filter(answered).map(|call| call.answered_micros - call.invoked_micros);
        Latency::of(times.collect())
    }

    /// Calls a second, over the whole run.
    pub fn throughput(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 calls")]
        let calls = self.calls.len() as f64;
        calls / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// How long calls took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// How many calls.
    pub calls: usize,
    /// Half of them were faster.
    pub p50: Duration,
    /// 99 in 100 were faster.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Latency {
    fn of(mut micros: Vec<i64>) -> Option<Self> {
        micros.sort_unstable();
        let last = micros.len().checked_sub(1)?;
        let at = |permille: usize| Duration::from_micros(micros[last * permille / 1_000].unsigned_abs());
        Some(Self { calls: micros.len(), p50: at(500), p99: at(990), max: at(1_000) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let latency = Latency::of((0..=1_000).rev().collect()).unwrap();
        assert_eq!(latency.p50, Duration::from_micros(500));
        assert_eq!(latency.p99, Duration::from_micros(990));
        assert_eq!((latency.max, latency.calls), (Duration::from_micros(1_000), 1_001));
        assert_eq!(Latency::of(Vec::new()), None);
    }

    #[test]
    fn an_error_is_sold_out_busy_refused_or_unknown() {
        let message = String::new;
        let sold_out = Error::Insufficient { lines: Vec::new(), message: message() };
        assert_eq!(Answer::failed(sold_out), Answer::SoldOut(Vec::new()));
        let wait = Some(Duration::from_millis(5));
        assert_eq!(Answer::failed(Error::Overloaded { retry_after: wait, message: message() }), Answer::Busy(wait));
        assert_eq!(Answer::failed(Error::Unreachable { message: message() }), Answer::Busy(None));
        assert_eq!(Answer::failed(Error::Expired { message: message() }), Answer::Refused("RESERVATION_EXPIRED"));
        let unknown = Error::Unknown { attempts: 1, message: message() };
        assert!(matches!(Answer::failed(unknown), Answer::Unknown(_)));
    }
}
