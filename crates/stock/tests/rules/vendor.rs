//! A vendor with a shelf, books and a counter of its own, at the other end of messages that come late, twice and in any order: whatever happens, no unit is deducted
//! twice for good, none is forgotten, and none is offered that the vendor could not deliver.

use crate::verbs::*;
use crate::world::*;
use holdfast_stock::{
    Answer, CountMeaning, EvidenceKind, FeedTerms, Name, Op, PayloadHash, Refusal, RequestId, State, UnixMicros,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// An order, as the vendor knows it. Every number is units.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    received: i64,
    booked: i64,
    shipped: i64,
    /// Called off, and the vendor agreed.
    taken: i64,
    /// Of the taken ones, those that it had booked.
    unbooked: i64,
}

impl Order {
    /// What it may still ship.
    fn open(&self) -> i64 {
        self.received - self.shipped - self.taken
    }

    /// What it may still book.
    fn bookable(&self) -> i64 {
        self.received - self.booked - (self.taken - self.unbooked)
    }

    /// What it took off its AVAILABLE numbers and has on the shelf.
    fn set_aside(&self) -> i64 {
        self.booked - self.unbooked - self.shipped
    }
}

/// A message on its way to Holdfast. One that was taken is the same for ever, as whoever sends it keeps it.
#[derive(Clone, Debug)]
enum Letter {
    Count { as_of: i64, sequence: i64, units: i64, meaning: CountMeaning, house: bool, covers_all: bool },
    Booked { order: u8, units: i64, at: Option<i64> },
    Shipped { order: u8, units: i64, at: Option<i64> },
    CancellationTaken { order: u8, units: i64 },
    Landed(Vec<Op>),
}

/// A message on its way to the vendor, in order.
#[derive(Clone, Copy, Debug)]
enum Slip {
    Order(u8, i64),
    CallOff(u8, i64),
}

/// What can happen; the numbers choose among what there is to choose from.
#[derive(Clone, Copy, Debug)]
enum Event {
    Reserve(i64),
    Confirm(u8),
    ConfirmPart(u8, i64),
    Release(u8),
    Send(u8, i64),
    Cancel(u8, i64),
    Return(u8, i64),
    VendorReads,
    VendorBooks(u8, i64, bool),
    VendorShips(u8, i64, bool),
    VendorCounts(bool),
    HouseCounts,
    Restock(i64),
    /// Units leave the shelf that were not ours: sold to others, broken.
    Leave(i64),
    MeansOtherwise,
    /// A letter arrives; true: and will arrive once more.
    Arrive(usize, bool),
    ArriveTogether(usize),
    /// The vendor says nothing of something that it did.
    Lose(usize),
    Wait(i64),
}

/// What may be among the events.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// Units leave the shelf for others, and a return is told late: then a count can be the first to say so.
    with_surprises: bool,
    /// The vendor's numbers change their meaning, and the shop counts the vendor's shelf too.
    with_meanings: bool,
    /// By how much the vendor's clock is ahead of ours.
    skew: i64,
    /// The connection's lag, after which the vendor always has done what it was sent; then it need not say so.
    lag: Option<i64>,
}

const MARGIN: i64 = 20;

struct Shop {
    course: Course,
    world: World,
    shelf: i64,
    meaning: CountMeaning,
    orders: BTreeMap<u8, Order>,
    letters: Vec<Letter>,
    slips: VecDeque<Slip>,
    /// Units of each sale that were called off before they were sent.
    never_sent: BTreeMap<u8, i64>,
    reservations: u8,
    requests: u32,
    sequence: i64,
}

impl Shop {
    fn new(course: Course, shelf: i64, meaning: CountMeaning) -> Self {
        let mut world = World::with(&[]);
        let terms = FeedTerms { clock_margin_micros: MARGIN, reflection_lag_micros: course.lag };
        world.feeds.insert(Name::new("acme").unwrap(), terms);
        let mut shop = Self {
            course,
            world,
            shelf,
            meaning,
            orders: BTreeMap::new(),
            letters: Vec::new(),
            slips: VecDeque::new(),
            never_sent: BTreeMap::new(),
            reservations: 0,
            requests: 0,
            sequence: 0,
        };
        shop.count(false, true);
        shop.arrive(0, false);
        shop
    }

    /// The vendor's clock. No two things happen to it in the same instant.
    fn tick(&mut self) -> i64 {
        self.world.wait(1);
        self.world.now + self.course.skew
    }

    fn request(&mut self) -> (RequestId, PayloadHash) {
        self.requests += 1;
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.requests.to_be_bytes());
        (RequestId::from_bytes(bytes), PayloadHash([0; 32]))
    }

    /// Gives an operation a key of its own.
    fn signed(&mut self, op: Op) -> Op {
        let (request, payload) = self.request();
        match op {
            Op::Confirm { id, portions, reacquire, order, .. } => {
                Op::Confirm { request, payload, id, portions, reacquire, order }
            }
            Op::Release { id, .. } => Op::Release { request, payload, id },
            Op::Fulfil { id, portions, at, .. } => Op::Fulfil { request, payload, id, portions, at },
            Op::Cancel { id, portions, lost, actor, note, .. } => {
                Op::Cancel { request, payload, id, portions, lost, actor, note }
            }
            Op::Return { id, returns, actor, note, .. } => Op::Return { request, payload, id, returns, actor, note },
            Op::Evidence { id, portions, kind, at, .. } => Op::Evidence { request, payload, id, portions, kind, at },
            Op::Count { connection, run, as_of, sequence, meaning, covers_all, counts, .. } => {
                Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts }
            }
            other => other,
        }
    }

    fn state(&self, n: u8) -> State {
        self.world.records[&key(n)].state
    }

    fn pick(&self, n: u8, states: &[State]) -> Option<u8> {
        let fitting: Vec<u8> = (1..=self.reservations).filter(|n| states.contains(&self.state(*n))).collect();
        (!fitting.is_empty()).then(|| fitting[usize::from(n) % fitting.len()])
    }

    fn happen(&mut self, event: Event) {
        let sold = [State::Confirmed, State::Fulfilled, State::Cancelled];
        match event {
            Event::Reserve(units) if self.reservations < 40 => {
                let op = reserve(self.reservations + 1, &[("A", "W1", units)]);
                if self.world.one(op).is_ok() {
                    self.reservations += 1;
                }
            }
            Event::Confirm(n) => self.at(n, &[State::Held], |_, n| confirm(0, n)),
            Event::ConfirmPart(n, units) => self.at(n, &[State::Held], |_, n| match confirm(0, n) {
                Op::Confirm { request, payload, id, reacquire, order, .. } => {
                    Op::Confirm { request, payload, id, portions: portions(&[("A", "", units)]), reacquire, order }
                }
                other => other,
            }),
            Event::Release(n) => self.at(n, &[State::Held], |_, n| release(0, n)),
            Event::Send(n, units) => self.send(n, units),
            Event::Cancel(n, units) => self.call_off(n, units),
            Event::Return(n, units) => self.bring_back(n, units),
            Event::VendorReads => self.read(),
            Event::VendorBooks(n, units, dated) => {
                if let Some(n) = self.pick(n, &sold) {
                    self.book(n, units, dated);
                }
            }
            Event::VendorShips(n, units, dated) => {
                if let Some(n) = self.pick(n, &sold) {
                    self.ship(n, units, dated);
                }
            }
            Event::VendorCounts(covers_all) => self.count(false, covers_all),
            Event::HouseCounts if self.course.with_meanings => self.count(true, false),
            Event::MeansOtherwise if self.course.with_meanings => {
                self.meaning = match self.meaning {
                    CountMeaning::OnHand => CountMeaning::Available,
                    CountMeaning::Available => CountMeaning::OnHand,
                };
            }
            Event::Restock(units) => {
                self.tick();
                self.shelf += units;
            }
            Event::Leave(units) if self.course.with_surprises => {
                self.tick();
                let set_aside: i64 = self.orders.values().map(Order::open).sum();
                self.shelf -= units.min(self.shelf - set_aside).max(0);
            }
            Event::Arrive(index, again) if !self.letters.is_empty() => self.arrive(index % self.letters.len(), again),
            Event::ArriveTogether(index) if self.letters.len() > 1 => self.arrive_together(index),
            Event::Lose(index) if self.course.lag.is_some() && !self.letters.is_empty() => {
                let index = index % self.letters.len();
                if !matches!(self.letters[index], Letter::Count { .. }) {
                    self.letters.remove(index);
                }
            }
            Event::Wait(micros) => self.world.wait(micros),
            _ => {}
        }
    }

    fn at(&mut self, n: u8, states: &[State], op: impl Fn(&Self, u8) -> Op) {
        if let Some(n) = self.pick(n, states) {
            let op = op(self, n);
            let op = self.signed(op);
            let _ = self.world.one(op);
        }
    }

    /// Whoever sends orders first says so to Holdfast, and sends only what it takes.
    fn send(&mut self, n: u8, units: i64) {
        let Some(n) = self.pick(n, &[State::Confirmed]) else { return };
        let at = self.tick();
        let op = self.signed(sent(0, n, &[("A", "", units)], at));
        if self.world.one(op).is_ok() {
            self.slips.push_back(Slip::Order(n, units));
        }
    }

    /// What was called off and the vendor knows of is called off there too.
    fn call_off(&mut self, n: u8, units: i64) {
        let Some(n) = self.pick(n, &[State::Confirmed]) else { return };
        let known = |shop: &Self| shop.world.progress(n).cancelled - shop.world.progress(n).withdrawn;
        let before = known(self);
        let op = self.signed(cancel(0, n, &[("A", "", units)]));
        if self.world.one(op).is_ok() {
            let known = known(self) - before;
            *self.never_sent.entry(n).or_default() += units - known;
            self.slips.extend((known > 0).then_some(Slip::CallOff(n, known)));
        }
    }

    /// A customer's units are put back on the shelf, and whoever does it says so at once.
    fn bring_back(&mut self, n: u8, units: i64) {
        let Some(n) = self.pick(n, &[State::Confirmed, State::Fulfilled]) else { return };
        let op = take_back(0, n, &[("A", "", units, holdfast_stock::Condition::Sellable, "")]);
        let op = self.signed(op);
        if self.world.one(op).is_ok() {
            self.tick();
            self.shelf += units;
        }
    }

    /// The vendor reads what it was sent. It calls off what it has not booked before what it has, and nothing that it shipped.
    fn read(&mut self) {
        self.tick();
        match self.slips.pop_front() {
            None => {}
            Some(Slip::Order(n, units)) => self.orders.entry(n).or_default().received += units,
            Some(Slip::CallOff(n, units)) => {
                let order = self.orders.entry(n).or_default();
                let units = units.min(order.open());
                let booked = (units - order.bookable()).max(0);
                order.taken += units;
                order.unbooked += booked;
                if units > 0 {
                    self.letters.push(Letter::CancellationTaken { order: n, units });
                }
            }
        }
    }

    fn book(&mut self, n: u8, units: i64, dated: bool) {
        let at = self.tick();
        let Some(order) = self.orders.get_mut(&n) else { return };
        let units = units.min(order.bookable());
        if units > 0 {
            order.booked += units;
            self.letters.push(Letter::Booked { order: n, units, at: dated.then_some(at) });
        }
    }

    /// What is shipped was booked, at the latest then.
    fn ship(&mut self, n: u8, units: i64, dated: bool) {
        let Some(order) = self.orders.get(&n) else { return };
        let units = units.min(order.open()).min(self.shelf);
        if units > 0 {
            let unbooked = units - order.set_aside();
            if unbooked > 0 {
                self.book(n, unbooked, dated);
            }
            let at = self.tick();
            self.orders.get_mut(&n).unwrap().shipped += units;
            self.shelf -= units;
            self.letters.push(Letter::Shipped { order: n, units, at: dated.then_some(at) });
        }
    }

    fn count(&mut self, house: bool, covers_all: bool) {
        if self.course.lag.is_some() {
            self.catch_up();
        }
        let as_of = self.tick();
        self.sequence += 1;
        let meaning = if house { CountMeaning::OnHand } else { self.meaning };
        let set_aside: i64 = match meaning {
            CountMeaning::OnHand => 0,
            CountMeaning::Available => self.orders.values().map(Order::set_aside).sum(),
        };
        // One that booked what others have left with says that nothing is there.
        let (sequence, units) = (self.sequence, (self.shelf - set_aside).max(0));
        self.letters.push(Letter::Count { as_of, sequence, units, meaning, house, covers_all });
    }

    /// A vendor whose numbers reflect an order after a while, whatever it says of it, has done by then what the number means.
    fn catch_up(&mut self) {
        while !self.slips.is_empty() {
            self.read();
        }
        for n in self.orders.keys().copied().collect::<Vec<_>>() {
            match self.meaning {
                CountMeaning::OnHand => self.ship(n, i64::MAX, true),
                CountMeaning::Available => self.book(n, i64::MAX, true),
            }
        }
    }

    fn arrive(&mut self, index: usize, again: bool) {
        let letter = self.letters.swap_remove(index);
        let landed = self.deliver(&letter);
        if again {
            self.letters.push(Letter::Landed(landed));
        }
    }

    /// Two letters in one batch, if both are taken as they are.
    fn arrive_together(&mut self, index: usize) {
        let index = index % (self.letters.len() - 1);
        let pair = [self.letters.remove(index), self.letters.remove(index)];
        let ops: Vec<Vec<Op>> = pair.iter().map(|letter| self.ops(letter)).collect();
        let batch = ops.concat();
        let marks = self.world.marks.clone();
        pair.iter().for_each(|letter| self.mark(letter));
        let mut trial = self.world.clone();
        if trial.batch(&batch).iter().all(Result::is_ok) {
            self.world = trial;
        } else {
            self.world.marks = marks;
            pair.iter().for_each(|letter| drop(self.deliver(letter)));
        }
    }

    /// What a letter says, as operations.
    fn ops(&mut self, letter: &Letter) -> Vec<Op> {
        let op = match *letter {
            Letter::Count { as_of, sequence, units, meaning, house, covers_all } => {
                let op = with_meaning(count(0, as_of, sequence, &[("A", "W1", units)]), meaning);
                let op = if covers_all { covering(op) } else { op };
                if house { by("house", op) } else { op }
            }
            Letter::Booked { order, units, at } => told(0, order, &[("A", "", units)], Some(EvidenceKind::Booked), at),
            Letter::Shipped { order, units, at } => match fulfil(0, order, &[("A", "", units)], 0) {
                Op::Fulfil { request, payload, id, portions, .. } => {
                    Op::Fulfil { request, payload, id, portions, at: at.map(UnixMicros) }
                }
                other => other,
            },
            Letter::CancellationTaken { order, units } => taken(0, order, &[("A", "", units)]),
            Letter::Landed(ref ops) => return ops.clone(),
        };
        vec![self.signed(op)]
    }

    /// A run that says something of every row is marked with the first of its counts.
    fn mark(&mut self, letter: &Letter) {
        if let Letter::Count { as_of, sequence, covers_all: true, .. } = *letter {
            let mark = self.world.marks.entry(Name::new("acme").unwrap()).or_default();
            *mark = (*mark).max((UnixMicros(as_of), sequence));
        }
    }

    /// Hands a letter over and says what of it landed. A shipment of what the shop has called off meanwhile is split: what is open is shipped, the rest was in spite.
    fn deliver(&mut self, letter: &Letter) -> Vec<Op> {
        self.mark(letter);
        let ops = self.ops(letter);
        let mut refused = None;
        for op in &ops {
            refused = self.world.one(op.clone()).err();
        }
        let Some(refusal) = refused else { return ops };
        let Letter::Shipped { order, units, at } = *letter else { panic!("{letter:?} is refused: {refusal:?}") };
        let open = match refusal {
            Refusal::Exceeded(excesses) => excesses[0].left,
            Refusal::Cancelled | Refusal::Fulfilled => 0,
            other => panic!("a shipment is refused: {other:?}"),
        };
        let mut ops = Vec::new();
        if open > 0 {
            ops.extend(self.ops(&Letter::Shipped { order, units: open, at }));
        }
        let spite = told(0, order, &[("A", "", units - open)], Some(EvidenceKind::Shipped), at);
        ops.push(self.signed(spite));
        for op in &ops {
            let done = self.world.one(op.clone());
            assert!(matches!(done, Ok(Answer::Reservation(_))), "{op:?}: {done:?}");
        }
        ops
    }

    /// What may still leave the shelf for the shop's sales: what was sold, but for what was called off before it was sent, what the vendor agreed to call off and what it
    /// has shipped.
    fn may_leave(&self) -> i64 {
        let was_sold = |n: &u8| matches!(self.state(*n), State::Confirmed | State::Fulfilled | State::Cancelled);
        let units = |n: u8| {
            let Order { shipped, taken, .. } = self.orders.get(&n).copied().unwrap_or_default();
            let never_sent = self.never_sent.get(&n).copied().unwrap_or(0);
            let released = self.world.progress(n).released;
            self.world.records[&key(n)].allocations[0].quantity - released - never_sent - taken - shipped
        };
        (1..=self.reservations).filter(was_sold).map(units).sum()
    }

    /// Nothing is offered that the vendor could not deliver beside what it may have to.
    fn is_honest(&self) {
        let level = self.world.level("A", "W1");
        let deliverable = self.shelf - self.may_leave();
        assert!(level.available() == 0 || level.available() + level.held <= deliverable, "{level:?}: {deliverable}");
    }

    /// Everything arrives, and one more count.
    fn come_to_rest(&mut self) {
        while !self.slips.is_empty() {
            self.read();
        }
        while !self.letters.is_empty() {
            self.arrive(0, false);
        }
        self.world.wait(MARGIN + self.course.skew.abs() + self.course.lag.unwrap_or(0) + 1);
        self.count(false, false);
        let is_count = |letter: &Letter| matches!(letter, Letter::Count { .. });
        self.arrive(self.letters.iter().position(is_count).unwrap(), false);
        while !self.letters.is_empty() {
            self.arrive(0, false);
        }
    }
}

fn an_event() -> impl Strategy<Value = Event> {
    let n = || any::<u8>();
    let units = || 1..5_i64;
    let index = || any::<prop::sample::Index>().prop_map(|index| index.index(1_000));
    let shop = prop_oneof![
        4 => units().prop_map(Event::Reserve),
        4 => n().prop_map(Event::Confirm),
        1 => (n(), units()).prop_map(|(n, units)| Event::ConfirmPart(n, units)),
        1 => n().prop_map(Event::Release),
        5 => (n(), units()).prop_map(|(n, units)| Event::Send(n, units)),
        3 => (n(), units()).prop_map(|(n, units)| Event::Cancel(n, units)),
        1 => (n(), 1..3_i64).prop_map(|(n, units)| Event::Return(n, units)),
    ];
    let vendor = prop_oneof![
        6 => Just(Event::VendorReads),
        4 => (n(), units(), any::<bool>()).prop_map(|(n, units, dated)| Event::VendorBooks(n, units, dated)),
        4 => (n(), units(), any::<bool>()).prop_map(|(n, units, dated)| Event::VendorShips(n, units, dated)),
        4 => any::<bool>().prop_map(Event::VendorCounts),
        1 => Just(Event::HouseCounts),
        1 => (1..6_i64).prop_map(Event::Restock),
        1 => (1..6_i64).prop_map(Event::Leave),
        1 => Just(Event::MeansOtherwise),
    ];
    let post = prop_oneof![
        9 => (index(), any::<bool>()).prop_map(|(index, again)| Event::Arrive(index, again)),
        2 => index().prop_map(Event::ArriveTogether),
        1 => index().prop_map(Event::Lose),
        1 => (1..40_i64).prop_map(Event::Wait),
    ];
    prop_oneof![4 => shop, 5 => vendor, 4 => post]
}

fn a_course(with_surprises: bool, with_meanings: bool) -> impl Strategy<Value = Course> {
    let skew = if with_meanings { 0..1 } else { -MARGIN..MARGIN + 1 };
    let lag = if with_meanings { Just(None).boxed() } else { prop::option::weighted(0.3, 0..60_i64).boxed() };
    (skew, lag).prop_map(move |(skew, lag)| Course { with_surprises, with_meanings, skew, lag })
}

fn run(course: Course, shelf: i64, meaning: CountMeaning, events: Vec<Event>) {
    let mut shop = Shop::new(course, shelf, meaning);
    for event in events {
        shop.happen(event);
        if !course.with_surprises {
            shop.is_honest();
        }
    }
    shop.come_to_rest();
    let level = shop.world.level("A", "W1");
    let left = (shop.shelf - shop.may_leave() - level.held).max(0);
    assert_eq!(level.available(), left, "every unit is deducted once: {level:?}, {:?}", shop.orders);
}

fn a_meaning() -> impl Strategy<Value = CountMeaning> {
    prop::sample::select(&CountMeaning::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn no_unit_is_offered_that_an_honest_vendor_could_not_deliver_and_none_is_forgotten(
        course in a_course(false, false),
        shelf in 0..20_i64,
        meaning in a_meaning(),
        events in vec(an_event(), 1..120),
    ) {
        run(course, shelf, meaning, events);
    }

    #[test]
    fn the_same_holds_where_the_numbers_change_their_meaning_and_others_count_too(
        course in a_course(false, true),
        shelf in 0..20_i64,
        meaning in a_meaning(),
        events in vec(an_event(), 1..120),
    ) {
        run(course, shelf, meaning, events);
    }

    #[test]
    fn what_a_count_is_the_first_to_say_is_deducted_once_when_all_is_said(
        course in a_course(true, true),
        shelf in 0..20_i64,
        meaning in a_meaning(),
        events in vec(an_event(), 1..120),
    ) {
        run(course, shelf, meaning, events);
    }
}
