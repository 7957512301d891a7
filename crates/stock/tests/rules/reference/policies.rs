//! Policies, freshness, pauses and pace on paper.

use super::Reference;
use crate::asking::name;
use crate::world::Outcome;
use holdfast_stock::{
    Answer, Cause, Delta, Freshness, Location, Name, Note, Op, Pause, Policy, Refusal, RequestId, RowKey, Sku, Turn,
    UnixMicros,
};
use std::collections::BTreeMap;

pub(super) const SECOND: i64 = 1_000_000;

impl Reference {
    /// Takes those that are newer than what is known.
    pub(super) fn take_policies(&mut self, policies: &[(Sku, Policy)]) -> Answer {
        let mut applied = 0;
        for (sku, policy) in policies {
            if self.policies.get(sku).is_some_and(|known| known.version >= policy.version) {
                continue;
            }
            applied += 1;
            self.take_policy(sku, policy);
        }
        Answer::Policies { applied }
    }

    fn take_policy(&mut self, sku: &Sku, policy: &Policy) {
        let rows = self.rows_of(sku);
        let before: Vec<_> = rows.iter().map(|row| (self.safety(row), self.backorder(row))).collect();
        let was_archived = self.is_archived(sku);
        self.policies.insert(sku.clone(), policy.clone());
        for (row, (safety, backorder)) in rows.iter().zip(before) {
            let page = self.rows.get_mut(row).unwrap();
            if page.freshness != Freshness::Fresh {
                // A row that is late keeps back at least as much again as the policy says.
                page.buffer = page.buffer.max(policy.safety);
            }
            let archived = (was_archived != policy.archived).then_some(policy.archived);
            let delta = Delta {
                safety: self.safety(row) - safety,
                backorder: self.backorder(row) - backorder,
                turn: Turn { archived, ..Turn::default() },
                ..Delta::default()
            };
            if delta != Delta::default() {
                self.note(row, Cause::Policy(policy.version), delta);
            }
        }
        // What can be promised before anything was counted needs a row.
        let first = policy.locations.first().map(|first| (sku.clone(), first.clone()));
        if let Some(row) = first.filter(|row| policy.backorder > 0 && !self.rows.contains_key(row)) {
            let delta = self.first_change(&row, Delta::default());
            self.note(&row, Cause::Policy(policy.version), delta);
        }
    }

    /// Brings rows to the freshness of their connection's feed.
    pub(super) fn freshen(&mut self, feed: &Name, freshness: Freshness, rows: &[(Sku, Location, i64)]) -> Answer {
        let mut changed = 0;
        for (sku, location, units) in rows {
            let row = (sku.clone(), location.clone());
            let Some(page) = self.rows.get_mut(&row).filter(|page| page.feed.as_ref() == Some(feed)) else { continue };
            let buffer = if freshness == Freshness::Fresh { 0 } else { *units };
            let turn = (page.freshness != freshness).then_some(freshness);
            let delta = Delta {
                safety: buffer - page.buffer,
                turn: Turn { freshness: turn, ..Turn::default() },
                ..Delta::default()
            };
            (page.buffer, page.freshness) = (buffer, freshness);
            if delta != Delta::default() {
                changed += 1;
                self.note(&row, Cause::Freshness, delta);
            }
        }
        Answer::Freshened { rows: changed }
    }

    /// Pauses or resumes, all or none.
    pub(super) fn sell(&mut self, op: &Op) -> Outcome {
        let Op::Sell { request, skus, pause, actor, note, .. } = op else { unreachable!() };
        let is_unknown = |sku: &&Sku| !self.policies.contains_key(*sku) && self.rows_of(sku).is_empty();
        let unknown: Vec<_> = skus.iter().filter(is_unknown).map(|sku| (sku.clone(), None)).collect();
        if !unknown.is_empty() {
            return Err(Refusal::UnknownSku(unknown));
        }
        let differs = |sku: &&Sku| self.pauses.contains_key(*sku) != *pause;
        let changed: Vec<Sku> = skus.iter().filter(differs).cloned().collect();
        for sku in &changed {
            if *pause {
                self.pause(sku, *request, actor, note);
            } else {
                self.pauses.remove(sku);
                // Who resumes has looked at what was sold.
                self.pace.remove(sku);
                self.turn(sku, false, Cause::Resume(*request));
            }
        }
        Ok(Answer::Sold { changed, replayed: false })
    }

    fn pause(&mut self, sku: &Sku, request: RequestId, actor: &Name, note: &Note) {
        let pause = Pause { at: UnixMicros(self.now), actor: actor.clone(), note: note.clone() };
        self.pauses.insert(sku.clone(), pause);
        self.turn(sku, true, Cause::Pause(request));
    }

    fn turn(&mut self, sku: &Sku, paused: bool, cause: Cause) {
        let turn = Turn { paused: Some(paused), ..Turn::default() };
        for row in self.rows_of(sku) {
            self.note(&row, cause, Delta { turn, ..Delta::default() });
        }
    }

    /// Pauses what would be sold faster than its policy allows, and says what that is.
    pub(super) fn break_pace(&mut self, wanted: &BTreeMap<Sku, i64>, request: RequestId) -> Vec<Sku> {
        let is_too_fast = |(sku, units): &(&Sku, &i64)| {
            let most = self.policies.get(*sku).and_then(|policy| policy.max_per_minute);
            most.is_some_and(|most| self.lately(sku).values().sum::<i64>() + **units > most)
        };
        let too_fast: Vec<Sku> = wanted.iter().filter(is_too_fast).map(|(sku, _)| sku.clone()).collect();
        for sku in &too_fast {
            self.pause(sku, request, &name("holdfast"), &Note::new("").unwrap());
        }
        too_fast
    }

    pub(super) fn keep_pace(&mut self, sku: &Sku, units: i64) {
        if self.policies.get(sku).is_some_and(|policy| policy.max_per_minute.is_some()) {
            self.pace.entry(sku.clone()).or_default().push((self.now, units));
        }
    }

    /// Units reserved in the last 60 whole seconds and in the one that runs, by second.
    pub(super) fn lately(&self, sku: &Sku) -> BTreeMap<i64, i64> {
        let from = self.now.div_euclid(SECOND) - 60;
        let mut seconds = BTreeMap::new();
        for (when, units) in self.pace.get(sku).into_iter().flatten() {
            let second = when.div_euclid(SECOND);
            if second >= from {
                *seconds.entry(second).or_default() += units;
            }
        }
        seconds
    }

    /// What a channel has of a SKU, holds that are over included until they are freed.
    pub(super) fn channel_units(
        &self,
        sku: &Sku,
        channel: &Name,
        beside: Option<holdfast_stock::ReservationId>,
    ) -> i64 {
        let papers = self.reservations.iter().filter(|(id, _)| Some(**id) != beside).map(|(_, paper)| paper);
        let here = papers.filter(|paper| paper.page.details.channel.as_ref() == Some(channel));
        here.map(|paper| paper.owned(sku)).sum()
    }

    /// The rows of a portion's SKU, if it names no other location.
    pub(super) fn fits(row: &RowKey, sku: &Sku, location: Option<&Location>) -> bool {
        row.0 == *sku && location.is_none_or(|named| *named == row.1)
    }
}
