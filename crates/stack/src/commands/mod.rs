//! The sub-commands of `./dev`, one file each.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Result, StackError};
use crate::kubernetes::sandbox;
use crate::project::Project;
use crate::say::complain;

#[cfg(feature = "demo")]
mod bench;
mod chart;
mod chart_run;
mod ctl;
#[cfg(feature = "demo")]
mod demo;
mod down;
mod image;
mod lint;
mod own_stores;
mod reset;
mod roll;
mod stores;
mod test;
mod up;

/// Holdfast on this machine: a private PostgreSQL, a private Redis and the three services.
#[derive(Debug, Parser)]
#[command(name = "./dev", disable_version_flag = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A stock file and a flash sale, and the proof that nothing was oversold or wrongly refused.
    #[cfg(feature = "demo")]
    Demo(demo::Flags),
    /// What Holdfast costs, in figures.
    #[cfg(feature = "demo")]
    #[command(subcommand)]
    Bench(bench::Command),
    /// Start everything and stay until Ctrl-C.
    Up(up::Options),
    /// End what `up` started.
    Down,
    /// Throw the data away.
    Reset(reset::Options),
    /// Run holdctl against what `up` started.
    Ctl(ctl::Options),
    /// Run all tests, with the stores that they need.
    Test(test::Options),
    /// Look at formatting, lints, licences, protos and arrows between crates.
    Lint,
    /// Build the image of all roles, and start every role from it.
    Image(image::Flags),
    /// Check the Helm chart: what it renders, refuses and documents.
    Chart(chart::Options),
    /// Roll from an older version to this one under load, and back.
    Roll(roll::Options),
    /// Run the stores that tests need until Ctrl-C, to run single tests with cargo.
    Stores,
    /// Run one container: what the kubelet of tests calls.
    #[command(hide = true)]
    Container { file: PathBuf },
}

/// Parses the command line and runs the command; 0 when it went well, 1 when not, 2 for a wrong command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // It moves into namespaces, which only a program without further threads can do.
    if let Command::Container { file } = &cli.command {
        return sandbox::main(file);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(StackError::io("starting", error)),
    };
    ended.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    let project = Project::locate();
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(flags) => demo::run(&project, flags).await,
        #[cfg(feature = "demo")]
        Command::Bench(command) => bench::run(&project, command).await,
        Command::Up(options) => up::run(&project, options).await,
        Command::Down => down::run(&project).await,
        Command::Reset(options) => reset::run(&project, &options),
        Command::Ctl(options) => ctl::run(&project, options),
        Command::Test(options) => test::run(&project, options).await,
        Command::Lint => lint::run(&project).await,
        Command::Image(flags) => image::run(&project, flags).await,
        Command::Chart(options) => chart::run(&project, &options).await,
        Command::Roll(options) => roll::run(&project, options).await,
        Command::Stores => stores::run(&project).await,
        Command::Container { file } => Ok(sandbox::main(&file)),
    }
}
