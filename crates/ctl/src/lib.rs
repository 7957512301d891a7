//! holdctl, the operator's command line: everything that a person does with Holdfast by hand.
//!
//! It is a caller like any other: it uses `holdfast-client` and knows nothing that the API does not say. Exit codes: 0 done, 1 refused (nothing was
//! changed), 2 wrong usage, 3 outcome unknown (the command to repeat is shown, with its key), 4 a guard stopped it (a person has to decide).

mod backup;
mod cli;
mod commands;
mod endpoints;
mod failure;
pub mod files;
mod json;
mod output;
mod parse;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs holdctl with the process's arguments.
pub fn main() -> ExitCode {
    // Clap ends the process with code 2 when the arguments are wrong, and says why.
    let cli = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.to_string());
            failure.exit_code()
        }
    }
}
