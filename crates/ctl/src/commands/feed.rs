//! `holdctl feed` and `holdctl run`: a vendor's files, and what became of them row by row.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use holdfast_client::api::vendorsync::v1::{
    ListRunRowsRequest, ListRunsRequest, RowOutcome, Run, RunState, UploadFeedSpec,
};
use holdfast_client::{RequestKey, VendorSyncClient};
use prost_types::Timestamp;

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::files::CsvFile;
use crate::output::{self, Column};
use crate::progress::Bar;
use crate::{json, parse};

const COLUMNS: &[Column] = &[
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
];
const FIELDS: &[Column] = &[
    ("run", "run_id"),
    ("connection", "connection"),
    ("state", "state"),
    ("reason", "reason"),
    ("as of", "as_of_time"),
    ("file", "file_name"),
    ("sha-256", "content_sha256"),
    ("uploaded", "create_time"),
    ("ended", "end_time"),
    ("rows", "totals/rows"),
    ("  applied", "totals/applied"),
    ("  unchanged", "totals/unchanged"),
    ("  stale", "totals/stale"),
    ("  unmapped", "totals/unmapped"),
    ("  rejected", "totals/rejected"),
];
const ROWS: &[Column] = &[
    ("LINE", "line"),
    ("VENDOR SKU", "vendor_sku"),
    ("QUANTITY", "raw_quantity"),
    ("SKU", "sku"),
    ("UNITS", "quantity"),
    ("OUTCOME", "outcome"),
    ("BEFORE", "previous_on_hand"),
    ("SHORTFALL", "shortfall"),
    ("NOTE", "note"),
];

/// What can be done with files.
#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Upload a stock file (.gz too) and wait until every row has its outcome. The same file with the same --as-of is one run.
    Upload(Upload),
}

/// What to upload.
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// The file.
    file: PathBuf,
    /// The connection whose file it is.
    #[arg(long)]
    connection: String,
    /// When the vendor counted, for example 2026-03-01T12:00:00Z, or now.
    #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
    as_of: Timestamp,
    /// The request's key, to repeat an upload whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first.
    List {
        /// Only this connection's.
        #[arg(long, default_value = "")]
        connection: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a run.
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
}

pub(crate) async fn run_feed(context: &Context<'_>, command: FeedCommand) -> Result<(), Failure> {
    match command {
        FeedCommand::Upload(args) => upload(context, args).await,
    }
}

pub(crate) async fn run_run(context: &Context<'_>, command: RunCommand) -> Result<(), Failure> {
    match command {
        RunCommand::List { connection, paging } => list(context, &connection, paging).await,
        RunCommand::Get { run } => {
            let response = context.services.vendor_sync()?.get_run(&run).await.map_err(Failure::reading)?;
            output::one(context.format, FIELDS, &json::run(&response.run.unwrap_or_default()))
        }
        RunCommand::Rows { run, outcome, paging } => rows(context, &run, outcome, paging).await,
    }
}

async fn upload(context: &Context<'_>, args: Upload) -> Result<(), Failure> {
    let file = CsvFile::open(&args.file)?;
    let key = args.key.unwrap_or_else(RequestKey::new);
    let spec = UploadFeedSpec {
        request_id: String::new(),
        connection: args.connection,
        as_of_time: Some(args.as_of),
        file_name: file.name().to_owned(),
        ..UploadFeedSpec::default()
    };
    let bar = Bar::of_bytes("sending", file.bytes().len());
    let vendor_sync = context.services.vendor_sync()?;
    let ends = Instant::now() + context.services.file_timeout();
    let response = vendor_sync
        .with_deadline(context.services.file_timeout())
        .upload_feed(key, spec, file.bytes(), bar.listener("applying"))
        .await
        .map_err(Failure::changing(key))?;
    let run = until_applied(&vendor_sync, response.run.unwrap_or_default(), ends).await?;
    drop(bar);
    output::one(context.format, FIELDS, &json::run(&run))?;
    if response.replayed {
        output::note("This file was known already with this --as-of; the run is the one from then.");
    }
    verdict(&run)
}

/// Waits for a run that goes on in the background, as long files' runs do.
async fn until_applied(vendor_sync: &VendorSyncClient, mut run: Run, ends: Instant) -> Result<Run, Failure> {
    while run.state() == RunState::Applying && Instant::now() < ends {
        tokio::time::sleep(Duration::from_millis(500)).await;
        run = vendor_sync.get_run(&run.run_id).await.map_err(Failure::reading)?.run.unwrap_or_default();
    }
    Ok(run)
}

/// A file that was refused or held is a failure of the command, though not of the call.
fn verdict(run: &Run) -> Result<(), Failure> {
    match run.state() {
        RunState::Refused | RunState::Held | RunState::Rejected | RunState::Superseded => {
            let state = json::run_state(run.state());
            Err(Failure::Refused(format!(
                "the file was {}: {}. Nothing was applied.",
                state.to_lowercase(),
                run.reason
            )))
        }
        RunState::Applying => {
            output::note(&format!("It is still being applied; see how far it is: holdctl run get {}", run.run_id));
            Ok(())
        }
        RunState::Applied | RunState::Unspecified => {
            let totals = run.totals.unwrap_or_default();
            if totals.unmapped + totals.rejected > 0 {
                output::note(&format!(
                    "See the rows that were not applied: holdctl run rows {} --outcome unmapped (or rejected)",
                    run.run_id
                ));
            }
            Ok(())
        }
    }
}

async fn list(context: &Context<'_>, connection: &str, paging: Paging) -> Result<(), Failure> {
    let vendor_sync = &context.services.vendor_sync()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let connection = connection.to_owned();
            let request = ListRunsRequest { page_size, page_token, connection, ..ListRunsRequest::default() };
            let page = vendor_sync.list_runs(request).await?;
            Ok((page.runs.iter().map(json::run).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)
}

async fn rows(context: &Context<'_>, run_id: &str, outcome: Option<Outcome>, paging: Paging) -> Result<(), Failure> {
    let outcome = match outcome {
        None => RowOutcome::Unspecified,
        Some(Outcome::Pending) => RowOutcome::Pending,
        Some(Outcome::Applied) => RowOutcome::Applied,
        Some(Outcome::Unchanged) => RowOutcome::Unchanged,
        Some(Outcome::Stale) => RowOutcome::Stale,
        Some(Outcome::Unmapped) => RowOutcome::Unmapped,
        Some(Outcome::Rejected) => RowOutcome::Rejected,
    };
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
