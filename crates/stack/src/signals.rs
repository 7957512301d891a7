//! Being told to stop: Ctrl-C, SIGTERM, or the terminal closing.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Result, StackError};

/// The signals that ask this process to end, from the moment on that this is made.
#[derive(Debug)]
pub struct Interrupts {
    signals: [Signal; 3],
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
        Ok(Self { signals })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
