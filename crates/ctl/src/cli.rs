//! The command line's grammar at its top: what holds for every command, and the commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    audit, availability, backup, canary, connection, feed, location, offer, quarantine, reservation, restore, runs,
    sales, sku, stock, vendor,
};
use crate::parse;

const AFTER_HELP: &str = "\
A vendor's numbers, from the first file to a decision:
  holdctl sku import catalog.csv
  holdctl vendor create NORTHWIND
  holdctl location create HALL-1 --vendor NORTHWIND
  holdctl offer import codes.csv --vendor NORTHWIND --location HALL-1
  holdctl connection create NW-DAILY --vendor NORTHWIND --location HALL-1 --mode full --cadence 1d --like stock.csv
  holdctl feed upload stock.csv --connection NW-DAILY --as-of now
  holdctl run approve RUN --reason 'the first file, compared by hand'
  holdctl quarantine list

Exit codes: 0 done; 1 refused, nothing was changed; 2 wrong usage; 3 outcome unknown, repeat the command with the key that is shown;
4 a guard stopped it, a person has to decide.
Endpoints come from the flags, from HOLDFAST_*_ENDPOINT, or from .holdfast/endpoints.json here or in a folder above (./dev up writes it).";

/// Holdfast by hand: catalog, feeds, stock and reservations.
#[derive(Debug, Parser)]
#[command(
    name = "holdctl",
    version,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    /// How to print results.
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Where the catalog service listens, for example http://127.0.0.1:7001.
    #[arg(long, global = true, env = "HOLDFAST_CATALOG_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub(crate) catalog_endpoint: Option<String>,
    /// Where the reservation service listens.
    #[arg(long, global = true, env = "HOLDFAST_RESERVATION_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub(crate) reservation_endpoint: Option<String>,
    /// Where the vendor-sync service listens.
    #[arg(long, global = true, env = "HOLDFAST_VENDOR_SYNC_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub(crate) vendor_sync_endpoint: Option<String>,
    /// A file with the token that says who calls. Or the token itself in HOLDFAST_TOKEN.
    #[arg(long, global = true, env = "HOLDFAST_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// How long a call may take in all, retries included, for example 10s or 2m. Default 10s, and 10m for files.
    #[arg(long, global = true, value_parser = parse::duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: a JSON object, or an array of them.
    Json,
}

/// The commands, in the order in which a shop meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What the shop sells.
    #[command(subcommand)]
    Sku(sku::Command),
    /// Who supplies.
    #[command(subcommand)]
    Vendor(vendor::Command),
    /// Where units lie.
    #[command(subcommand)]
    Location(location::Command),
    /// Which of a vendor's codes is which SKU.
    #[command(subcommand)]
    Offer(offer::Command),
    /// Vendors' feeds.
    #[command(subcommand)]
    Connection(connection::Command),
    /// A vendor's files.
    #[command(subcommand)]
    Feed(feed::Command),
    /// What became of a vendor's files, and deciding those that are held.
    #[command(subcommand)]
    Run(runs::Command),
    /// Numbers that a guard stopped, and deciding them.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Stock as Postgres has it; counts, adjustments and moves by hand; pauses in selling.
    #[command(subcommand)]
    Stock(stock::Command),
    /// What could be reserved now.
    Availability(availability::Availability),
    /// Hold all lines of a cart, or none (or as much as there is). Prints the reservation's id before it sends anything.
    Reserve(reservation::ReserveArgs),
    /// Turn a hold, or a part of it, into a sale.
    Confirm(sales::ConfirmArgs),
    /// Give a hold's units back, or close a key that no reservation has used.
    Release(reservation::ChangeArgs),
    /// Give a hold more time, counted from now.
    Extend(reservation::ExtendArgs),
    /// Reservations as Postgres has them, and what follows a sale: shipping, cancelling, returns.
    #[command(subcommand)]
    Reservation(reservation::Command),
    /// Whether stock, ledger, reservations and Redis agree.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Put right what an audit found, by entries that are added to the ledger. Shows what it would write; --yes writes it.
    Repair(audit::RepairArgs),
    /// Reserve one unit of a SKU that is only for this, see that every answer is right, and give it back.
    Canary(canary::Canary),
    /// Back up the services' databases into a new folder, while they are in use. Needs the databases' owning roles, and no service.
    Backup(backup::BackupArgs),
    /// Restore databases from a backup into empty ones, with the services stopped; says what is lost. Read docs/backup.md first.
    Restore(restore::RestoreArgs),
}
