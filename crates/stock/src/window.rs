//! Which keys are taken: those young enough that what became of them is still known.

use crate::ids::{ReservationId, UnixMicros};
use thiserror::Error;

/// The span of time in which a key's own time must lie (PROTOCOL 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyWindow {
    /// How old a key may be, in microseconds: the retry window.
    pub back_micros: i64,
    /// How far ahead of Postgres's clock a key may be, in microseconds.
    pub ahead_micros: i64,
}

/// Why a key is not taken. It says nothing about earlier attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyProblem {
    /// Not a UUID of version 7.
    #[error("is not a UUIDv7")]
    NotV7,
    /// Older than the retry window.
    #[error("was made too long ago")]
    TooOld,
    /// Further ahead than clocks differ.
    #[error("was made in the future")]
    TooNew,
}

impl KeyWindow {
    /// Checks the time in a key against Postgres's now; both ends of the window belong to it.
    ///
    /// # Errors
    /// [`KeyProblem`]; nothing is known of what became of the key before.
    pub fn check(&self, id: ReservationId, now: UnixMicros) -> Result<(), KeyProblem> {
        if !id.is_v7() {
            return Err(KeyProblem::NotV7);
        }
        let ahead = i128::from(id.unix_millis()) * 1000 - i128::from(now.0);
        if ahead > i128::from(self.ahead_micros) {
            return Err(KeyProblem::TooNew);
        }
        if ahead < -i128::from(self.back_micros) {
            return Err(KeyProblem::TooOld);
        }
        Ok(())
    }
}
