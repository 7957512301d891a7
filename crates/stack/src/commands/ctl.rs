//! `./dev ctl`: holdctl, told where this folder's Holdfast listens.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::endpoints::Endpoints;
use crate::error::{Result, StackError};
use crate::project::Project;
use crate::stack::beside_us;

/// Words of `ctl`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Handed on to holdctl.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Becomes holdctl. What it is told explicitly, by flags or the environment, goes first.
pub(crate) fn run(project: &Project, options: Options) -> Result<ExitCode> {
    let mut holdctl = Command::new(beside_us("holdctl", "holdfast-ctl")?);
    // Without a running stack holdctl says itself what to do, where it needs one at all.
    if let Ok(endpoints) = Endpoints::read(project) {
        for (name, url) in [
            ("HOLDFAST_CATALOG_ENDPOINT", endpoints.catalog),
            ("HOLDFAST_RESERVATION_ENDPOINT", endpoints.reservation),
            ("HOLDFAST_VENDOR_SYNC_ENDPOINT", endpoints.vendor_sync),
        ] {
            if std::env::var_os(name).is_none() {
                holdctl.env(name, url);
            }
        }
    }
    Err(StackError::io("starting holdctl", holdctl.args(options.words).exec()))
}
