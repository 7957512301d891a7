//! `holdctl connection`: vendors' feeds, how their files look, and where they come from.

mod shape;

use clap::{Args, Subcommand};
use holdfast_client::RequestKey;
use holdfast_client::api::vendorsync::v1::{Connection, ListConnectionsRequest, QuantityMeaning};

use self::shape::{Cadence, Clock, Means, Mode, Shape, Source};
use super::Context;
use super::deciding::Deciding;
use super::paging::Paging;
use super::runs;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{called, json};

const COLUMNS: &[Column] = &[
    ("CODE", "code"),
    ("VENDOR", "vendor"),
    ("LOCATION", "location"),
    ("STATE", "state"),
    ("MODE", "mode"),
    ("MEANING", "meaning"),
    ("CADENCE", "cadence"),
    ("APPLIED AS OF", "applied_as_of_time"),
    ("LAST LOOK", "fetch_status"),
];
const FIELDS: &[Column] = &[
    ("code", "code"),
    ("vendor", "vendor"),
    ("location", "location"),
    ("state", "state"),
    ("  why", "state_reason"),
    ("mode", "mode"),
    ("meaning", "meaning"),
    ("CSV", "csv_schema"),
    ("JSON", "json_schema"),
    ("cadence", "cadence"),
    ("clock margin", "clock_margin"),
    ("reflection lag", "reflection_lag"),
    ("drop folder", "drop_folder"),
    ("fetched from", "http_pull"),
    ("  last look", "fetch_time"),
    ("  how it went", "fetch_status"),
    ("first file is applied", "apply_first_file"),
    ("applied as of", "applied_as_of_time"),
    ("created", "create_time"),
    ("etag", "etag"),
];

/// What can be done with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a vendor's feed. Its files will have to look exactly as registered here.
    Create(Box<Create>),
    /// Change a feed. What is not given stays; vendor and location are for good.
    Update(Box<Update>),
    /// Stop applying a feed's files: they are held from now on.
    Pause {
        /// The connection's code.
        code: String,
        #[command(flatten)]
        deciding: Deciding,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Go on applying a feed's files; those that are held stay held.
    Resume {
        /// The connection's code.
        code: String,
        #[command(flatten)]
        deciding: Deciding,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Look at a feed's drop folder or address now, and print the runs that the look led to.
    Fetch {
        /// The connection's code.
        code: String,
    },
    /// Show a connection.
    #[command(visible_alias = "show")]
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

const EXAMPLES: &str = "\
A daily file that somebody uploads, looking like the one at hand (CSV or JSON):
  holdctl connection create NW-DAILY --vendor NORTHWIND --location HALL-1 --mode full --cadence 1d --like stock.csv
Files that are dropped into a folder, complete when NAME.csv.done lies beside NAME.csv:
  … --drop-folder northwind --pattern '*.csv' --done-suffix .done
An address that is looked at every quarter of an hour:
  … --pull https://northwind.example/stock.json --every 15m --cadence 1h";

/// What to register.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    cadence: Cadence,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    source: Source,
    /// Apply the first file like any other. Without it, a person has to look at it first (`holdctl run approve`).
    #[arg(long)]
    apply_first_file: bool,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The connection's code.
    code: String,
    /// What a SKU's absence from a file means.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// What the numbers mean.
    #[arg(long, value_enum)]
    meaning: Option<Means>,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    cadence: Cadence,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    source: Source,
    /// Take files by upload only: neither from a folder nor from an address.
    #[arg(long, conflicts_with_all = ["drop_folder", "pull"])]
    upload_only: bool,
    /// Whether a first file is applied like any other (true), or shown to a person first (false).
    #[arg(long)]
    apply_first_file: Option<bool>,
    /// Only if the connection still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let vendor_sync = &context.services.vendor_sync()?;
    let changed = match command {
        Command::Create(args) => {
            let key = args.key.unwrap_or_else(RequestKey::new);
            let connection = describe(*args)?;
            vendor_sync.create_connection(key, connection).await.map_err(Failure::changing(key))?.connection
        }
        Command::Update(args) => {
            let key = args.key.unwrap_or_else(RequestKey::new);
            let (connection, fields) = change(*args)?;
            let response = vendor_sync.update_connection(key, connection, &fields).await;
            response.map_err(Failure::changing(key))?.connection
        }
        Command::Pause { code, deciding, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let response = vendor_sync.pause_connection(key, &code, &deciding.decision()).await;
            response.map_err(Failure::changing(key))?.connection
        }
        Command::Resume { code, deciding, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let response = vendor_sync.resume_connection(key, &code, &deciding.decision()).await;
            response.map_err(Failure::changing(key))?.connection
        }
        Command::Get { code } => vendor_sync.get_connection(&code).await.map_err(Failure::reading)?.connection,
        Command::Fetch { code } => return fetch(context, &code).await,
        Command::List { paging } => return list(context, paging).await,
    };
    output::one(context.format, FIELDS, &json::connection(&changed.unwrap_or_default()))
}

async fn fetch(context: &Context<'_>, code: &str) -> Result<(), Failure> {
    let vendor_sync = context.services.vendor_sync()?.with_deadline(context.services.file_timeout());
    let response = vendor_sync.fetch_now(code).await.map_err(Failure::reading)?;
    output::note(&format!("{code}: {}", response.fetch_status));
    let runs: Vec<_> = response.runs.iter().map(json::run).collect();
    output::list(context.format, runs::COLUMNS, &runs)
}

async fn list(context: &Context<'_>, paging: Paging) -> Result<(), Failure> {
    let vendor_sync = &context.services.vendor_sync()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let request = ListConnectionsRequest { page_size, page_token };
            let page = vendor_sync.list_connections(request).await?;
            Ok((page.connections.iter().map(json::connection).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)
}

fn describe(args: Create) -> Result<Connection, Failure> {
    let Some(read) = args.shape.read()? else {
        return Err(Failure::Usage("how do its files look? Give --like FILE, or --header or --json-key".to_owned()));
    };
    let meaning = args.meaning.map_or(read.suggested, QuantityMeaning::from);
    Ok(Connection {
        code: args.code,
        vendor: args.vendor,
        location: args.location,
        mode: args.mode.proto().into(),
        meaning: meaning.into(),
        csv_schema: read.csv,
        json_schema: read.json,
        cadence: args.cadence.value().flatten(),
        drop_folder: args.source.folder(),
        http_pull: args.source.pull(),
        apply_first_file: args.apply_first_file,
        clock_margin: args.clock.margin().flatten(),
        reflection_lag: args.clock.lag().flatten(),
        ..Connection::default()
    })
}

/// The new values, and which fields they are for.
fn change(args: Update) -> Result<(Connection, Vec<&'static str>), Failure> {
    let mut fields = Vec::new();
    let mut connection = Connection { code: args.code, etag: args.etag, ..Connection::default() };
    if let Some(mode) = args.mode {
        fields.push("mode");
        connection.mode = mode.proto().into();
    }
    if let Some(meaning) = args.meaning {
        fields.push("meaning");
        connection.meaning = QuantityMeaning::from(meaning).into();
    }
    if let Some(read) = args.shape.read()? {
        // Both: the one that is not set goes.
        fields.extend(["csv_schema", "json_schema"]);
        (connection.csv_schema, connection.json_schema) = (read.csv, read.json);
    }
    if let Some(cadence) = args.cadence.value() {
        fields.push("cadence");
        connection.cadence = cadence;
    }
    if let Some(margin) = args.clock.margin() {
        fields.push("clock_margin");
        connection.clock_margin = margin;
    }
    if let Some(lag) = args.clock.lag() {
        fields.push("reflection_lag");
        connection.reflection_lag = lag;
    }
    let (folder, pull) = (args.source.folder(), args.source.pull());
    if folder.is_some() || pull.is_some() || args.upload_only {
        fields.extend(["drop_folder", "http_pull"]);
        (connection.drop_folder, connection.http_pull) = (folder, pull);
    }
    if let Some(apply) = args.apply_first_file {
        fields.push("apply_first_file");
        connection.apply_first_file = apply;
    }
    if fields.is_empty() {
        return Err(Failure::Usage(format!("nothing to change; see `{} connection update --help`", called::program())));
    }
    Ok((connection, fields))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use holdfast_client::api::vendorsync::v1::FeedMode;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn command(words: &[&str]) -> Command {
        Line::try_parse_from(["connection"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}")).command
    }

    fn created(words: &[&str]) -> Result<Connection, Failure> {
        let whose = ["create", "FEED", "--vendor", "V", "--location", "L", "--mode", "full"];
        let words: Vec<&str> = whose.iter().chain(words).copied().collect();
        let Command::Create(args) = command(&words) else { panic!("not a create") };
        describe(*args)
    }

    fn updated(words: &[&str]) -> Result<(Connection, Vec<&'static str>), Failure> {
        let words: Vec<&str> = ["update", "FEED"].iter().chain(words).copied().collect();
        let Command::Update(args) = command(&words) else { panic!("not an update") };
        change(*args)
    }

    fn example(name: &str, text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn an_example_in_csv_is_registered_as_it_stands() {
        let (_dir, path) = example("stock.csv", "Art;available;name\n1;2;x\n3;4;y\n");
        let connection =
            created(&["--like", &path, "--key-column", "Art", "--cadence", "1h", "--reflection-lag", "1d"]).unwrap();
        let schema = connection.csv_schema.clone().unwrap();
        assert_eq!((schema.delimiter.as_str(), schema.header.join("|").as_str()), (";", "Art|available|name"));
        assert_eq!((schema.key_column.as_str(), schema.quantity_column.as_str()), ("Art", "available"));
        assert_eq!(connection.meaning(), QuantityMeaning::Available, "as the column is called");
        assert_eq!(connection.mode(), FeedMode::Full);
        assert_eq!(connection.cadence.unwrap().seconds, 3_600);
        assert_eq!((connection.clock_margin, connection.reflection_lag.unwrap().seconds), (None, 86_400));
        assert!(connection.json_schema.is_none() && !connection.apply_first_file);
    }

    #[test]
    fn an_example_in_json_is_registered_by_where_its_rows_are() {
        let (_dir, path) = example("stock.json", r#"{"data": {"items": [{"sku": "A", "stock": {"units": 3}}]}}"#);
        let connection = created(&["--like", &path]).unwrap();
        let schema = connection.json_schema.unwrap();
        assert_eq!((schema.rows_path.as_str(), schema.json_lines), ("data.items", false));
        assert_eq!((schema.key_field.as_str(), schema.quantity_field.as_str()), ("sku", "stock.units"));
        assert!(connection.csv_schema.is_none());
        let given = created(&["--json-key", "id", "--json-quantity", "n", "--json-lines"]).unwrap();
        assert!(given.json_schema.unwrap().json_lines);
    }

    #[test]
    fn a_feed_comes_from_a_folder_or_an_address_or_neither() {
        let header = ["--header", "sku,qty", "--key-column", "sku", "--quantity-column", "qty"];
        let with = |more: &[&str]| created(&[&header[..], more].concat());
        let folder = with(&["--drop-folder", "northwind", "--pattern", "*.csv", "--done-suffix", ".done"]).unwrap();
        assert_eq!(folder.drop_folder.unwrap().pattern, "*.csv");
        let pull = with(&["--pull", "https://example.com/stock.csv", "--every", "15m"]).unwrap();
        assert_eq!(pull.http_pull.unwrap().interval.unwrap().seconds, 900);
        let neither = with(&[]).unwrap();
        assert!(neither.drop_folder.is_none() && neither.http_pull.is_none());
        assert!(matches!(created(&[]), Err(Failure::Usage(_))), "how its files look has to be said");
    }

    #[test]
    fn an_update_names_just_what_was_given() {
        let (connection, fields) = updated(&["--cadence", "none", "--apply-first-file", "true"]).unwrap();
        assert_eq!(fields, ["cadence", "apply_first_file"]);
        assert!(connection.cadence.is_none() && connection.apply_first_file);
        let (connection, fields) = updated(&["--pull", "http://example.com/x", "--every", "1h"]).unwrap();
        assert_eq!(fields, ["drop_folder", "http_pull"], "a folder that was there goes");
        assert!(connection.http_pull.is_some());
        let (connection, fields) = updated(&["--clock-margin", "5m", "--reflection-lag", "none"]).unwrap();
        assert_eq!(fields, ["clock_margin", "reflection_lag"]);
        assert_eq!((connection.clock_margin.unwrap().seconds, connection.reflection_lag), (300, None));
        let (_, fields) = updated(&["--upload-only"]).unwrap();
        assert_eq!(fields, ["drop_folder", "http_pull"]);
        assert!(matches!(updated(&[]), Err(Failure::Usage(_))));
    }

    #[test]
    fn who_pauses_has_to_say_why() {
        let pause = |words: &[&str]| Line::try_parse_from(["connection", "pause", "FEED"].iter().chain(words)).is_ok();
        assert!(pause(&["--reason", "their warehouse moves"]));
        assert!(!pause(&[]) && !pause(&["--reason", "  "]));
    }
}
