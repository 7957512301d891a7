//! `holdctl sku`: what the shop sells.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ImportErrorMode, ImportSkusSpec, ListSkusRequest, Sku};

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::files::{CatalogColumns, CsvFile};
use crate::output::{self, Column};
use crate::progress::Bar;
use crate::{json, parse};

const COLUMNS: &[Column] = &[("CODE", "code"), ("NAME", "name"), ("GTIN", "gtin"), ("UPDATED", "update_time")];
const FIELDS: &[Column] = &[
    ("code", "code"),
    ("name", "name"),
    ("gtin", "gtin"),
    ("attributes", "attributes"),
    ("created", "create_time"),
    ("updated", "update_time"),
    ("etag", "etag"),
];
const IMPORT: &[Column] = &[
    ("rows", "rows"),
    ("created", "created"),
    ("updated", "updated"),
    ("unchanged", "unchanged"),
    ("failed", "failed"),
];

/// What can be done with SKUs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import SKUs from a CSV file (.gz too). Columns are told from the header; a SKU that exists is brought to what the file says.
    Import(Import),
    /// Create one SKU.
    Create(Create),
    /// Show SKUs by their codes.
    Get {
        /// The SKUs' codes.
        #[arg(required = true, value_name = "SKU")]
        codes: Vec<String>,
    },
    /// List SKUs in the order of their codes.
    List {
        /// Only codes that begin with this.
        #[arg(long, default_value = "")]
        prefix: String,
        #[command(flatten)]
        paging: Paging,
    },
}

/// How to import a file.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file.
    file: PathBuf,
    /// The column with the code, as the header names it.
    #[arg(long, value_name = "COLUMN")]
    code_column: Option<String>,
    /// The column with the name.
    #[arg(long, value_name = "COLUMN")]
    name_column: Option<String>,
    /// The column with the GTIN.
    #[arg(long, value_name = "COLUMN")]
    gtin_column: Option<String>,
    /// A column to keep as an attribute; may be given several times. Without it, all others are kept.
    #[arg(long, value_name = "COLUMN")]
    attribute_column: Vec<String>,
    /// Import nothing if a row is bad. Without it, good rows are imported and bad ones reported.
    #[arg(long)]
    all_or_nothing: bool,
    /// The request's key, to repeat an import whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// What to create.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The SKU's code.
    code: String,
    /// Its name, for people.
    #[arg(long, default_value = "")]
    name: String,
    /// Its GTIN.
    #[arg(long, default_value = "")]
    gtin: String,
    /// Something else to keep about it; may be given several times.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse::pair)]
    attributes: Vec<(String, String)>,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Import(args) => import(context, args).await,
        Command::Create(args) => create(context, args).await,
        Command::Get { codes } => get(context, codes).await,
        Command::List { prefix, paging } => list(context, &prefix, paging).await,
    }
}

async fn import(context: &Context<'_>, args: Import) -> Result<(), Failure> {
    let file = CsvFile::open(&args.file)?;
    let columns = columns(&file, &args)?;
    let mode = if args.all_or_nothing { ImportErrorMode::AllOrNothing } else { ImportErrorMode::SkipBadRows };
    let spec = ImportSkusSpec {
        code_column: columns.code,
        name_column: columns.name.unwrap_or_default(),
        gtin_column: columns.gtin.unwrap_or_default(),
        attribute_columns: columns.attributes,
        delimiter: file.delimiter().to_string(),
        error_mode: mode.into(),
        // The client fills in the key and the size.
        ..ImportSkusSpec::default()
    };
    output::note(&format!("Importing {}: the code is in column {:?}.", file.name(), spec.code_column));
    let key = args.key.unwrap_or_else(RequestKey::new);
    let bar = Bar::of_bytes("sending", file.bytes().len());
    let response = context
        .services
        .catalog()?
        .with_deadline(context.services.file_timeout())
        .import_skus(key, spec, file.bytes(), bar.listener("importing"))
        .await
        .map_err(Failure::changing(key))?;
    drop(bar);
    output::one(context.format, IMPORT, &json::import(&response))?;
    for problem in &response.problems {
        let column = if problem.column.is_empty() { String::new() } else { format!(", column {:?}", problem.column) };
        output::note(&format!("line {}{column}: {}", problem.line, problem.description));
    }
    Ok(())
}

/// The columns that were named, and for the others what the header tells.
fn columns(file: &CsvFile, args: &Import) -> Result<CatalogColumns, Failure> {
    let named = [&args.code_column, &args.name_column, &args.gtin_column].into_iter().flatten();
    for column in named.chain(&args.attribute_column) {
        if file.position(column).is_none() {
            let header = file.header().join(", ");
            return Err(Failure::Usage(format!("{} has no column {column:?}; its columns are {header}", file.name())));
        }
    }
    let mut columns = match (file.catalog_columns(), &args.code_column) {
        (Ok(columns), _) => columns,
        (Err(_), Some(code)) => CatalogColumns { code: code.clone(), name: None, gtin: None, attributes: Vec::new() },
        (Err(error), None) => return Err(error.into()),
    };
    if let Some(code) = &args.code_column {
        columns.code.clone_from(code);
    }
    columns.name = args.name_column.clone().or(columns.name);
    columns.gtin = args.gtin_column.clone().or(columns.gtin);
    if !args.attribute_column.is_empty() {
        columns.attributes.clone_from(&args.attribute_column);
    }
    let taken = [Some(&columns.code), columns.name.as_ref(), columns.gtin.as_ref()];
    columns.attributes.retain(|column| !taken.contains(&Some(column)));
    Ok(columns)
}

async fn create(context: &Context<'_>, args: Create) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let sku = Sku {
        code: args.code,
        name: args.name,
        gtin: args.gtin,
        attributes: args.attributes.into_iter().collect(),
        ..Sku::default()
    };
    let response = context.services.catalog()?.create_sku(key, sku).await.map_err(Failure::changing(key))?;
    output::one(context.format, FIELDS, &json::sku(&response.sku.unwrap_or_default()))
}

async fn get(context: &Context<'_>, codes: Vec<String>) -> Result<(), Failure> {
    let catalog = context.services.catalog()?;
    if let [code] = codes.as_slice() {
        let response = catalog.get_sku(code).await.map_err(Failure::reading)?;
        return output::one(context.format, FIELDS, &json::sku(&response.sku.unwrap_or_default()));
    }
    let response = catalog.batch_get_skus(codes).await.map_err(Failure::reading)?;
    let skus: Vec<_> = response.skus.iter().map(json::sku).collect();
    output::list(context.format, COLUMNS, &skus)?;
    if response.missing_codes.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!("not found: {}", response.missing_codes.join(", "))))
}

async fn list(context: &Context<'_>, prefix: &str, paging: Paging) -> Result<(), Failure> {
    let catalog = &context.services.catalog()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let request = ListSkusRequest { page_size, page_token, code_prefix: prefix.to_owned(), filter: None };
            let page = catalog.list_skus(request).await?;
            Ok((page.skus.iter().map(json::sku).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)
}
