//! `holdctl confirm` and `holdctl reservation replace|fulfil|cancel|return|evidence`: how a hold becomes a sale, and what follows it.

use clap::{Args, ValueEnum};
use holdfast_client::api::reservation::v1 as pb;
use holdfast_client::{RequestKey, ReservationKey};
use prost_types::Timestamp;

use super::Context;
use super::house::State;
use super::reservation::{ChangeArgs, ReserveArgs, show};
use crate::failure::Failure;
use crate::output;
use crate::{json, parse};

/// Which hold to confirm, and what of it.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// What is bought, if not everything; the rest is given back in the same step.
    #[arg(long = "line", value_name = "SKU=QUANTITY[@LOCATION]", value_parser = parse::portion)]
    lines: Vec<pb::Portion>,
    /// If the hold's time is over: reserve the same anew and confirm it, if the units are still there. The new reservation's id is the request's key.
    #[arg(long)]
    reacquire: bool,
    /// Your own name for the order, if the reservation has none yet.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "REFERENCE")]
    order: String,
    #[command(flatten)]
    dry: DryRun,
}

/// Which hold to replace, and by what.
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// The hold that is given up for the new one; it must be the same owner's.
    replaced: ReservationKey,
    #[command(flatten)]
    reserve: ReserveArgs,
}

/// What was shipped.
#[derive(Debug, Args)]
pub(crate) struct FulfilArgs {
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    what: What,
    /// When the units left the shelf. Without it, now.
    #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

/// What is called off.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    what: What,
    /// The units are lost: they cannot be sold again.
    #[arg(long)]
    lost: bool,
    #[command(flatten)]
    who: Who,
}

/// What came back.
#[derive(Debug, Args)]
pub(crate) struct ReturnArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Units that came back, by where they were shipped from.
    #[arg(long = "line", required = true, value_name = "SKU=QUANTITY[@LOCATION]", value_parser = parse::portion)]
    lines: Vec<pb::Portion>,
    /// In what condition they are. Only sellable ones can be sold again.
    #[arg(long, value_enum)]
    condition: State,
    /// Where they lie now. Without it, where they were shipped from.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "LOCATION")]
    to: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    dry: DryRun,
}

/// What became of an order at the vendor.
#[derive(Debug, Args)]
pub(crate) struct EvidenceArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// What happened.
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    what: What,
    /// When, by the vendor's clock. Without it, now.
    #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
    at: Option<Timestamp>,
}

/// Which units.
#[derive(Debug, Args)]
struct What {
    /// Which units; without it, all that it can be.
    #[arg(long = "line", value_name = "SKU=QUANTITY[@LOCATION]", value_parser = parse::portion)]
    lines: Vec<pb::Portion>,
    #[command(flatten)]
    dry: DryRun,
}

/// Trying instead of doing.
#[derive(Debug, Args)]
pub(super) struct DryRun {
    /// Only say what would be answered now.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Who does it.
#[derive(Debug, Args)]
struct Who {
    /// Who does it. Without it, the user's name.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    actor: String,
    /// Why, in your words.
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
}

/// What a vendor did with an order.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// It was sent the order.
    Sent,
    /// It booked the order: its available numbers are without the units from then on.
    Booked,
    /// It took the cancellation of units that it had been sent.
    CancellationTaken,
    /// It shipped units in spite of their being called off.
    ShippedAnyway,
}

impl From<Kind> for pb::EvidenceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sent => Self::Sent,
            Kind::Booked => Self::Booked,
            Kind::CancellationTaken => Self::CancellationTaken,
            Kind::ShippedAnyway => Self::ShippedAnyway,
        }
    }
}

/// Shows the answer to a change: they all have the same fields.
macro_rules! show_answer {
    ($context:expr, $response:expr) => {{
        let response = $response;
        show($context, &json::changed(response.reservation.as_ref(), response.current_state, response.replayed))
    }};
}

pub(crate) async fn confirm(context: &Context<'_>, args: ConfirmArgs) -> Result<(), Failure> {
    let (key, reservation_id) = keys(&args.change);
    let reacquire_reservation_id = if args.reacquire {
        // One key for both, so that repeating the command with --key repeats all of it.
        let new: ReservationKey = key.to_string().parse().map_err(|_| {
            Failure::Usage("--reacquire makes a reservation under --key, which must be a UUID of version 7".to_owned())
        })?;
        output::note(&format!("reserves anew as {new}, if need be"));
        new.to_string()
    } else {
        String::new()
    };
    let request = pb::ConfirmRequest {
        reservation_id,
        portions: args.lines,
        reacquire_reservation_id,
        order_reference: args.order,
        validate_only: args.dry.dry_run,
        ..Default::default()
    };
    let reservations = context.services.reservations()?;
    show_answer!(context, reservations.confirm_as(key, request).await.map_err(Failure::changing(key))?)
}

pub(super) async fn replace(context: &Context<'_>, args: ReplaceArgs) -> Result<(), Failure> {
    let attempt = args.reserve.attempt;
    let (key, reserve) = args.reserve.reserve();
    let reservations = context.services.reservations()?;
    output::note(&format!("reservation {key}"));
    let answer = reservations.replace(args.replaced, &reserve).await;
    let response = answer.map_err(Failure::holding(key, attempt))?;
    let mut value = json::changed(response.reservation.as_ref(), response.current_state, response.replayed);
    value["expire_time"] = json::instant(response.current_expire_time.as_ref());
    show(context, &value)
}

pub(super) async fn fulfil(context: &Context<'_>, args: FulfilArgs) -> Result<(), Failure> {
    let (key, reservation_id) = keys(&args.change);
    let request = pb::FulfilRequest {
        reservation_id,
        portions: args.what.lines,
        ship_time: args.at,
        validate_only: args.what.dry.dry_run,
        ..Default::default()
    };
    let reservations = context.services.reservations()?;
    show_answer!(context, reservations.fulfil(key, request).await.map_err(Failure::changing(key))?)
}

pub(super) async fn cancel(context: &Context<'_>, args: CancelArgs) -> Result<(), Failure> {
    let (key, reservation_id) = keys(&args.change);
    let restock = if args.lost { pb::CancelRestock::Lost } else { pb::CancelRestock::Restocked };
    let request = pb::CancelRequest {
        reservation_id,
        portions: args.what.lines,
        restock: restock.into(),
        actor: args.who.actor,
        note: args.who.note,
        validate_only: args.what.dry.dry_run,
        ..Default::default()
    };
    let reservations = context.services.reservations()?;
    show_answer!(context, reservations.cancel(key, request).await.map_err(Failure::changing(key))?)
}

pub(super) async fn take_back(context: &Context<'_>, args: ReturnArgs) -> Result<(), Failure> {
    let (key, reservation_id) = keys(&args.change);
    let condition = pb::Condition::from(args.condition);
    let returned = |portion| pb::ReturnedPortion {
        portion: Some(portion),
        condition: condition.into(),
        to_location: args.to.clone(),
    };
    let request = pb::ReturnRequest {
        reservation_id,
        returns: args.lines.into_iter().map(returned).collect(),
        actor: args.who.actor,
        note: args.who.note,
        validate_only: args.dry.dry_run,
        ..Default::default()
    };
    let reservations = context.services.reservations()?;
    show_answer!(context, reservations.take_back(key, request).await.map_err(Failure::changing(key))?)
}

pub(super) async fn evidence(context: &Context<'_>, args: EvidenceArgs) -> Result<(), Failure> {
    let (key, reservation_id) = keys(&args.change);
    let request = pb::RecordEvidenceRequest {
        reservation_id,
        kind: pb::EvidenceKind::from(args.kind).into(),
        portions: args.what.lines,
        event_time: args.at,
        validate_only: args.what.dry.dry_run,
        ..Default::default()
    };
    let reservations = context.services.reservations()?;
    show_answer!(context, reservations.record_evidence(key, request).await.map_err(Failure::changing(key))?)
}

/// The request's key, and the reservation that it is about.
fn keys(change: &ChangeArgs) -> (RequestKey, String) {
    (change.key.unwrap_or_else(RequestKey::new), change.reservation.to_string())
}
