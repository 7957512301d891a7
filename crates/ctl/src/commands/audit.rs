//! `holdctl audit` and `holdctl repair`: what contradicts itself in the record, and putting it right.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_client::RequestKey;
use holdfast_client::api::reservation::v1::run_audit_response::Event;
use holdfast_client::api::reservation::v1::{ListDiscrepanciesRequest, RepairOutcome, RepairRequest, RepairSide};
use serde_json::json;

use super::Context;
use super::deciding::Deciding;
use super::paging::Paging;
use crate::cli::Format;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{called, json};

const COLUMNS: &[Column] = &[
    ("ID", "discrepancy_id"),
    ("KIND", "kind"),
    ("SKU", "sku"),
    ("LOCATION", "location"),
    ("RESERVATION", "reservation_id"),
    ("FOUND", "found_time"),
    ("GONE", "resolve_time"),
    ("WHAT", "detail"),
];
const RESULTS: &[Column] = &[
    ("OUTCOME", "outcome"),
    ("SKU", "sku"),
    ("LOCATION", "location"),
    ("RESERVATION", "reservation_id"),
    ("WHAT", "detail"),
];
/// Discrepancies of one request.
const REPAIRED_MAX: usize = 100;

/// What can be done with audits.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what the auditor found, newest first. Code 4 if something is wrong.
    List {
        /// Those that are gone too.
        #[arg(long)]
        resolved: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Look at everything now: every SKU, every reservation, every counter. Code 4 if something is wrong.
    Run,
}

/// What to repair, and how.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Ids of discrepancies, as `holdctl audit list` shows them.
    #[arg(required = true, value_name = "ID", num_args = 1..=REPAIRED_MAX)]
    ids: Vec<String>,
    #[command(flatten)]
    deciding: Deciding,
    /// Write it. Without this, only show what would be written.
    #[arg(long)]
    yes: bool,
    /// Whose word stands for units on hand, conditions, freshness and offer limits.
    #[arg(long, value_enum, default_value_t = Side::Row)]
    side: Side,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// Whose word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// The stock row's: the ledger gets an entry that explains it.
    Row,
    /// The ledger's: the row goes back to what its entries add up to.
    Ledger,
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { resolved, paging } => list(context, resolved, paging).await,
        Command::Run => whole(context).await,
    }
}

async fn list(context: &Context<'_>, resolved: bool, paging: Paging) -> Result<(), Failure> {
    let audit = &context.services.audit()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let request = ListDiscrepanciesRequest { page_size, page_token, show_resolved: resolved };
            let page = audit.list_discrepancies(request).await?;
            Ok((page.discrepancies.iter().map(json::discrepancy).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)?;
    let open = items.iter().filter(|item| item["resolve_time"].is_null()).count();
    if open == 0 { Ok(()) } else { Err(waits(open)) }
}

async fn whole(context: &Context<'_>) -> Result<(), Failure> {
    let mut run = context.services.audit()?.run_audit().await.map_err(Failure::reading)?;
    let mut told = tokio::time::Instant::now();
    while let Some(event) = run.next().await.map_err(Failure::reading)? {
        match event {
            Event::Discrepancy(one) if context.format == Format::Json => {
                output::line(&json!({"discrepancy": json::discrepancy(&one)}))?;
            }
            Event::Discrepancy(one) => output::words(&sentence(&json::discrepancy(&one)))?,
            Event::Progress(progress) if told.elapsed() >= Duration::from_secs(5) => {
                output::note(&format!("{} SKUs and {} reservations so far", progress.skus, progress.reservations));
                told = tokio::time::Instant::now();
            }
            Event::Progress(_) => {}
            Event::End(end) => {
                if context.format == Format::Json {
                    output::line(&json!({"end": json::audit_end(&end)}))?;
                } else {
                    let (skus, reservations) = (end.skus, end.reservations);
                    output::words(&format!(
                        "Looked at {skus} SKUs and {reservations} reservations: {} wrong.",
                        end.discrepancies
                    ))?;
                }
                if !end.counters_checked {
                    output::note("Redis could not be asked: nothing is known of its counters.");
                }
                if end.skipped_skus > 0 {
                    output::note(&format!(
                        "{} SKUs took too long to look at: nothing is known of them.",
                        end.skipped_skus
                    ));
                }
                let wrong = usize::try_from(end.discrepancies).unwrap_or_default();
                return if wrong == 0 { Ok(()) } else { Err(waits(wrong)) };
            }
        }
    }
    Err(Failure::Refused("the audit broke off before its end; run it again".to_owned()))
}

pub(crate) async fn repair(context: &Context<'_>, args: RepairArgs) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let decision = args.deciding.decision();
    let side = match args.side {
        Side::Row => RepairSide::Row,
        Side::Ledger => RepairSide::Ledger,
    };
    let request = RepairRequest {
        request_id: String::new(),
        discrepancy_ids: args.ids,
        actor: decision.actor,
        reason: decision.reason,
        side: side.into(),
        validate_only: !args.yes,
    };
    let answer = context.services.audit()?.repair(key, request).await;
    let answer = if args.yes { answer.map_err(Failure::changing(key))? } else { answer.map_err(Failure::reading)? };
    let items: Vec<_> = answer.results.iter().map(json::repair_result).collect();
    output::list(context.format, RESULTS, &items)?;
    if !args.yes {
        output::note("Nothing was written. Add --yes to write it.");
    }
    let left = answer.results.iter().filter(|one| one.outcome() == RepairOutcome::Left).count();
    if left == 0 {
        Ok(())
    } else {
        Err(Failure::Waits(format!("{left} left: a person must do first what is said there")))
    }
}

fn waits(count: usize) -> Failure {
    let ctl = called::program();
    Failure::Waits(format!(
        "{count} wrong: a person has to decide\nNext: see what it would write: {ctl} repair ID --reason 'why'\n      write it:                 \
         {ctl} repair ID --reason 'why' --yes"
    ))
}

/// A discrepancy in a line.
fn sentence(one: &serde_json::Value) -> String {
    let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let id = if text("discrepancy_id").is_empty() { "(not kept)".to_owned() } else { text("discrepancy_id") };
    let subject = [text("sku"), text("location"), text("reservation_id")].into_iter().filter(|part| !part.is_empty());
    format!("{id}  {}  {}  {}", text("kind"), subject.collect::<Vec<_>>().join(" "), text("detail"))
}
