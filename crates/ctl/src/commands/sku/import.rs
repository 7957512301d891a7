//! `holdctl sku import`: a catalog from a file.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ImportErrorMode, ImportFormat, ImportSkusSpec, PolicyColumns};

use crate::commands::Context;
use crate::failure::Failure;
use crate::files::{self, CatalogColumns, CsvFile, FileError, JsonFile};
use crate::json;
use crate::output::{self, Column};
use crate::progress::Bar;

const IMPORT: &[Column] = &[
    ("rows", "rows"),
    ("created", "created"),
    ("updated", "updated"),
    ("unchanged", "unchanged"),
    ("failed", "failed"),
];

/// How to import a file.
#[derive(Debug, Args)]
#[command(after_help = "holdctl sku import catalog.csv.gz\n\
                  holdctl sku import products.jsonl --code-column id --all-or-nothing\n\
                  An import can be repeated: SKUs that are as the file says are left alone, and columns that it has not are not touched.")]
pub(crate) struct Import {
    /// The file.
    file: PathBuf,
    /// How it is written. Without it, what its first character tells.
    #[arg(id = "file_format", long = "format", value_enum, value_name = "FORMAT")]
    format: Option<Format>,
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
    #[command(flatten)]
    policy: Policy,
    /// Import nothing if a row is bad. Without it, good rows are imported and bad ones reported.
    #[arg(long)]
    all_or_nothing: bool,
    /// The request's key, to repeat an import whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// Which columns carry a selling policy. Those called as the policy's fields are found by themselves.
#[derive(Debug, Args)]
struct Policy {
    /// The column with the units that are not offered. Found by itself if it is called safety_stock; so are the following ones.
    #[arg(long, value_name = "COLUMN")]
    safety_stock_column: Option<String>,
    /// The column with the units that may be promised beyond what is there.
    #[arg(long, value_name = "COLUMN")]
    backorder_limit_column: Option<String>,
    /// The column with the most units in one reservation.
    #[arg(long, value_name = "COLUMN")]
    max_per_reservation_column: Option<String>,
    /// The column with the most units of one owner.
    #[arg(long, value_name = "COLUMN")]
    max_per_owner_column: Option<String>,
    /// The column with the default hold time in whole seconds.
    #[arg(long, value_name = "COLUMN")]
    default_hold_seconds_column: Option<String>,
    /// The column with the locations' codes, the preferred first, with '|' between them (preferred_locations).
    #[arg(long, value_name = "COLUMN")]
    locations_column: Option<String>,
    /// The column with the most units that are reserved within a minute.
    #[arg(long, value_name = "COLUMN")]
    max_per_minute_column: Option<String>,
    /// The column with what channels may have: CHANNEL=UNITS with '|' between them.
    #[arg(long, value_name = "COLUMN")]
    channel_caps_column: Option<String>,
    /// The column with the date, or instant, when units promised beyond what is there will be there.
    #[arg(long, value_name = "COLUMN")]
    promise_time_column: Option<String>,
    /// The column with how long after they are reserved they will be there, in whole seconds.
    #[arg(long, value_name = "COLUMN")]
    promise_lead_seconds_column: Option<String>,
}

impl Policy {
    fn named(&self) -> impl Iterator<Item = &String> {
        let columns = [
            &self.safety_stock_column,
            &self.backorder_limit_column,
            &self.max_per_reservation_column,
            &self.max_per_owner_column,
            &self.default_hold_seconds_column,
            &self.locations_column,
            &self.max_per_minute_column,
            &self.channel_caps_column,
            &self.promise_time_column,
            &self.promise_lead_seconds_column,
        ];
        columns.into_iter().flatten()
    }

    /// The columns that were named, and for the others those that were found.
    fn or(&self, found: PolicyColumns) -> PolicyColumns {
        let pick = |named: &Option<String>, found: String| named.clone().unwrap_or(found);
        PolicyColumns {
            safety_stock: pick(&self.safety_stock_column, found.safety_stock),
            backorder_limit: pick(&self.backorder_limit_column, found.backorder_limit),
            max_per_reservation: pick(&self.max_per_reservation_column, found.max_per_reservation),
            max_per_owner: pick(&self.max_per_owner_column, found.max_per_owner),
            default_hold_seconds: pick(&self.default_hold_seconds_column, found.default_hold_seconds),
            locations: pick(&self.locations_column, found.locations),
            max_per_minute: pick(&self.max_per_minute_column, found.max_per_minute),
            channel_caps: pick(&self.channel_caps_column, found.channel_caps),
            promise_time: pick(&self.promise_time_column, found.promise_time),
            promise_lead_seconds: pick(&self.promise_lead_seconds_column, found.promise_lead_seconds),
        }
    }
}

/// How a file of SKUs is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A header and rows.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// A file of SKUs, and what its columns seem to be.
struct Products {
    name: String,
    bytes: Bytes,
    format: ImportFormat,
    delimiter: String,
    columns: Vec<String>,
    told: Result<CatalogColumns, FileError>,
}

impl Products {
    fn open(args: &Import) -> Result<Self, Failure> {
        let (name, bytes) = files::open(&args.file)?;
        let is_json = args.format.map_or_else(|| files::is_json(&bytes), |format| format == Format::Jsonl);
        if !is_json {
            let file = CsvFile::from_bytes(name.clone(), bytes.clone())?;
            let (delimiter, columns) = (file.delimiter().to_string(), file.header().to_vec());
            let told = file.catalog_columns();
            return Ok(Self { name, bytes, format: ImportFormat::Csv, delimiter, columns, told });
        }
        let file = JsonFile::from_bytes(name.clone(), bytes.clone())?;
        if !file.is_lines() {
            return Err(Failure::Usage(format!("{name} is one JSON document; a catalog has one object a line")));
        }
        let columns = file.fields().to_vec();
        let told = file.catalog_columns();
        Ok(Self { name, bytes, format: ImportFormat::JsonLines, delimiter: String::new(), columns, told })
    }
}

pub(super) async fn import(context: &Context<'_>, args: Import) -> Result<(), Failure> {
    let file = Products::open(&args)?;
    let columns = columns(&file, &args)?;
    let mode = if args.all_or_nothing { ImportErrorMode::AllOrNothing } else { ImportErrorMode::SkipBadRows };
    output::note(&format!(
        "Importing {}: the code is in column {:?}{}.",
        file.name,
        columns.code,
        policy_words(&columns)
    ));
    let has_policy = columns.policy != PolicyColumns::default();
    let spec = ImportSkusSpec {
        code_column: columns.code,
        name_column: columns.name.unwrap_or_default(),
        gtin_column: columns.gtin.unwrap_or_default(),
        attribute_columns: columns.attributes,
        delimiter: file.delimiter,
        error_mode: mode.into(),
        format: file.format.into(),
        policy_columns: has_policy.then_some(columns.policy),
        // The client fills in the key and the size.
        ..ImportSkusSpec::default()
    };
    let key = args.key.unwrap_or_else(RequestKey::new);
    let bar = Bar::of_bytes("sending", file.bytes.len());
    let response = context
        .services
        .catalog()?
        .with_deadline(context.services.file_timeout())
        .import_skus(key, spec, file.bytes, bar.listener("importing"))
        .await
        .map_err(Failure::changing(key))?;
    drop(bar);
    output::one(context.format, IMPORT, &json::import(&response))?;
    for problem in &response.problems {
        let column = if problem.column.is_empty() { String::new() } else { format!(", column {:?}", problem.column) };
        output::note(&format!("line {}{column}: {}", problem.line, problem.description));
    }
    let more = response.bad_rows - i64::try_from(response.problems.len()).unwrap_or_default();
    if more > 0 {
        output::note(&format!("and {more} more bad rows"));
    }
    if args.all_or_nothing && response.failed > 0 {
        return Err(Failure::Refused(format!("nothing was imported: {} rows are bad", response.bad_rows)));
    }
    Ok(())
}

fn policy_words(columns: &CatalogColumns) -> String {
    let policy = &columns.policy;
    let named = [
        &policy.safety_stock,
        &policy.backorder_limit,
        &policy.max_per_reservation,
        &policy.max_per_owner,
        &policy.default_hold_seconds,
        &policy.locations,
        &policy.max_per_minute,
        &policy.channel_caps,
        &policy.promise_time,
        &policy.promise_lead_seconds,
    ];
    let named: Vec<_> = named.into_iter().filter(|column| !column.is_empty()).map(String::as_str).collect();
    if named.is_empty() { String::new() } else { format!(", the selling policy in {}", named.join(", ")) }
}

/// The columns that were named, and for the others what the header tells.
fn columns(file: &Products, args: &Import) -> Result<CatalogColumns, Failure> {
    let named = [&args.code_column, &args.name_column, &args.gtin_column].into_iter().flatten();
    for column in named.chain(&args.attribute_column).chain(args.policy.named()) {
        if !file.columns.contains(column) {
            let header = file.columns.join(", ");
            return Err(Failure::Usage(format!("{} has no column {column:?}; its columns are {header}", file.name)));
        }
    }
    let mut columns = match (&file.told, &args.code_column) {
        (Ok(columns), _) => columns.clone(),
        (Err(_), Some(code)) => CatalogColumns {
            code: code.clone(),
            name: None,
            gtin: None,
            policy: PolicyColumns::default(),
            attributes: Vec::new(),
        },
        (Err(error), None) => return Err(Failure::Usage(error.to_string())),
    };
    if let Some(code) = &args.code_column {
        columns.code.clone_from(code);
    }
    columns.name = args.name_column.clone().or(columns.name);
    columns.gtin = args.gtin_column.clone().or(columns.gtin);
    columns.policy = args.policy.or(columns.policy);
    if !args.attribute_column.is_empty() {
        columns.attributes.clone_from(&args.attribute_column);
    }
    let taken: Vec<&String> = [Some(&columns.code), columns.name.as_ref(), columns.gtin.as_ref()]
        .into_iter()
        .flatten()
        .chain(args.policy.named())
        .collect();
    columns.attributes.retain(|column| !taken.contains(&column));
    Ok(columns)
}
