//! `holdctl reserve`, `release`, `extend` and `reservation`: what a checkout does, by hand.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_client::api::reservation::v1::{
    ListAtRiskRequest, ListReservationsRequest, LocationStrategy, ReservationState,
};
use holdfast_client::{Line, RequestKey, ReservationKey, Reserve};
use serde_json::Value;

use super::paging::Paging;
use super::sales::DryRun;
use super::{Context, sales, watching};
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{json, parse};

const COLUMNS: &[Column] = &[
    ("RESERVATION", "reservation_id"),
    ("OWNER", "owner"),
    ("STATE", "state"),
    ("LINES", "lines"),
    ("CREATED", "create_time"),
    ("EXPIRES", "expire_time"),
];
const FIELDS: &[Column] = &[
    ("reservation", "reservation_id"),
    ("owner", "owner"),
    ("state", "state"),
    ("lines", "lines"),
    ("created", "create_time"),
    ("expires", "expire_time"),
    ("order", "order_reference"),
    ("channel", "channel"),
    ("labels", "labels"),
    ("missing", "shortages"),
    ("replaces", "predecessor_id"),
    ("replaced by", "successor_id"),
    ("in this state since", "state_time"),
    ("version", "version"),
];
const AT_RISK: &[Column] = &[
    ("SKU", "shortage/sku"),
    ("LOCATION", "shortage/location"),
    ("LACKS", "shortage/quantity"),
    ("SHORTFALL", "shortage/shortfall"),
    ("RESERVATION", "reservation/reservation_id"),
    ("OWNER", "reservation/owner"),
    ("STATE", "reservation/state"),
    ("LINES", "reservation/lines"),
    ("CREATED", "reservation/create_time"),
];
const CHANGED: &[Column] = &[
    ("reservation", "reservation_id"),
    ("owner", "owner"),
    ("first answer", "state"),
    ("state now", "current_state"),
    ("lines", "lines"),
    ("missing", "shortages"),
    ("expires", "expire_time"),
    ("replayed", "replayed"),
];

/// What to hold.
#[derive(Debug, Args)]
pub(crate) struct ReserveArgs {
    /// The lines: SKU=QUANTITY, or SKU=QUANTITY@LOCATION to take from one location only.
    #[arg(required = true, value_name = "SKU=QUANTITY[@LOCATION]", value_parser = parse::line)]
    lines: Vec<Line>,
    /// Whose reservation it is: a cart, a customer, an order.
    #[arg(long)]
    owner: String,
    /// How long to hold, for example 15m.
    #[arg(long, value_parser = parse::duration, value_name = "DURATION")]
    hold: Option<Duration>,
    /// The reservation's id, to repeat a reserve whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<ReservationKey>,
    /// Which attempt with --key it is: 2 or more closes the key if there is too little.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) attempt: u32,
    /// As much of every line as there is; what is missing is said.
    #[arg(long)]
    best_effort: bool,
    /// Every line from one location only.
    #[arg(long)]
    in_one_piece: bool,
    /// How locations are chosen for lines that name none. Without it, in the order of the selling policy.
    #[arg(long, value_enum, conflicts_with = "nearest")]
    strategy: Option<Strategy>,
    /// From the nearest location first: their codes, the nearest first.
    #[arg(long, value_delimiter = ',', value_name = "LOCATION")]
    nearest: Vec<String>,
    /// The channel that it comes by: a shop, a marketplace.
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Your own name for the order.
    #[arg(long, value_name = "REFERENCE")]
    order: Option<String>,
    /// Something to keep with the reservation.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse::pair)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    dry: DryRun,
}

/// How locations are chosen.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Strategy {
    /// The first of the selling policy's locations that has all units of the line.
    FixedPriority,
    /// As few locations as possible for the whole cart.
    FewestParcels,
    /// The location that has most.
    MostStock,
}

impl ReserveArgs {
    /// The key, and what is asked for under it.
    pub(super) fn reserve(self) -> (ReservationKey, Reserve) {
        let key = self.key.unwrap_or_else(ReservationKey::new);
        let piece = |line: Line| if self.in_one_piece { line.in_one_piece() } else { line };
        let lines = self.lines.into_iter().map(piece);
        let mut reserve = Reserve::new(key, self.owner, lines).retry_of(self.attempt - 1);
        if let Some(hold) = self.hold {
            reserve = reserve.hold_for(hold);
        }
        if self.best_effort {
            reserve = reserve.best_effort();
        }
        if let Some(strategy) = self.strategy {
            reserve = reserve.strategy(match strategy {
                Strategy::FixedPriority => LocationStrategy::FixedPriority,
                Strategy::FewestParcels => LocationStrategy::FewestParcels,
                Strategy::MostStock => LocationStrategy::MostStock,
            });
        }
        if !self.nearest.is_empty() {
            reserve = reserve.nearest(self.nearest);
        }
        if let Some(channel) = self.channel {
            reserve = reserve.channel(channel);
        }
        if let Some(order) = self.order {
            reserve = reserve.order_reference(order);
        }
        for (name, value) in self.labels {
            reserve = reserve.label(name, value);
        }
        (key, if self.dry.dry_run { reserve.dry_run() } else { reserve })
    }
}

/// Which reservation to change.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The reservation's id.
    pub(super) reservation: ReservationKey,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    pub(super) key: Option<RequestKey>,
}

/// Which reservation to extend, and by how much.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// How long from now the hold shall last.
    #[arg(long, value_parser = parse::duration, value_name = "DURATION")]
    hold: Duration,
}

/// What can be done with reservations that stand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a reservation.
    Get {
        /// Its id.
        reservation: ReservationKey,
    },
    /// List reservations, newest first.
    List {
        /// Only this owner's.
        #[arg(long, default_value = "")]
        owner: String,
        /// Only in this state.
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only with this order reference.
        #[arg(long, default_value = "", hide_default_value = true, value_name = "REFERENCE")]
        order: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Put a new hold in the place of an owner's old one, in one step. Prints the new reservation's id before it sends anything.
    Replace(sales::ReplaceArgs),
    /// Turn a hold, or a part of it, into a sale.
    Confirm(sales::ConfirmArgs),
    /// Say that units of a sale were shipped.
    Fulfil(sales::FulfilArgs),
    /// Call off units of a sale that were not shipped.
    Cancel(sales::CancelArgs),
    /// Take shipped units back into stock.
    Return(sales::ReturnArgs),
    /// Tell what became of an order at the vendor.
    Evidence(sales::EvidenceArgs),
    /// List the reservations that lack units now: for each row of stock that is short, the newest first.
    AtRisk {
        /// Only those that lack units of this SKU.
        #[arg(long, default_value = "", hide_default_value = true)]
        sku: String,
        /// Only those that lack units at this location.
        #[arg(long, default_value = "", hide_default_value = true)]
        location: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Follow what happens to reservations: those at risk now, and then every event, until interrupted.
    Watch(watching::Reservations),
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// Can be confirmed.
    Held,
    /// Sold.
    Confirmed,
    /// Shipped.
    Fulfilled,
    /// Given back.
    Released,
    /// Its time ran out.
    Expired,
    /// Called off after it was confirmed.
    Cancelled,
    /// Closed by a refusal.
    Refused,
}

pub(crate) async fn reserve(context: &Context<'_>, args: ReserveArgs) -> Result<(), Failure> {
    let attempt = args.attempt;
    let (key, reserve) = args.reserve();
    let reservations = context.services.reservations()?;
    // Before it is sent: whoever interrupts the command can still repeat or release it.
    output::note(&format!("reservation {key}"));
    let response = reservations.reserve(&reserve).await.map_err(Failure::holding(key, attempt))?;
    let mut value = json::changed(response.reservation.as_ref(), response.current_state, response.replayed);
    value["expire_time"] = json::instant(response.current_expire_time.as_ref());
    output::one(context.format, CHANGED, &value)
}

pub(crate) async fn release(context: &Context<'_>, args: ChangeArgs) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let reservations = context.services.reservations()?;
    let response = reservations.release(key, args.reservation).await.map_err(Failure::changing(key))?;
    show(context, &json::changed(response.reservation.as_ref(), response.current_state, response.replayed))
}

pub(crate) async fn extend(context: &Context<'_>, args: ExtendArgs) -> Result<(), Failure> {
    let key = args.change.key.unwrap_or_else(RequestKey::new);
    let reservations = context.services.reservations()?;
    let response =
        reservations.extend(key, args.change.reservation, args.hold).await.map_err(Failure::changing(key))?;
    show(context, &json::changed(response.reservation.as_ref(), response.current_state, response.replayed))
}

pub(super) fn show(context: &Context<'_>, value: &Value) -> Result<(), Failure> {
    output::one(context.format, CHANGED, value)
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let reservations = &context.services.reservations()?;
    match command {
        Command::Get { reservation } => {
            let response = reservations.get_reservation(reservation).await.map_err(Failure::reading)?;
            output::one(context.format, FIELDS, &json::reservation(&response.reservation.unwrap_or_default()))
        }
        Command::List { owner, state, order, paging } => {
            let state = match state {
                None => ReservationState::Unspecified,
                Some(State::Held) => ReservationState::Held,
                Some(State::Confirmed) => ReservationState::Confirmed,
                Some(State::Fulfilled) => ReservationState::Fulfilled,
                Some(State::Released) => ReservationState::Released,
                Some(State::Expired) => ReservationState::Expired,
                Some(State::Cancelled) => ReservationState::Cancelled,
                Some(State::Refused) => ReservationState::Refused,
            };
            let items = paging
                .collect(async |page_size, page_token| {
                    let (owner, order_reference) = (owner.clone(), order.clone());
                    let state = state.into();
                    let request = ListReservationsRequest { page_size, page_token, owner, state, order_reference };
                    let page = reservations.list_reservations(request).await?;
                    Ok((page.reservations.iter().map(json::reservation).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, COLUMNS, &items)
        }
        Command::Replace(args) => sales::replace(context, args).await,
        Command::Confirm(args) => sales::confirm(context, args).await,
        Command::Fulfil(args) => sales::fulfil(context, args).await,
        Command::Cancel(args) => sales::cancel(context, args).await,
        Command::Return(args) => sales::take_back(context, args).await,
        Command::Evidence(args) => sales::evidence(context, args).await,
        Command::AtRisk { sku, location, paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let (sku, location) = (sku.clone(), location.clone());
                    let request = ListAtRiskRequest { page_size, page_token, sku, location };
                    let page = reservations.list_at_risk(request).await?;
                    Ok((page.reservations.iter().map(json::at_risk).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, AT_RISK, &items)
        }
        Command::Watch(args) => watching::reservations(context, args).await,
    }
}
