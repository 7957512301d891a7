//! Every role of Holdfast in one program, so that one image serves them all: `holdfast reservation serve`, `holdfast ctl sku list`.
//!
//! It chooses and hands over. What a role does with its words, and which exit code it ends with, is the role's own affair.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::ExitCode;

use holdfast_catalog::Catalog;
use holdfast_kit::build;
use holdfast_reservation::Reservation;
use holdfast_vendor_sync::VendorSync;

/// The words cannot be used.
const EXIT_USAGE: u8 = 2;

const USAGE: &str = "\
Usage: holdfast ROLE …

Roles:
  reservation  the stock authority, the only writer of stock
  catalog      what is sold, who supplies it, and where it lies
  vendor-sync  vendors' feeds and the shop's own numbers
  ctl          holdctl, the operator's command line

`holdfast ROLE --help` says more; `holdfast --version` says which build this is.
";

/// Runs the role that the first word names with the words after it.
///
/// Exit codes are the role's; 2 when there is no such role.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut words = words.into_iter();
    let role = words.next().unwrap_or_default();
    match role.to_str() {
        Some("reservation") => holdfast_kit::main_as::<Reservation>("holdfast reservation", words),
        Some("catalog") => holdfast_kit::main_as::<Catalog>("holdfast catalog", words),
        Some("vendor-sync") => holdfast_kit::main_as::<VendorSync>("holdfast vendor-sync", words),
        Some("ctl") => holdfast_ctl::main_as("holdfast ctl", words),
        Some("-h" | "--help" | "help") => say(USAGE),
        Some("-V" | "--version" | "version") => say(&format!("holdfast {}\n", *build::VERSION_AND_REVISION)),
        _ => refuse(&role),
    }
}

/// Nobody reading any more is no failure.
fn say(text: &str) -> ExitCode {
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn refuse(role: &OsStr) -> ExitCode {
    let what = if role.is_empty() { "which role?".to_owned() } else { format!("there is no role {}", role.display()) };
    drop(write!(std::io::stderr(), "holdfast: {what}\n\n{USAGE}"));
    ExitCode::from(EXIT_USAGE)
}
