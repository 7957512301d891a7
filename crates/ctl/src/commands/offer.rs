//! `holdctl offer`: which of a vendor's codes is which SKU.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ListOffersRequest, Offer};
use serde_json::json;

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::files::{CsvFile, OfferColumns, Row};
use crate::output::{self, Column};
use crate::progress::Bar;

const COLUMNS: &[Column] = &[
    ("VENDOR", "vendor"),
    ("LOCATION", "location"),
    ("VENDOR SKU", "vendor_sku"),
    ("SKU", "sku"),
    ("PACK SIZE", "pack_size"),
];
const IMPORT: &[Column] = &[("offers", "offers"), ("created", "created"), ("unchanged", "unchanged")];

const DELETED: &[Column] = &[("deleted", "deleted"), ("missing", "missing")];

/// Offers in a request: the most that catalog takes.
const BATCH: usize = 1_000;

/// What can be done with offers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create one offer.
    Create(Create),
    /// Create offers from a CSV file (.gz too), 1,000 at a time. What exists with the same content is left as it is, so it can be repeated.
    Import(Import),
    /// Remove offers of a vendor at a location. To change an offer, remove it and create it.
    Delete(Delete),
    /// List offers in the order of vendor, location and vendor code.
    List {
        /// Only this vendor's.
        #[arg(long, default_value = "")]
        vendor: String,
        /// Only of this SKU.
        #[arg(long, default_value = "")]
        sku: String,
        #[command(flatten)]
        paging: Paging,
    },
}

/// What to create.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The vendor's code for it.
    vendor_sku: String,
    /// The SKU that it is.
    sku: String,
    /// The vendor.
    #[arg(long)]
    vendor: String,
    /// The location where it lies.
    #[arg(long)]
    location: String,
    /// How many units of the SKU are in one of the vendor's.
    #[arg(long, default_value_t = 1)]
    pack_size: i64,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// What to remove.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The vendor's codes, at most 1,000.
    #[arg(required = true, value_name = "VENDOR_SKU")]
    vendor_skus: Vec<String>,
    /// The vendor.
    #[arg(long)]
    vendor: String,
    /// The location.
    #[arg(long)]
    location: String,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// How to import a file.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file.
    file: PathBuf,
    /// The vendor.
    #[arg(long)]
    vendor: String,
    /// The location where everything lies.
    #[arg(long)]
    location: String,
    /// The column with the vendor's code, as the header names it.
    #[arg(long, value_name = "COLUMN")]
    vendor_sku_column: Option<String>,
    /// The column with the SKU.
    #[arg(long, value_name = "COLUMN")]
    sku_column: Option<String>,
    /// The column with the pack size; without one, every pack is one unit.
    #[arg(long, value_name = "COLUMN")]
    pack_size_column: Option<String>,
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create(context, args).await,
        Command::Import(args) => import(context, args).await,
        Command::Delete(args) => delete(context, args).await,
        Command::List { vendor, sku, paging } => list(context, &vendor, &sku, paging).await,
    }
}

async fn create(context: &Context<'_>, args: Create) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let offer = Offer {
        vendor: args.vendor,
        vendor_sku: args.vendor_sku,
        location: args.location,
        sku: args.sku,
        pack_size: args.pack_size,
        create_time: None,
    };
    let catalog = context.services.catalog()?;
    let response = catalog.batch_create_offers(key, vec![offer]).await.map_err(Failure::changing(key))?;
    let value = json!({"offers": 1, "created": response.created, "unchanged": response.unchanged});
    output::one(context.format, IMPORT, &value)
}

async fn delete(context: &Context<'_>, args: Delete) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let offer = |vendor_sku| Offer {
        vendor: args.vendor.clone(),
        location: args.location.clone(),
        vendor_sku,
        ..Offer::default()
    };
    let offers = args.vendor_skus.into_iter().map(offer).collect();
    let catalog = context.services.catalog()?;
    let response = catalog.batch_delete_offers(key, offers).await.map_err(Failure::changing(key))?;
    let value = json!({"deleted": response.deleted, "missing": response.missing});
    output::one(context.format, DELETED, &value)
}

async fn import(context: &Context<'_>, args: Import) -> Result<(), Failure> {
    let file = CsvFile::open(&args.file)?;
    let offers = read(&file, &args)?;
    let catalog = context.services.catalog()?;
    let bar = Bar::of_items("offers", offers.len());
    let (mut created, mut unchanged) = (0, 0);
    for batch in offers.chunks(BATCH) {
        let response = catalog
            .batch_create_offers(RequestKey::new(), batch.to_vec())
            .await
            .map_err(|error| Failure::importing(error, created + unchanged))?;
        created += response.created;
        unchanged += response.unchanged;
        bar.advance(batch.len());
    }
    drop(bar);
    let value = json!({"offers": offers.len(), "created": created, "unchanged": unchanged});
    output::one(context.format, IMPORT, &value)
}

/// The file's offers. A row without codes or with a pack size that is no number refuses the whole file before anything is sent.
fn read(file: &CsvFile, args: &Import) -> Result<Vec<Offer>, Failure> {
    let named = OfferColumns {
        vendor_sku: args.vendor_sku_column.clone(),
        sku: args.sku_column.clone(),
        pack_size: args.pack_size_column.clone(),
    };
    let columns = file.offer_columns(&named)?;
    let offer = |row: Row| {
        let wrong = |what: &str| Failure::Usage(format!("{}, line {}: {what}", file.name(), row.line));
        let (vendor_sku, sku) = (row.cell(columns.vendor_sku), row.cell(columns.sku));
        if vendor_sku.is_empty() || sku.is_empty() {
            return Err(wrong("a code is missing"));
        }
        let pack_size = match columns.pack_size.map(|column| row.cell(column)) {
            None | Some("") => 1,
            Some(text) => text.parse().map_err(|_| wrong(&format!("{text:?} is no pack size")))?,
        };
        Ok(Offer {
            vendor: args.vendor.clone(),
            vendor_sku: vendor_sku.to_owned(),
            location: args.location.clone(),
            sku: sku.to_owned(),
            pack_size,
            create_time: None,
        })
    };
    file.rows().map(offer).collect()
}

async fn list(context: &Context<'_>, vendor: &str, sku: &str, paging: Paging) -> Result<(), Failure> {
    let catalog = &context.services.catalog()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let request = ListOffersRequest { page_size, page_token, vendor: vendor.to_owned(), sku: sku.to_owned() };
            let page = catalog.list_offers(request).await?;
            Ok((page.offers.iter().map(crate::json::offer).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)
}
