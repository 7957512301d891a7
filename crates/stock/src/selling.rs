//! Whether a SKU may be sold at the moment, and how fast it is: the velocity breaker.

use crate::ids::{Name, Note, UnixMicros};

/// How a SKU is selling. The default is one that is not paused and of which nothing was reserved lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selling {
    /// Why nothing of it is offered until somebody resumes it; none: it is sold.
    pub pause: Option<Pause>,
    /// Units reserved, by second of Postgres's clock since 1970, seconds ascending; kept only where a policy limits the units a minute. At most
    /// [`Selling::RECENT_MAX`] entries: older ones are dropped whenever one is added.
    pub recent: Vec<(i64, i64)>,
}

/// A pause in selling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: UnixMicros,
    /// Who: a person, or `holdfast`.
    pub actor: Name,
    /// Why.
    pub note: Note,
}

/// What a channel has of a SKU whose policy caps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelUse {
    /// Units held, or confirmed and neither cancelled nor shipped. Holds that are over are in it until their units are freed.
    pub units: i64,
}

impl Selling {
    /// The window's length in whole seconds.
    pub const WINDOW_SECONDS: i64 = 60;

    /// The most entries of `recent`: any 60 seconds touch 61 whole ones.
    pub const RECENT_MAX: usize = 61;

    /// Units reserved within the last minute, and up to a second before: entries from the second of `now` less [`WINDOW_SECONDS`](Self::WINDOW_SECONDS) on, that one
    /// included, so that no 60 seconds ever have more than is allowed. Entries ahead of `now`, after a clock was set back, count too.
    #[must_use]
    pub fn units_within_a_minute(&self, now: UnixMicros) -> i64 {
        let from = oldest_second(now);
        let recent = self.recent.iter().filter(|(second, _)| *second >= from);
        recent.fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }

    /// Notes units reserved now.
    pub(crate) fn note(&mut self, now: UnixMicros, units: i64) {
        let from = oldest_second(now);
        self.recent.retain(|(second, _)| *second >= from);
        let second = second_of(now);
        match self.recent.binary_search_by_key(&second, |(second, _)| *second) {
            Ok(place) => self.recent[place].1 = self.recent[place].1.saturating_add(units),
            Err(place) => self.recent.insert(place, (second, units)),
        }
        // Only a clock that was set back leaves more: the newest keep what the oldest had, so that nothing is forgotten too early.
        while self.recent.len() > Self::RECENT_MAX {
            let (_, oldest) = self.recent.remove(0);
            self.recent[0].1 = self.recent[0].1.saturating_add(oldest);
        }
    }
}

const fn second_of(now: UnixMicros) -> i64 {
    now.0.div_euclid(1_000_000)
}

const fn oldest_second(now: UnixMicros) -> i64 {
    second_of(now).saturating_sub(Selling::WINDOW_SECONDS)
}
