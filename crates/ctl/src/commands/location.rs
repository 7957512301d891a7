//! `holdctl location`: where units lie.

use clap::Subcommand;
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ListLocationsRequest, Location};

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::json;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[("CODE", "code"), ("NAME", "name"), ("VENDOR", "vendor"), ("CREATED", "create_time")];
const FIELDS: &[Column] =
    &[("code", "code"), ("name", "name"), ("vendor", "vendor"), ("created", "create_time"), ("etag", "etag")];

/// What can be done with locations.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a location.
    Create {
        /// The location's code: letters, digits, '.', '_', '-'.
        code: String,
        /// Its name, for people.
        #[arg(long, default_value = "")]
        name: String,
        /// The vendor whose it is; left away for the shop's own warehouses.
        #[arg(long, default_value = "")]
        vendor: String,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Change a location's name.
    Update {
        /// The location's code.
        code: String,
        /// Its new name, for people.
        #[arg(long)]
        name: String,
        /// Only if the location still has this etag.
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Show a location.
    #[command(visible_alias = "show")]
    Get {
        /// The location's code.
        code: String,
    },
    /// List locations in the order of their codes.
    List {
        #[command(flatten)]
        paging: Paging,
    },
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let catalog = &context.services.catalog()?;
    match command {
        Command::Create { code, name, vendor, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let location = Location { code, name, vendor, ..Location::default() };
            let response = catalog.create_location(key, location).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::location(&response.location.unwrap_or_default()))
        }
        Command::Update { code, name, etag, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let location = Location { code, name, etag, ..Location::default() };
            let response = catalog.update_location(key, location).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::location(&response.location.unwrap_or_default()))
        }
        Command::Get { code } => {
            let response = catalog.get_location(&code).await.map_err(Failure::reading)?;
            output::one(context.format, FIELDS, &json::location(&response.location.unwrap_or_default()))
        }
        Command::List { paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let page = catalog.list_locations(ListLocationsRequest { page_size, page_token }).await?;
                    Ok((page.locations.iter().map(json::location).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, COLUMNS, &items)
        }
    }
}
