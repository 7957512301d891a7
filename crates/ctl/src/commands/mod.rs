//! The commands, one file for each kind of thing.

pub(crate) mod audit;
pub(crate) mod availability;
pub(crate) mod backup;
pub(crate) mod canary;
pub(crate) mod connection;
pub(crate) mod deciding;
pub(crate) mod feed;
pub(crate) mod house;
pub(crate) mod location;
pub(crate) mod offer;
pub(crate) mod paging;
pub(crate) mod quarantine;
pub(crate) mod reservation;
pub(crate) mod restore;
pub(crate) mod runs;
pub(crate) mod sales;
pub(crate) mod selling;
pub(crate) mod sku;
pub(crate) mod stock;
pub(crate) mod vendor;
pub(crate) mod watching;

use crate::cli::{Cli, Command, Format};
use crate::endpoints::Services;
use crate::failure::Failure;

/// What a command works with.
pub(crate) struct Context<'a> {
    pub(crate) services: Services<'a>,
    pub(crate) format: Format,
}

pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context { services: Services::new(&cli.global), format: cli.global.format };
    match cli.command {
        Command::Sku(command) => sku::run(&context, command).await,
        Command::Vendor(command) => vendor::run(&context, command).await,
        Command::Location(command) => location::run(&context, command).await,
        Command::Offer(command) => offer::run(&context, command).await,
        Command::Connection(command) => connection::run(&context, command).await,
        Command::Feed(command) => feed::run(&context, command).await,
        Command::Run(command) => runs::run(&context, command).await,
        Command::Quarantine(command) => quarantine::run(&context, command).await,
        Command::Stock(command) => stock::run(&context, command).await,
        Command::Availability(args) => availability::run(&context, args).await,
        Command::Reserve(args) => reservation::reserve(&context, args).await,
        Command::Confirm(args) => sales::confirm(&context, args).await,
        Command::Release(args) => reservation::release(&context, args).await,
        Command::Extend(args) => reservation::extend(&context, args).await,
        Command::Reservation(command) => reservation::run(&context, command).await,
        Command::Backup(args) => backup::run(context.format, &args).await,
        Command::Restore(args) => restore::run(context.format, &args).await,
        Command::Audit(command) => audit::run(&context, command).await,
        Command::Canary(args) => canary::run(&context, args).await,
        Command::Repair(args) => audit::repair(&context, args).await,
    }
}
