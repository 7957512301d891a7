//! What the command line says to the person at the keyboard.

use std::io::Write;

use crate::error::StackError;

/// A line of progress or of the answer. Nobody reading any more (a closed pipe) is no reason to stop the stores.
pub(crate) fn say(line: impl AsRef<str>) {
    let _nobody_reads = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// An error and what to do about it.
pub(crate) fn complain(error: &StackError) {
    let mut terminal = std::io::stderr().lock();
    let _nobody_reads = writeln!(terminal, "error: {error}");
    let next = error.next_step();
    if !next.is_empty() {
        let _nobody_reads = writeln!(terminal, "  next: {next}");
    }
}
