//! The protocol of PROTOCOL.md around the real planner: gate, write queues, read queue, clients that give up and retry, and what can break in between.
//!
//! One SKU at one location, two replicas, two buyers. Everything that is one transaction in Postgres or one script in Redis is one action; everything else can happen in
//! any order in between.

use super::promises;
use super::search::System;
use crate::world::{key, location, payload, request, sku};
use holdfast_stock::{
    Allocation, Answer, Availability, Cart, Cause, HoldMicros, Level, Limits, Line, Location, Moment, Op, Owner, Plan,
    Quantity, Reading, Record, Refusal, ReservationId, Shortage, Sku, Snapshot, State, StoredAnswer, StoredOperation,
    UnixMicros, plan, read,
};
use std::collections::BTreeMap;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// A counter that Redis does not have is taken for zero and answered.
    MissingCounterReadsAsZero,
    /// What the gate refuses is answered without asking Postgres.
    GateRefusalIsAnswered,
    /// The read queue looks at the rows only, not at the key.
    ReadIgnoresTheKey,
    /// The read queue counts holds that are over.
    ReadCountsDueHolds,
    /// The committer does not look whether a key landed before.
    DuplicateKeysAreNotCollapsed,
    /// The committer decides every operation of a batch over what was there before the batch.
    OperationsAreDecidedApart,
    /// The committer does not expire what is due, nor count it as free.
    DueHoldsAreNotRead,
    /// Confirm sells whatever state the reservation is in.
    ConfirmIgnoresState,
    /// Confirm judges the hold's time by a clock that is one tick late.
    ConfirmUsesALateClock,
    /// A marked retry is refused without closing its key.
    RetryIsRefusedWithoutAFence,
    /// Release of an unknown key stores nothing.
    ReleaseLeavesUnknownKeysOpen,
    /// A hold is promised when the gate has granted it.
    AnswerBeforeCommit,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Reserve {
        marked: bool,
    },
    Confirm,
    Release,
    /// For one more tick from now.
    Extend,
}

/// When a client sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    AtOnce,
    /// Its earlier request has taken too long.
    GaveUpOn(usize),
    /// An earlier request was answered with a yes.
    GotYes(usize),
}

/// One request that may be sent once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) buyer: usize,
    pub(super) replica: usize,
    pub(super) verb: Verb,
    pub(super) when: When,
    /// The request's own key; the same for a retry. Means nothing for Reserve.
    pub(super) key: u8,
    /// Not if that one was sent.
    pub(super) unless: Option<usize>,
}

/// One system to visit wholly.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) units: i8,
    /// Units that each buyer wants.
    pub(super) wants: [i8; 2],
    pub(super) requests: Vec<Request>,
    /// How often time moves on by a hold's length.
    pub(super) ticks: u8,
    pub(super) crashes: u8,
    pub(super) wipes: u8,
    pub(super) broken: Broken,
    pub(super) sku: Sku,
    pub(super) location: Location,
}

/// Most requests of a setup.
const REQUESTS: usize = 6;
/// The limits in ticks.
const LIMITS: Limits = Limits { longest_hold_micros: 5 };

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    NotSent,
    /// About to ask the gate, having been read so many times.
    Gate {
        reads: u8,
    },
    /// Waits for the read queue.
    Read {
        reads: u8,
    },
    /// In its replica's write queue.
    Write,
    /// In its replica's write queue, to close its key: a read said that there is too little.
    Refuse,
    Told(Said),
    /// Its replica died.
    Lost,
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    Yes(State),
    Short,
    No,
}

/// What of a record matters here; the rest follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mini {
    pub(super) state: State,
    pub(super) made: u8,
    pub(super) expires: u8,
    /// Made by a Release.
    pub(super) fence: bool,
}

/// Request indexes in the order of arrival, four bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Queue(u32);

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whole {
    // Postgres.
    pub(super) now: u8,
    pub(super) held: i8,
    pub(super) committed: i8,
    pub(super) records: [Option<Mini>; 2],
    pub(super) operations: [Option<(State, u8)>; REQUESTS],
    // Redis.
    pub(super) counter: Option<i8>,
    pub(super) takes: [bool; 2],
    // The replicas.
    pub(super) phases: [Phase; REQUESTS],
    pub(super) queues: [Queue; 2],
    /// What a replica is about to publish: availability, and whose takes to remove.
    pub(super) publishing: [Option<(i8, [bool; 2])>; 2],
    // The clients.
    pub(super) gave_up: [bool; REQUESTS],
    // What may still happen.
    crashes: u8,
    wipes: u8,
    // What must never be forgotten.
    pub(super) holds_made: [u8; 2],
    pub(super) closed: [bool; 2],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Send(usize),
    GiveUp(usize),
    AskGate(usize),
    GateIsOutOfReach(usize),
    Read(usize),
    Commit { replica: usize },
    CommitThenDie { replica: usize },
    Die { replica: usize },
    Publish { replica: usize },
    TakeLapses { buyer: usize },
    WipeRedis,
    Reconcile,
    Sweep,
    TimePasses,
}

impl Queue {
    fn push(&mut self, request: usize) {
        let place = (0..8).find(|place| self.0 >> (4 * place) & 0xf == 0).expect("a queue has room for all requests");
        self.0 |= u32::try_from(request + 1).unwrap() << (4 * place);
    }

    fn requests(self) -> impl Iterator<Item = usize> {
        let slots = (0..8).map(move |place| self.0 >> (4 * place) & 0xf);
        slots.take_while(|slot| *slot != 0).map(|slot| usize::try_from(slot).unwrap() - 1)
    }
}

impl Setup {
    pub(super) fn new(units: i8, wants: [i8; 2], requests: Vec<Request>) -> Self {
        assert!(requests.len() <= REQUESTS);
        let (sku, location) = (sku("A"), location("W1"));
        Self { units, wants, requests, ticks: 2, crashes: 1, wipes: 1, broken: Broken::Nothing, sku, location }
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == broken
    }

    fn cart(&self, buyer: usize) -> Cart {
        let quantity = Quantity::new(i64::from(self.wants[buyer])).unwrap();
        Cart::new(vec![Line { sku: self.sku.clone(), location: None, quantity }]).unwrap()
    }

    fn shortage(&self, buyer: usize) -> Vec<Shortage> {
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
    fn published(&self, state: &Whole) -> i8 {
        (self.units - state.held - state.committed).max(0)
    }

    fn record(&self, buyer: usize, mini: Mini) -> Record {
        let Mini { state, made, expires, fence } = mini;
        let never_held = fence || state == State::Refused;
        let end = (!never_held).then(|| tick(expires));
        let allocation = Allocation {
            sku: self.sku.clone(),
            location: self.location.clone(),
            quantity: i64::from(self.wants[buyer]),
        };
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
        }
    }

    /// What a transaction of the committer reads.
    fn snapshot(&self, state: &Whole, now: u8) -> Snapshot {
        let [held, committed] = [state.held, state.committed].map(i64::from);
        let mut level = Level { on_hand: i64::from(self.units), held, committed, ..Level::default() };
        level.shortfall = level.shortfall_due();
        let records = state.records.iter().enumerate();
        let records = records.filter_map(|(buyer, mini)| Some((buyer_key(buyer), self.record(buyer, (*mini)?))));
        let records: BTreeMap<_, _> = records.collect();
        let operations = self.requests.iter().filter_map(|sent| {
            let (was, expires) = state.operations[usize::from(sent.key)]?;
            let moment = Moment { state: was, expires_at: Some(tick(expires)), state_at: tick(0), version: 1 };
            let answer = StoredAnswer::Reservation { id: buyer_key(sent.buyer), moment };
            Some((request(sent.key), StoredOperation { payload: payload(100 + sent.key), answer }))
        });
        Snapshot {
            now: tick(now),
            levels: BTreeMap::from([((self.sku.clone(), self.location.clone()), level)]),
            due: records.values().filter(|record| record.is_due(tick(now))).map(|record| record.id).collect(),
            records,
            operations: operations.collect(),
            overdue: BTreeMap::new(),
        }
    }

    fn op(&self, index: usize, phase: Phase) -> Op {
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
                Op::Reserve { id, owner, payload: said, cart: self.cart(buyer), hold, retry }
            }
            Verb::Confirm => Op::Confirm { request: own, payload: own_said, id },
            Verb::Release => Op::Release { request: own, payload: own_said, id },
            Verb::Extend => Op::Extend { request: own, payload: own_said, id, hold },
        }
    }

    /// One transaction: everything that a replica has queued, in the order of arrival.
    fn commit(&self, state: &mut Whole, replica: usize) -> Result<(), String> {
        let batch: Vec<usize> = state.queues[replica].requests().collect();
        let ops: Vec<Op> = batch.iter().map(|index| self.op(*index, state.phases[*index])).collect();
        let before = state.clone();
        let answers = self.write(state, &ops)?;
        promises::batch(self, &before, &ops, &answers)?;
        state.queues[replica] = Queue::default();
        let mut takes = [false; 2];
        for (index, answer) in batch.into_iter().zip(answers) {
            takes[self.requests[index].buyer] = true;
            if state.phases[index] != Phase::Lost && !matches!(state.phases[index], Phase::Told(_)) {
                self.tell(state, index, said(&answer))?;
            }
        }
        state.publishing[replica] = Some((self.published(state), takes));
        Ok(())
    }

    /// Plans and writes; the mistakes of the committer are made here.
    fn write(&self, state: &mut Whole, ops: &[Op]) -> Result<Vec<Result<Answer, Refusal>>, String> {
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
    fn has_own_way(&self) -> bool {
        matches!(
            self.broken,
            Broken::DuplicateKeysAreNotCollapsed
                | Broken::ConfirmIgnoresState
                | Broken::ConfirmUsesALateClock
                | Broken::ReleaseLeavesUnknownKeysOpen
        )
    }

    /// What a mistaken committer does without the planner.
    fn wrong(&self, state: &mut Whole, op: &Op) -> Option<Result<Answer, Refusal>> {
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
    fn store(&self, state: &mut Whole, plan: Plan) -> Result<(), String> {
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

    /// Gives a client its answer.
    fn tell(&self, state: &mut Whole, index: usize, said: Said) -> Result<(), String> {
        state.phases[index] = Phase::Told(said);
        let Request { buyer, verb, .. } = self.requests[index];
        match (verb, said) {
            (Verb::Reserve { marked: true }, Said::Short) => state.closed[buyer] = true,
            (Verb::Release, Said::Yes(_)) => state.closed[buyer] = true,
            _ => {}
        }
        Ok(())
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
            return self.tell(state, index, Said::Short);
        }
        if !granted {
            state.phases[index] = Phase::Read { reads };
            return Ok(());
        }
        state.takes[buyer] = true;
        state.phases[index] = Phase::Write;
        state.queues[replica].push(index);
        if self.is(Broken::AnswerBeforeCommit) {
            self.tell(state, index, Said::Yes(State::Held))?;
        }
        Ok(())
    }

    fn read(&self, state: &mut Whole, index: usize, reads: u8) -> Result<(), String> {
        let Request { buyer, replica, verb, .. } = self.requests[index];
        let mut looked = self.snapshot(state, state.now);
        let overdue: i64 = looked.due.iter().flat_map(|id| &looked.records[id].allocations).map(|a| a.quantity).sum();
        let level = looked.levels.pop_first().expect("the row is there").1;
        let counted = if self.is(Broken::ReadCountsDueHolds) { 0 } else { overdue };
        let available = level.free() + counted;
        let availability = Availability::from_iter([(self.sku.clone(), self.location.clone(), available)]);
        let record = looked.records.get(&buyer_key(buyer)).filter(|_| !self.is(Broken::ReadIgnoresTheKey));
        let said_before = payload(buyer_byte(buyer));
        match read(tick(state.now), record, said_before, &self.cart(buyer), &availability) {
            Reading::Settled(answer) => self.tell(state, index, said(&answer)),
            Reading::UnknownSku(_) => Err("the SKU is known".into()),
            Reading::Insufficient(_) => {
                promises::short(self, state, buyer)?;
                let marked = verb == Verb::Reserve { marked: true };
                if marked && !self.is(Broken::RetryIsRefusedWithoutAFence) {
                    state.phases[index] = Phase::Refuse;
                    state.queues[replica].push(index);
                    return Ok(());
                }
                self.tell(state, index, Said::Short)
            }
            Reading::Enough => {
                state.counter = Some(i8::try_from(available).unwrap().max(0));
                // After the second time it has taken too long; the committer decides.
                state.phases[index] = if reads == 0 { Phase::Gate { reads: 1 } } else { Phase::Write };
                if reads > 0 {
                    state.queues[replica].push(index);
                }
                Ok(())
            }
        }
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

    fn sweep(&self, state: &mut Whole) -> Result<(), String> {
        let ops: Vec<Op> = (0..2).map(|buyer| Op::Expire { id: buyer_key(buyer) }).collect();
        let mut looked = self.snapshot(state, state.now);
        looked.due.clear();
        let plan = plan(looked, &ops, &LIMITS);
        self.store(state, plan)
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

fn said(answer: &Result<Answer, Refusal>) -> Said {
    match answer {
        Ok(Answer::Reservation(answer)) => Said::Yes(answer.current_state),
        // Only mistaken committers answer a Confirm or a Release so.
        Ok(Answer::Expiry { .. } | Answer::Counted { .. } | Answer::Adjusted { .. }) => Said::Yes(State::Confirmed),
        Err(Refusal::Insufficient(_)) => Said::Short,
        Err(_) => Said::No,
    }
}

fn buyer_byte(buyer: usize) -> u8 {
    u8::try_from(buyer).unwrap() + 1
}

fn buyer_key(buyer: usize) -> ReservationId {
    key(buyer_byte(buyer))
}

pub(super) fn buyer_of(id: ReservationId) -> usize {
    usize::from(id.to_bytes()[0]) - 1
}

fn tick(ticks: u8) -> UnixMicros {
    UnixMicros(i64::from(ticks))
}

fn untick(at: UnixMicros) -> u8 {
    u8::try_from(at.0).unwrap()
}
