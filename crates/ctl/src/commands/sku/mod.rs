//! `holdctl sku`: what the shop sells.

mod import;
mod policy;
mod watch;

use std::collections::HashMap;

use clap::{Args, Subcommand};
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ListSkusRequest, SearchSkusRequest, Sku, SkuFilter, SkuShow};
use prost_types::Timestamp;

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{called, json, parse};

const COLUMNS: &[Column] = &[("CODE", "code"), ("NAME", "name"), ("GTIN", "gtin"), ("UPDATED", "update_time")];
const FIELDS: &[Column] = &[
    ("code", "code"),
    ("name", "name"),
    ("gtin", "gtin"),
    ("attributes", "attributes"),
    ("created", "create_time"),
    ("updated", "update_time"),
    ("archived", "archive_time"),
    ("policy", "policy"),
    ("version", "version"),
    ("etag", "etag"),
];
const MATCHES: &[Column] = &[("SCORE", "score"), ("CODE", "code"), ("NAME", "name"), ("GTIN", "gtin")];

/// What can be done with SKUs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import SKUs from a CSV or JSON Lines file (.gz too). Columns are told from the header; a SKU that exists is brought to what the file says.
    Import(Box<import::Import>),
    /// Create one SKU.
    Create(Create),
    /// Change a SKU's name, GTIN or attributes. What is not given stays.
    Update(Update),
    /// Show how a SKU may be sold, or change it: units kept back, limits, preferred locations.
    Policy(policy::Policy),
    /// End the selling of a SKU: nothing of it is offered any more, reservations that exist are untouched.
    Archive(Sold),
    /// Take the selling of an archived SKU up again.
    Restore(Sold),
    /// Show SKUs by their codes.
    #[command(visible_alias = "show")]
    Get {
        /// The SKUs' codes.
        #[arg(required = true, value_name = "SKU")]
        codes: Vec<String>,
    },
    /// List SKUs in the order of their codes.
    List(List),
    /// Find SKUs by what you remember: a code or GTIN (its beginning, or with typing errors) or words of the name. Best first.
    Search {
        /// What you remember.
        #[arg(required = true)]
        words: Vec<String>,
        /// Whether archived ones are found.
        #[arg(long, value_enum, default_value_t = Show::Active)]
        show: Show,
        #[command(flatten)]
        paging: Paging,
    },
    /// Print everything that the catalog has with policy and offers, and then every change as it happens, until Ctrl-C. With -o json one object a line.
    Watch(watch::Watch),
}

/// Which SKUs to list: those to which everything applies that is given.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only codes that begin with this.
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Whether archived ones are listed.
    #[arg(long, value_enum, default_value_t = Show::Active)]
    show: Show,
    /// Only the one with this GTIN.
    #[arg(long, default_value = "", hide_default_value = true)]
    gtin: String,
    /// Only those with this attribute; may be given several times.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse::pair)]
    attributes: Vec<(String, String)>,
    /// Only those that this vendor offers.
    #[arg(long, default_value = "", hide_default_value = true)]
    vendor: String,
    /// Only those that changed at this instant or later, for example 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "INSTANT", value_parser = parse::instant)]
    changed_since: Option<Timestamp>,
    /// Only those with a selling policy that keeps back, limits or prefers something.
    #[arg(long)]
    with_policy: bool,
    #[command(flatten)]
    paging: Paging,
}

/// Whether archived SKUs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Show {
    /// Those that are sold.
    Active,
    /// Those that are archived.
    Archived,
    /// Both.
    All,
}

impl From<Show> for SkuShow {
    fn from(show: Show) -> Self {
        match show {
            Show::Active => Self::Active,
            Show::Archived => Self::Archived,
            Show::All => Self::All,
        }
    }
}

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The SKU's code.
    code: String,
    /// Its new name.
    #[arg(long)]
    name: Option<String>,
    /// Its new GTIN; empty takes it away.
    #[arg(long)]
    gtin: Option<String>,
    /// An attribute to set; may be given several times. The others stay.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse::pair)]
    attributes: Vec<(String, String)>,
    /// An attribute to take away; may be given several times.
    #[arg(long, value_name = "NAME")]
    remove_attribute: Vec<String>,
    /// Only if the SKU still has this etag (`sku get` shows it).
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Say what would become of it, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// Whose selling to end or to take up.
#[derive(Debug, Args)]
pub(crate) struct Sold {
    /// The SKU's code.
    code: String,
    /// Only if the SKU still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// The request's key, to repeat a command whose outcome is unknown.
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
        Command::Import(args) => import::import(context, *args).await,
        Command::Create(args) => create(context, args).await,
        Command::Update(args) => update(context, args).await,
        Command::Policy(args) => policy::run(context, args).await,
        Command::Archive(args) => {
            let key = args.key.unwrap_or_else(RequestKey::new);
            let catalog = context.services.catalog()?;
            let response = catalog.archive_sku(key, &args.code, &args.etag).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::sku(&response.sku.unwrap_or_default()))
        }
        Command::Restore(args) => {
            let key = args.key.unwrap_or_else(RequestKey::new);
            let catalog = context.services.catalog()?;
            let response = catalog.restore_sku(key, &args.code, &args.etag).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::sku(&response.sku.unwrap_or_default()))
        }
        Command::Get { codes } => get(context, codes).await,
        Command::List(args) => list(context, args).await,
        Command::Search { words, show, paging } => search(context, &words.join(" "), show, paging).await,
        Command::Watch(args) => watch::run(context, args).await,
    }
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

async fn update(context: &Context<'_>, args: Update) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let mut fields: Vec<String> = Vec::new();
    fields.extend(args.name.is_some().then(|| "name".to_owned()));
    fields.extend(args.gtin.is_some().then(|| "gtin".to_owned()));
    let named = args.attributes.iter().map(|(name, _)| name).chain(&args.remove_attribute);
    fields.extend(named.map(|name| format!("attributes.{name}")));
    if fields.is_empty() {
        return Err(Failure::Usage(format!(
            "nothing to change; give --name, --gtin, --attribute or --remove-attribute (for limits: `{} sku policy`)",
            called::program()
        )));
    }
    if let Some((name, _)) = args.attributes.iter().find(|(name, _)| args.remove_attribute.contains(name)) {
        return Err(Failure::Usage(format!("attribute {name:?} cannot be set and removed at once")));
    }
    let sku = Sku {
        code: args.code,
        name: args.name.unwrap_or_default(),
        gtin: args.gtin.unwrap_or_default(),
        attributes: args.attributes.into_iter().collect(),
        etag: args.etag,
        ..Sku::default()
    };
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let catalog = context.services.catalog()?;
    let response = catalog.update_sku(key, sku, &fields, args.dry_run).await.map_err(Failure::changing(key))?;
    if args.dry_run {
        output::note("Nothing was changed; it would be:");
    }
    output::one(context.format, FIELDS, &json::sku(&response.sku.unwrap_or_default()))
}

async fn list(context: &Context<'_>, args: List) -> Result<(), Failure> {
    let catalog = &context.services.catalog()?;
    let filter = SkuFilter {
        show: SkuShow::from(args.show).into(),
        gtin: args.gtin,
        attributes: args.attributes.into_iter().collect::<HashMap<_, _>>(),
        vendor: args.vendor,
        changed_since_time: args.changed_since,
        with_policy: args.with_policy,
    };
    let items = args
        .paging
        .collect(async |page_size, page_token| {
            let (code_prefix, filter) = (args.prefix.clone(), Some(filter.clone()));
            let page = catalog.list_skus(ListSkusRequest { page_size, page_token, code_prefix, filter }).await?;
            Ok((page.skus.iter().map(json::sku).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, COLUMNS, &items)
}

async fn search(context: &Context<'_>, query: &str, show: Show, paging: Paging) -> Result<(), Failure> {
    let catalog = &context.services.catalog()?;
    let items = paging
        .collect(async |page_size, page_token| {
            let show = SkuShow::from(show).into();
            let request = SearchSkusRequest { query: query.to_owned(), page_size, page_token, show };
            let page = catalog.search_skus(request).await?;
            Ok((page.matches.iter().map(json::sku_match).collect(), page.next_page_token))
        })
        .await?;
    output::list(context.format, MATCHES, &items)
}
