//! `holdctl vendor`: who supplies.

use clap::Subcommand;
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ListVendorsRequest, Vendor};

use super::Context;
use super::paging::Paging;
use crate::failure::Failure;
use crate::json;
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[("CODE", "code"), ("NAME", "name"), ("CREATED", "create_time")];
const FIELDS: &[Column] = &[("code", "code"), ("name", "name"), ("created", "create_time"), ("etag", "etag")];

/// What can be done with vendors.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a vendor.
    Create {
        /// The vendor's code: letters, digits, '.', '_', '-'.
        code: String,
        /// Its name, for people.
        #[arg(long, default_value = "")]
        name: String,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Change a vendor's name.
    Update {
        /// The vendor's code.
        code: String,
        /// Its new name, for people.
        #[arg(long)]
        name: String,
        /// Only if the vendor still has this etag.
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Show a vendor.
    #[command(visible_alias = "show")]
    Get {
        /// The vendor's code.
        code: String,
    },
    /// List vendors in the order of their codes.
    List {
        #[command(flatten)]
        paging: Paging,
    },
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let catalog = &context.services.catalog()?;
    match command {
        Command::Create { code, name, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let vendor = Vendor { code, name, ..Vendor::default() };
            let response = catalog.create_vendor(key, vendor).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::vendor(&response.vendor.unwrap_or_default()))
        }
        Command::Update { code, name, etag, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let vendor = Vendor { code, name, etag, ..Vendor::default() };
            let response = catalog.update_vendor(key, vendor).await.map_err(Failure::changing(key))?;
            output::one(context.format, FIELDS, &json::vendor(&response.vendor.unwrap_or_default()))
        }
        Command::Get { code } => {
            let response = catalog.get_vendor(&code).await.map_err(Failure::reading)?;
            output::one(context.format, FIELDS, &json::vendor(&response.vendor.unwrap_or_default()))
        }
        Command::List { paging } => {
            let items = paging
                .collect(async |page_size, page_token| {
                    let page = catalog.list_vendors(ListVendorsRequest { page_size, page_token }).await?;
                    Ok((page.vendors.iter().map(json::vendor).collect(), page.next_page_token))
                })
                .await?;
            output::list(context.format, COLUMNS, &items)
        }
    }
}
