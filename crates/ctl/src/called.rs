//! How holdctl was called, so that the command to repeat can be shown as it was typed.

use std::ffi::OsString;
use std::sync::OnceLock;

struct Called {
    program: &'static str,
    words: Vec<String>,
}

static CALLED: OnceLock<Called> = OnceLock::new();

/// Keeps what was typed: the program, and the words after it.
pub(crate) fn remember(program: &'static str, words: &[OsString]) {
    let words = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // A process is called once.
    let _kept_already = CALLED.set(Called { program, words });
}

/// What a person types to run this program: `holdctl`, or `holdfast ctl`.
pub(crate) fn program() -> &'static str {
    CALLED.get().map_or("holdctl", |called| called.program)
}

/// The words after it.
pub(crate) fn words() -> Vec<String> {
    CALLED.get().map(|called| called.words.clone()).unwrap_or_default()
}
