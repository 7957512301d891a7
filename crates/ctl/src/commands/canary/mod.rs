//! `holdctl canary`: one unit that is reserved and given back, to see that a deployment answers and answers right.
//!
//! The unit is also what keeps two canaries apart: whoever holds it is the only one, the others wait for it. So any number may run at once, nothing is left
//! behind but two entries in the ledger, and one that is cut off holds nothing for longer than [`HOLD`]. It never confirms.

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
use crate::parse;

/// Whose reservations the canary's are.
const OWNER: &str = "holdfast-canary";
/// How long a hold lasts that nobody gives back. Longer than a whole pass takes, shorter than anybody waits for it.
const HOLD: Duration = Duration::from_secs(30);
/// How long the counters may take to follow the record: two passes of the reconciler, with some air (I7).
const COUNTERS_FOLLOW: Duration = Duration::from_secs(10);
/// How often is looked again.
const LOOK: Duration = Duration::from_millis(100);

const COLUMNS: &[Column] = &[("STEP", "step"), ("TOOK (MS)", "milliseconds"), ("SAID", "said")];

/// What the canary is, and how long to wait for it.
#[derive(Debug, Args)]
#[command(
    after_help = "It makes the SKU, the location and its one unit if they are missing, which needs the roles operator or merchandiser and all three services; \
                  after that the role checkout and reservation alone will do.\n\
                  Exit codes: 0 every answer was right; 1 one was wrong, or a service refused; 3 a service did not answer: run it again, what it held comes back by itself."
)]
pub(crate) struct Canary {
    /// The SKU, which must be nobody else's.
    #[arg(long, default_value = "HOLDFAST-CANARY")]
    sku: String,
    /// The location of its one unit.
    #[arg(long, default_value = "holdfast-canary")]
    location: String,
    /// How long to wait for the unit while others hold it: other canaries, or one that was cut off.
    #[arg(long, default_value = "60s", value_parser = parse::duration, value_name = "DURATION")]
    wait: Duration,
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

/// The clients, made once.
struct Clients {
    reservations: ReservationClient,
    stock: StockClient,
}

pub(crate) async fn run(context: &Context<'_>, args: Canary) -> Result<(), Failure> {
    let clients = Clients { reservations: context.services.reservations()?, stock: context.services.stock()? };
    let mut report = Report::new();
    let ended = pass(context, &clients, &args, &mut report).await;
    // How far it came says more than how it failed.
    report.show(context.format, &args)?;
    ended
}

/// One unit, taken, looked at and given back.
async fn pass(context: &Context<'_>, clients: &Clients, args: &Canary, report: &mut Report) -> Result<(), Failure> {
    let key = take(context, clients, args, report).await?;
    report.reservation = Some(key);
    let seen = held(clients, args, report).await;
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
async fn take(
    context: &Context<'_>,
    clients: &Clients,
    args: &Canary,
    report: &mut Report,
) -> Result<ReservationKey, Failure> {
    let give_up = Instant::now() + args.wait;
    loop {
        unit::provide(context, clients, args, give_up, report).await?;
        let key = ReservationKey::new();
        // Before it is sent: whoever cuts the command off can release it at once.
        output::note(&format!("reservation {key}"));
        match clients.reservations.reserve(&cart(args, key)).await {
            Ok(_held) => {
                report.step("reserve", format!("1 × {} is held", args.sku));
                return Ok(key);
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

fn cart(args: &Canary, key: ReservationKey) -> Reserve {
    Reserve::new(key, OWNER, [Line::at(&args.sku, 1, &args.location)]).hold_for(HOLD)
}

/// What must be so while the only unit is held.
async fn held(clients: &Clients, args: &Canary, report: &mut Report) -> Result<(), Failure> {
    let left = available(&clients.stock, args, ReadSource::Record).await?;
    if left != Some(0) {
        return Err(wrong(format!("the only unit of {} is held, and {left:?} can be had", args.sku)));
    }
    report.step("record", "0 left, says Postgres");

    let second = ReservationKey::new();
    match clients.reservations.reserve(&cart(args, second)).await {
        Ok(_oversold) => {
            let _ends_by_itself = clients.reservations.release(RequestKey::new(), second).await;
            return Err(wrong(format!("OVERSOLD: two reservations hold the only unit of {}", args.sku)));
        }
        Err(Error::Insufficient { lines, .. }) => {
            let said: Vec<_> = lines.iter().map(|line| (line.requested, line.available)).collect();
            if said != [(Some(1), Some(0))] {
                return Err(wrong(format!(
                    "a second reservation was refused, but not for 1 requested and 0 available: {said:?}"
                )));
            }
        }
        Err(error) => return Err(Failure::repeating(error)),
    }
    report.step("refuse", "a second one is refused: 1 requested, 0 available");

    let give_up = Instant::now() + COUNTERS_FOLLOW;
    while available(&clients.stock, args, ReadSource::Cache).await? != Some(0) {
        if Instant::now() >= give_up {
            let seconds = COUNTERS_FOLLOW.as_secs();
            return Err(wrong(format!("after {seconds} s the counters still offer {}, which is held", args.sku)));
        }
        sleep(LOOK).await;
    }
    report.step("counters", "0 left, say the published counters");
    Ok(())
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
