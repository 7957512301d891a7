//! `holdctl stock watch` and `holdctl reservation watch`: what there is, and then every change.

use std::time::Duration;

use clap::{Args, ValueEnum};
use holdfast_client::api::reservation::v1::ReservationEventKind;
use holdfast_client::{AvailabilityEvent, Error, ReservationEvent};
use serde_json::{Value, json};

use crate::cli::Format;
use crate::commands::Context;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::{json, output};

/// A person watches: they see soon enough that nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// From where to watch, and until when.
#[derive(Debug, Args)]
pub(crate) struct From {
    /// Go on where an earlier watch stopped: the token that it printed. The other arguments must be the same.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    resume: String,
    /// End when everything that is there has been told, without waiting for changes.
    #[arg(long)]
    snapshot: bool,
}

/// What can be reserved of which SKUs.
#[derive(Debug, Args)]
pub(crate) struct Availability {
    /// The SKUs, at most 1,000; none: all.
    #[arg(value_name = "SKU")]
    skus: Vec<String>,
    #[command(flatten)]
    from: From,
}

/// What happens to which reservations.
#[derive(Debug, Args)]
pub(crate) struct Reservations {
    /// Only this owner's.
    #[arg(long, default_value = "", hide_default_value = true)]
    owner: String,
    /// Only events of this kind; can be given several times.
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
    #[command(flatten)]
    from: From,
}

/// What can happen to a reservation.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// Bought.
    Confirmed,
    /// Given back.
    Released,
    /// Its time ran out.
    Expired,
    /// Called off after it was bought.
    Cancelled,
    /// Shipped, in whole or in part.
    Fulfilled,
    /// Units of it are not there.
    AtRisk,
    /// Shipped units came back.
    Returned,
    /// The record was repaired, with a change to it.
    Repaired,
}

/// What either watch says.
enum Said {
    /// Something, as JSON and in words.
    Item(Value, String),
    SnapshotEnd,
    Checkpoint,
}

pub(super) async fn availability(context: &Context<'_>, args: Availability) -> Result<(), Failure> {
    let (stock, mut signals) = (context.services.stock()?, Signals::listen()?);
    let mut watch = stock.watch_availability(args.skus, &args.from.resume).patience(PATIENCE);
    loop {
        let event = match signals.unless_asked_to_end(watch.next()).await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(cut_off(error, watch.resume_token())),
            None => {
                go_on(watch.resume_token());
                return Ok(());
            }
        };
        let said = match event {
            AvailabilityEvent::Row(row) => {
                let words = format!("{} at {}  available={}  v{}", row.sku, row.location, row.available, row.version);
                Said::Item(json!({"row": json::row_availability(&row)}), words)
            }
            AvailabilityEvent::SnapshotEnd => Said::SnapshotEnd,
            AvailabilityEvent::Checkpoint => Said::Checkpoint,
        };
        if say(context.format, said, watch.resume_token(), args.from.snapshot)? {
            return Ok(());
        }
    }
}

pub(super) async fn reservations(context: &Context<'_>, args: Reservations) -> Result<(), Failure> {
    let kinds: Vec<_> = args.kinds.into_iter().map(kind).collect();
    let (reservations, mut signals) = (context.services.reservations()?, Signals::listen()?);
    let mut watch = reservations.watch_reservations(&args.owner, &kinds, &args.from.resume).patience(PATIENCE);
    loop {
        let event = match signals.unless_asked_to_end(watch.next()).await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(cut_off(error, watch.resume_token())),
            None => {
                go_on(watch.resume_token());
                return Ok(());
            }
        };
        let said = match event {
            ReservationEvent::Happened(happened) => {
                let value = json::reservation_event(&happened);
                let words = words(&value);
                Said::Item(json!({"change": value}), words)
            }
            ReservationEvent::SnapshotEnd => Said::SnapshotEnd,
            ReservationEvent::Checkpoint => Said::Checkpoint,
        };
        if say(context.format, said, watch.resume_token(), args.from.snapshot)? {
            return Ok(());
        }
    }
}

/// Prints it; whether that was all that was asked for.
fn say(format: Format, said: Said, resume_token: &str, only_snapshot: bool) -> Result<bool, Failure> {
    match (said, format) {
        (Said::Item(mut value, _), Format::Json) => {
            value["resume_token"] = resume_token.into();
            output::line(&value)?;
        }
        (Said::Item(_, words), Format::Table) => output::words(&words.replace(char::is_control, " "))?,
        (Said::SnapshotEnd, format) => {
            if format == Format::Json {
                output::line(&json!({"snapshot_end": true, "resume_token": resume_token}))?;
            } else {
                output::note("That is everything; changes follow.");
            }
            return Ok(only_snapshot);
        }
        (Said::Checkpoint, _) => {}
    }
    Ok(false)
}

/// Why a watch cannot go on. From where another one can is told too, unless that is what is wrong.
pub(in crate::commands) fn cut_off(error: Error, resume_token: &str) -> Failure {
    if !matches!(error, Error::ResumeTokenExpired { .. } | Error::InvalidResumeToken { .. }) {
        go_on(resume_token);
    }
    Failure::reading(error)
}

/// Tells from where another watch can go on.
pub(in crate::commands) fn go_on(resume_token: &str) {
    if !resume_token.is_empty() {
        output::note(&format!("Go on with the same command and --resume {resume_token}"));
    }
}

/// An event in a line: what happened, to which reservation, whose, and what it lacks.
fn words(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, id, owner) = (text("/kind"), text("/reservation/reservation_id"), text("/reservation/owner"));
    let lacks = if event["shortage"].is_null() {
        String::new()
    } else {
        let shortage = &event["shortage"];
        let (sku, location) = (text("/shortage/sku"), text("/shortage/location"));
        format!("  lacks {} × {sku} at {location} (shortfall {})", shortage["quantity"], shortage["shortfall"])
    };
    format!("{kind}  {id}  {owner}  {}{lacks}", text("/reservation/state"))
}

fn kind(kind: Kind) -> ReservationEventKind {
    match kind {
        Kind::Confirmed => ReservationEventKind::Confirmed,
        Kind::Released => ReservationEventKind::Released,
        Kind::Expired => ReservationEventKind::Expired,
        Kind::Cancelled => ReservationEventKind::Cancelled,
        Kind::Fulfilled => ReservationEventKind::Fulfilled,
        Kind::AtRisk => ReservationEventKind::AtRisk,
        Kind::Returned => ReservationEventKind::Returned,
        Kind::Repaired => ReservationEventKind::Repaired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_what_is_lacking() {
        let reservation = json!({"reservation_id": "R", "owner": "cart", "state": "HELD"});
        let shortage = json!({"sku": "CHAIR", "location": "HALL", "quantity": 2, "shortfall": 7});
        let event = json!({"kind": "AT_RISK", "reservation": reservation, "shortage": shortage});
        assert_eq!(words(&event), "AT_RISK  R  cart  HELD  lacks 2 × CHAIR at HALL (shortfall 7)");
        let event = json!({"kind": "CONFIRMED", "reservation": reservation, "shortage": null});
        assert_eq!(words(&event), "CONFIRMED  R  cart  HELD");
    }
}
