//! Bars while files go out: only where somebody watches.

use std::time::Duration;

use holdfast_client::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar over the bytes of a file. It vanishes with the last of its clones; without a terminal it never appears.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn of_bytes(doing: &'static str, bytes: usize) -> Self {
        let bar = ProgressBar::new(bytes as u64);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}");
        bar.set_style(style.expect("the template is well formed"));
        bar.set_message(doing);
        Self(bar)
    }

    pub(crate) fn of_items(doing: &'static str, items: usize) -> Self {
        let bar = ProgressBar::new(items as u64);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
        bar.set_style(style.expect("the template is well formed"));
        bar.set_message(doing);
        Self(bar)
    }

    /// What the client reports to. When all bytes are out, the bar says that the other side is at work.
    pub(crate) fn listener(&self, then: &'static str) -> Progress {
        let bar = self.0.clone();
        Progress::new(move |bytes| {
            bar.set_position(bytes);
            if Some(bytes) == bar.length() {
                bar.set_style(ProgressStyle::default_spinner());
                bar.set_message(then);
                bar.enable_steady_tick(Duration::from_millis(100));
            }
        })
    }

    pub(crate) fn advance(&self, items: usize) {
        self.0.inc(items as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
