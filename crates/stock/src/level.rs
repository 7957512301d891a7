//! One stock row: what a SKU has at a location, and how a change moves it.

use crate::ids::{Name, UnixMicros};
use crate::op::CountMeaning;
use crate::policy::{Policy, Rank};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// The most units that any number of a stock row may reach; sums of them stay far from the end of a `bigint`.
pub const LEVEL_MAX: i64 = 1_000_000_000_000;

/// In what condition units are. Only sellable ones can be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// New and for sale: these are `on_hand`.
    Sellable,
    /// Damaged.
    Damaged,
    /// Waiting for inspection.
    QualityHold,
    /// Refurbished, used or opened.
    Refurbished,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 4] = [Self::Sellable, Self::Damaged, Self::QualityHold, Self::Refurbished];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sellable => "SELLABLE",
            Self::Damaged => "DAMAGED",
            Self::QualityHold => "QUALITY_HOLD",
            Self::Refurbished => "REFURBISHED",
        }
    }

    /// The condition of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.as_str() == name)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How fresh a row's number is, beside what its connection promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Freshness {
    /// As young as promised, or nothing was promised.
    #[default]
    Fresh,
    /// Overdue: more is kept back.
    Late,
    /// Long overdue: nothing is offered.
    Stale,
}

impl Freshness {
    /// Every freshness.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Late, Self::Stale];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "FRESH",
            Self::Late => "LATE",
            Self::Stale => "STALE",
        }
    }

    /// The freshness of that name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|freshness| freshness.as_str() == name)
    }
}

/// A suspicious lower number that waits for a person: no more than it is offered of what is on hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cap {
    /// Units, 0 to [`LEVEL_MAX`].
    pub units: i64,
    /// When the vendor counted so, and the count's sequence.
    pub moment: (UnixMicros, i64),
}

/// One stock row. Every number is units and from 0 to [`LEVEL_MAX`]; the default is a row that was never written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Sellable units counted, by the last count and later adjustments.
    pub on_hand: i64,
    /// Units in reservations that may still be confirmed.
    pub held: i64,
    /// Confirmed units, neither cancelled nor yet reflected by the count.
    pub committed: i64,
    /// Units deliberately not offered: the policy's, and `buffer`.
    pub safety: i64,
    /// What of `safety` is there because the feed is late.
    pub buffer: i64,
    /// Units that may be promised beyond what is there.
    pub backorder: i64,
    /// Units promised that the latest count says are not there: always [`shortfall_due`](Self::shortfall_due).
    pub shortfall: i64,
    /// The version of the row's newest ledger entry; 0 before the first.
    pub version: i64,
    /// Units that are there but must not be sold, by condition; never [`Condition::Sellable`], no zeros.
    pub unsellable: BTreeMap<Condition, i64>,
    /// When the vendor counted (by its own word) and the sequence of the count last taken; none before the first.
    pub count: Option<(UnixMicros, i64)>,
    /// The connection whose count it has; none before the first.
    pub feed: Option<Name>,
    /// Whether counts came by several connections.
    pub shared: bool,
    /// How fresh the number is.
    pub freshness: Freshness,
    /// What is offered at most, while a suspicious number waits.
    pub cap: Option<Cap>,
    /// Whether the SKU is not sold any more.
    pub archived: bool,
    /// Whether the SKU's selling is paused.
    pub paused: bool,
    /// What the count last taken means; none before the first, and for counts taken before this was kept.
    pub meaning: Option<CountMeaning>,
    /// Where it stands among its SKU's locations.
    pub rank: Rank,
}

impl Default for Level {
    fn default() -> Self {
        Self {
            on_hand: 0,
            held: 0,
            committed: 0,
            safety: 0,
            buffer: 0,
            backorder: 0,
            shortfall: 0,
            version: 0,
            unsellable: BTreeMap::new(),
            count: None,
            feed: None,
            shared: false,
            freshness: Freshness::Fresh,
            cap: None,
            archived: false,
            paused: false,
            meaning: None,
            rank: Policy::UNRANKED,
        }
    }
}

/// What of a row turns from one state into another; none of it is a number of units that adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// What `freshness` becomes.
    pub freshness: Option<Freshness>,
    /// What `cap` becomes; `Some(None)` lifts it.
    pub cap: Option<Option<Cap>>,
    /// What `archived` becomes.
    pub archived: Option<bool>,
    /// What `paused` becomes.
    pub paused: Option<bool>,
}

/// A change of one stock row; all zero is no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta {
    /// Change of `on_hand`.
    pub on_hand: i64,
    /// Change of `held`.
    pub held: i64,
    /// Change of `committed`.
    pub committed: i64,
    /// Change of `safety`.
    pub safety: i64,
    /// Change of `backorder`.
    pub backorder: i64,
    /// Change of the units in one unsellable condition.
    pub unsellable: Option<(Condition, i64)>,
    /// What turns besides.
    pub turn: Turn,
}

/// Why a change does not fit a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LevelProblem {
    /// A number would fall below 0.
    #[error("a number would fall below 0")]
    Negative,
    /// A number would exceed [`LEVEL_MAX`].
    #[error("a number would exceed the most that a stock row can have")]
    TooLarge,
}

impl Level {
    /// What can be reserved: `min(on_hand, cap) − held − committed − safety + backorder`, never below 0, and 0 of an archived or paused SKU and of a stale number.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.available_with(0)
    }

    /// [`available`](Self::available) if so many of the held units were freed.
    #[must_use]
    pub fn available_with(&self, freed: i64) -> i64 {
        if self.archived || self.paused || self.freshness == Freshness::Stale {
            return 0;
        }
        let offered = self.cap.map_or(self.on_hand, |cap| cap.units.min(self.on_hand));
        clamp(
            i128::from(offered) - i128::from(self.held) - i128::from(self.committed) - i128::from(self.safety)
                + i128::from(self.backorder)
                + i128::from(freed),
        )
        .max(0)
    }

    /// What of that is there, if so many of the held units were freed: without what only the backorder limit makes possible. Never below 0.
    #[must_use]
    pub fn present_with(&self, freed: i64) -> i64 {
        let backorder = 0;
        Self { backorder, ..self.clone() }.available_with(freed)
    }

    /// What `shortfall` must be: promised units for which neither the count nor the backorder limit has room.
    #[must_use]
    pub fn shortfall_due(&self) -> i64 {
        let over =
            i128::from(self.held) + i128::from(self.committed) - i128::from(self.on_hand) - i128::from(self.backorder);
        clamp(over).max(0)
    }

    /// Changes the row, sets the shortfall anew and moves to the next version.
    ///
    /// # Errors
    /// [`LevelProblem`], the row then being as it was.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), LevelProblem> {
        let on_hand = moved(self.on_hand, delta.on_hand)?;
        let held = moved(self.held, delta.held)?;
        let committed = moved(self.committed, delta.committed)?;
        let safety = moved(self.safety, delta.safety)?;
        let backorder = moved(self.backorder, delta.backorder)?;
        let version = self.version.checked_add(1).ok_or(LevelProblem::TooLarge)?;
        if let Some((condition, change)) = delta.unsellable {
            let units = moved(self.unsellable.get(&condition).copied().unwrap_or(0), change)?;
            if units == 0 {
                self.unsellable.remove(&condition);
            } else {
                self.unsellable.insert(condition, units);
            }
        }
        (self.on_hand, self.held, self.committed) = (on_hand, held, committed);
        (self.safety, self.backorder, self.version) = (safety, backorder, version);
        self.freshness = delta.turn.freshness.unwrap_or(self.freshness);
        self.cap = delta.turn.cap.unwrap_or(self.cap);
        self.archived = delta.turn.archived.unwrap_or(self.archived);
        self.paused = delta.turn.paused.unwrap_or(self.paused);
        self.shortfall = self.shortfall_due();
        Ok(())
    }
}

impl Delta {
    /// Units in one condition come (positive) or go (negative).
    #[must_use]
    pub fn of_condition(condition: Condition, units: i64) -> Self {
        match condition {
            Condition::Sellable => Self { on_hand: units, ..Self::default() },
            Condition::Damaged | Condition::QualityHold | Condition::Refurbished => {
                Self { unsellable: Some((condition, units)), ..Self::default() }
            }
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        let Self { on_hand, held, committed, safety, backorder, unsellable, turn } = *self;
        [on_hand, held, committed, safety, backorder].iter().all(|part| *part == 0)
            && unsellable.is_none_or(|(_, units)| units == 0)
            && turn == Turn::default()
    }
}

fn moved(before: i64, change: i64) -> Result<i64, LevelProblem> {
    let after = i128::from(before) + i128::from(change);
    if after < 0 {
        return Err(LevelProblem::Negative);
    }
    if after > i128::from(LEVEL_MAX) {
        return Err(LevelProblem::TooLarge);
    }
    Ok(clamp(after))
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}
