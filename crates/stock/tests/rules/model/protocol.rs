//! The protocol of PROTOCOL.md around the real planner: gate, write queues, read queue, clients that give up and retry, and what can break in between.
//!
//! One SKU at one location, two replicas, two buyers. Everything that is one transaction in Postgres or one script in Redis is one action; everything else can happen in
//! any order in between.

use super::parts::{Action, Broken, Phase, Queue, REQUESTS, Request, Said, Setup, Verb, When, Whole};
use super::postgres::{buyer_byte, buyer_key, said, tick};
use super::promises;
use super::search::System;
use crate::world::{location, payload, sku};
use holdfast_stock::{Availability, Reading, State, Terms, Wanted, read};
use std::collections::BTreeSet;

impl Setup {
    pub(super) fn new(units: i8, wants: [i8; 2], requests: Vec<Request>) -> Self {
        assert!(requests.len() <= REQUESTS);
        let (sku, location) = (sku("A"), location("W1"));
        Self { units, wants, requests, ticks: 2, crashes: 1, wipes: 1, broken: Broken::Nothing, sku, location }
    }

    /// Gives a client its answer.
    pub(super) fn tell(&self, state: &mut Whole, index: usize, said: Said) {
        state.phases[index] = Phase::Told(said);
        let Request { buyer, verb, .. } = self.requests[index];
        match (verb, said) {
            (Verb::Reserve { marked: true }, Said::Short) => state.closed[buyer] = true,
            (Verb::Release, Said::Yes(_)) => state.closed[buyer] = true,
            _ => {}
        }
    }

    fn ask_gate(&self, state: &mut Whole, index: usize, reads: u8) -> Result<(), String> {
        let Request { buyer, replica, .. } = self.requests[index];
        let taken: i8 = (0..2).filter(|other| state.takes[*other]).map(|other| self.wants[other]).sum();
        let granted = state.takes[buyer] || state.counter.is_some_and(|counter| counter - taken >= self.wants[buyer]);
        let no = match (self.broken, state.counter) {
            (Broken::MissingCounterReadsAsZero, None) => !granted,
            (Broken::GateRefusalIsAnswered, Some(_)) => !granted,
            _ => false,
        };
        if no {
            promises::short(self, state, buyer)?;
            self.tell(state, index, Said::Short);
            return Ok(());
        }
        if !granted {
            state.phases[index] = Phase::Read { reads };
            return Ok(());
        }
        state.takes[buyer] = true;
        state.phases[index] = Phase::Write;
        state.queues[replica].push(index);
        if self.is(Broken::AnswerBeforeCommit) {
            self.tell(state, index, Said::Yes(State::Held));
        }
        Ok(())
    }

    fn read(&self, state: &mut Whole, index: usize, reads: u8) -> Result<(), String> {
        let Request { buyer, replica, verb, .. } = self.requests[index];
        let mut looked = self.snapshot(state, state.now);
        let overdue: i64 = looked.due.iter().flat_map(|id| &looked.records[id].allocations).map(|a| a.quantity).sum();
        let level = looked.levels.pop_first().expect("the row is there").1;
        let counted = if self.is(Broken::ReadCountsDueHolds) { 0 } else { overdue };
        let available = level.available_with(counted);
        let availability = Availability::from_iter([(self.sku.clone(), self.location.clone(), available)]);
        let record = looked.records.get(&buyer_key(buyer)).filter(|_| !self.is(Broken::ReadIgnoresTheKey));
        let said_before = payload(buyer_byte(buyer));
        let (cart, terms, paused) = (self.cart(buyer), Terms::default(), BTreeSet::new());
        let wanted = Wanted { cart: &cart, terms: &terms, paused: &paused };
        match read(tick(state.now), record, said_before, wanted, &availability) {
            Reading::Settled(answer) => self.tell(state, index, said(&answer)),
            Reading::UnknownSku(_) => return Err("the SKU is known".into()),
            Reading::Paused { .. } => return Err("the SKU is sold".into()),
            Reading::Insufficient(_) => {
                promises::short(self, state, buyer)?;
                let marked = verb == Verb::Reserve { marked: true };
                if marked && !self.is(Broken::RetryIsRefusedWithoutAFence) {
                    state.phases[index] = Phase::Refuse;
                    state.queues[replica].push(index);
                } else {
                    self.tell(state, index, Said::Short);
                }
            }
            Reading::Enough => {
                state.counter = Some(i8::try_from(available).unwrap().max(0));
                // After the second time it has taken too long; the committer decides.
                state.phases[index] = if reads == 0 { Phase::Gate { reads: 1 } } else { Phase::Write };
                if reads > 0 {
                    state.queues[replica].push(index);
                }
            }
        }
        Ok(())
    }

    fn die(&self, state: &mut Whole, replica: usize) {
        state.crashes -= 1;
        state.queues[replica] = Queue::default();
        state.publishing[replica] = None;
        for (index, sent) in self.requests.iter().enumerate() {
            let in_flight = !matches!(state.phases[index], Phase::NotSent | Phase::Told(_));
            if sent.replica == replica && in_flight {
                state.phases[index] = Phase::Lost;
            }
        }
    }

    fn may_send(&self, state: &Whole, index: usize) -> bool {
        let Request { when, unless, .. } = self.requests[index];
        let due = match when {
            When::AtOnce => true,
            When::GaveUpOn(other) => state.gave_up[other],
            When::GotYes(other) => !state.gave_up[other] && matches!(state.phases[other], Phase::Told(Said::Yes(_))),
        };
        due && state.phases[index] == Phase::NotSent && unless.is_none_or(|other| state.phases[other] == Phase::NotSent)
    }

    /// Whether a client that does not wait for this request any longer would do something else.
    fn may_give_up(&self, state: &Whole, index: usize) -> bool {
        let waits = !matches!(state.phases[index], Phase::NotSent | Phase::Told(_)) && !state.gave_up[index];
        waits && self.requests.iter().any(|other| other.when == When::GaveUpOn(index))
    }

    fn perform(&self, state: &mut Whole, action: Action) -> Result<(), String> {
        match action {
            Action::Send(index) => match self.requests[index].verb {
                Verb::Reserve { .. } => state.phases[index] = Phase::Gate { reads: 0 },
                Verb::Confirm | Verb::Release | Verb::Extend => {
                    state.phases[index] = Phase::Write;
                    state.queues[self.requests[index].replica].push(index);
                }
            },
            Action::GiveUp(index) => state.gave_up[index] = true,
            Action::AskGate(index) => {
                let Phase::Gate { reads } = state.phases[index] else { unreachable!("it is at the gate") };
                self.ask_gate(state, index, reads)?;
            }
            Action::GateIsOutOfReach(index) => {
                state.phases[index] = Phase::Write;
                state.queues[self.requests[index].replica].push(index);
            }
            Action::Read(index) => {
                let Phase::Read { reads } = state.phases[index] else { unreachable!("it waits for a read") };
                self.read(state, index, reads)?;
            }
            Action::Commit { replica } => self.commit(state, replica)?,
            Action::CommitThenDie { replica } => {
                let phases = state.phases;
                let closed = state.closed;
                self.commit(state, replica)?;
                // Nobody has heard what was committed.
                (state.phases, state.closed) = (phases, closed);
                self.die(state, replica);
            }
            Action::Die { replica } => self.die(state, replica),
            Action::Publish { replica } => {
                if let Some((available, takes)) = state.publishing[replica].take() {
                    state.counter = Some(available);
                    (0..2).filter(|buyer| takes[*buyer]).for_each(|buyer| state.takes[buyer] = false);
                }
            }
            Action::TakeLapses { buyer } => state.takes[buyer] = false,
            Action::WipeRedis => {
                state.wipes -= 1;
                (state.counter, state.takes) = (None, [false; 2]);
            }
            Action::Reconcile => state.counter = Some(self.published(state)),
            Action::Sweep => self.sweep(state)?,
            Action::TimePasses => state.now += 1,
        }
        Ok(())
    }
}

impl System for Setup {
    type State = Whole;
    type Action = Action;

    fn start(&self) -> Whole {
        Whole {
            now: 0,
            held: 0,
            committed: 0,
            records: [None; 2],
            operations: [None; REQUESTS],
            counter: Some(self.units),
            takes: [false; 2],
            phases: [Phase::NotSent; REQUESTS],
            queues: [Queue::default(); 2],
            publishing: [None; 2],
            gave_up: [false; REQUESTS],
            crashes: self.crashes,
            wipes: self.wipes,
            holds_made: [0; 2],
            closed: [false; 2],
        }
    }

    fn actions(&self, state: &Whole, into: &mut Vec<Action>) {
        for index in 0..self.requests.len() {
            if self.may_send(state, index) {
                into.push(Action::Send(index));
            }
            if self.may_give_up(state, index) {
                into.push(Action::GiveUp(index));
            }
            match state.phases[index] {
                Phase::Gate { .. } => into.extend([Action::AskGate(index), Action::GateIsOutOfReach(index)]),
                Phase::Read { .. } => into.push(Action::Read(index)),
                Phase::NotSent | Phase::Write | Phase::Refuse | Phase::Told(_) | Phase::Lost => {}
            }
        }
        for replica in 0..2 {
            if state.queues[replica] != Queue::default() {
                into.push(Action::Commit { replica });
                if state.crashes > 0 {
                    into.push(Action::CommitThenDie { replica });
                }
            }
            if state.crashes > 0 {
                into.push(Action::Die { replica });
            }
            if state.publishing[replica].is_some() {
                into.push(Action::Publish { replica });
            }
        }
        into.extend((0..2).filter(|buyer| state.takes[*buyer]).map(|buyer| Action::TakeLapses { buyer }));
        if state.wipes > 0 {
            into.push(Action::WipeRedis);
        }
        if state.now < self.ticks {
            into.push(Action::TimePasses);
        }
        into.extend([Action::Reconcile, Action::Sweep]);
    }

    fn step(&self, state: &Whole, action: Action) -> Result<Whole, String> {
        let mut next = state.clone();
        self.perform(&mut next, action)?;
        promises::state(self, state, &next)?;
        Ok(next)
    }
}
