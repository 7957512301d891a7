//! Which build this is, for the log, `--version` and the metrics.

use std::sync::LazyLock;

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it was built from: `HOLDFAST_REVISION` at build time, or "unknown". No build script asks git: an image is built from a copy without its history.
pub const REVISION: &str = match option_env!("HOLDFAST_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    Some(_) | None => "unknown",
};

/// Both, as programs say them: `0.1.0 (revision 3f2a…)`.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));
    &TEXT
}
