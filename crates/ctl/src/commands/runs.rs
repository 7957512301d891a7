//! `holdctl run`: what became of a vendor's files, row by row, and deciding those that are held.

use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use holdfast_client::api::vendorsync::v1::{
    ListQuarantinedRowsRequest, ListRunRowsRequest, ListRunsRequest, RowOutcome, Run, RunState,
};
use holdfast_client::{RequestKey, VendorSyncClient};

use super::Context;
use super::deciding::Deciding;
use super::paging::Paging;
use super::quarantine;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{called, json};

pub(super) const COLUMNS: &[Column] = &[
    ("RUN", "run_id"),
    ("CONNECTION", "connection"),
    ("STATE", "state"),
    ("AS OF", "as_of_time"),
    ("FILE", "file_name"),
    ("ROWS", "totals/rows"),
    ("APPLIED", "totals/applied"),
    ("UNCHANGED", "totals/unchanged"),
    ("STALE", "totals/stale"),
    ("UNMAPPED", "totals/unmapped"),
    ("REJECTED", "totals/rejected"),
    ("QUARANTINED", "totals/quarantined"),
];
const FIELDS: &[Column] = &[
    ("run", "run_id"),
    ("connection", "connection"),
    ("location", "location"),
    ("state", "state"),
    ("reason", "reason"),
    ("warnings", "warnings"),
    ("decided by", "decided_by"),
    ("  because", "decision_reason"),
    ("as of", "as_of_time"),
    ("came by", "origin"),
    ("file", "file_name"),
    ("sha-256", "content_sha256"),
    ("complete", "create_time"),
    ("ended", "end_time"),
    ("rows", "totals/rows"),
    ("  applied", "totals/applied"),
    ("  unchanged", "totals/unchanged"),
    ("  stale", "totals/stale"),
    ("  unmapped", "totals/unmapped"),
    ("  rejected", "totals/rejected"),
    ("  quarantined", "totals/quarantined"),
];
pub(super) const ROWS: &[Column] = &[
    ("LINE", "line"),
    ("VENDOR SKU", "vendor_sku"),
    ("QUANTITY", "raw_quantity"),
    ("SKU", "sku"),
    ("UNITS", "quantity"),
    ("OUTCOME", "outcome"),
    ("BEFORE", "previous_on_hand"),
    ("SHORTFALL", "shortfall"),
    ("NOTE", "note"),
    ("QUARANTINE", "quarantine_id"),
];

/// Quarantined rows that are shown after a run.
const QUARANTINED_SHOWN: i32 = 10;

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List runs, newest first.
    List {
        /// Only this connection's.
        #[arg(long, default_value = "", hide_default_value = true)]
        connection: String,
        /// Only those in this state: `--state held` lists the files that wait for a person.
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a run: where it stands, why, and its rows by outcome.
    #[command(visible_alias = "show")]
    Get {
        /// The run's id.
        run: String,
    },
    /// List a run's rows in the order of the file.
    Rows {
        /// The run's id.
        run: String,
        /// Only rows with this outcome.
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Believe a held file: it is applied, its rows still pass their guards.
    Approve {
        /// The held run's id.
        run: String,
        #[command(flatten)]
        deciding: Deciding,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Do not believe a held file: nothing of it will be applied.
    Reject {
        /// The held run's id.
        run: String,
        #[command(flatten)]
        deciding: Deciding,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// Its rows are being applied.
    Applying,
    /// Every row has its outcome.
    Applied,
    /// The file was not what the connection registered.
    Refused,
    /// It waits for a person, or for a good newer file.
    Held,
    /// A person did not believe it.
    Rejected,
    /// A good newer file took its place.
    Superseded,
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Applying => Self::Applying,
            State::Applied => Self::Applied,
            State::Refused => Self::Refused,
            State::Held => Self::Held,
            State::Rejected => Self::Rejected,
            State::Superseded => Self::Superseded,
        }
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Outcome {
    /// Not applied yet.
    Pending,
    /// Stock was set to the number.
    Applied,
    /// Stock had that number already.
    Unchanged,
    /// Stock had a newer count.
    Stale,
    /// No offer maps the vendor's code.
    Unmapped,
    /// The row could not be read.
    Rejected,
    /// A guard stopped it.
    Quarantined,
    /// The shop's own count: something else was on hand than was expected.
    Conflict,
}

impl From<Outcome> for RowOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pending => Self::Pending,
            Outcome::Applied => Self::Applied,
            Outcome::Unchanged => Self::Unchanged,
            Outcome::Stale => Self::Stale,
            Outcome::Unmapped => Self::Unmapped,
            Outcome::Rejected => Self::Rejected,
            Outcome::Quarantined => Self::Quarantined,
            Outcome::Conflict => Self::Conflict,
        }
    }
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { connection, state, paging } => list(context, &connection, state, paging).await,
        Command::Get { run } => {
            let response = context.services.vendor_sync()?.get_run(&run).await.map_err(Failure::reading)?;
            print(context, &response.run.unwrap_or_default())
        }
        Command::Rows { run, outcome, paging } => rows(context, &run, outcome, paging).await,
        Command::Approve { run, deciding, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let vendor_sync = context.services.vendor_sync()?.with_deadline(context.services.file_timeout());
            let ends = Instant::now() + context.services.file_timeout();
            let response = vendor_sync.approve_run(key, &run, &deciding.decision()).await;
            let run = response.map_err(Failure::changing(key))?.run.unwrap_or_default();
            let run = until_applied(&vendor_sync, run, ends).await?;
            print(context, &run)?;
            verdict(context, &run).await
        }
        Command::Reject { run, deciding, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let vendor_sync = context.services.vendor_sync()?;
            let response = vendor_sync.reject_run(key, &run, &deciding.decision()).await;
            print(context, &response.map_err(Failure::changing(key))?.run.unwrap_or_default())
        }
    }
}

/// Prints a run, field by field.
pub(super) fn print(context: &Context<'_>, run: &Run) -> Result<(), Failure> {
    output::one(context.format, FIELDS, &json::run(run))
}

/// Waits for a run that goes on in the background, as long files' runs do.
pub(super) async fn until_applied(vendor_sync: &VendorSyncClient, mut run: Run, ends: Instant) -> Result<Run, Failure> {
    while run.state() == RunState::Applying && Instant::now() < ends {
        tokio::time::sleep(Duration::from_millis(300)).await;
        run = vendor_sync.get_run(&run.run_id).await.map_err(Failure::reading)?.run.unwrap_or_default();
    }
    Ok(run)
}

/// How a run ended, for whoever sent or approved its file: what to do next, and a failure if nothing was applied, though the call went well.
pub(super) async fn verdict(context: &Context<'_>, run: &Run) -> Result<(), Failure> {
    let (id, ctl) = (&run.run_id, called::program());
    run.warnings.iter().for_each(|warning| output::note(&format!("Warning: {warning}")));
    match run.state() {
        RunState::Held => Err(Failure::Waits(format!(
            "the file was held: {}. Nothing was applied; it waits for a person, or for a good newer file.\n\
             Next: look at it:   {ctl} run rows {id}\n      believe it:   {ctl} run approve {id} --reason 'why'\n      \
             or do not:    {ctl} run reject {id} --reason 'why'",
            run.reason.trim_end_matches('.')
        ))),
        RunState::Refused => Err(Failure::Refused(format!(
            "the file was refused: {}. Nothing was applied.\n\
             Next: compare it with what is registered: {ctl} connection get {}",
            run.reason.trim_end_matches('.'),
            run.connection
        ))),
        RunState::Rejected | RunState::Superseded => Err(Failure::Refused(format!(
            "the file was {}. Nothing was applied.",
            json::run_state(run.state()).to_lowercase()
        ))),
        RunState::Applying => {
            output::note(&format!("It is still being applied; see how far it is: {ctl} run get {id}"));
            Ok(())
        }
        RunState::Applied | RunState::Unspecified => {
            let totals = run.totals.unwrap_or_default();
            for (number, outcome) in [(totals.unmapped, "unmapped"), (totals.rejected, "rejected")] {
                if number > 0 {
                    output::note(&format!("{number} rows are {outcome}: {ctl} run rows {id} --outcome {outcome}"));
                }
            }
            if totals.quarantined > 0 { show_quarantined(context, run, totals.quarantined).await } else { Ok(()) }
        }
    }
}

/// Shows what a guard stopped, on standard error: the result is the run.
async fn show_quarantined(context: &Context<'_>, run: &Run, number: i64) -> Result<(), Failure> {
    let request = ListQuarantinedRowsRequest {
        page_size: QUARANTINED_SHOWN,
        run_id: run.run_id.clone(),
        ..ListQuarantinedRowsRequest::default()
    };
    let page = context.services.quarantine()?.list_quarantined_rows(request).await.map_err(Failure::reading)?;
    if page.rows.is_empty() {
        output::note(&format!("A guard stopped {number} rows; they have been decided since."));
        return Ok(());
    }
    output::note(&format!("A guard stopped {number} of the rows; the others are applied:"));
    for row in &page.rows {
        output::note(&format!("  {}", quarantine::sentence(row)));
    }
    let more = number - i64::try_from(page.rows.len()).unwrap_or_default();
    if more > 0 {
        output::note(&format!("  and {more} more: {} quarantine list --run {}", called::program(), run.run_id));
    }
    quarantine::how_to_decide(&page.rows[0].quarantine_id);
    Ok(())
}

async fn list(context: &Context<'_>, connection: &str, state: Option<State>, paging: Paging) -> Result<(), Failure> {
    let vendor_sync = &context.services.vendor_sync()?;
    let state = state.map_or(RunState::Unspecified, RunState::from);
    let items = paging
        .collect(async |page_size, page_token| {
            let connection = connection.to_owned();
            let request = ListRunsRequest { page_size, page_token, connection, state: state.into() };
            let page = vendor_sync.list_runs(request).await?;
            Ok((page.runs.iter().map(json::run).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)
}

async fn rows(context: &Context<'_>, run_id: &str, outcome: Option<Outcome>, paging: Paging) -> Result<(), Failure> {
    let outcome = outcome.map_or(RowOutcome::Unspecified, RowOutcome::from);
    let vendor_sync = &context.services.vendor_sync()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let run_id = run_id.to_owned();
            let request = ListRunRowsRequest { run_id, page_size, page_token, outcome: outcome.into() };
            let page = vendor_sync.list_run_rows(request).await?;
            Ok((page.rows.iter().map(json::run_row).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, ROWS, &items)
}
