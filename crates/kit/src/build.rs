//! Which build this is: the version of the sources, and the commit that an image was made from.

use std::sync::LazyLock;

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, if the builder said so with `HOLDFAST_REVISION`; `unknown` otherwise.
pub const REVISION: &str = match option_env!("HOLDFAST_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Version and commit, as programs say them: `0.1.0 (revision 3f2a…)`.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));
    &TEXT
}
