//! Being told to stop: for commands that last, also as the first process of a container, which a signal without a handler does not even reach.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Listens for SIGTERM and Ctrl-C, from when it is made.
pub(crate) struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    /// [`Failure::Refused`]: the system lets nobody listen. Nothing was sent.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::Refused(format!("cannot listen for signals: {error}; nothing was sent")))
        };
        Ok(Self { term: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// What comes of the work; nothing if somebody wants the process to end before.
    pub(crate) async fn unless_asked_to_end<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            _ = self.term.recv() => None,
            _ = self.interrupt.recv() => None,
        }
    }
}
