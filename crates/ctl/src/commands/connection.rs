//! `holdctl connection`: vendors' feeds and how their files look.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_client::RequestKey;
use holdfast_client::api::vendorsync::v1::{Connection, CsvSchema, FeedMode, ListConnectionsRequest, QuantityMeaning};

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::files::{CsvFile, Meaning};
use crate::json;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("CODE", "code"),
    ("VENDOR", "vendor"),
    ("LOCATION", "location"),
    ("MODE", "mode"),
    ("MEANING", "meaning"),
    ("KEY", "csv_schema/key_column"),
    ("QUANTITY", "csv_schema/quantity_column"),
];
const FIELDS: &[Column] = &[
    ("code", "code"),
    ("vendor", "vendor"),
    ("location", "location"),
    ("mode", "mode"),
    ("meaning", "meaning"),
    ("delimiter", "csv_schema/delimiter"),
    ("header", "csv_schema/header"),
    ("key column", "csv_schema/key_column"),
    ("quantity column", "csv_schema/quantity_column"),
    ("created", "create_time"),
];

/// What can be done with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a vendor's feed. Its files will have to look exactly as registered here.
    Create(Box<Create>),
    /// Show a connection.
    Get {
        /// The connection's code.
        code: String,
    },
    /// List connections in the order of their codes.
    List {
        #[command(flatten)]
        paging: Paging,
    },
}

/// What to register.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The connection's code: letters, digits, '.', '_', '-'.
    code: String,
    /// The vendor.
    #[arg(long)]
    vendor: String,
    /// The location whose stock it reports.
    #[arg(long)]
    location: String,
    /// What a SKU's absence from a file means.
    #[arg(long, value_enum)]
    mode: Mode,
    /// What the numbers mean. Without it, what the quantity column's name suggests.
    #[arg(long, value_enum)]
    meaning: Option<Means>,
    /// A file as the vendor sends it: header, delimiter and columns are taken from it.
    #[arg(long, value_name = "FILE", required_unless_present = "header")]
    like: Option<PathBuf>,
    /// The header's columns, separated by commas, where there is no file to take them from.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "like", requires_all = ["key_column", "quantity_column"])]
    header: Vec<String>,
    /// The delimiter, one character; only with --header.
    #[arg(long, requires = "header", default_value = ",")]
    delimiter: char,
    /// The column with the vendor's code.
    #[arg(long, value_name = "COLUMN")]
    key_column: Option<String>,
    /// The column with the quantity.
    #[arg(long, value_name = "COLUMN")]
    quantity_column: Option<String>,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// What a SKU's absence from a file means.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Mode {
    /// Absent is gone.
    Full,
    /// Absent is unchanged.
    Partial,
}

/// What a vendor's numbers mean.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Means {
    /// Everything on the shelf, our unshipped orders included.
    OnHand,
    /// The vendor has taken off the orders that it booked.
    Available,
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let vendor_sync = &context.services.vendor_sync()?;
    match command {
        Command::Create(args) => {
            let key = args.key.unwrap_or_else(RequestKey::new);
            let connection = describe(*args)?;
            let response = vendor_sync.create_connection(key, connection).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::connection(&response.connection.unwrap_or_default()))
        }
        Command::Get { code } => {
            let response = vendor_sync.get_connection(&code).await.map_err(Failure::reading)?;
            output::one(context.format, FIELDS, &json::connection(&response.connection.unwrap_or_default()))
        }
        Command::List { paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let request = ListConnectionsRequest { page_size, page_token };
                    let page = vendor_sync.list_connections(request).await?;
                    Ok((page.connections.iter().map(json::connection).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, COLUMNS, &items)
        }
    }
}

fn describe(args: Create) -> Result<Connection, Failure> {
    let mode = match args.mode {
        Mode::Full => FeedMode::Full,
        Mode::Partial => FeedMode::Partial,
    };
    let (schema, suggested) = match &args.like {
        Some(path) => like(&CsvFile::open(path)?, args.key_column, args.quantity_column)?,
        None => {
            let schema = CsvSchema {
                delimiter: args.delimiter.to_string(),
                header: args.header,
                key_column: args.key_column.unwrap_or_default(),
                quantity_column: args.quantity_column.unwrap_or_default(),
            };
            (schema, Meaning::OnHand)
        }
    };
    let meaning = match (args.meaning, suggested) {
        (Some(Means::OnHand), _) | (None, Meaning::OnHand) => QuantityMeaning::OnHand,
        (Some(Means::Available), _) | (None, Meaning::Available) => QuantityMeaning::Available,
    };
    Ok(Connection {
        code: args.code,
        vendor: args.vendor,
        location: args.location,
        mode: mode.into(),
        meaning: meaning.into(),
        csv_schema: Some(schema),
        ..Connection::default()
    })
}

/// The schema of a file, with the columns that were named, and for the others what its header tells.
fn like(file: &CsvFile, key: Option<String>, quantity: Option<String>) -> Result<(CsvSchema, Meaning), Failure> {
    let (key, quantity, meaning) = match (key, quantity) {
        (Some(key), Some(quantity)) => (key, quantity, Meaning::OnHand),
        (key, quantity) => {
            let told = file.stock_columns()?;
            (key.unwrap_or(told.key), quantity.unwrap_or(told.quantity), told.meaning)
        }
    };
    let schema = CsvSchema {
        delimiter: file.delimiter().to_string(),
        header: file.header().to_vec(),
        key_column: key,
        quantity_column: quantity,
    };
    Ok((schema, meaning))
}
