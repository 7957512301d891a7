//! Confirm, Release, Extend and Expire on paper.

use super::Reference;
use super::paper::{Paper, Part};
use super::reserving::Asked;
use crate::world::Outcome;
use holdfast_stock::{
    Answer, Cart, Cause, Delta, Details, Limits, Line, Op, Portion, Quantity, Record, Refusal, ReservationId, RowKey,
    State, Terms, UnixMicros,
};
use std::collections::BTreeMap;

impl Reference {
    /// Gives the reservation that is confirmed then: the one named, or the one made in its place.
    pub(super) fn confirm(&mut self, op: &Op, seen: &Outcome) -> Result<ReservationId, Refusal> {
        let Op::Confirm { id, portions, reacquire, order, .. } = op else { unreachable!() };
        let paper = self.reservations.get(id).ok_or(Refusal::NotFound)?;
        match (paper.state(self.now), reacquire) {
            (State::Held, _) => {
                self.buy(*id, portions)?;
                let details = &mut self.reservations.get_mut(id).unwrap().page.details;
                details.order = details.order.clone().or_else(|| order.clone());
                Ok(*id)
            }
            (State::Confirmed | State::Fulfilled, _) => Ok(*id),
            (State::Expired, Some(new)) => self.reacquire(op, *new, seen).map(|()| *new),
            (State::Expired, None) => Err(Refusal::Expired),
            (State::Released, _) => Err(Refusal::Released),
            (State::Cancelled, _) => Err(Refusal::Cancelled),
            (State::Refused, _) => Err(Refusal::Insufficient(paper.page.shortages.clone())),
        }
    }

    fn buy(&mut self, id: ReservationId, portions: &[Portion]) -> Result<(), Refusal> {
        let bought = self.meant(id, portions, Part::quantity)?;
        let paper = self.reservations.get_mut(&id).unwrap();
        paper.change(State::Confirmed, self.now);
        paper.page.version += 1;
        let mut moved = Vec::new();
        for (row, part) in &mut paper.parts {
            let (held, committed) = (part.quantity(), bought.get(row).map_or(0, |(units, _)| *units));
            part.give_back(held - committed);
            moved.push((row.clone(), Delta { held: -held, committed, ..Delta::default() }));
        }
        for (row, delta) in moved {
            self.note(&row, Cause::Confirm(id), delta);
        }
        Ok(())
    }

    /// Reserves and buys anew what was held, unless that was done before.
    fn reacquire(&mut self, op: &Op, new: ReservationId, seen: &Outcome) -> Result<(), Refusal> {
        let Op::Confirm { payload, id, portions, order, .. } = op else { unreachable!() };
        if let Some(there) = self.reservations.get(&new) {
            return if there.page.predecessor == Some(*id) { Ok(()) } else { Err(Refusal::KeyReused) };
        }
        let old = self.reservations[id].clone();
        if old.page.successor.is_some() {
            return Err(Refusal::Expired);
        }
        let bought = self.meant(*id, portions, Part::quantity)?;
        let cart = Cart::new(lines_of(&old, &bought)).unwrap();
        let order = old.page.details.order.clone().or_else(|| order.clone());
        let details = Details { order, ..old.page.details };
        let mut asked = Asked::plainly(new, &old.page.owner.unwrap(), *payload, &cart);
        (asked.place, asked.terms) = (Some(*id), Terms { details, ..Terms::default() });
        self.allowed(&asked)?;
        self.make(&asked, seen)
    }

    pub(super) fn release(&mut self, id: ReservationId) -> Result<(), Refusal> {
        let Some(paper) = self.reservations.get(&id) else {
            self.close_unused(id);
            return Ok(());
        };
        match (paper.page.state, paper.is_over(self.now)) {
            (State::Held, true) => self.end_hold(id, State::Expired),
            (State::Held, false) => self.end_hold(id, State::Released),
            (State::Confirmed | State::Fulfilled, _) => return Err(Refusal::Confirmed),
            (State::Cancelled, _) => return Err(Refusal::Cancelled),
            (State::Released | State::Expired | State::Refused, _) => {}
        }
        Ok(())
    }

    /// A key that was never used, and never can be.
    fn close_unused(&mut self, id: ReservationId) {
        let now = UnixMicros(self.now);
        let page = Record {
            id,
            owner: None,
            payload: None,
            lines: Vec::new(),
            allocations: Vec::new(),
            created_at: now,
            first_expires_at: None,
            state: State::Released,
            expires_at: None,
            state_at: now,
            version: 1,
            shortages: Vec::new(),
            details: Details::default(),
            predecessor: None,
            successor: None,
        };
        self.reservations.insert(id, Paper::new(page));
    }

    pub(super) fn extend(&mut self, id: ReservationId, hold: i64, limits: &Limits) -> Result<(), Refusal> {
        let paper = self.reservations.get_mut(&id).ok_or(Refusal::NotFound)?;
        match paper.state(self.now) {
            State::Held => {}
            State::Confirmed | State::Fulfilled => return Err(Refusal::Confirmed),
            State::Expired => return Err(Refusal::Expired),
            State::Released => return Err(Refusal::Released),
            State::Cancelled => return Err(Refusal::Cancelled),
            State::Refused => return Err(Refusal::Insufficient(paper.page.shortages.clone())),
        }
        let latest = paper.page.created_at.0 + limits.longest_hold_micros;
        if self.now + hold > latest {
            return Err(Refusal::HoldTooLong { max_micros: latest - self.now });
        }
        // Never less than it has.
        if paper.page.expires_at < Some(UnixMicros(self.now + hold)) {
            paper.page.expires_at = Some(UnixMicros(self.now + hold));
            paper.page.version += 1;
        }
        Ok(())
    }

    pub(super) fn expire(&mut self, id: ReservationId) -> Answer {
        let expired = self.reservations.get(&id).is_some_and(|paper| paper.is_over(self.now));
        if expired {
            self.end_hold(id, State::Expired);
        }
        Answer::Expiry { expired }
    }

    /// A hold ends; its units are anybody's.
    pub(super) fn end_hold(&mut self, id: ReservationId, end: State) {
        let paper = self.reservations.get_mut(&id).unwrap();
        paper.change(end, self.now);
        paper.page.version += 1;
        let cause = if end == State::Expired { Cause::Expire(id) } else { Cause::Release(id) };
        for (row, part) in paper.parts.clone() {
            self.note(&row, cause, Delta { held: -part.quantity(), ..Delta::default() });
        }
    }
}

/// The lines of a hold that is over, as far as units of them are bought: those of a named location come first.
fn lines_of(old: &Paper, bought: &BTreeMap<RowKey, (i64, usize)>) -> Vec<Line> {
    let mut left: BTreeMap<RowKey, i64> = bought.iter().map(|(row, (units, _))| (row.clone(), *units)).collect();
    let (named, free): (Vec<&Line>, Vec<&Line>) = old.page.lines.iter().partition(|line| line.location.is_some());
    let mut lines = Vec::new();
    for line in named.into_iter().chain(free) {
        let mut units = 0;
        for (row, left) in &mut left {
            if Reference::fits(row, &line.sku, line.location.as_ref()) {
                let take = (*left).min(line.quantity.get() - units);
                *left -= take;
                units += take;
            }
        }
        lines.extend(Quantity::new(units).map(|quantity| Line { quantity, ..line.clone() }));
    }
    lines
}
