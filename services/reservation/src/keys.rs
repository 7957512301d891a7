//! Keys of requests: one that is too old is refused, for what became of it may be forgotten (PROTOCOL 12).

use holdfast_stock::{KeyProblem, KeyWindow, Op, ReservationId};

use crate::clock::PostgresClock;
use crate::config::HoldsConfig;

/// Checks the key of every mutation that is not a Reserve, before it queues. Clones share the clock.
#[derive(Debug, Clone)]
pub struct KeyGuard {
    window: KeyWindow,
    bulk: KeyWindow,
    clock: PostgresClock,
}

impl KeyGuard {
    /// With the configured windows, by Postgres's clock.
    #[must_use]
    pub fn new(holds: HoldsConfig, clock: PostgresClock) -> Self {
        Self { window: holds.window(), bulk: holds.bulk_window(), clock }
    }

    /// Checks the time in an operation's request key, if it has one.
    ///
    /// # Errors
    /// [`KeyProblem`]: nothing is done, and nothing is known of what became of the key before.
    pub(crate) fn check(&self, op: &Op) -> Result<(), KeyProblem> {
        let Some((request, _)) = op.request() else { return Ok(()) };
        // What follows from a vendor's files and from what people decided.
        let is_bulk = matches!(op, Op::Count { .. } | Op::Adjust { .. } | Op::Evidence { .. });
        let window = if is_bulk { &self.bulk } else { &self.window };
        window.check(ReservationId::from_bytes(request.to_bytes()), self.clock.now())
    }
}
