//! What the demo tells whoever watches: bars on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use holdfast_client::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Tells of the demo's progress, on standard output.
#[derive(Debug)]
pub(super) struct Say {
    terminal: bool,
    silent: bool,
}

impl Say {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal() && io::stderr().is_terminal(), silent: false }
    }

    /// Tells nobody.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self { terminal: false, silent: true }
    }

    /// A line.
    pub(super) fn line(&self, words: &str) {
        if self.silent {
            return;
        }
        let mut out = io::stdout().lock();
        // Nobody listens: the demo's verdict is its exit code all the same.
        let _unheard = writeln!(out, "{words}").and_then(|()| out.flush());
    }

    pub(super) fn title(&self, words: &str) {
        self.line(&format!("\n{words}"));
    }

    /// A command that repeats or shows what was just told.
    pub(super) fn command(&self, ctl: &str, words: &str) {
        self.line(&format!("    $ {ctl} {words}"));
    }

    /// Begins a step.
    pub(super) fn step(&self, doing: &str) -> Step<'_> {
        self.step_of(doing, None)
    }

    /// Begins a step of so many parts.
    pub(super) fn counted(&self, doing: &str, parts: usize) -> Step<'_> {
        self.step_of(doing, Some(parts))
    }

    fn step_of(&self, doing: &str, parts: Option<usize>) -> Step<'_> {
        let bar = match (self.terminal, parts) {
            (false, _) => ProgressBar::hidden(),
            (true, None) => ProgressBar::new_spinner(),
            (true, Some(parts)) => ProgressBar::new(parts as u64),
        };
        if parts.is_some() {
            let style = ProgressStyle::with_template("  {msg} [{bar:30}] {pos}/{len}").expect("it is well formed");
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(doing.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Step { say: self, doing: doing.to_owned(), bar, began: Instant::now() }
    }
}

/// A step under way. Dropped without an end (by an error), it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Step<'a> {
    say: &'a Say,
    doing: String,
    bar: ProgressBar,
    began: Instant,
}

impl Step<'_> {
    pub(super) fn at(&self, parts: usize) {
        self.bar.set_position(parts as u64);
    }

    pub(super) fn advance(&self, parts: usize) {
        self.bar.inc(parts as u64);
    }

    pub(super) fn now(&self, doing: &str) {
        self.bar.set_message(doing.to_owned());
    }

    /// What a client reports the bytes of a file to.
    pub(super) fn bytes(&self) -> Progress {
        let bar = self.bar.clone();
        Progress::new(move |bytes| bar.set_position(bytes))
    }

    /// Ends the step with its result.
    pub(super) fn done(self, result: &str) {
        self.bar.finish_and_clear();
        let seconds = self.began.elapsed().as_secs_f64();
        self.say.line(&format!("  ✓ {}: {result} ({seconds:.1} s)", self.doing));
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A number with its thousands set apart.
pub(super) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let first = digits.len() % 3;
    let mut parts: Vec<&str> = if first > 0 { vec![&digits[..first]] } else { Vec::new() };
    parts.extend((first..digits.len()).step_by(3).map(|start| &digits[start..start + 3]));
    parts.join(",")
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let written = [0_u64, 7, 999, 1_000, 40_000, 1_234_567].map(super::count);
        assert_eq!(written, ["0", "7", "999", "1,000", "40,000", "1,234,567"]);
    }
}
