//! Counts and adjustments.

use super::draft::{Change, Draft, check_sound};
use crate::answer::{Answer, CountOutcome, CountResult, NegativeAdjustment, Refusal, StockRow, StoredAnswer};
use crate::ids::{Name, PayloadHash, RequestId, RowKey, UnixMicros};
use crate::ledger::Cause;
use crate::level::{Cap, Condition, Delta, Freshness, LEVEL_MAX, Level, LevelProblem, Turn};
use crate::op::{Adjustment, Count, CountEffect};
use std::collections::{BTreeMap, BTreeSet};

/// What a Count says.
pub(super) struct Said<'a> {
    pub(super) connection: &'a Name,
    pub(super) moment: Moment,
    pub(super) covers_all: bool,
    pub(super) counts: &'a [Count],
}

/// When a vendor counted, and which of several counts of that moment it is.
type Moment = (UnixMicros, i64);

/// As of when a row is.
#[derive(Clone, Copy)]
struct Seen {
    /// Its own newest count.
    own: Option<Moment>,
    /// The newest run of its connection that says something of all rows, be it under way. A row that this run left out of its counts has the number, or its number
    /// waits for a person.
    marked: Option<Moment>,
}

impl Seen {
    /// Whether a count of that moment is stale. One of the marked run's own moment is not: it is a person's word on a number of that run that waited.
    fn is_newer_than(self, moment: Moment) -> bool {
        self.own.is_some_and(|own| moment <= own) || self.marked.is_some_and(|marked| moment < marked)
    }
}

/// What a count does to its row.
struct Judged {
    result: CountResult,
    change: Option<Delta>,
    /// Whether the row is to be noted as counted at this moment.
    counted: bool,
}

impl Draft {
    pub(super) fn count(
        &mut self,
        op: usize,
        (request, payload): (RequestId, PayloadHash),
        said: &Said<'_>,
    ) -> Result<Answer, Refusal> {
        let odd = said.counts.iter().filter(|count| !(0..=LEVEL_MAX).contains(&count.units));
        let odd: Vec<RowKey> = odd.map(Count::row).collect();
        if !odd.is_empty() {
            return Err(Refusal::OutOfRange(odd));
        }
        // Rows decide independently, but one that contradicts itself must not leave the others counted and the request refused: look at all, then write all.
        let mut taken: BTreeSet<RowKey> = BTreeSet::new();
        let mut changes = Vec::new();
        let mut results = Vec::with_capacity(said.counts.len());
        for count in said.counts {
            let row = count.row();
            let known = self.level(&row);
            known.map_or(Ok(()), check_sound)?;
            let seen = if taken.contains(&row) {
                Seen { own: Some(said.moment), marked: None }
            } else {
                self.seen(known, said.connection)
            };
            let judged = match count.effect {
                CountEffect::Set => judge_set(count, known, seen, said),
                CountEffect::Limit => judge_limit(count, known, seen, said.moment),
                CountEffect::Unlimit => judge_unlimit(count, known, said.moment),
            };
            if let Some(delta) = judged.change {
                changes.push(Change { row: row.clone(), delta, cause: Cause::Count(request) });
            }
            if judged.counted {
                taken.insert(row);
            }
            results.push(judged.result);
        }
        self.write(Some(op), changes)?;
        for row in taken {
            self.set_count(&row, said.connection, said.moment);
        }
        for result in &mut results {
            if let Some(level) = self.level(&(result.sku.clone(), result.location.clone())) {
                (result.on_hand, result.shortfall) = (level.on_hand, level.shortfall);
                result.available = level.available();
            }
        }
        self.land(request, payload, StoredAnswer::Counted(results.clone()));
        Ok(Answer::Counted { results, replayed: false })
    }

    fn seen(&self, known: Option<&Level>, connection: &Name) -> Seen {
        let own = known.and_then(|level| level.count);
        let feed = match known {
            // A mark speaks for one connection; rows of several are always dated themselves.
            Some(level) if level.shared => None,
            // A row that was never counted, by hand perhaps, is not as of any run.
            Some(level) => level.feed.as_ref(),
            // What a whole run does not know is not there, for its own connection.
            None => Some(connection),
        };
        Seen { own, marked: feed.and_then(|feed| self.marks.get(feed)).copied() }
    }

    pub(super) fn adjust(
        &mut self,
        op: usize,
        (request, payload): (RequestId, PayloadHash),
        adjustments: &[Adjustment],
    ) -> Result<Answer, Refusal> {
        let after = self.adjusted(adjustments)?;
        let changes = adjustments.iter().filter(|adjustment| adjustment.delta != 0).map(|adjustment| Change {
            row: adjustment.row(),
            delta: adjustment.as_delta(),
            cause: Cause::Adjust(request, adjustment.reason),
        });
        self.write(Some(op), changes.collect())?;
        let levels = after.into_keys().filter_map(|row| {
            let level = self.level(&row)?.clone();
            Some(StockRow { sku: row.0, location: row.1, level })
        });
        let levels: Vec<StockRow> = levels.collect();
        self.land(request, payload, StoredAnswer::Adjusted(levels.clone()));
        Ok(Answer::Adjusted { levels, replayed: false })
    }

    /// The rows as they would be; every adjustment that does not fit is named, those of one kind at a time.
    fn adjusted(&self, adjustments: &[Adjustment]) -> Result<BTreeMap<RowKey, Level>, Refusal> {
        let mut levels: BTreeMap<RowKey, Level> = BTreeMap::new();
        let (mut unknown, mut negative, mut too_large) = (Vec::new(), Vec::new(), Vec::new());
        for (index, adjustment) in adjustments.iter().enumerate() {
            let row = adjustment.row();
            let known = levels.remove(&row).or_else(|| self.level(&row).cloned());
            if known.is_none() && adjustment.delta <= 0 {
                unknown.push((adjustment.sku.clone(), Some(adjustment.location.clone())));
                continue;
            }
            let mut level = known.unwrap_or_default();
            match level.apply(&adjustment.as_delta()) {
                Ok(()) => {}
                Err(LevelProblem::Negative) => negative.push(adjustment.negative(index, &level)),
                Err(LevelProblem::TooLarge) => too_large.push(row.clone()),
            }
            levels.insert(row, level);
        }
        if !unknown.is_empty() {
            Err(Refusal::UnknownSku(unknown))
        } else if !negative.is_empty() {
            Err(Refusal::WouldBeNegative(negative))
        } else if !too_large.is_empty() {
            Err(Refusal::OutOfRange(too_large))
        } else {
            Ok(levels)
        }
    }
}

/// What a count means for one row (PROTOCOL 13). Only `on_hand` follows from the count alone; which confirmed units it reflects, and so no longer are `committed`, will
/// follow from their evidence (PROTOCOL 14, 15), with its own part of the delta.
fn judge_set(count: &Count, known: Option<&Level>, seen: Seen, said: &Said<'_>) -> Judged {
    let on_hand = known.map_or(0, |level| level.on_hand);
    if seen.is_newer_than(said.moment) {
        return Judged { result: result(count, known, CountOutcome::Stale), change: None, counted: false };
    }
    // A newer number, or the person's word for the one that waited, ends the limit.
    let lifts = known.and_then(|level| level.cap).is_some_and(|cap| cap.moment <= said.moment);
    // Another connection's number does not age with the feed of the one before.
    let refreshed = known
        .filter(|level| level.feed.as_ref().is_some_and(|feed| feed != said.connection))
        .filter(|level| level.freshness != Freshness::Fresh);
    let turn = Turn { cap: lifts.then_some(None), freshness: refreshed.map(|_| Freshness::Fresh), ..Turn::default() };
    let safety = refreshed.map_or(0, |level| level.buffer.saturating_neg());
    let delta = Delta { on_hand: count.units.saturating_sub(on_hand), safety, turn, ..Delta::default() };
    if known.is_some() && on_hand == count.units {
        let is_covered =
            said.covers_all && known.is_some_and(|level| !level.shared && level.feed.as_ref() == Some(said.connection));
        let change = (lifts || refreshed.is_some()).then_some(delta);
        let counted = change.is_some() || !is_covered;
        return Judged { result: result(count, known, CountOutcome::Unchanged), change, counted };
    }
    Judged { result: result(count, known, CountOutcome::Applied), change: Some(delta), counted: true }
}

/// A suspicious number caps what is offered at once, and neither changes what is on hand nor raises a shortfall (PROTOCOL 18).
fn judge_limit(count: &Count, known: Option<&Level>, seen: Seen, moment: Moment) -> Judged {
    let still = |outcome| Judged { result: result(count, known, outcome), change: None, counted: false };
    let Some(level) = known else { return still(CountOutcome::Unchanged) };
    let cap = Cap { units: count.units, moment };
    match level.cap {
        Some(present) if present == cap => still(CountOutcome::Unchanged),
        Some(present) if present.moment >= moment => still(CountOutcome::Stale),
        Some(_) | None if seen.is_newer_than(moment) => still(CountOutcome::Stale),
        Some(_) | None => Judged {
            change: Some(Delta { turn: Turn { cap: Some(Some(cap)), ..Turn::default() }, ..Delta::default() }),
            ..still(CountOutcome::Applied)
        },
    }
}

fn judge_unlimit(count: &Count, known: Option<&Level>, moment: Moment) -> Judged {
    let lifts = known.and_then(|level| level.cap).is_some_and(|cap| cap.moment == moment);
    let outcome = if lifts { CountOutcome::Applied } else { CountOutcome::Unchanged };
    let delta = Delta { turn: Turn { cap: Some(None), ..Turn::default() }, ..Delta::default() };
    Judged { result: result(count, known, outcome), change: lifts.then_some(delta), counted: false }
}

fn result(count: &Count, known: Option<&Level>, outcome: CountOutcome) -> CountResult {
    let (on_hand, shortfall) = known.map_or((0, 0), |level| (level.on_hand, level.shortfall));
    let (sku, location) = count.row();
    let available = known.map_or(0, Level::available);
    CountResult {
        sku,
        location,
        outcome,
        previous_on_hand: on_hand,
        on_hand,
        shortfall,
        reflected: 0,
        previous_available: available,
        available,
    }
}

impl Adjustment {
    fn row(&self) -> RowKey {
        (self.sku.clone(), self.location.clone())
    }

    fn as_delta(&self) -> Delta {
        match self.condition {
            Condition::Sellable => Delta { on_hand: self.delta, ..Delta::default() },
            Condition::Damaged | Condition::QualityHold | Condition::Refurbished => {
                Delta { unsellable: Some((self.condition, self.delta)), ..Delta::default() }
            }
        }
    }

    fn negative(&self, index: usize, level: &Level) -> NegativeAdjustment {
        let present = match self.condition {
            Condition::Sellable => level.on_hand,
            Condition::Damaged | Condition::QualityHold | Condition::Refurbished => {
                level.unsellable.get(&self.condition).copied().unwrap_or(0)
            }
        };
        NegativeAdjustment {
            index,
            sku: self.sku.clone(),
            location: self.location.clone(),
            condition: self.condition,
            present,
            delta: self.delta,
        }
    }
}
