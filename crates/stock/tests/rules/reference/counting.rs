//! Counts and adjustments on paper.

use super::Reference;
use crate::world::Outcome;
use holdfast_stock::{
    Adjustment, Answer, Cap, Cause, Condition, Count, CountEffect, CountMeaning, CountOutcome, CountResult, Delta,
    Freshness, Name, NegativeAdjustment, Op, Refusal, RequestId, RowKey, StockRow, Turn, UnixMicros, Watermark,
};
use std::collections::{BTreeMap, BTreeSet};

/// What all counts of a request have in common.
struct Said<'a> {
    request: RequestId,
    connection: &'a Name,
    moment: (UnixMicros, i64),
    meaning: CountMeaning,
    covers_all: bool,
}

impl Reference {
    pub(super) fn count(&mut self, op: &Op) -> Outcome {
        let Op::Count { request, connection, as_of, sequence, meaning, covers_all, counts, .. } = op else {
            unreachable!()
        };
        let odd: Vec<RowKey> = counts.iter().filter(|count| count.units < 0).map(Count::row).collect();
        if !odd.is_empty() {
            return Err(Refusal::OutOfRange(odd));
        }
        let moment = (*as_of, *sequence);
        let said = Said { request: *request, connection, moment, meaning: *meaning, covers_all: *covers_all };
        let numbers = |this: &Self, row: &RowKey| match this.rows.get(row) {
            Some(page) => [page.on_hand, this.shortfall(row), this.available(row, 0)],
            None => [0, 0, 0],
        };
        let before: Vec<[i64; 3]> = counts.iter().map(|count| numbers(self, &count.row())).collect();
        let done: Vec<(CountOutcome, i64)> = counts.iter().map(|count| self.take_count(count, &said)).collect();
        let mut results = Vec::new();
        for (count, ((outcome, reflected), before)) in counts.iter().zip(done.into_iter().zip(before)) {
            let ([previous_on_hand, _, previous_available], after) = (before, numbers(self, &count.row()));
            results.push(CountResult {
                sku: count.sku.clone(),
                location: count.location.clone(),
                outcome,
                previous_on_hand,
                on_hand: after[0],
                shortfall: after[1],
                reflected,
                previous_available,
                available: after[2],
            });
        }
        Ok(Answer::Counted { results, replayed: false })
    }

    /// What becomes of one number, and how many units it newly reflects.
    fn take_count(&mut self, count: &Count, said: &Said<'_>) -> (CountOutcome, i64) {
        let row = count.row();
        let on_hand = self.rows.get(&row).map_or(0, |page| page.on_hand);
        let cap = self.rows.get(&row).and_then(|page| page.cap);
        let wanted = Cap { units: count.units, moment: said.moment };
        match count.effect {
            CountEffect::Set if self.is_stale(&row, said) => (CountOutcome::Stale, 0),
            CountEffect::Set if count.expected.is_some_and(|units| units != on_hand) => (CountOutcome::Conflict, 0),
            CountEffect::Set => self.set(&row, count.units, said),
            CountEffect::Limit if !self.rows.contains_key(&row) || cap == Some(wanted) => (CountOutcome::Unchanged, 0),
            CountEffect::Limit if cap.is_some_and(|cap| cap.moment >= said.moment) => (CountOutcome::Stale, 0),
            CountEffect::Limit if self.is_stale(&row, said) => (CountOutcome::Stale, 0),
            CountEffect::Limit => self.turn_cap(&row, Some(wanted), said),
            CountEffect::Unlimit if cap.is_some_and(|cap| cap.moment == said.moment) => self.turn_cap(&row, None, said),
            CountEffect::Unlimit => (CountOutcome::Unchanged, 0),
        }
    }

    /// PROTOCOL 13: whether the row is as new as the count, or newer. A run that says something of every row speaks for those that it left out, if they are its
    /// connection's alone; its own later word on a number that waited is not older than itself.
    fn is_stale(&self, row: &RowKey, said: &Said<'_>) -> bool {
        let page = self.rows.get(row);
        let whose = match page {
            None => Some(said.connection),
            Some(page) if page.shared => None,
            Some(page) => page.feed.as_ref(),
        };
        let marked = whose.and_then(|feed| self.marks.get(feed));
        page.and_then(|page| page.count).is_some_and(|count| count >= said.moment)
            || marked.is_some_and(|marked| *marked > said.moment)
    }

    fn turn_cap(&mut self, row: &RowKey, cap: Option<Cap>, said: &Said<'_>) -> (CountOutcome, i64) {
        self.rows.get_mut(row).unwrap().cap = cap;
        let turn = Turn { cap: Some(cap), ..Turn::default() };
        self.note(row, Cause::Count(said.request), Delta { turn, ..Delta::default() });
        (CountOutcome::Applied, 0)
    }

    /// The number is what is on hand, and what it reflects is not committed any more (PROTOCOL 15).
    fn set(&mut self, row: &RowKey, units: i64, said: &Said<'_>) -> (CountOutcome, i64) {
        let is_new = !self.rows.contains_key(row);
        let mut delta = self.first_change(row, Delta::default());
        let committed = self.committed(row);
        if !is_new {
            self.reflect(row, said);
        }
        let reflected = committed - self.committed(row);
        let page = self.rows.get_mut(row).unwrap();
        (delta.on_hand, delta.committed) = (units - page.on_hand, -reflected);
        page.on_hand = units;
        if page.cap.is_some_and(|cap| cap.moment <= said.moment) {
            page.cap = None;
            delta.turn.cap = Some(None);
        }
        let is_others = page.feed.as_ref().is_some_and(|feed| feed != said.connection);
        if is_others && page.freshness != Freshness::Fresh {
            // Its number does not age with the other's feed.
            (delta.safety, delta.turn.freshness) = (delta.safety - page.buffer, Some(Freshness::Fresh));
            (page.buffer, page.freshness) = (0, Freshness::Fresh);
        }
        let is_same = !is_new && delta.on_hand == 0;
        let has_changed = is_new || delta != Delta::default();
        // A run that covers all says as of when its rows are; those that it leaves as they are need not be written.
        let is_its_own =
            !page.shared && page.feed.as_ref() == Some(said.connection) && page.meaning == Some(said.meaning);
        if has_changed || !(said.covers_all && is_its_own && committed == 0) {
            page.shared |= is_others;
            (page.count, page.meaning) = (Some(said.moment), Some(said.meaning));
            page.feed = Some(said.connection.clone());
        }
        if has_changed {
            self.note(row, Cause::Count(said.request), delta);
        }
        (if is_same { CountOutcome::Unchanged } else { CountOutcome::Applied }, reflected)
    }

    /// Sales of the row are in the number as far as evidence says so. What was only booked was missing in an AVAILABLE number and is in an ON_HAND one.
    fn reflect(&mut self, row: &RowKey, said: &Said<'_>) {
        let is_anew = said.meaning == CountMeaning::OnHand && self.rows[row].meaning == Some(CountMeaning::Available);
        let reflection_lag_micros = self.feeds.get(said.connection).and_then(|feed| feed.reflection_lag_micros);
        let count = Watermark { as_of: said.moment.0, meaning: said.meaning, reflection_lag_micros };
        for part in self.reservations.values_mut().filter_map(|paper| paper.parts.get_mut(row)) {
            if is_anew {
                part.reflect_anew(&count);
            } else {
                part.reflect(&count);
            }
        }
    }

    /// All or none, in the order asked.
    pub(super) fn adjust(&mut self, request: RequestId, adjustments: &[Adjustment]) -> Outcome {
        let mut present: BTreeMap<(RowKey, Condition), i64> = BTreeMap::new();
        let mut made: BTreeSet<RowKey> = BTreeSet::new();
        let (mut unknown, mut negative) = (Vec::new(), Vec::new());
        for (index, adjustment) in adjustments.iter().enumerate() {
            let Adjustment { sku, location, condition, delta, .. } = adjustment.clone();
            let row = (sku.clone(), location.clone());
            if !self.rows.contains_key(&row) && !made.contains(&row) && delta <= 0 {
                unknown.push((sku, Some(location)));
                continue;
            }
            made.insert(row.clone());
            let there = self.units(&row, condition);
            let units = present.entry((row, condition)).or_insert(there);
            if *units + delta < 0 {
                negative.push(NegativeAdjustment { index, sku, location, condition, present: *units, delta });
            } else {
                *units += delta;
            }
        }
        if !unknown.is_empty() {
            return Err(Refusal::UnknownSku(unknown));
        }
        if !negative.is_empty() {
            return Err(Refusal::WouldBeNegative(negative));
        }
        for adjustment in adjustments {
            let row = (adjustment.sku.clone(), adjustment.location.clone());
            self.come(&row, adjustment.condition, adjustment.delta, Cause::Adjust(request, adjustment.reason));
        }
        let level = |row: RowKey| StockRow { level: self.level(&row), sku: row.0, location: row.1 };
        Ok(Answer::Adjusted { levels: made.into_iter().map(level).collect(), replayed: false })
    }

    fn units(&self, row: &RowKey, condition: Condition) -> i64 {
        self.rows.get(row).map_or(0, |page| match condition {
            Condition::Sellable => page.on_hand,
            other => page.unsellable.get(&other).copied().unwrap_or(0),
        })
    }
}
