//! `holdctl stock`: stock as Postgres has it, how fresh it is, and the ledger.

use clap::Subcommand;
use holdfast_client::api::reservation::v1::{
    GetStockAsOfRequest, ListFeedsRequest, ListLedgerEntriesRequest, ListStockRequest,
};
use prost_types::Timestamp;
use serde_json::json;

use super::paging::Paging;
use super::{Context, house, selling, watching};
use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{json, parse};

pub(super) const COLUMNS: &[Column] = &[
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
    ("FRESHNESS", "freshness"),
    ("OFFER LIMIT", "offer_limit"),
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
    ("SAFETY", "safety_stock_delta"),
    ("BACKORDER", "backorder_limit_delta"),
    ("OFFER LIMIT", "offer_limit"),
    ("FRESHNESS", "freshness"),
    ("UNSELLABLE", "unsellable_delta"),
    ("ACTOR", "actor"),
    ("REASON", "adjustment_reason"),
    ("NOTE", "note"),
    ("TRACE", "trace_id"),
];

const FEEDS: &[Column] = &[
    ("CONNECTION", "connection"),
    ("LOCATION", "location"),
    ("FRESHNESS", "freshness"),
    ("COUNTED AS OF", "as_of_time"),
    ("PROMISED EVERY", "promised_interval"),
    ("LATE FROM", "late_time"),
    ("STALE FROM", "stale_time"),
];

/// What can be done with stock.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Read(Read),
    /// Say what was counted at a location. Guards look at it as at a vendor's numbers: a slip of the finger waits for a second look.
    Count(house::Count),
    /// Add or remove units for a stated reason. Guards look at it too.
    Adjust(house::Adjust),
    /// Move units to another location, into another condition, or both. No move makes units, so no guard looks at it.
    Move(selling::Move),
    /// Stop the selling of SKUs at once, everywhere. Holds and sales that exist are not touched.
    Pause(selling::Sell),
    /// Let SKUs be sold again that somebody, or too fast a sale, had paused.
    Resume(selling::Sell),
    /// List the SKUs whose selling is paused, and why.
    Paused {
        #[command(flatten)]
        paging: Paging,
    },
}

/// What can be read of stock.
#[derive(Debug, Subcommand)]
pub(crate) enum Read {
    /// Show a SKU's stock at every location.
    #[command(visible_alias = "show")]
    Get {
        /// The SKU.
        sku: String,
    },
    /// List stock rows in the order of SKU and location.
    List {
        /// Only this location's.
        #[arg(long, default_value = "", hide_default_value = true)]
        location: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// List vendors' feeds and how fresh their numbers are: late ones keep more units back, stale ones are not offered any more.
    Feeds {
        #[command(flatten)]
        paging: Paging,
    },
    /// List the changes of a SKU's stock, newest first.
    Ledger {
        /// The SKU.
        sku: String,
        /// Only this location's.
        #[arg(long, default_value = "", hide_default_value = true)]
        location: String,
        /// Only changes of this instant or later, for example 2026-03-01T12:00:00Z.
        #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
        since: Option<Timestamp>,
        /// Only changes of this instant or earlier.
        #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
        until: Option<Timestamp>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show what a SKU's stock was at an instant, and the last changes that led to it.
    AsOf {
        /// The SKU.
        sku: String,
        /// As of when, for example 2026-03-01T12:00:00Z.
        #[arg(value_parser = parse::instant, value_name = "INSTANT")]
        time: Timestamp,
        /// Only this location's.
        #[arg(long, default_value = "", hide_default_value = true)]
        location: String,
        /// How many changes to show.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000), value_name = "N")]
        entries: i32,
    },
    /// Follow what can be reserved: everything there is, and then every change, until interrupted.
    Watch(watching::Availability),
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Count(args) => house::count(context, args).await,
        Command::Adjust(args) => house::adjust(context, args).await,
        Command::Move(args) => selling::move_units(context, args).await,
        Command::Pause(args) => selling::pause(context, args).await,
        Command::Resume(args) => selling::resume(context, args).await,
        Command::Paused { paging } => selling::paused(context, paging).await,
        Command::Read(command) => read(context, command).await,
    }
}

async fn read(context: &Context<'_>, command: Read) -> Result<(), Failure> {
    let stock = &context.services.stock()?;
    match command {
        Read::Get { sku } => {
            let response = stock.get_stock(&sku).await.map_err(Failure::reading)?;
            let levels: Vec<_> = response.levels.iter().map(json::level).collect();
            output::list(context.format, COLUMNS, &levels)
        }
        Read::List { location, paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let request = ListStockRequest { page_size, page_token, location: location.clone() };
                    let page = stock.list_stock(request).await?;
                    Ok((page.levels.iter().map(json::level).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, COLUMNS, &items)
        }
        Read::Feeds { paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let page = stock.list_feeds(ListFeedsRequest { page_size, page_token }).await?;
                    Ok((page.feeds.iter().map(json::feed).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, FEEDS, &items)
        }
        Read::Ledger { sku, location, since, until, paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let (sku, location, start_time, end_time) = (sku.clone(), location.clone(), since, until);
                    let request =
                        ListLedgerEntriesRequest { sku, location, page_size, page_token, start_time, end_time };
                    let page = stock.list_ledger_entries(request).await?;
                    Ok((page.entries.iter().map(json::ledger_entry).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, LEDGER, &items)
        }
        Read::AsOf { sku, time, location, entries } => {
            let request = GetStockAsOfRequest { sku, location, time: Some(time), page_size: entries };
            let response = stock.get_stock_as_of(request).await.map_err(Failure::reading)?;
            let levels: Vec<_> = response.levels.iter().map(json::level).collect();
            let entries: Vec<_> = response.entries.iter().map(json::ledger_entry).collect();
            match context.format {
                Format::Json => {
                    let begins = json::instant(response.begin_time.as_ref());
                    output::one(Format::Json, &[], &json!({"levels": levels, "entries": entries, "begin_time": begins}))
                }
                Format::Table => {
                    output::list(Format::Table, COLUMNS, &levels)?;
                    output::words("\nThe last changes that led to it, the newest first:")?;
                    output::list(Format::Table, LEDGER, &entries)
                }
            }
        }
        Read::Watch(args) => watching::availability(context, args).await,
    }
}
