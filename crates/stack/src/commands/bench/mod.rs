//! `./dev bench`: what Holdfast costs, in figures.

mod bounds;
mod scale;
mod shop;

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::Result;
use crate::project::Project;
use crate::signals::Interrupts;

/// Benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Memory of a replica, bytes of Redis for a SKU, and how fast counters are rebuilt after a wipe, each beside its bound. Some minutes.
    Bounds(bounds::Flags),
    /// What a reservation costs each part, and what more replicas and a standby change, as ratios within one run. Some minutes.
    Scale(scale::Flags),
}

/// Runs a benchmark; 1 if a bound was not kept.
pub(crate) async fn run(project: &Project, command: Command) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let running = async {
        match &command {
            Command::Bounds(flags) => bounds::run(project, flags).await,
            Command::Scale(flags) => scale::run(project, flags).await,
        }
    };
    tokio::select! {
        () = interrupts.next() => Ok(ExitCode::from(130)),
        ended = running => ended,
    }
}
