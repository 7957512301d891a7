//! holdctl, the operator's command line: everything that a person does with Holdfast by hand.
//!
//! It is a caller like any other: it uses `holdfast-client` and knows nothing that the API does not say. Exit codes: 0 done, 1 refused (nothing was
//! changed), 2 wrong usage, 3 outcome unknown (the command to repeat is shown, with its key), 4 a guard stopped it (a person has to decide).

mod backup;
mod called;
mod cli;
mod commands;
mod endpoints;
mod failure;
pub mod files;
mod json;
mod output;
mod parse;
mod progress;
mod signals;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

/// Runs holdctl with the process's arguments.
pub fn main() -> ExitCode {
    main_as("holdctl", std::env::args_os().skip(1))
}

/// [`main()`] for holdctl as a role of a larger program: `program` is what a person types to reach it, `words` is what follows.
pub fn main_as(program: &'static str, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    called::remember(program, &words);
    let all = std::iter::once(OsString::from(program)).chain(words);
    let parsed = cli::Cli::command().bin_name(program).try_get_matches_from(all);
    let cli = match parsed.and_then(|matches| cli::Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // Code 2 when the arguments are wrong, with why; 0 for help.
        Err(error) => error.exit(),
    };
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
