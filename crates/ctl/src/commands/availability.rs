//! `holdctl availability`: what could be reserved now.

use clap::Args;
use holdfast_client::api::reservation::v1::ReadSource;

use super::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("SKU", "sku"),
    ("AVAILABLE", "available"),
    ("LOCATIONS", "locations"),
    ("KNOWN", "known"),
    ("SOURCE", "source"),
    ("READ", "read_time"),
    ("STALE BY AT MOST (MS)", "staleness_milliseconds_max"),
];

/// SKUs asked for in one call: the most that the service takes.
const BATCH: usize = 1_000;

/// What to ask for.
#[derive(Debug, Args)]
pub(crate) struct Availability {
    /// The SKUs.
    #[arg(required = true, value_name = "SKU")]
    skus: Vec<String>,
    /// Read Postgres, not the published counters.
    #[arg(long)]
    record: bool,
}

pub(crate) async fn run(context: &Context<'_>, args: Availability) -> Result<(), Failure> {
    let source = if args.record { ReadSource::Record } else { ReadSource::Cache };
    let stock = context.services.stock()?;
    let mut items = Vec::new();
    for batch in args.skus.chunks(BATCH) {
        let response = stock.batch_get_availability(batch.to_vec(), source).await.map_err(Failure::reading)?;
        items.extend(response.results.iter().map(json::availability));
    }
    output::list(context.format, COLUMNS, &items)
}
