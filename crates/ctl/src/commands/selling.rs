//! `holdctl stock move|pause|resume|paused`: moving units, and stopping the selling of a SKU.

use clap::Args;
use holdfast_client::RequestKey;
use holdfast_client::api::reservation::v1 as pb;
use serde_json::json;

use super::deciding::Deciding;
use super::house::State;
use super::paging::Paging;
use super::sales::DryRun;
use super::{Context, stock};
use crate::failure::Failure;
use crate::json;
use crate::output::{self, Column};

const PAUSED: &[Column] = &[("SKU", "sku"), ("SINCE", "pause_time"), ("BY", "actor"), ("WHY", "note")];
const CHANGED: &[Column] = &[("changed", "changed_skus"), ("replayed", "replayed")];

/// What to move.
#[derive(Debug, Args)]
#[command(after_help = "Two units of the hall that proved broken:\n  \
                  holdctl stock move CHAIR-1 2 --from HALL-1 --to-condition damaged --reason 'wet boxes'")]
pub(crate) struct Move {
    /// The SKU.
    sku: String,
    /// Units.
    quantity: i64,
    /// Where they lie.
    #[arg(long, value_name = "LOCATION")]
    from: String,
    /// Where they go. Without it, they stay there.
    #[arg(long, value_name = "LOCATION")]
    to: Option<String>,
    /// In what condition they are.
    #[arg(long, value_enum, default_value_t = State::Sellable)]
    from_condition: State,
    /// In what condition they are then. Without it, the same.
    #[arg(long, value_enum)]
    to_condition: Option<State>,
    #[command(flatten)]
    deciding: Deciding,
    #[command(flatten)]
    dry: DryRun,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// Whose selling to stop or to take up again.
#[derive(Debug, Args)]
pub(crate) struct Sell {
    /// The SKUs, at most 100.
    #[arg(required = true, value_name = "SKU")]
    skus: Vec<String>,
    #[command(flatten)]
    deciding: Deciding,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

impl From<State> for pb::Condition {
    fn from(state: State) -> Self {
        match state {
            State::Sellable => Self::Sellable,
            State::Damaged => Self::Damaged,
            State::QualityHold => Self::QualityHold,
            State::Refurbished => Self::Refurbished,
        }
    }
}

pub(super) async fn move_units(context: &Context<'_>, args: Move) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let to_condition = args.to_condition.unwrap_or(args.from_condition);
    let one = pb::Move {
        sku: args.sku,
        to_location: args.to.unwrap_or_else(|| args.from.clone()),
        from_location: args.from,
        from_condition: pb::Condition::from(args.from_condition).into(),
        to_condition: pb::Condition::from(to_condition).into(),
        quantity: args.quantity,
    };
    let request = pb::MoveStockRequest {
        moves: vec![one],
        actor: args.deciding.actor,
        note: args.deciding.reason,
        validate_only: args.dry.dry_run,
        ..Default::default()
    };
    let response = context.services.stock()?.move_stock(key, request).await.map_err(Failure::changing(key))?;
    let levels: Vec<_> = response.levels.iter().map(json::level).collect();
    output::list(context.format, stock::COLUMNS, &levels)
}

pub(super) async fn pause(context: &Context<'_>, args: Sell) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let (actor, reason) = (args.deciding.actor, args.deciding.reason);
    let stock = context.services.stock()?;
    let answer = stock.pause_selling(key, args.skus, &actor, &reason).await.map_err(Failure::changing(key))?;
    let value = json!({"changed_skus": answer.changed_skus, "replayed": answer.replayed});
    output::one(context.format, CHANGED, &value)
}

pub(super) async fn resume(context: &Context<'_>, args: Sell) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let (actor, reason) = (args.deciding.actor, args.deciding.reason);
    let stock = context.services.stock()?;
    let answer = stock.resume_selling(key, args.skus, &actor, &reason).await.map_err(Failure::changing(key))?;
    let value = json!({"changed_skus": answer.changed_skus, "replayed": answer.replayed});
    output::one(context.format, CHANGED, &value)
}

pub(super) async fn paused(context: &Context<'_>, paging: Paging) -> Result<(), Failure> {
    let stock = &context.services.stock()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let page = stock.list_paused_skus(pb::ListPausedSkusRequest { page_size, page_token }).await?;
            Ok((page.paused_skus.iter().map(json::paused_sku).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, PAUSED, &items)
}
