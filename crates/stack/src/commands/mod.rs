//! The sub-commands of `./dev`, one file each.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::project::Project;
use crate::say::complain;

mod stores;

/// Holdfast on this machine: a private PostgreSQL, a private Redis and the three services.
#[derive(Debug, Parser)]
#[command(name = "./dev", disable_version_flag = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the stores that tests need until Ctrl-C, so that single tests can be run with cargo.
    Stores,
}

/// Parses the command line and runs the command; 0 when it went well, 1 when not, 2 for a wrong command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&crate::StackError::io("starting", error));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    let project = Project::locate();
    match command {
        Command::Stores => stores::run(&project).await,
    }
}
