//! `holdctl feed`: a vendor's files, sent by hand.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use holdfast_client::RequestKey;
use holdfast_client::api::vendorsync::v1::UploadFeedSpec;
use prost_types::Timestamp;

use super::{Context, runs};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::{files, output, parse};

/// The built-in connection for what the shop's own people count.
const HOUSE: &str = "house";

/// What can be done with files.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Upload a stock file (.gz too) and wait until every row has its outcome. The same file with the same --as-of is one run.
    Upload(Upload),
}

/// What to upload.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 applied (rows that a guard stopped are shown, with how to decide them); 1 refused; 4 held: it waits for a person.\n\
                  What your own people counted goes to the connection \"house\", as CSV with the header sku,quantity:\n  \
                  holdctl feed upload counts.csv --connection house --location HALL-1 --as-of now"
)]
pub(crate) struct Upload {
    /// The file.
    file: PathBuf,
    /// The connection whose file it is.
    #[arg(long)]
    connection: String,
    /// When the vendor counted, for example 2026-03-01T12:00:00Z, or now.
    #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
    as_of: Timestamp,
    /// The location that was counted; for the connection house only.
    #[arg(long, required_if_eq("connection", HOUSE))]
    location: Option<String>,
    /// Who counted; for the connection house only. Without it, the user's name.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    actor: String,
    /// The request's key, to repeat an upload whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Upload(args) => upload(context, args).await,
    }
}

async fn upload(context: &Context<'_>, args: Upload) -> Result<(), Failure> {
    // Whatever it is: what a file may look like is the connection's to say, and its guards'.
    let (file_name, bytes) = files::open(&args.file)?;
    let key = args.key.unwrap_or_else(RequestKey::new);
    let is_house = args.connection == HOUSE;
    if !is_house && args.location.is_some() {
        return Err(Failure::Usage("--location is for the connection house; others have theirs".to_owned()));
    }
    let spec = UploadFeedSpec {
        connection: args.connection,
        as_of_time: Some(args.as_of),
        file_name,
        location: args.location.unwrap_or_default(),
        actor: if is_house { args.actor } else { String::new() },
        // The client fills in the key and the size.
        ..UploadFeedSpec::default()
    };
    let bar = Bar::of_bytes("sending", bytes.len());
    let vendor_sync = context.services.vendor_sync()?;
    let ends = Instant::now() + context.services.file_timeout();
    let response = vendor_sync
        .with_deadline(context.services.file_timeout())
        .upload_feed(key, spec, bytes, bar.listener("applying"))
        .await
        .map_err(Failure::changing(key))?;
    let run = runs::until_applied(&vendor_sync, response.run.unwrap_or_default(), ends).await?;
    drop(bar);
    runs::print(context, &run)?;
    if response.replayed {
        output::note("This file was known already with this --as-of; the run is the one from then.");
    }
    runs::verdict(context, &run).await
}
