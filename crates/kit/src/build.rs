//! Which build this is, for the log, `--version` and the metrics.

use std::sync::LazyLock;

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it was built from: `HOLDFAST_REVISION` at build time, or "unknown". No build script asks git: an image is built from a copy without its history.
pub const REVISION: &str = match option_env!("HOLDFAST_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    Some(_) | None => "unknown",
};

/// Both, as `--version` prints them.
pub static VERSION_AND_REVISION: LazyLock<String> = LazyLock::new(|| format!("{VERSION} ({REVISION})"));
