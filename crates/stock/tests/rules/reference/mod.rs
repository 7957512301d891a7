//! A second, naive telling of the rules of every verb but Repair (whose work it is to mend what the rules never leave behind): one operation at a time, every sum made
//! anew from the reservations whenever it is needed. It shares types with the crate, but none of its decisions. Only from where units are taken is the planner's to say;
//! the reference then looks whether the strategy allows it.

mod choosing;
mod counting;
mod holds;
mod ledger;
mod paper;
mod policies;
mod replays;
mod reserving;
mod sales;

use crate::world::{Outcome, World};
use holdfast_stock::{
    Answer, Cap, Condition, CountMeaning, Entry, FeedTerms, Freshness, Level, Limits, Location, Name, Op, Pause,
    PayloadHash, Policy, ReservationAnswer, ReservationId, RowKey, Selling, Sku, State, UnixMicros,
};
use paper::Paper;
use std::collections::{BTreeMap, BTreeSet};

/// What a person would write on paper.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    now: i64,
    rows: BTreeMap<RowKey, Row>,
    feeds: BTreeMap<Name, FeedTerms>,
    /// Connections' runs that said something of every row.
    pub(crate) marks: BTreeMap<Name, (UnixMicros, i64)>,
    reservations: BTreeMap<ReservationId, Paper>,
    policies: BTreeMap<Sku, Policy>,
    pauses: BTreeMap<Sku, Pause>,
    /// When and how much was reserved of SKUs whose policy limits the pace, since somebody looked at it last.
    pace: BTreeMap<Sku, Vec<(i64, i64)>>,
    requests: BTreeMap<holdfast_stock::RequestId, (PayloadHash, Answer)>,
    /// What changed since it was last compared.
    entries: Vec<Entry>,
}

/// One stock row, without what follows from the reservations and from the SKU's policy.
#[derive(Clone, Debug, Default)]
struct Row {
    on_hand: i64,
    /// What is kept back where there is no policy.
    safety: i64,
    /// What may be promised beyond what is there, where there is no policy.
    backorder: i64,
    unsellable: BTreeMap<Condition, i64>,
    /// What is kept back besides, for being late.
    buffer: i64,
    freshness: Freshness,
    count: Option<(UnixMicros, i64)>,
    meaning: Option<CountMeaning>,
    feed: Option<Name>,
    shared: bool,
    cap: Option<Cap>,
    version: i64,
}

impl Reference {
    /// Rows with what is on hand, kept back and allowed beyond it, and what feeds say.
    pub(crate) fn of(rows: &[(RowKey, [i64; 3])], feeds: &BTreeMap<Name, FeedTerms>) -> Self {
        let page = |[on_hand, safety, backorder]: [i64; 3]| Row { on_hand, safety, backorder, ..Row::default() };
        let rows = rows.iter().map(|(row, numbers)| (row.clone(), page(*numbers)));
        Self { rows: rows.collect(), feeds: feeds.clone(), ..Self::default() }
    }

    /// A batch begins: holds that are over are freed, but for those that somebody else has locked.
    pub(crate) fn begin(&mut self, now: i64, left: &BTreeSet<ReservationId>) {
        self.now = now;
        let is_over = |(id, paper): &(&ReservationId, &Paper)| paper.is_over(now) && !left.contains(id);
        let over: Vec<ReservationId> = self.reservations.iter().filter(is_over).map(|(id, _)| *id).collect();
        for id in over {
            self.end_hold(id, State::Expired);
        }
    }

    /// Does on paper what the operation does, and looks whether the planner answers the same.
    #[track_caller]
    pub(crate) fn check(&mut self, op: &Op, answer: &Outcome, limits: &Limits) {
        let expected = self.replay(op).unwrap_or_else(|| self.decide(op, answer, limits));
        assert_eq!(*answer, expected, "{op:?}\n{self:#?}");
        if let (Some((request, payload)), Ok(answer)) = (op.request(), expected) {
            self.requests.entry(request).or_insert((payload, answer));
        }
    }

    fn decide(&mut self, op: &Op, seen: &Outcome, limits: &Limits) -> Outcome {
        match op {
            Op::Reserve { .. } => self.reserve(op, seen, limits),
            Op::Refuse { id, owner, payload, cart, shortages } => {
                let asked = reserving::Asked::plainly(*id, owner, *payload, cart);
                self.refuse(&asked, shortages)
            }
            Op::Confirm { .. } => {
                let id = self.confirm(op, seen)?;
                Ok(self.told(id))
            }
            Op::Release { id, .. } => self.release(*id).map(|()| self.told(*id)),
            Op::Extend { id, hold, .. } => self.extend(*id, hold.get(), limits).map(|()| self.told(*id)),
            Op::Expire { id } => Ok(self.expire(*id)),
            Op::Fulfil { id, portions, at, .. } => self.fulfil(*id, portions, *at).map(|()| self.told(*id)),
            Op::Cancel { id, portions, lost, .. } => self.cancel(*id, portions, *lost).map(|()| self.told(*id)),
            Op::Return { id, returns, .. } => self.take_back(*id, returns).map(|()| self.told(*id)),
            Op::Evidence { id, portions, kind, at, .. } => {
                self.evidence(*id, portions, *kind, *at).map(|()| self.told(*id))
            }
            Op::Count { .. } => self.count(op),
            Op::Adjust { request, adjustments, .. } => self.adjust(*request, adjustments),
            Op::Sell { .. } => self.sell(op),
            Op::Policies { policies } => Ok(self.take_policies(policies)),
            Op::Freshen { connection, freshness, rows } => Ok(self.freshen(connection, *freshness, rows)),
            Op::Repair { .. } => unreachable!("not among the operations of these properties"),
        }
    }

    /// A reservation as it stands, for the first time under the request's key.
    fn told(&self, id: ReservationId) -> Answer {
        let paper = &self.reservations[&id];
        Answer::Reservation(Box::new(ReservationAnswer {
            first: paper.record(),
            current_state: paper.state(self.now),
            current_expires_at: paper.page.expires_at,
            replayed: false,
        }))
    }

    fn held(&self, row: &RowKey) -> i64 {
        self.reservations.values().map(|paper| paper.held(row)).sum()
    }

    fn committed(&self, row: &RowKey) -> i64 {
        self.reservations.values().map(|paper| paper.committed(row)).sum()
    }

    /// Units in holds that are over, and that nobody has freed.
    fn over(&self, row: &RowKey) -> i64 {
        self.reservations.values().filter(|paper| paper.is_over(self.now)).map(|paper| paper.held(row)).sum()
    }

    fn safety(&self, row: &RowKey) -> i64 {
        let page = &self.rows[row];
        self.policies.get(&row.0).map_or(page.safety, |policy| policy.safety) + page.buffer
    }

    fn backorder(&self, row: &RowKey) -> i64 {
        match self.policies.get(&row.0) {
            Some(policy) if policy.locations.first() == Some(&row.1) => policy.backorder,
            Some(_) => 0,
            None => self.rows[row].backorder,
        }
    }

    fn shortfall(&self, row: &RowKey) -> i64 {
        (self.held(row) + self.committed(row) - self.rows[row].on_hand - self.backorder(row)).max(0)
    }

    fn is_archived(&self, sku: &Sku) -> bool {
        self.policies.get(sku).is_some_and(|policy| policy.archived)
    }

    /// What can be reserved, if so many of the held units were freed.
    fn available(&self, row: &RowKey, freed: i64) -> i64 {
        self.room(row, freed + self.backorder(row))
    }

    /// The same without what nothing but the backorder limit makes possible.
    fn room(&self, row: &RowKey, more: i64) -> i64 {
        let page = &self.rows[row];
        if self.is_archived(&row.0) || self.pauses.contains_key(&row.0) || page.freshness == Freshness::Stale {
            return 0;
        }
        let offered = page.cap.map_or(page.on_hand, |cap| page.on_hand.min(cap.units));
        (offered - self.safety(row) - self.held(row) - self.committed(row) + more).max(0)
    }

    fn rows_of(&self, sku: &Sku) -> Vec<RowKey> {
        self.rows.keys().filter(|(other, _)| other == sku).cloned().collect()
    }

    /// A SKU's locations, the preferred first: those that its policy names, then the others by code.
    fn preferred(&self, sku: &Sku) -> Vec<Location> {
        let named = self.policies.get(sku).map(|policy| policy.locations.clone()).unwrap_or_default();
        let there: Vec<Location> = self.rows_of(sku).into_iter().map(|(_, location)| location).collect();
        let others = there.iter().filter(|location| !named.contains(location)).cloned();
        named.iter().filter(|location| there.contains(location)).cloned().chain(others).collect()
    }

    /// A row as the record has it.
    fn level(&self, row: &RowKey) -> Level {
        let page = self.rows[row].clone();
        let mut unsellable = page.unsellable;
        unsellable.retain(|_, units| *units != 0);
        let policy = self.policies.get(&row.0);
        let place = policy.and_then(|policy| policy.locations.iter().position(|location| *location == row.1));
        Level {
            on_hand: page.on_hand,
            held: self.held(row),
            committed: self.committed(row),
            safety: self.safety(row),
            buffer: page.buffer,
            backorder: self.backorder(row),
            shortfall: self.shortfall(row),
            version: page.version,
            unsellable,
            count: page.count,
            feed: page.feed,
            shared: page.shared,
            freshness: page.freshness,
            cap: page.cap,
            archived: self.is_archived(&row.0),
            paused: self.pauses.contains_key(&row.0),
            meaning: page.meaning,
            rank: place.map_or(Policy::UNRANKED, |place| place.try_into().unwrap()),
        }
    }

    /// What a reference says and a world has, is the same.
    #[track_caller]
    pub(crate) fn agrees_with(&self, world: &World) {
        let rows: BTreeMap<RowKey, Level> = self.rows.keys().map(|row| (row.clone(), self.level(row))).collect();
        assert_eq!(world.levels, rows);
        let records = self.reservations.iter().map(|(id, paper)| (*id, paper.record()));
        assert_eq!(world.records, records.collect());
        assert_eq!(world.policies, self.policies);
        assert_eq!(world.operations.keys().collect::<Vec<_>>(), self.requests.keys().collect::<Vec<_>>());
        for sku in world.levels.keys().map(|(sku, _)| sku).chain(self.pauses.keys()) {
            let selling = world.selling.get(sku).cloned().unwrap_or_default();
            assert_eq!(self.lately(sku), lately(&selling, self.now), "what was sold of {sku}");
            // What the breaker writes is for people.
            let who = |pause: &Pause| (pause.at, pause.actor.clone());
            assert_eq!(self.pauses.get(sku).map(who), selling.pause.as_ref().map(who));
        }
        for ((sku, channel), used) in &world.channels {
            assert_eq!(used.units, self.channel_units(sku, channel, None), "what {channel} has of {sku}");
        }
        for (sku, policy) in &self.policies {
            let is_counted = |channel: &Name| world.channels.contains_key(&(sku.clone(), channel.clone()));
            assert!(policy.channel_caps.keys().all(is_counted), "what is capped is counted");
        }
    }
}

/// Of what a row of the record says was sold, by second, what still matters.
fn lately(selling: &Selling, now: i64) -> BTreeMap<i64, i64> {
    let from = now.div_euclid(policies::SECOND) - 60;
    selling.recent.iter().filter(|(second, _)| *second >= from).copied().collect()
}
