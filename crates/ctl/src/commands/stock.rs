//! `holdctl stock`: stock as Postgres has it, adjustments, and the ledger.

use clap::{Args, Subcommand, ValueEnum};
use holdfast_client::RequestKey;
use holdfast_client::api::reservation::v1::{
    Adjustment, AdjustmentReason, Condition, ListLedgerEntriesRequest, ListStockRequest,
};

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::json;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("SKU", "sku"),
    ("LOCATION", "location"),
    ("AVAILABLE", "available"),
    ("ON HAND", "on_hand"),
    ("HELD", "held"),
    ("COMMITTED", "committed"),
    ("SAFETY", "safety_stock"),
    ("BACKORDER", "backorder_limit"),
    ("SHORTFALL", "shortfall"),
    ("UNSELLABLE", "unsellable"),
    ("COUNTED AS OF", "count_as_of_time"),
    ("VERSION", "version"),
];
const LEDGER: &[Column] = &[
    ("TIME", "create_time"),
    ("LOCATION", "location"),
    ("VERSION", "version"),
    ("CAUSE", "cause"),
    ("CAUSE ID", "cause_id"),
    ("ON HAND", "on_hand_delta"),
    ("HELD", "held_delta"),
    ("COMMITTED", "committed_delta"),
    ("UNSELLABLE", "unsellable_delta"),
    ("ACTOR", "actor"),
    ("REASON", "adjustment_reason"),
    ("NOTE", "note"),
];

/// What can be done with stock.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a SKU's stock at every location.
    Get {
        /// The SKU.
        sku: String,
    },
    /// List stock rows in the order of SKU and location.
    List {
        /// Only this location's.
        #[arg(long, default_value = "")]
        location: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Add or remove units for a stated reason.
    Adjust(Adjust),
    /// List the changes of a SKU's stock, newest first.
    Ledger {
        /// The SKU.
        sku: String,
        /// Only this location's.
        #[arg(long, default_value = "")]
        location: String,
        #[command(flatten)]
        paging: Paging,
    },
}

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct Adjust {
    /// The SKU.
    sku: String,
    /// The location.
    location: String,
    /// Units to add, or with a minus to remove.
    #[arg(allow_negative_numbers = true)]
    delta: i64,
    /// Why.
    #[arg(long, value_enum)]
    reason: Reason,
    /// In which condition the units are. Only sellable ones can be reserved.
    #[arg(long, value_enum, default_value_t = State::Sellable)]
    condition: State,
    /// Also take the units out of this condition (or put them back into it, with a minus), so that they are moved and not made.
    #[arg(long, value_enum)]
    from: Option<State>,
    /// Who does it. Without it, the user's name.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    actor: String,
    /// Why, in your words.
    #[arg(long, default_value = "")]
    note: String,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// Why stock is changed by hand.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Reason {
    /// Goods came in.
    Received,
    /// Units turned up.
    Found,
    /// Units are missing.
    Lost,
    /// Units broke, or proved broken.
    Damaged,
    /// A customer sent units back.
    Returned,
    /// Units were moved between conditions or locations.
    Moved,
    /// A mistake in an earlier number is put right.
    Correction,
}

/// In what condition units are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// New and for sale.
    Sellable,
    /// Damaged.
    Damaged,
    /// Waiting for inspection.
    QualityHold,
    /// Refurbished, used or opened.
    Refurbished,
}

impl From<State> for Condition {
    fn from(state: State) -> Self {
        match state {
            State::Sellable => Self::Sellable,
            State::Damaged => Self::Damaged,
            State::QualityHold => Self::QualityHold,
            State::Refurbished => Self::Refurbished,
        }
    }
}

impl From<Reason> for AdjustmentReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Received => Self::Received,
            Reason::Found => Self::Found,
            Reason::Lost => Self::Lost,
            Reason::Damaged => Self::Damaged,
            Reason::Returned => Self::Returned,
            Reason::Moved => Self::Moved,
            Reason::Correction => Self::Correction,
        }
    }
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let stock = &context.services.stock()?;
    match command {
        Command::Get { sku } => {
            let response = stock.get_stock(&sku).await.map_err(Failure::reading)?;
            let levels: Vec<_> = response.levels.iter().map(json::level).collect();
            output::list(context.format, COLUMNS, &levels)
        }
        Command::List { location, paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let request = ListStockRequest { page_size, page_token, location: location.clone() };
                    let page = stock.list_stock(request).await?;
                    Ok((page.levels.iter().map(json::level).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, COLUMNS, &items)
        }
        Command::Adjust(args) => adjust(context, args).await,
        Command::Ledger { sku, location, paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let (sku, location) = (sku.clone(), location.clone());
                    let request = ListLedgerEntriesRequest { sku, location, page_size, page_token };
                    let page = stock.list_ledger_entries(request).await?;
                    Ok((page.entries.iter().map(json::ledger_entry).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, LEDGER, &items)
        }
    }
}

async fn adjust(context: &Context<'_>, args: Adjust) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let part = |state: State, delta| Adjustment {
        sku: args.sku.clone(),
        location: args.location.clone(),
        condition: Condition::from(state).into(),
        delta,
        reason: AdjustmentReason::from(args.reason).into(),
    };
    let mut adjustments = vec![part(args.condition, args.delta)];
    if let Some(from) = args.from {
        adjustments.push(part(from, -args.delta));
    }
    let stock = context.services.stock()?;
    let response =
        stock.adjust_stock(key, adjustments, &args.actor, &args.note).await.map_err(Failure::changing(key))?;
    if response.replayed {
        output::note("This key had landed before; nothing was changed now.");
    }
    let levels: Vec<_> = response.levels.iter().map(json::level).collect();
    output::list(context.format, COLUMNS, &levels)
}
