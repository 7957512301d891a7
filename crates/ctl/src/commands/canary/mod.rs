//! `holdctl canary`: one unit that is reserved and given back, to see that a deployment answers and answers right.
//!
//! The unit is also what keeps two canaries apart: whoever holds it is the only one, the others wait for it. So any number may run at once, nothing is left
//! behind but two entries in the ledger, and one that is cut off holds nothing for longer than [`hold_time`]. It never confirms.
//!
//! It accuses nobody on the strength of a hold that may be over: before it calls an answer wrong it looks whether the unit is still held.

mod unit;

use std::time::Duration;

use clap::Args;
use holdfast_client::api::reservation::v1::{ListReservationsRequest, ReadSource, Reservation, ReservationState};
use holdfast_client::{Error, Line, Outcome, RequestKey, ReservationClient, ReservationKey, Reserve, StockClient};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Context;
use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::signals::Signals;
use crate::{json, parse};

/// Whose reservations the canary's are.
const OWNER: &str = "holdfast-canary";
/// The shortest and the longest time that a hold lasts which nobody gives back.
const HOLD_MIN: Duration = Duration::from_secs(30);
const HOLD_MAX: Duration = Duration::from_secs(300);
/// How much longer than a hold lasts others wait for it: the row follows within two sweeps.
const HOLD_OVER: Duration = Duration::from_secs(10);
/// How long the counters may take to follow the record: two passes of the reconciler, with some air (I7).
const COUNTERS_FOLLOW: Duration = Duration::from_secs(10);
/// How often is looked again.
const LOOK: Duration = Duration::from_millis(100);

const COLUMNS: &[Column] = &[("STEP", "step"), ("TOOK (MS)", "milliseconds"), ("SAID", "said")];

/// What the canary is, and how long to wait for it.
#[derive(Debug, Args)]
#[command(
    after_help = "It makes the SKU, the location and its one unit if they are missing, which needs all three services and the role merchandiser beside checkout \
                  (or operator alone); after that checkout and the reservation service will do.\n\
                  Exit codes: 0 every answer was right; 1 one was wrong, or a service refused; 3 nothing can be told, for a service did not answer, or too late, or the \
                  canary was asked to end: run it again, what it held comes back by itself."
)]
pub(crate) struct Canary {
    /// The SKU, which must be nobody else's.
    #[arg(long, default_value = "HOLDFAST-CANARY")]
    sku: String,
    /// The location of its one unit.
    #[arg(long, default_value = "holdfast-canary")]
    location: String,
    /// How long to wait for the unit while others hold it: other canaries, or one that was cut off. Without it, longer than its hold lasts: 70 s, and more with a
    /// longer --timeout.
    #[arg(long, value_parser = parse::duration, value_name = "DURATION")]
    wait: Option<Duration>,
}

/// What was seen, step by step.
struct Report {
    steps: Vec<serde_json::Value>,
    reservation: Option<ReservationKey>,
    began: Instant,
}

impl Report {
    fn new() -> Self {
        Self { steps: Vec::new(), reservation: None, began: Instant::now() }
    }

    /// Ends a step: what it was, and what was seen.
    fn step(&mut self, step: &str, said: impl Into<String>) {
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.steps.push(json!({ "step": step, "milliseconds": milliseconds, "said": said.into() }));
        self.began = Instant::now();
    }

    fn show(&self, format: Format, args: &Canary) -> Result<(), Failure> {
        match format {
            Format::Table if self.steps.is_empty() => Ok(()),
            Format::Table => output::list(format, COLUMNS, &self.steps),
            Format::Json => {
                let reservation = self.reservation.map(|key| key.to_string());
                let whole = json!({
                    "sku": args.sku, "location": args.location, "reservation_id": reservation, "steps": self.steps,
                });
                output::one(format, &[], &whole)
            }
        }
    }
}

/// The unit, held.
struct Held {
    key: ReservationKey,
    /// Before it was asked for: the hold cannot be older.
    since: Instant,
    /// How long it lasts.
    hold: Duration,
}

/// The clients, made once.
struct Clients {
    reservations: ReservationClient,
    stock: StockClient,
}

pub(crate) async fn run(context: &Context<'_>, args: Canary) -> Result<(), Failure> {
    let clients = Clients { reservations: context.services.reservations()?, stock: context.services.stock()? };
    let (mut report, mut signals) = (Report::new(), Signals::listen()?);
    let ended = match signals.unless_asked_to_end(pass(context, &clients, &args, &mut report)).await {
        Some(ended) => ended.map_err(unanswered),
        None => {
            Err(Failure::Unanswered("asked to end before it was through; what it held comes back by itself".to_owned()))
        }
    };
    // How far it came says more than how it failed.
    report.show(context.format, &args)?;
    ended
}

/// A service that did not answer has answered nothing wrong.
fn unanswered(failure: Failure) -> Failure {
    match failure {
        Failure::Call {
            error: error @ (Error::Unknown { .. } | Error::Unreachable { .. } | Error::Overloaded { .. }),
            again: _,
        } => {
            let why = Failure::reading(error);
            Failure::Unanswered(format!("{why}\nNothing can be told. Run it again; what it held comes back by itself."))
        }
        told => told,
    }
}

/// How long a hold lasts that nobody gives back: longer than what must be seen while it stands, if every call takes as long as it may. These are the reserve itself, the
/// record, the second reserve, the counters, and the hold once more.
fn hold_time(timeout: Duration) -> Duration {
    timeout.saturating_mul(5).saturating_add(COUNTERS_FOLLOW).clamp(HOLD_MIN, HOLD_MAX)
}

/// One unit, taken, looked at and given back.
async fn pass(context: &Context<'_>, clients: &Clients, args: &Canary, report: &mut Report) -> Result<(), Failure> {
    let held = take(context, clients, args, report).await?;
    let key = held.key;
    report.reservation = Some(key);
    let seen = while_held(clients, args, &held, report).await;
    // Whatever was seen: the unit goes back. If even that fails, the hold ends by itself.
    let released = clients.reservations.release(RequestKey::new(), key).await;
    seen?;
    let released = released.map_err(Failure::repeating)?.reservation.unwrap_or_default();
    report.step("release", "given back");
    came_back(clients, args, &released).await?;
    report.step("back", "the unit can be had again");
    Ok(())
}

/// Reserves the unit, waiting for it while others hold it, and making it where there is none.
async fn take(context: &Context<'_>, clients: &Clients, args: &Canary, report: &mut Report) -> Result<Held, Failure> {
    let hold = hold_time(context.services.timeout());
    let give_up = Instant::now() + args.wait.unwrap_or(hold + HOLD_OVER);
    loop {
        unit::provide(context, clients, args, give_up, report).await?;
        let key = ReservationKey::new();
        // Before it is sent: whoever cuts the command off can release it at once.
        output::note(&format!("reservation {key}"));
        let held = Held { key, since: Instant::now(), hold };
        match clients.reservations.reserve(&cart(args, &held)).await {
            // Answered so late that the hold was over.
            Ok(answer) if answer.current_state() != ReservationState::Held => {
                return Err(no_longer_held(&held, answer.current_state()));
            }
            Ok(_held) => {
                report.step("reserve", format!("1 × {} is held", args.sku));
                return Ok(held);
            }
            // Somebody was faster.
            Err(Error::Insufficient { .. }) if Instant::now() < give_up => {}
            Err(error) => {
                if error.outcome() == Outcome::Unknown {
                    // Best effort: a hold that is there all the same ends by itself.
                    let _ends_by_itself = clients.reservations.release(RequestKey::new(), key).await;
                }
                return Err(Failure::repeating(error));
            }
        }
    }
}

fn cart(args: &Canary, held: &Held) -> Reserve {
    Reserve::new(held.key, OWNER, [Line::at(&args.sku, 1, &args.location)]).hold_for(held.hold)
}

/// What must be so while the only unit is held.
async fn while_held(clients: &Clients, args: &Canary, held: &Held, report: &mut Report) -> Result<(), Failure> {
    let left = available(&clients.stock, args, ReadSource::Record).await?;
    if left != Some(0) {
        let words = format!("the only unit of {} is held, and {left:?} can be had", args.sku);
        return Err(wrong_if_held(clients, held, words).await);
    }
    report.step("record", "0 left, says Postgres");

    let second = Held { key: ReservationKey::new(), since: Instant::now(), hold: held.hold };
    match clients.reservations.reserve(&cart(args, &second)).await {
        Ok(_another) => {
            let words = format!("OVERSOLD: two reservations hold the only unit of {}", args.sku);
            let failure = wrong_if_held(clients, held, words).await;
            let _ends_by_itself = clients.reservations.release(RequestKey::new(), second.key).await;
            return Err(failure);
        }
        Err(Error::Insufficient { lines, .. }) => {
            let said: Vec<_> = lines.iter().map(|line| (line.requested, line.available)).collect();
            if said != [(Some(1), Some(0))] {
                return Err(wrong(format!(
                    "a second reservation was refused, but not for 1 requested and 0 available: {said:?}"
                )));
            }
        }
        Err(error) => {
            if error.outcome() == Outcome::Unknown {
                let _ends_by_itself = clients.reservations.release(RequestKey::new(), second.key).await;
            }
            return Err(Failure::repeating(error));
        }
    }
    report.step("refuse", "a second one is refused: 1 requested, 0 available");

    let give_up = Instant::now() + COUNTERS_FOLLOW;
    while available(&clients.stock, args, ReadSource::Cache).await? != Some(0) {
        if Instant::now() >= give_up {
            let seconds = COUNTERS_FOLLOW.as_secs();
            let words = format!("after {seconds} s the counters still offer {}, which is held", args.sku);
            return Err(wrong_if_held(clients, held, words).await);
        }
        sleep(LOOK).await;
    }
    report.step("counters", "0 left, say the published counters");
    Ok(())
}

/// An answer that must not be while the unit is held: wrong if it is held now, for then it was held all the time.
async fn wrong_if_held(clients: &Clients, held: &Held, words: String) -> Failure {
    match clients.reservations.get_reservation(held.key).await {
        Ok(read) => match read.reservation.unwrap_or_default().state() {
            ReservationState::Held => wrong(words),
            state => no_longer_held(held, state),
        },
        Err(Error::NotFound { .. }) => wrong(format!("reservation {} was acknowledged, and is not there", held.key)),
        Err(error) => Failure::Unanswered(format!(
            "{words}; unless the hold was over by then, which cannot be told: {}",
            Failure::reading(error)
        )),
    }
}

/// Whether a hold may have ended as it has: by its time, or by somebody else's hand. Then nothing can be told.
fn no_longer_held(held: &Held, state: ReservationState) -> Failure {
    let (hold, passed) = (held.hold.as_secs(), held.since.elapsed());
    if state == ReservationState::Expired && passed < held.hold {
        return wrong(format!("reservation {} was for {hold} s, and is over after {} s", held.key, passed.as_secs()));
    }
    Failure::Unanswered(format!(
        "too slow to tell: reservation {} was for {hold} s, and after {} s it is {}; run it again",
        held.key,
        passed.as_secs(),
        json::state(state.into())
    ))
}

/// Waits until the unit can be had again. That another canary got it since is as good a proof.
async fn came_back(clients: &Clients, args: &Canary, released: &Reservation) -> Result<(), Failure> {
    let give_up = Instant::now() + COUNTERS_FOLLOW;
    loop {
        let left = available(&clients.stock, args, ReadSource::Record).await?;
        match left {
            Some(1) => return Ok(()),
            Some(2..) => {
                return Err(wrong(format!("{left:?} units of {} can be had, and there was one", args.sku)));
            }
            _ => {}
        }
        if had_since(clients, released).await? {
            return Ok(());
        }
        if Instant::now() >= give_up {
            return Err(wrong(format!("the unit of {} was given back, and cannot be had again", args.sku)));
        }
        sleep(LOOK).await;
    }
}

/// Whether somebody else has held the unit since it was given back.
async fn had_since(clients: &Clients, released: &Reservation) -> Result<bool, Failure> {
    let request = ListReservationsRequest { owner: OWNER.to_owned(), page_size: 20, ..Default::default() };
    let page = clients.reservations.list_reservations(request).await.map_err(Failure::reading)?;
    let instant = |time: &Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
    let since = instant(&released.state_time);
    Ok(page.reservations.iter().any(|other| {
        let held = !matches!(other.state(), ReservationState::Refused | ReservationState::Unspecified);
        held && !other.lines.is_empty()
            && other.reservation_id != released.reservation_id
            && instant(&other.create_time) >= since
    }))
}

/// Units that can be had; none if nothing was ever counted.
async fn available(stock: &StockClient, args: &Canary, source: ReadSource) -> Result<Option<i64>, Failure> {
    let response = stock.batch_get_availability(vec![args.sku.clone()], source).await.map_err(Failure::reading)?;
    Ok(response.results.first().filter(|one| one.known).map(|one| one.available))
}

/// An answer that must not be.
fn wrong(words: String) -> Failure {
    Failure::Refused(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_longer_than_the_calls_that_need_it_and_is_bounded() {
        for (timeout, hold) in [(1, 30), (10, 60), (20, 110), (86_400, 300)] {
            assert_eq!(hold_time(Duration::from_secs(timeout)), Duration::from_secs(hold), "{timeout} s");
        }
        assert_eq!(hold_time(Duration::MAX), HOLD_MAX);
    }

    #[test]
    fn only_a_hold_that_ended_before_its_time_is_anybodys_fault() {
        let ended = |hold, state| {
            let held = Held { key: ReservationKey::new(), since: Instant::now(), hold };
            no_longer_held(&held, state)
        };
        let (over, lasting) = (Duration::ZERO, Duration::from_secs(3600));
        assert!(matches!(ended(lasting, ReservationState::Expired), Failure::Refused(_)));
        for (hold, state) in [
            (over, ReservationState::Expired),
            (over, ReservationState::Released),
            (lasting, ReservationState::Released),
            (lasting, ReservationState::Confirmed),
        ] {
            assert!(matches!(ended(hold, state), Failure::Unanswered(_)), "{state:?}");
        }
    }
}
