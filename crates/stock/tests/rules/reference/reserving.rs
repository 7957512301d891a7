//! Reserve and Refuse on paper.

use super::Reference;
use super::paper::{Paper, Part};
use crate::world::Outcome;
use holdfast_stock::{
    Allocation, Answer, Breach, Cart, Cause, Delta, Limit, Limits, Line, Op, Owner, PayloadHash, Promise, Record,
    Refusal, RequestId, ReservationId, RowKey, Shortage, Sku, State, Terms, UnixMicros,
};
use std::collections::BTreeMap;

/// What a Reserve asks for, or a Confirm that reserves anew.
pub(super) struct Asked {
    pub(super) id: ReservationId,
    pub(super) owner: Owner,
    pub(super) payload: PayloadHash,
    pub(super) cart: Cart,
    pub(super) terms: Terms,
    /// The reservation whose place it takes.
    pub(super) place: Option<ReservationId>,
    /// How long it is held; none: it is bought at once.
    pub(super) hold: Option<i64>,
    pub(super) retry: bool,
}

impl Asked {
    /// All or nothing, in nobody's place.
    pub(super) fn plainly(id: ReservationId, owner: &Owner, payload: PayloadHash, cart: &Cart) -> Self {
        let (owner, cart, terms) = (owner.clone(), cart.clone(), Terms::default());
        Self { id, owner, payload, cart, terms, place: None, hold: None, retry: false }
    }

    /// The record of a key that holds nothing.
    fn page(&self, now: i64) -> Record {
        Record {
            id: self.id,
            owner: Some(self.owner.clone()),
            payload: Some(self.payload),
            lines: self.cart.lines().to_vec(),
            allocations: Vec::new(),
            created_at: UnixMicros(now),
            first_expires_at: None,
            state: State::Refused,
            expires_at: None,
            state_at: UnixMicros(now),
            version: 1,
            shortages: Vec::new(),
            details: self.terms.details.clone(),
            predecessor: None,
            successor: None,
        }
    }

    /// What a closed key keeps where it is not for want of units.
    fn not_sold(&self) -> Vec<Shortage> {
        let none = |line: &Line| Shortage {
            sku: line.sku.clone(),
            location: line.location.clone(),
            requested: line.quantity.get(),
            available: 0,
        };
        self.cart.lines().iter().map(none).collect()
    }
}

/// What of a cart can be had.
pub(super) struct Fit {
    pub(super) lines: Vec<Line>,
    pub(super) shortages: Vec<Shortage>,
}

impl Reference {
    pub(super) fn reserve(&mut self, op: &Op, seen: &Outcome, limits: &Limits) -> Outcome {
        let Op::Reserve { id, owner, payload, cart, hold, retry, terms } = op else { unreachable!() };
        if let Some(settled) = self.settled(*id, *payload) {
            return settled;
        }
        if let Some(old) = terms.replaces {
            self.replaceable(old, owner)?;
        }
        let mut asked = Asked::plainly(*id, owner, *payload, cart);
        (asked.terms, asked.place, asked.retry) = ((**terms).clone(), terms.replaces, *retry);
        self.allowed(&asked)?;
        let shortest = cart.skus().filter_map(|sku| self.policies.get(sku)?.default_hold).min();
        let usual = shortest.unwrap_or(limits.default_hold).get().min(limits.longest_hold_micros);
        let hold = hold.map_or(usual, |hold| hold.get());
        if hold > limits.longest_hold_micros {
            return Err(Refusal::HoldTooLong { max_micros: limits.longest_hold_micros });
        }
        asked.hold = Some(hold);
        self.make(&asked, seen)?;
        Ok(self.told(*id))
    }

    pub(super) fn refuse(&mut self, asked: &Asked, shortages: &[Shortage]) -> Outcome {
        if let Some(settled) = self.settled(asked.id, asked.payload) {
            return settled;
        }
        self.close(asked, shortages.to_vec());
        Err(Refusal::Insufficient(shortages.to_vec()))
    }

    /// Only a hold of the same owner can be replaced.
    fn replaceable(&self, old: ReservationId, owner: &Owner) -> Result<(), Refusal> {
        let paper = self.reservations.get(&old).ok_or(Refusal::NotFound)?;
        match paper.state(self.now) {
            _ if paper.page.owner.as_ref().is_some_and(|whose| whose != owner) => Err(Refusal::OwnerMismatch),
            State::Held => Ok(()),
            State::Confirmed | State::Fulfilled => Err(Refusal::Confirmed),
            State::Expired => Err(Refusal::Expired),
            State::Released | State::Refused => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
        }
    }

    /// Whether the policies allow it.
    pub(super) fn allowed(&mut self, asked: &Asked) -> Result<(), Refusal> {
        let archived: Vec<Sku> = asked.cart.skus().filter(|sku| self.is_archived(sku)).cloned().collect();
        let paused: Vec<Sku> = asked.cart.skus().filter(|sku| self.pauses.contains_key(*sku)).cloned().collect();
        let breaches: Vec<Breach> = asked.cart.skus().filter_map(|sku| self.breach(asked, sku)).collect();
        if !archived.is_empty() {
            self.say_no(asked, asked.not_sold(), Refusal::Archived(archived))
        } else if !paused.is_empty() {
            self.say_no(asked, asked.not_sold(), Refusal::Paused(paused))
        } else if breaches.is_empty() {
            Ok(())
        } else if breaches.iter().all(|breach| self.may_pass(breach)) {
            Err(Refusal::Contended)
        } else {
            let few = |breach: &Breach| Shortage {
                sku: breach.sku.clone(),
                location: None,
                requested: breach.requested,
                available: breach.allowed,
            };
            self.say_no(asked, breaches.iter().map(few).collect(), Refusal::Limit(breaches))
        }
    }

    /// The first limit of a SKU's policy that is exceeded.
    fn breach(&self, asked: &Asked, sku: &Sku) -> Option<Breach> {
        let policy = self.policies.get(sku)?;
        let lines = asked.cart.lines().iter().filter(|line| line.sku == *sku);
        let requested = lines.map(|line| line.quantity.get()).sum();
        // A hold that is over is its owner's no more, whoever has freed it; and whose place is taken has nothing left.
        let live = self.reservations.values().filter(|paper| !paper.is_over(self.now));
        let owners = live.filter(|paper| Some(paper.page.id) != asked.place);
        let owned =
            owners.filter(|paper| paper.page.owner.as_ref() == Some(&asked.owner)).map(|paper| paper.owned(sku));
        let by_owner = policy.max_per_owner.map(|most| most - owned.sum::<i64>());
        let by_channel = asked.terms.details.channel.as_ref().and_then(|channel| {
            Some(policy.channel_caps.get(channel)? - self.channel_units(sku, channel, asked.place))
        });
        let limits =
            [(Limit::Reservation, policy.max_per_reservation), (Limit::Owner, by_owner), (Limit::Channel, by_channel)];
        limits.into_iter().find_map(|(limit, most)| {
            let allowed = most?.max(0);
            (requested > allowed).then(|| Breach { sku: sku.clone(), requested, allowed, limit })
        })
    }

    /// Whether holds that are over, and that somebody is just freeing, may be what a channel has too much. By which channel they came nobody has read.
    fn may_pass(&self, breach: &Breach) -> bool {
        let over: i64 = self.rows_of(&breach.sku).iter().map(|row| self.over(row)).sum();
        breach.limit == Limit::Channel && breach.requested <= breach.allowed + over
    }

    /// A no, which is final for a marked retry (PROTOCOL 8).
    fn say_no(&mut self, asked: &Asked, shortages: Vec<Shortage>, refusal: Refusal) -> Result<(), Refusal> {
        if asked.retry {
            self.close(asked, shortages);
        }
        Err(refusal)
    }

    fn close(&mut self, asked: &Asked, shortages: Vec<Shortage>) {
        let page = Record { shortages, ..asked.page(self.now) };
        self.reservations.insert(asked.id, Paper::new(page));
    }

    /// Takes what there is; from where the planner says, if it may.
    pub(super) fn make(&mut self, asked: &Asked, seen: &Outcome) -> Result<(), Refusal> {
        let fit = match self.fit_now(asked) {
            Err(Refusal::Insufficient(shortages)) => {
                return self.say_no(asked, shortages.clone(), Refusal::Insufficient(shortages));
            }
            other => other?,
        };
        let mut wanted: BTreeMap<Sku, i64> = BTreeMap::new();
        for line in &fit.lines {
            *wanted.entry(line.sku.clone()).or_default() += line.quantity.get();
        }
        let too_fast = self.break_pace(&wanted, RequestId::from_bytes(asked.id.to_bytes()));
        if !too_fast.is_empty() {
            return self.say_no(asked, asked.not_sold(), Refusal::Paused(too_fast));
        }
        let Ok(Answer::Reservation(seen)) = seen else { panic!("there is enough, but {seen:?}") };
        let taken = self.check_choice(asked, &fit, &seen.first.allocations);
        let mut paper = Paper::new(asked.page(self.now));
        for (row, units) in taken {
            paper.parts.insert(row.clone(), self.part(asked, &row, units));
        }
        if let Some(old) = asked.place {
            self.vacate(old, asked);
        }
        for (sku, units) in wanted {
            self.keep_pace(&sku, units);
        }
        let (end, state) = match asked.hold {
            Some(hold) => (self.now + hold, State::Held),
            None => (self.now, State::Confirmed),
        };
        let end = Some(UnixMicros(end));
        (paper.page.first_expires_at, paper.page.expires_at, paper.page.state) = (end, end, state);
        (paper.page.lines, paper.page.shortages, paper.page.predecessor) = (fit.lines, fit.shortages, asked.place);
        for (row, part) in &paper.parts {
            let (units, id) = (part.quantity(), asked.id);
            self.note(row, Cause::Reserve(id), Delta { held: units, ..Delta::default() });
            if state == State::Confirmed {
                self.note(row, Cause::Confirm(id), Delta { held: -units, committed: units, ..Delta::default() });
            }
        }
        paper.first = Some(paper.record());
        self.reservations.insert(asked.id, paper);
        Ok(())
    }

    /// What can be had now; a no only if holds that are over would make no difference.
    fn fit_now(&self, asked: &Asked) -> Result<Fit, Refusal> {
        let is_known = |line: &&Line| self.rows.keys().any(|row| Self::fits(row, &line.sku, line.location.as_ref()));
        let unknown = asked.cart.lines().iter().filter(|line| !is_known(line));
        let unknown: Vec<_> = unknown.map(|line| (line.sku.clone(), line.location.clone())).collect();
        if !unknown.is_empty() {
            return Err(Refusal::UnknownSku(unknown));
        }
        let is_enough = |fit: &Fit| fit.shortages.is_empty() || (asked.terms.best_effort && !fit.lines.is_empty());
        let now = self.fit(asked, false);
        let then = self.fit(asked, true);
        if is_enough(&now) && now.shortages == then.shortages {
            Ok(now)
        } else if is_enough(&then) {
            Err(Refusal::Contended)
        } else {
            Err(Refusal::Insufficient(then.shortages))
        }
    }

    /// What of each line can be had: named locations first. With `freed`, as if nobody's hold that is over were there any more.
    fn fit(&self, asked: &Asked, freed: bool) -> Fit {
        let mut left: BTreeMap<RowKey, i64> = BTreeMap::new();
        for row in self.rows.keys() {
            left.insert(row.clone(), self.offered(asked, row, freed));
        }
        let mut fit = Fit { lines: Vec::new(), shortages: Vec::new() };
        let (named, free): (Vec<&Line>, Vec<&Line>) =
            asked.cart.lines().iter().partition(|line| line.location.is_some());
        for line in named.into_iter().chain(free) {
            let here = left.iter().filter(|(row, _)| Self::fits(row, &line.sku, line.location.as_ref()));
            let here = here.map(|(_, units)| *units);
            let (requested, available) =
                (line.quantity.get(), if line.split { here.sum() } else { here.max().unwrap_or(0) });
            let (sku, location) = (line.sku.clone(), line.location.clone());
            if available < requested {
                fit.shortages.push(Shortage { sku: sku.clone(), location: location.clone(), requested, available });
            }
            let all_or_nothing = if available < requested { 0 } else { requested };
            let units = if asked.terms.best_effort { available.min(requested) } else { all_or_nothing };
            if let Some(location) = location {
                *left.get_mut(&(sku, location)).unwrap() -= units;
            }
            if let Some(quantity) = holdfast_stock::Quantity::new(units) {
                fit.lines.push(Line { quantity, ..line.clone() });
            }
        }
        fit.lines.sort();
        fit.shortages.sort();
        fit
    }

    /// What can be had of a row by whoever takes a hold's place.
    pub(super) fn offered(&self, asked: &Asked, row: &RowKey, freed: bool) -> i64 {
        let place = asked.place.map(|old| &self.reservations[&old]);
        let over = if freed { self.over(row) } else { 0 };
        let vacated = place.filter(|old| !(freed && old.is_over(self.now))).map_or(0, |old| old.held(row));
        self.available(row, over + vacated)
    }

    /// Units of a row, with what of them is not there yet.
    fn part(&self, asked: &Asked, row: &RowKey, units: i64) -> Part {
        let vacated = asked.place.map_or(0, |old| self.reservations[&old].held(row));
        let backordered = (units - self.room(row, vacated)).max(0);
        let promise = self.policies.get(&row.0).and_then(|policy| policy.promise).filter(|_| backordered > 0);
        let promised_at = match promise {
            Some(Promise::At(day)) => Some(day).filter(|day| day.0 > self.now),
            Some(Promise::After(micros)) => Some(UnixMicros(self.now + micros)),
            None => None,
        };
        Part { backordered, promised_at, ..Part::of(units) }
    }

    /// The hold whose place is taken ends: released, or expired if it was over.
    fn vacate(&mut self, old: ReservationId, asked: &Asked) {
        if self.reservations[&old].page.state == State::Held {
            let end = if asked.hold.is_some() { State::Released } else { State::Expired };
            self.end_hold(old, end);
        } else {
            self.reservations.get_mut(&old).unwrap().page.version += 1;
        }
        self.reservations.get_mut(&old).unwrap().page.successor = Some(asked.id);
    }

    /// Where the planner took the units, if the strategy allows that.
    fn check_choice(&self, asked: &Asked, fit: &Fit, seen: &[Allocation]) -> BTreeMap<RowKey, i64> {
        let taken: BTreeMap<RowKey, i64> = seen.iter().map(|part| (part.row(), part.quantity)).collect();
        let rows = self.rows.keys().map(|row| (row.clone(), self.offered(asked, row, false))).collect();
        let order = asked.cart.skus().map(|sku| (sku.clone(), self.preferred(sku))).collect();
        super::choosing::check(&asked.terms.strategy, &fit.lines, (&rows, &order), &taken);
        taken
    }
}
