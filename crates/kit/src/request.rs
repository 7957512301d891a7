//! What the server stack knows of a request besides its message: who calls, until when, and for the how many-th time.

use std::time::{Duration, Instant};

use crate::Caller;

/// Until when the caller wants an answer. The stack drops the handler then; work handed to other tasks goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// The instant.
    pub instant: Instant,
}

impl Deadline {
    /// The deadline that lies this far ahead.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self { instant: Instant::now() + duration }
    }

    /// How long is left; zero if it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.instant.saturating_duration_since(Instant::now())
    }

    /// Sends what is left of the deadline along with a call to another service, so that deadlines shrink on their way and nobody works for a caller that
    /// has gone. tonic's client then ends the call itself when the time is over, and calls that CANCELLED, "Timeout expired": read it as DEADLINE_EXCEEDED.
    pub fn apply<T>(&self, request: &mut tonic::Request<T>) {
        request.set_timeout(self.remaining());
    }
}

/// Which attempt with this request the transport makes: `grpc-previous-rpc-attempts` plus one, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u32);

/// Until when the caller wants an answer. A request that did not come through the server stack (in a test) has 10 s.
#[must_use]
pub fn deadline<T>(request: &tonic::Request<T>) -> Deadline {
    request.extensions().get().copied().unwrap_or_else(|| Deadline::after(Duration::from_secs(10)))
}

/// Which attempt the transport makes; 1 for a request that did not come through the server stack.
#[must_use]
pub fn attempt<T>(request: &tonic::Request<T>) -> Attempt {
    request.extensions().get().copied().unwrap_or(Attempt(1))
}

/// Who calls. A request that did not come through the server stack has a caller without roles.
#[must_use]
pub fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_else(Caller::nobody)
}
