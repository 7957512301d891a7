//! A second, naive telling of the rules: one operation at a time, sums made anew from the reservations whenever they are needed. It shares types with the crate, but
//! none of its decisions.

use holdfast_stock::{
    Adjustment, Allocation, Answer, Cart, Condition, Count, CountOutcome, HoldMicros, Limits, Line, Location, Op,
    PayloadHash, Refusal, RequestId, ReservationAnswer, ReservationId, RowKey, Shortage, Sku, State,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a person would write on paper.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) now: i64,
    pub(crate) rows: BTreeMap<RowKey, Row>,
    pub(crate) reservations: BTreeMap<ReservationId, Paper>,
    requests: BTreeMap<RequestId, (PayloadHash, Seen)>,
    /// Holds that this batch does not sweep, even if they are over.
    pub(crate) left: BTreeSet<ReservationId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) on_hand: i64,
    pub(crate) safety: i64,
    pub(crate) backorder: i64,
    pub(crate) unsellable: BTreeMap<Condition, i64>,
    pub(crate) count: Option<(i64, i64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Paper {
    pub(crate) state: State,
    payload: Option<PayloadHash>,
    made: i64,
    first_end: i64,
    end: i64,
    pub(crate) units: BTreeMap<RowKey, i64>,
    shortages: Vec<Shortage>,
}

#[derive(Clone, Debug)]
enum Seen {
    Reservation(State, i64),
    Counts(Vec<CountOutcome>),
    Adjustments(Vec<(RowKey, i64)>),
}

impl Reference {
    /// Frees every hold that is over, but for those to be left.
    pub(crate) fn sweep(&mut self) {
        let now = self.now;
        for (id, paper) in &mut self.reservations {
            if paper.state == State::Held && paper.end <= now && !self.left.contains(id) {
                paper.state = State::Expired;
            }
        }
    }

    pub(crate) fn held(&self, row: &RowKey) -> i64 {
        self.sum(row, |_, paper| paper.state == State::Held)
    }

    pub(crate) fn committed(&self, row: &RowKey) -> i64 {
        self.sum(row, |_, paper| paper.state == State::Confirmed)
    }

    fn overdue(&self, row: &RowKey) -> i64 {
        self.sum(row, |_, paper| paper.state == State::Held && paper.end <= self.now)
    }

    fn sum(&self, row: &RowKey, counts: impl Fn(&ReservationId, &Paper) -> bool) -> i64 {
        let counted = self.reservations.iter().filter(|(id, paper)| counts(id, paper));
        counted.filter_map(|(_, paper)| paper.units.get(row)).sum()
    }

    fn available(&self, row: &RowKey, overdue: bool) -> i64 {
        let Row { on_hand, safety, backorder, .. } = &self.rows[row];
        let back = if overdue { self.overdue(row) } else { 0 };
        (on_hand + backorder - safety - self.held(row) - self.committed(row) + back).max(0)
    }

    /// Checks one answer of the planner's against the rules and does on paper what the operation does.
    pub(crate) fn check(&mut self, op: &Op, answer: &Result<Answer, Refusal>, limits: &Limits) {
        if let Some((request, payload)) = op.request()
            && let Some((first, seen)) = self.requests.get(&request)
        {
            if *first == payload {
                self.check_replay(op, &seen.clone(), answer);
            } else {
                assert_eq!(*answer, Err(Refusal::KeyReused));
            }
            return;
        }
        match op {
            Op::Reserve { id, payload, cart, hold, retry, .. } => {
                if !self.check_settled(*id, *payload, answer) {
                    let hold = hold.unwrap_or(limits.default_hold);
                    self.check_reserve((*id, *payload), cart, (hold, *retry), answer, limits);
                }
            }
            Op::Refuse { id, payload, shortages, .. } => {
                if !self.check_settled(*id, *payload, answer) {
                    assert_eq!(*answer, Err(Refusal::Insufficient(shortages.clone())));
                    self.note(*id, Some(*payload), State::Refused, shortages.clone());
                }
            }
            Op::Confirm { request, payload, id, .. } => {
                let expected = self.confirm(*id);
                self.check_move((*request, *payload, *id), expected, answer);
            }
            Op::Release { request, payload, id } => {
                let expected = self.release(*id);
                self.check_move((*request, *payload, *id), expected, answer);
            }
            Op::Extend { request, payload, id, hold } => {
                let expected = self.extend(*id, *hold, limits);
                self.check_move((*request, *payload, *id), expected, answer);
            }
            Op::Expire { id } => {
                let now = self.now;
                let over = |paper: &&mut Paper| paper.state == State::Held && paper.end <= now;
                let paper = self.reservations.get_mut(id).filter(over);
                assert_eq!(*answer, Ok(Answer::Expiry { expired: paper.is_some() }));
                paper.into_iter().for_each(|paper| paper.state = State::Expired);
            }
            Op::Count { request, payload, as_of, sequence, counts, .. } => {
                let outcomes = self.count((as_of.0, *sequence), counts, answer);
                self.requests.insert(*request, (*payload, Seen::Counts(outcomes)));
            }
            Op::Adjust { request, payload, adjustments, .. } => {
                if let Some(rows) = self.adjust(adjustments, answer) {
                    self.requests.insert(*request, (*payload, Seen::Adjustments(rows)));
                }
            }
            Op::Fulfil { .. }
            | Op::Cancel { .. }
            | Op::Return { .. }
            | Op::Evidence { .. }
            | Op::Sell { .. }
            | Op::Policies { .. }
            | Op::Freshen { .. }
            | Op::Repair { .. } => unreachable!("not among the operations of these properties"),
        }
    }

    /// A key that was used before has been decided.
    fn check_settled(&self, id: ReservationId, payload: PayloadHash, answer: &Result<Answer, Refusal>) -> bool {
        let Some(paper) = self.reservations.get(&id) else { return false };
        match (&paper.payload, paper.state) {
            (None, _) => assert_eq!(*answer, Err(Refusal::Released)),
            (Some(first), _) if *first != payload => assert_eq!(*answer, Err(Refusal::KeyReused)),
            (Some(_), State::Refused) => assert_eq!(*answer, Err(Refusal::Insufficient(paper.shortages.clone()))),
            (Some(_), state) => {
                let answer = self.taken(answer);
                let first = &answer.first;
                assert!(answer.replayed);
                assert_eq!((first.state, first.version), (State::Held, 1));
                assert_eq!(first.created_at.0, paper.made);
                assert_eq!(first.expires_at.map(|end| end.0), Some(paper.first_end));
                assert_eq!(answer.current_expires_at.map(|end| end.0), Some(paper.end));
                let over = state == State::Held && paper.end <= self.now;
                assert_eq!(answer.current_state, if over { State::Expired } else { state });
            }
        }
        true
    }

    fn check_reserve(
        &mut self,
        (id, payload): (ReservationId, PayloadHash),
        cart: &Cart,
        (hold, retry): (HoldMicros, bool),
        answer: &Result<Answer, Refusal>,
        limits: &Limits,
    ) {
        if hold.get() > limits.longest_hold_micros {
            assert_eq!(*answer, Err(Refusal::HoldTooLong { max_micros: limits.longest_hold_micros }));
            return;
        }
        let unknown = |line: &&Line| {
            !self
                .rows
                .keys()
                .any(|(sku, at)| *sku == line.sku && line.location.as_ref().is_none_or(|named| named == at))
        };
        let unknown: Vec<_> =
            cart.lines().iter().filter(unknown).map(|line| (line.sku.clone(), line.location.clone())).collect();
        if !unknown.is_empty() {
            assert_eq!(*answer, Err(Refusal::UnknownSku(unknown)));
        } else if self.lacking(cart, false).is_empty() {
            let answer = self.taken(answer);
            assert!(!answer.replayed && answer.current_state == State::Held);
            let units = self.check_allocations(cart, &answer.first.allocations);
            let end = self.now + hold.get();
            assert_eq!(answer.first.expires_at.map(|end| end.0), Some(end));
            let (made, state) = (self.now, State::Held);
            let paper =
                Paper { state, payload: Some(payload), made, first_end: end, end, units, shortages: Vec::new() };
            self.reservations.insert(id, paper);
        } else if self.lacking(cart, true).is_empty() {
            assert_eq!(*answer, Err(Refusal::Contended));
        } else {
            // U: too little, even if every hold that is over were freed.
            let Err(Refusal::Insufficient(shortages)) = answer else { panic!("should be short: {answer:?}") };
            let said: Vec<_> = shortages.iter().map(|shortage| (&shortage.sku, shortage.location.as_ref())).collect();
            let lacking = self.lacking(cart, true);
            assert_eq!(said, lacking.iter().map(|line| (&line.sku, line.location.as_ref())).collect::<Vec<_>>());
            assert!(shortages.iter().all(|shortage| shortage.available < shortage.requested));
            if retry {
                self.note(id, Some(payload), State::Refused, shortages.clone());
            }
        }
    }

    /// The lines that cannot be had: a named one if its location has too little, a free one if the SKU has too little beside the named ones that can be had.
    fn lacking(&self, cart: &Cart, overdue: bool) -> Vec<Line> {
        let total = |sku: &Sku| -> i64 {
            self.rows.keys().filter(|(other, _)| other == sku).map(|row| self.available(row, overdue)).sum()
        };
        let named_fits = |line: &Line| {
            line.location.as_ref().is_some_and(|at| {
                self.rows.contains_key(&(line.sku.clone(), at.clone()))
                    && self.available(&(line.sku.clone(), at.clone()), overdue) >= line.quantity.get()
            })
        };
        let lacks = |line: &&Line| match &line.location {
            Some(_) => !named_fits(line),
            None => {
                let named = cart.lines().iter().filter(|other| other.sku == line.sku && named_fits(other));
                total(&line.sku) - named.map(|other| other.quantity.get()).sum::<i64>() < line.quantity.get()
            }
        };
        cart.lines().iter().filter(lacks).cloned().collect()
    }

    /// The units lie where the cart allows, where there are enough, and in as few places as can be.
    fn check_allocations(&self, cart: &Cart, allocations: &[Allocation]) -> BTreeMap<RowKey, i64> {
        let units: BTreeMap<RowKey, i64> = allocations.iter().map(|a| (a.row(), a.quantity)).collect();
        assert_eq!(units.len(), allocations.len());
        for (row, taken) in &units {
            assert!(*taken > 0 && *taken <= self.available(row, false), "{row:?} gives only what it has");
        }
        for sku in cart.skus() {
            let lines: Vec<&Line> = cart.lines().iter().filter(|line| line.sku == *sku).collect();
            let asked: i64 = lines.iter().map(|line| line.quantity.get()).sum();
            let here = || units.iter().filter(|((other, _), _)| other == sku);
            assert_eq!(here().map(|(_, taken)| taken).sum::<i64>(), asked);
            let mut left: BTreeMap<&Location, i64> = self
                .rows
                .keys()
                .filter(|(other, _)| other == sku)
                .map(|row| (&row.1, self.available(row, false)))
                .collect();
            let mut free: BTreeMap<&Location, i64> = here().map(|((_, at), taken)| (at, *taken)).collect();
            for line in &lines {
                if let Some(at) = &line.location {
                    *free.get_mut(at).unwrap() -= line.quantity.get();
                    *left.get_mut(at).unwrap() -= line.quantity.get();
                }
            }
            assert!(free.values().all(|taken| *taken >= 0), "a named line is served where it was named");
            free.retain(|_, taken| *taken > 0);
            if let Some(line) = lines.iter().find(|line| line.location.is_none()) {
                check_free_line(line.quantity.get(), &left, &free);
            }
        }
        units
    }

    fn confirm(&mut self, id: ReservationId) -> Result<(), Refusal> {
        let now = self.now;
        let paper = self.reservations.get_mut(&id).ok_or(Refusal::NotFound)?;
        match paper.state {
            State::Held if paper.end <= now => Err(Refusal::Expired),
            State::Held => {
                paper.state = State::Confirmed;
                Ok(())
            }
            State::Confirmed | State::Fulfilled => Ok(()),
            State::Expired => Err(Refusal::Expired),
            State::Released => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
            State::Refused => Err(Refusal::Insufficient(paper.shortages.clone())),
        }
    }

    fn release(&mut self, id: ReservationId) -> Result<(), Refusal> {
        let now = self.now;
        let Some(paper) = self.reservations.get_mut(&id) else {
            self.note(id, None, State::Released, Vec::new());
            return Ok(());
        };
        match paper.state {
            State::Held => paper.state = if paper.end <= now { State::Expired } else { State::Released },
            State::Confirmed | State::Fulfilled => return Err(Refusal::Confirmed),
            State::Cancelled => return Err(Refusal::Cancelled),
            State::Released | State::Expired | State::Refused => {}
        }
        Ok(())
    }

    fn extend(&mut self, id: ReservationId, hold: HoldMicros, limits: &Limits) -> Result<(), Refusal> {
        let now = self.now;
        let paper = self.reservations.get_mut(&id).ok_or(Refusal::NotFound)?;
        match paper.state {
            State::Held if paper.end <= now => Err(Refusal::Expired),
            State::Held if now + hold.get() > paper.made + limits.longest_hold_micros => {
                Err(Refusal::HoldTooLong { max_micros: paper.made + limits.longest_hold_micros - now })
            }
            State::Held => {
                paper.end = paper.end.max(now + hold.get());
                Ok(())
            }
            State::Confirmed | State::Fulfilled => Err(Refusal::Confirmed),
            State::Expired => Err(Refusal::Expired),
            State::Released => Err(Refusal::Released),
            State::Cancelled => Err(Refusal::Cancelled),
            State::Refused => Err(Refusal::Insufficient(paper.shortages.clone())),
        }
    }

    fn check_move(
        &mut self,
        (request, payload, id): (RequestId, PayloadHash, ReservationId),
        expected: Result<(), Refusal>,
        answer: &Result<Answer, Refusal>,
    ) {
        if let Err(refusal) = expected {
            assert_eq!(*answer, Err(refusal));
            return;
        }
        let paper = &self.reservations[&id];
        let answer = self.taken(answer);
        assert!(!answer.replayed);
        assert_eq!((answer.first.id, answer.first.state, answer.current_state), (id, paper.state, paper.state));
        self.requests.insert(request, (payload, Seen::Reservation(paper.state, answer.first.version)));
    }

    fn check_replay(&self, op: &Op, seen: &Seen, answer: &Result<Answer, Refusal>) {
        match (seen, op, answer) {
            (
                Seen::Reservation(state, version),
                Op::Confirm { id, .. } | Op::Release { id, .. } | Op::Extend { id, .. },
                Ok(Answer::Reservation(answer)),
            ) => {
                assert!(answer.replayed);
                assert_eq!((answer.first.id, answer.first.state, answer.first.version), (*id, *state, *version));
                let paper = &self.reservations[id];
                let over = paper.state == State::Held && paper.end <= self.now;
                assert_eq!(answer.current_state, if over { State::Expired } else { paper.state });
            }
            (Seen::Counts(first), Op::Count { .. }, Ok(Answer::Counted { results, replayed: true })) => {
                assert_eq!(*first, results.iter().map(|result| result.outcome).collect::<Vec<_>>());
            }
            (Seen::Adjustments(first), Op::Adjust { .. }, Ok(Answer::Adjusted { levels, replayed: true })) => {
                let again: Vec<_> =
                    levels.iter().map(|l| ((l.sku.clone(), l.location.clone()), l.level.on_hand)).collect();
                assert_eq!(*first, again);
            }
            other => panic!("not a replay: {other:?}"),
        }
    }

    fn count(&mut self, at: (i64, i64), counts: &[Count], answer: &Result<Answer, Refusal>) -> Vec<CountOutcome> {
        let mut outcomes = Vec::new();
        for count in counts {
            let (key, units) = (count.row(), &count.units);
            let is_new = !self.rows.contains_key(&key);
            let row = self.rows.entry(key).or_default();
            if row.count.is_some_and(|seen| seen >= at) {
                outcomes.push(CountOutcome::Stale);
                continue;
            }
            row.count = Some(at);
            outcomes.push(if row.on_hand == *units && !is_new {
                CountOutcome::Unchanged
            } else {
                CountOutcome::Applied
            });
            row.on_hand = *units;
        }
        let Ok(Answer::Counted { results, replayed: false }) = answer else { panic!("not counted: {answer:?}") };
        assert_eq!(results.iter().map(|result| result.outcome).collect::<Vec<_>>(), outcomes);
        for result in results {
            let row = (result.sku.clone(), result.location.clone());
            assert_eq!(result.on_hand, self.rows[&row].on_hand);
            assert_eq!(result.shortfall, self.shortfall(&row));
        }
        outcomes
    }

    pub(crate) fn shortfall(&self, row: &RowKey) -> i64 {
        let Row { on_hand, backorder, .. } = &self.rows[row];
        (self.held(row) + self.committed(row) - on_hand - backorder).max(0)
    }

    fn adjust(&mut self, adjustments: &[Adjustment], answer: &Result<Answer, Refusal>) -> Option<Vec<(RowKey, i64)>> {
        let mut rows = self.rows.clone();
        let mut fits = true;
        let mut known = true;
        let mut touched = BTreeSet::new();
        for Adjustment { sku, location, condition, delta, .. } in adjustments {
            let key = (sku.clone(), location.clone());
            known &= rows.contains_key(&key) || *delta > 0;
            let row = rows.entry(key.clone()).or_default();
            let units = match condition {
                Condition::Sellable => &mut row.on_hand,
                other => row.unsellable.entry(*other).or_default(),
            };
            *units += delta;
            fits &= *units >= 0;
            touched.insert(key);
        }
        match answer {
            Ok(Answer::Adjusted { levels, replayed: false }) => {
                assert!(known && fits);
                self.rows = rows;
                let named: Vec<_> =
                    levels.iter().map(|l| ((l.sku.clone(), l.location.clone()), l.level.on_hand)).collect();
                let expected = touched.into_iter().map(|key| (key.clone(), self.rows[&key].on_hand));
                assert_eq!(named, expected.collect::<Vec<_>>());
                Some(named)
            }
            Err(Refusal::UnknownSku(_)) => {
                assert!(!known);
                None
            }
            Err(Refusal::WouldBeNegative(_)) => {
                assert!(known && !fits);
                None
            }
            other => panic!("not adjusted: {other:?}"),
        }
    }

    fn note(&mut self, id: ReservationId, payload: Option<PayloadHash>, state: State, shortages: Vec<Shortage>) {
        let made = self.now;
        let paper = Paper { state, payload, made, first_end: 0, end: 0, units: BTreeMap::new(), shortages };
        assert!(self.reservations.insert(id, paper).is_none());
    }

    #[track_caller]
    fn taken<'a>(&self, answer: &'a Result<Answer, Refusal>) -> &'a ReservationAnswer {
        match answer {
            Ok(Answer::Reservation(answer)) => answer,
            other => panic!("should be a yes: {other:?}"),
        }
    }
}

/// One place if one place has it all, the first of them by code; otherwise as few places as can be.
fn check_free_line(units: i64, left: &BTreeMap<&Location, i64>, free: &BTreeMap<&Location, i64>) {
    if let Some((first, _)) = left.iter().find(|(_, has)| **has >= units) {
        assert_eq!(free.keys().collect::<Vec<_>>(), [first]);
        return;
    }
    let mut fullest: Vec<i64> = left.values().copied().collect();
    fullest.sort_unstable_by(|a, b| b.cmp(a));
    let mut places = 0;
    let mut sum = 0;
    while sum < units {
        sum += fullest[places];
        places += 1;
    }
    assert_eq!(free.len(), places);
}
