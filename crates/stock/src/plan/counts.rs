//! Counts: what a vendor's numbers do to its rows.

use super::Pending;
use super::draft::{Change, Draft, check_sound};
use crate::answer::{Answer, CountOutcome, CountResult, Refusal, StoredAnswer};
use crate::ids::{Name, PayloadHash, RequestId, RowKey, UnixMicros};
use crate::ledger::Cause;
use crate::level::{Cap, Delta, Freshness, LEVEL_MAX, Level, Turn};
use crate::op::{Count, CountEffect, CountMeaning};
use crate::sale::Watermark;
use std::collections::BTreeSet;

/// What a Count says.
pub(super) struct Said<'a> {
    pub(super) connection: &'a Name,
    pub(super) moment: Moment,
    pub(super) meaning: CountMeaning,
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
    /// The allocations of which it reflects other units than before.
    reflections: Vec<Pending>,
    /// Whether the row is to be noted as counted at this moment.
    counted: bool,
}

/// What a count reflects of a row's sales.
#[derive(Default)]
struct Reflections {
    /// Units that leave committed by it, all in all; negative where units are in the number again.
    units: i64,
    changed: Vec<Pending>,
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
        let mut reflections = Vec::new();
        let mut results = Vec::with_capacity(said.counts.len());
        for count in said.counts {
            let row = count.row();
            self.level(&row).map_or(Ok(()), check_sound)?;
            let judged = self.judge(count, said, taken.contains(&row));
            if let Some(delta) = judged.change {
                changes.push(Change { row: row.clone(), delta, cause: Cause::Count(request) });
            }
            reflections.extend(judged.reflections.into_iter().map(|pending| (row.clone(), pending)));
            if judged.counted {
                taken.insert(row);
            }
            results.push(judged.result);
        }
        self.write(Some(op), changes)?;
        for (row, Pending { id, quantity, progress }) in reflections {
            self.set_progress(id, &row, quantity, progress);
        }
        for row in taken {
            self.set_count(&row, said.connection, said.moment, said.meaning);
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

    /// What one count of the request does; a row takes one.
    fn judge(&self, count: &Count, said: &Said<'_>, is_taken: bool) -> Judged {
        let row = count.row();
        let known = self.level(&row);
        let seen =
            if is_taken { Seen { own: Some(said.moment), marked: None } } else { self.seen(known, said.connection) };
        let on_hand = known.map_or(0, |level| level.on_hand);
        match count.effect {
            CountEffect::Set if seen.is_newer_than(said.moment) => Judged::left(count, known, CountOutcome::Stale),
            CountEffect::Set if count.expected.is_some_and(|expected| expected != on_hand) => {
                Judged::left(count, known, CountOutcome::Conflict)
            }
            CountEffect::Set => judge_set(count, known, self.reflections(&row, known, said), said),
            CountEffect::Limit => judge_limit(count, known, seen, said.moment),
            CountEffect::Unlimit => judge_unlimit(count, known, said.moment),
        }
    }

    /// The row's allocations of which this count reflects other units than the one before, as they are then (PROTOCOL 15).
    fn reflections(&self, row: &RowKey, known: Option<&Level>, said: &Said<'_>) -> Reflections {
        let reflection_lag_micros = self.feeds.get(said.connection).and_then(|feed| feed.reflection_lag_micros);
        let count = Watermark { as_of: said.moment.0, meaning: said.meaning, reflection_lag_micros };
        // What was booked and has not left the shelf was missing in the number before and is in this one.
        let is_anew = said.meaning == CountMeaning::OnHand
            && known.is_some_and(|level| level.meaning == Some(CountMeaning::Available));
        let mut reflections = Reflections::default();
        for pending in self.pending(row) {
            let mut progress = pending.progress.clone();
            if is_anew {
                progress.reflect_anew(pending.quantity, &count);
            } else {
                progress.reflect(pending.quantity, &count);
            }
            if progress != pending.progress {
                reflections.units += progress.reflected - pending.progress.reflected;
                reflections.changed.push(Pending { progress, ..pending.clone() });
            }
        }
        reflections
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
}

impl Judged {
    /// The row stays as it is.
    fn left(count: &Count, known: Option<&Level>, outcome: CountOutcome) -> Self {
        let (on_hand, shortfall) = known.map_or((0, 0), |level| (level.on_hand, level.shortfall));
        let (sku, location) = count.row();
        let available = known.map_or(0, Level::available);
        let result = CountResult {
            sku,
            location,
            outcome,
            previous_on_hand: on_hand,
            on_hand,
            shortfall,
            reflected: 0,
            previous_available: available,
            available,
        };
        Self { result, change: None, reflections: Vec::new(), counted: false }
    }
}

/// What a count means for one row that takes it (PROTOCOL 13): the number is what is on hand, and what it reflects leaves committed (PROTOCOL 15).
fn judge_set(count: &Count, known: Option<&Level>, reflections: Reflections, said: &Said<'_>) -> Judged {
    let on_hand = known.map_or(0, |level| level.on_hand);
    // A newer number, or the person's word for the one that waited, ends the limit.
    let lifts = known.and_then(|level| level.cap).is_some_and(|cap| cap.moment <= said.moment);
    // Another connection's number does not age with the feed of the one before.
    let refreshed = known
        .filter(|level| level.feed.as_ref().is_some_and(|feed| feed != said.connection))
        .filter(|level| level.freshness != Freshness::Fresh);
    let turn = Turn { cap: lifts.then_some(None), freshness: refreshed.map(|_| Freshness::Fresh), ..Turn::default() };
    let delta = Delta {
        on_hand: count.units.saturating_sub(on_hand),
        committed: -reflections.units,
        safety: refreshed.map_or(0, |level| level.buffer.saturating_neg()),
        turn,
        ..Delta::default()
    };
    let is_same = known.is_some() && on_hand == count.units;
    let outcome = if is_same { CountOutcome::Unchanged } else { CountOutcome::Applied };
    let mut judged = Judged::left(count, known, outcome);
    judged.result.reflected = reflections.units;
    judged.change = (!is_same || !delta.is_zero()).then_some(delta);
    judged.reflections = reflections.changed;
    judged.counted = judged.change.is_some() || !known.is_some_and(|level| said.goes_without_saying(level));
    judged
}

impl Said<'_> {
    /// Whether a row that has the number may stay unwritten, because the connection's mark says as of when it is. One with units that are committed may not: evidence of
    /// them that comes late must find as of when the number is.
    fn goes_without_saying(&self, level: &Level) -> bool {
        let is_its_own = !level.shared && level.feed.as_ref() == Some(self.connection);
        self.covers_all && is_its_own && level.committed == 0 && level.meaning == Some(self.meaning)
    }
}

/// A suspicious number caps what is offered at once, and neither changes what is on hand nor raises a shortfall (PROTOCOL 18).
fn judge_limit(count: &Count, known: Option<&Level>, seen: Seen, moment: Moment) -> Judged {
    let still = |outcome| Judged::left(count, known, outcome);
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
    Judged { change: lifts.then_some(delta), ..Judged::left(count, known, outcome) }
}
