//! `./dev reset`: throws the data away, but not the downloads.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use clap::Args;

use crate::error::{Result, StackError};
use crate::project::Project;
use crate::say::say;

/// Flags of `reset`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is removed: all that running leaves behind. Downloads and other runs' test stores stay.
const LEFTOVERS: [&str; 8] =
    ["postgres", "postgres.new", "postgres.pw", "run", "logs", "demo", "secrets.json", "endpoints.json"];

/// Removes the data folder of a stack that does not run.
pub(crate) fn run(project: &Project, options: &Options) -> Result<ExitCode> {
    let _lock = project.lock()?;
    if !options.yes && !confirmed(project)? {
        say("Nothing was removed.");
        return Ok(ExitCode::FAILURE);
    }
    for name in LEFTOVERS {
        let path = project.state().join(name);
        let removed = match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_file) => std::fs::remove_file(&path),
            Err(_absent) => Ok(()),
        };
        removed.map_err(|error| StackError::unwritable(&path, error))?;
    }
    say("The data is gone; ./dev up starts afresh.");
    Ok(ExitCode::SUCCESS)
}

fn confirmed(project: &Project) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(StackError::Usage("nobody is here to ask: ./dev reset --yes does not ask".into()));
    }
    say(format!("Remove all data of this Holdfast in {}? [y/N]", project.state().display()));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| StackError::io("reading the answer", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
