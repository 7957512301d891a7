//! Being told to stop: Ctrl-C, SIGTERM, or the terminal closing.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Result, StackError};

/// Signals that follow each other more closely are one: wrappers send theirs to us and then to all of our group.
const SAME_WITHIN: Duration = Duration::from_secs(1);

/// The signals that ask this process to end, from the moment on that this is made.
#[derive(Debug)]
pub struct Interrupts {
    signals: [Signal; 3],
    last: Option<Instant>,
}

impl Interrupts {
    /// Starts to listen; from now on these signals do not end the process by themselves.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system refuses.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| StackError::io("listening for signals", error));
        let signals =
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { signals, last: None })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        loop {
            let [interrupt, terminate, hangup] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            let now = Instant::now();
            if self.last.replace(now).is_none_or(|last| now - last > SAME_WITHIN) {
                return;
            }
        }
    }
}
