//! The modelled Postgres: what a transaction of the committer reads, decides by the real planner and writes. The committer's deliberate mistakes are made here.

use super::parts::{Broken, LIMITS, Mini, Phase, Queue, Request, Said, Setup, Verb, Whole};
use super::promises;
use crate::world::{key, payload, request};
use holdfast_stock::{
    Allocation, Answer, Cart, Cause, Details, HoldMicros, Level, Line, Moment, Op, Owner, Plan, Quantity, Record,
    Refusal, ReservationId, Shortage, Snapshot, State, StoredAnswer, StoredOperation, UnixMicros, plan,
};
use std::collections::BTreeMap;

impl Setup {
    pub(super) fn is(&self, broken: Broken) -> bool {
        self.broken == broken
    }

    pub(super) fn cart(&self, buyer: usize) -> Cart {
        let quantity = Quantity::new(i64::from(self.wants[buyer])).unwrap();
        Cart::new(vec![Line { sku: self.sku.clone(), location: None, quantity, split: true }]).unwrap()
    }

    pub(super) fn shortage(&self, buyer: usize) -> Vec<Shortage> {
        let requested = i64::from(self.wants[buyer]);
        vec![Shortage { sku: self.sku.clone(), location: None, requested, available: 0 }]
    }

    /// Units that nobody who counts has: neither sold nor held by a hold that runs. Summed anew, independently of the planner.
    pub(super) fn free(&self, state: &Whole) -> i8 {
        let taken = (0..2).filter(|buyer| {
            state.records[*buyer].is_some_and(|record| match record.state {
                State::Held => state.now < record.expires,
                State::Confirmed => true,
                _ => false,
            })
        });
        self.units - taken.map(|buyer| self.wants[buyer]).sum::<i8>()
    }

    /// What the row says: holds that are over are counted until they are expired.
    pub(super) fn published(&self, state: &Whole) -> i8 {
        (self.units - state.held - state.committed).max(0)
    }

    pub(super) fn record(&self, buyer: usize, mini: Mini) -> Record {
        let Mini { state, made, expires, fence } = mini;
        let never_held = fence || state == State::Refused;
        let end = (!never_held).then(|| tick(expires));
        let allocation = Allocation::new(self.sku.clone(), self.location.clone(), i64::from(self.wants[buyer]));
        Record {
            id: buyer_key(buyer),
            owner: (!fence).then(|| Owner::new("b").unwrap()),
            payload: (!fence).then(|| payload(buyer_byte(buyer))),
            lines: if fence { Vec::new() } else { self.cart(buyer).lines().to_vec() },
            allocations: if never_held { Vec::new() } else { vec![allocation] },
            created_at: tick(made),
            first_expires_at: (!never_held).then(|| tick(made + 1)),
            state,
            expires_at: end,
            state_at: tick(made),
            version: 1,
            shortages: if state == State::Refused { self.shortage(buyer) } else { Vec::new() },
            details: Details::default(),
            predecessor: None,
            successor: None,
        }
    }

    /// What a transaction of the committer reads.
    pub(super) fn snapshot(&self, state: &Whole, now: u8) -> Snapshot {
        let [held, committed] = [state.held, state.committed].map(i64::from);
        let mut level = Level { on_hand: i64::from(self.units), held, committed, ..Level::default() };
        level.shortfall = level.shortfall_due();
        let records = state.records.iter().enumerate();
        let records = records.filter_map(|(buyer, mini)| Some((buyer_key(buyer), self.record(buyer, (*mini)?))));
        let records: BTreeMap<_, _> = records.collect();
        let operations = self.requests.iter().filter_map(|sent| {
            let (was, expires) = state.operations[usize::from(sent.key)]?;
            let moment = Moment { state: was, expires_at: Some(tick(expires)), state_at: tick(0), version: 1 };
            let answer = StoredAnswer::Reservation { id: buyer_key(sent.buyer), moment, progress: BTreeMap::new() };
            Some((request(sent.key), StoredOperation { payload: payload(100 + sent.key), answer }))
        });
        Snapshot {
            now: tick(now),
            levels: BTreeMap::from([((self.sku.clone(), self.location.clone()), level)]),
            due: records.values().filter(|record| record.is_due(tick(now))).map(|record| record.id).collect(),
            records,
            operations: operations.collect(),
            overdue: BTreeMap::new(),
            ..Snapshot::default()
        }
    }

    pub(super) fn op(&self, index: usize, phase: Phase) -> Op {
        let Request { buyer, verb, key, .. } = self.requests[index];
        let (id, owner, said) = (buyer_key(buyer), Owner::new("b").unwrap(), payload(buyer_byte(buyer)));
        let (own, own_said) = (request(key), payload(100 + key));
        let hold = HoldMicros::new(1).unwrap();
        match verb {
            Verb::Reserve { .. } if phase == Phase::Refuse => {
                Op::Refuse { id, owner, payload: said, cart: self.cart(buyer), shortages: self.shortage(buyer) }
            }
            Verb::Reserve { marked } => {
                let retry = marked && !self.is(Broken::RetryIsRefusedWithoutAFence);
                Op::Reserve {
                    id,
                    owner,
                    payload: said,
                    cart: self.cart(buyer),
                    hold: Some(hold),
                    retry,
                    terms: Box::default(),
                }
            }
            Verb::Confirm => {
                Op::Confirm { request: own, payload: own_said, id, portions: Vec::new(), reacquire: None, order: None }
            }
            Verb::Release => Op::Release { request: own, payload: own_said, id },
            Verb::Extend => Op::Extend { request: own, payload: own_said, id, hold },
        }
    }

    /// One transaction: everything that a replica has queued, in the order of arrival.
    pub(super) fn commit(&self, state: &mut Whole, replica: usize) -> Result<(), String> {
        let batch: Vec<usize> = state.queues[replica].requests().collect();
        let ops: Vec<Op> = batch.iter().map(|index| self.op(*index, state.phases[*index])).collect();
        let before = state.clone();
        let answers = self.write(state, &ops)?;
        promises::batch(self, &before, &ops, &answers)?;
        state.queues[replica] = Queue::default();
        let mut takes = [false; 2];
        for (index, answer) in batch.into_iter().zip(answers) {
            takes[self.requests[index].buyer] = true;
            if !matches!(state.phases[index], Phase::Told(_)) {
                self.tell(state, index, said(&answer));
            }
        }
        state.publishing[replica] = Some((self.published(state), takes));
        Ok(())
    }

    /// Plans and writes; the mistakes of the committer are made here.
    pub(super) fn write(&self, state: &mut Whole, ops: &[Op]) -> Result<Vec<Result<Answer, Refusal>>, String> {
        if self.is(Broken::OperationsAreDecidedApart) {
            let read = self.snapshot(state, state.now);
            let plans: Vec<Plan> = ops.iter().map(|op| plan(read.clone(), std::slice::from_ref(op), &LIMITS)).collect();
            let answers = plans.iter().flat_map(|plan| plan.answers.clone()).collect();
            plans.into_iter().try_for_each(|plan| self.store(state, plan))?;
            return Ok(answers);
        }
        let mut answers = Vec::new();
        for ops in ops.chunks(if self.has_own_way() { 1 } else { ops.len().max(1) }) {
            if let Some(answer) = self.wrong(state, &ops[0]) {
                answers.push(answer);
                continue;
            }
            let mut read = self.snapshot(state, state.now);
            if !ops.iter().any(|op| matches!(op, Op::Reserve { .. })) {
                // Only who takes units looks for what is due.
                read.due.clear();
            }
            if self.is(Broken::DueHoldsAreNotRead) {
                read.records.retain(|id, _| !read.due.contains(id));
            }
            match &ops[0] {
                Op::Reserve { id, .. } if self.is(Broken::DuplicateKeysAreNotCollapsed) => {
                    read.records.remove(id);
                }
                Op::Confirm { .. } if self.is(Broken::ConfirmUsesALateClock) => {
                    read = self.snapshot(state, state.now.saturating_sub(1));
                }
                _ => {}
            }
            let mut plan = plan(read, ops, &LIMITS);
            answers.append(&mut plan.answers);
            self.store(state, plan)?;
        }
        Ok(answers)
    }

    /// Mistakes that concern one operation are made by planning one at a time.
    pub(super) fn has_own_way(&self) -> bool {
        matches!(
            self.broken,
            Broken::DuplicateKeysAreNotCollapsed
                | Broken::ConfirmIgnoresState
                | Broken::ConfirmUsesALateClock
                | Broken::ReleaseLeavesUnknownKeysOpen
        )
    }

    /// What a mistaken committer does without the planner.
    pub(super) fn wrong(&self, state: &mut Whole, op: &Op) -> Option<Result<Answer, Refusal>> {
        let buyer = buyer_of(op.reservation()?);
        match (self.broken, op, state.records[buyer]) {
            (Broken::ReleaseLeavesUnknownKeysOpen, Op::Release { .. }, None) => {
                Some(Ok(Answer::Expiry { expired: false }))
            }
            (Broken::ConfirmIgnoresState, Op::Confirm { .. }, Some(mini)) if mini.state != State::Confirmed => {
                if mini.state == State::Held {
                    state.held -= self.wants[buyer];
                }
                state.committed += self.wants[buyer];
                state.records[buyer] = Some(Mini { state: State::Confirmed, ..mini });
                Some(Ok(Answer::Expiry { expired: false }))
            }
            _ => None,
        }
    }

    /// Writes a plan as it is.
    pub(super) fn store(&self, state: &mut Whole, plan: Plan) -> Result<(), String> {
        for entry in &plan.ledger {
            state.held += i8::try_from(entry.delta.held).unwrap();
            state.committed += i8::try_from(entry.delta.committed).unwrap();
            if let Cause::Reserve(id) = entry.cause {
                state.holds_made[buyer_of(id)] += 1;
            }
        }
        let apart = self.is(Broken::OperationsAreDecidedApart);
        for level in plan.levels.values().filter(|_| !apart) {
            if (i64::from(state.held), i64::from(state.committed)) != (level.held, level.committed) {
                return Err(format!(
                    "I3: the row became {level:?}, its ledger says {} and {}",
                    state.held, state.committed
                ));
            }
        }
        for record in plan.records_inserted.iter().chain(&plan.records_changed) {
            let buyer = buyer_of(record.id);
            let made = untick(record.created_at);
            let expires = record.expires_at.map_or(made, untick);
            let fence = record.payload.is_none();
            state.records[buyer] = Some(Mini { state: record.state, made, expires, fence });
        }
        for (request, stored) in plan.operations {
            let StoredAnswer::Reservation { moment, .. } = stored.answer else {
                unreachable!("no other verb is asked")
            };
            let key = usize::from(request.to_bytes()[0]);
            state.operations[key] = Some((moment.state, moment.expires_at.map_or(0, untick)));
        }
        Ok(())
    }

    /// Expires what is over.
    pub(super) fn sweep(&self, state: &mut Whole) -> Result<(), String> {
        let ops: Vec<Op> = (0..2).map(|buyer| Op::Expire { id: buyer_key(buyer) }).collect();
        let mut looked = self.snapshot(state, state.now);
        looked.due.clear();
        let plan = plan(looked, &ops, &LIMITS);
        self.store(state, plan)
    }
}

pub(super) fn said(answer: &Result<Answer, Refusal>) -> Said {
    match answer {
        Ok(Answer::Reservation(answer)) => Said::Yes(answer.current_state),
        // Only mistaken committers answer a Confirm or a Release so.
        Ok(_) => Said::Yes(State::Confirmed),
        Err(Refusal::Insufficient(_)) => Said::Short,
        Err(_) => Said::No,
    }
}

pub(super) fn buyer_byte(buyer: usize) -> u8 {
    u8::try_from(buyer).unwrap() + 1
}

pub(super) fn buyer_key(buyer: usize) -> ReservationId {
    key(buyer_byte(buyer))
}

pub(super) fn buyer_of(id: ReservationId) -> usize {
    usize::from(id.to_bytes()[0]) - 1
}

pub(super) fn tick(ticks: u8) -> UnixMicros {
    UnixMicros(i64::from(ticks))
}

pub(super) fn untick(at: UnixMicros) -> u8 {
    u8::try_from(at.0).unwrap()
}
