//! Random operations of every verb, on few rows and keys, so that they meet.

use crate::asking::name;
use crate::reference::Reference;
use crate::world::*;
use holdfast_stock::{
    Adjustment, AdjustmentReason, Cart, Condition, Count, CountEffect, CountMeaning, Details, EvidenceKind, FeedTerms,
    Freshness, HoldMicros, Line, Name, Note, Op, Owner, PayloadHash, Policy, Portion, Promise, Quantity, ReservationId,
    Returned, Shortage, Strategy, Terms, UnixMicros,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy as Draw, any, prop};
use proptest::prop_oneof;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

const LOCATIONS: [&str; 3] = ["W1", "W2", "W3"];
const CHANNELS: [&str; 2] = ["shop", "web"];
pub(crate) const SECOND: i64 = 1_000_000;
const KEYS: u8 = 10;

/// What is asked at once.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// How much time passes before it, in microseconds.
    pub(crate) wait: i64,
    ops: Vec<Op>,
    /// Which operations that were asked for before, in this batch or another, come again.
    again: Vec<Index>,
    /// Holds that somebody else has locked.
    pub(crate) left: BTreeSet<ReservationId>,
    /// A connection's run that said something of all its rows was whole before it.
    pub(crate) mark: Option<(Name, (UnixMicros, i64))>,
}

impl Batch {
    /// The operations; `said` is what was asked for so far.
    pub(crate) fn ops(&self, said: &mut Vec<Op>) -> Vec<Op> {
        let before = said.len();
        said.extend(self.ops.iter().cloned());
        let again: Vec<Op> = self.again.iter().map(|index| index.get(said).clone()).collect();
        said.extend(again);
        said[before..].to_vec()
    }
}

/// Most of it is about one row, so that counts, evidence and sales meet.
fn a_row() -> impl Draw<Value = (&'static str, &'static str)> {
    (prop_oneof![3 => Just("A"), 1 => Just("B")], prop_oneof![2 => Just("W1"), 1 => Just("W2"), 1 => Just("W3")])
}

fn a_channel() -> impl Draw<Value = Name> {
    prop::sample::select(&CHANNELS[..]).prop_map(name)
}

/// Where carts come from: mostly the same, so that what one channel has is replaced and capped.
fn a_shop() -> impl Draw<Value = Name> {
    prop_oneof![3 => Just(name("shop")), 1 => Just(name("web"))]
}

fn a_portion() -> impl Draw<Value = Portion> {
    (a_row(), prop::bool::weighted(0.4), 1..3_i64).prop_map(|((code, at), named, units)| Portion {
        sku: sku(code),
        location: named.then(|| location(at)),
        units,
    })
}

fn some_portions() -> impl Draw<Value = Vec<Portion>> {
    prop_oneof![1 => Just(Vec::new()), 1 => vec(a_portion(), 1..3)]
}

fn a_cart() -> impl Draw<Value = Cart> {
    let line = (a_row(), prop::bool::weighted(0.3), 1..4_i64, prop::bool::weighted(0.8));
    let line = line.prop_map(|((code, at), named, units, split)| Line {
        sku: sku(code),
        location: named.then(|| location(at)),
        quantity: Quantity::new(units).unwrap(),
        split,
    });
    vec(line, 1..4).prop_map(|lines| Cart::new(lines).unwrap())
}

fn some_terms() -> impl Draw<Value = Box<Terms>> {
    let strategy = prop_oneof![
        3 => Just(Strategy::FixedPriority),
        1 => Just(Strategy::FewestParcels),
        1 => Just(Strategy::MostStock),
        1 => prop::sample::subsequence(LOCATIONS.to_vec(), 0..=3).prop_shuffle()
            .prop_map(|nearest| Strategy::Nearest(nearest.into_iter().map(location).collect())),
    ];
    let replaces = option::weighted(0.2, (0..KEYS).prop_map(key));
    let order = option::weighted(0.3, Just(name("blue")));
    (strategy, prop::bool::weighted(0.2), replaces, (option::weighted(0.7, a_shop()), order)).prop_map(
        |(strategy, best_effort, replaces, (channel, order))| {
            let details = Details { channel, order, ..Details::default() };
            Box::new(Terms { strategy, best_effort: best_effort && replaces.is_none(), replaces, details })
        },
    )
}

fn a_reserve(keys: Range<u8>) -> impl Draw<Value = Op> {
    let owner = prop::sample::select(vec!["anna", "anna", "anna", "bert"]).prop_map(|owner| Owner::new(owner).unwrap());
    let hold = prop_oneof![16 => (1..3 * HOLD).prop_map(Some), 3 => Just(None), 1 => Just(Some(10 * HOLD + 1))];
    (keys, owner, a_cart(), hold, prop::bool::weighted(0.2), some_terms()).prop_map(
        |(n, owner, cart, hold, retry, terms)| {
            let (id, payload, hold) = (key(n), payload(0), hold.and_then(HoldMicros::new));
            let op = signed(Op::Reserve { id, owner, payload, cart, hold, retry: false, terms });
            if retry { retried(op) } else { op }
        },
    )
}

/// A Reserve that the read queue found to be short, to close its key.
fn a_refusal() -> impl Draw<Value = Op> {
    (0..KEYS, a_cart()).prop_map(|(n, cart)| {
        let (id, owner, payload) = (key(n), Owner::new("anna").unwrap(), payload(0));
        let shortages = vec![Shortage { sku: sku("A"), location: None, requested: 9, available: 8 }];
        signed(Op::Refuse { id, owner, payload, cart, shortages })
    })
}

fn a_confirm(keys: Range<u8>) -> impl Draw<Value = Op> {
    let reacquire = option::weighted(0.5, (0..KEYS).prop_map(key));
    let order = prop::sample::select(vec![None, Some("red"), Some("blue")]).prop_map(|order| order.map(name));
    (0..60_u8, keys, some_portions(), reacquire, order).prop_map(|(r, n, portions, reacquire, order)| {
        let (request, payload, id) = (request(r), payload(0), key(n));
        signed(Op::Confirm { request, payload, id, portions, reacquire, order })
    })
}

/// What becomes of a hold that is not bought.
fn an_end(keys: Range<u8>) -> impl Draw<Value = Op> {
    (0..60_u8, keys, 0..5_u8, 1..12 * HOLD).prop_map(|(r, n, verb, hold)| {
        let (request, payload, id) = (request(r), payload(0), key(n));
        signed(match verb {
            0 => Op::Release { request, payload, id },
            1..=3 => Op::Extend { request, payload, id, hold: HoldMicros::new(hold).unwrap() },
            _ => Op::Expire { id },
        })
    })
}

/// What becomes of a sale.
fn a_sale(keys: Range<u8>) -> impl Draw<Value = Op> {
    let back = (prop::sample::select(&Condition::ALL[..]), option::of(prop::sample::select(&LOCATIONS[..])));
    let said = (an_instant(), back, vec(a_portion(), 1..3), any::<bool>());
    (60..90_u8, keys, 0..9_u8, some_portions(), said).prop_map(
        |(r, n, verb, portions, (at, (condition, to), returned, lost))| {
            let (request, payload, id) = (request(r), payload(0), key(n));
            let (actor, note) = (name("bert"), Note::new("").unwrap());
            signed(match verb {
                0..=2 => Op::Fulfil { request, payload, id, portions, at },
                3..=4 => Op::Cancel { request, payload, id, portions, lost, actor, note },
                _ => {
                    let to = to.map(location);
                    let back = |portion| Returned { portion, condition, to: to.clone() };
                    let returns = returned.into_iter().map(back).collect();
                    Op::Return { request, payload, id, returns, actor, note }
                }
            })
        },
    )
}

/// What a vendor does with an order.
fn an_evidence(keys: Range<u8>) -> impl Draw<Value = Op> {
    let kind = prop_oneof![
        3 => Just(Some(EvidenceKind::Sent)), 3 => Just(Some(EvidenceKind::Booked)), 1 => Just(Some(EvidenceKind::Shipped)),
        3 => Just(None),
    ];
    let portions = prop_oneof![2 => Just(Vec::new()), 1 => vec(a_portion(), 1..3)];
    (90..120_u8, keys, portions, kind, an_instant()).prop_map(|(r, n, portions, kind, at)| {
        let (request, payload, id) = (request(r), payload(0), key(n));
        signed(Op::Evidence { request, payload, id, portions, kind, at })
    })
}

fn an_instant() -> impl Draw<Value = Option<UnixMicros>> {
    option::of((-1..5_i64).prop_map(|seconds| UnixMicros(seconds * SECOND)))
}

/// An instant of a vendor's clock, and a sequence.
fn a_moment() -> impl Draw<Value = (UnixMicros, i64)> {
    let seconds = prop_oneof![2 => 0..6_i64, 2 => 4..12_i64, 1 => 12..200_i64];
    (seconds, 0..2_i64).prop_map(|(seconds, sequence)| (UnixMicros(seconds * SECOND), sequence))
}

fn a_count() -> impl Draw<Value = Op> {
    let expected = option::weighted(0.2, 0..12_i64);
    let effect =
        prop_oneof![7 => Just(CountEffect::Set), 2 => Just(CountEffect::Limit), 1 => Just(CountEffect::Unlimit)];
    // Not often where no feed has counted so far.
    let at = prop_oneof![6 => Just("W1"), 2 => Just("W2"), 1 => Just("W3")];
    let row = (prop_oneof![3 => Just("A"), 1 => Just("B")], at);
    let counts = vec((row, prop_oneof![12 => 0..12_i64, 8 => Just(6), 1 => Just(-1)], effect, expected), 1..4);
    let said = (prop::sample::select(&CountMeaning::ALL[..]), prop::bool::weighted(0.3), a_channel());
    (120..160_u8, a_moment(), said, counts).prop_map(|(r, moment, (meaning, covers_all, connection), counts)| {
        let mut seen = BTreeSet::new();
        let counts = counts.into_iter().filter(|(row, ..)| seen.insert(*row));
        let count = |((code, at), units, effect, expected): ((&str, &str), i64, CountEffect, Option<i64>)| Count {
            sku: sku(code),
            location: location(at),
            units,
            effect,
            expected,
        };
        signed(Op::Count {
            request: request(r),
            payload: payload(0),
            connection,
            run: name("run"),
            as_of: moment.0,
            sequence: moment.1,
            meaning,
            covers_all,
            counts: counts.map(count).collect(),
        })
    })
}

fn an_adjust() -> impl Draw<Value = Op> {
    let condition = prop_oneof![1 => Just(Condition::Sellable), 1 => prop::sample::select(&Condition::ALL[..])];
    let change = (a_row(), condition, 1..6_i64, any::<bool>());
    let change = change.prop_map(|((code, at), condition, units, less)| Adjustment {
        sku: sku(code),
        location: location(at),
        condition,
        delta: if less { -units } else { units },
        reason: AdjustmentReason::Correction,
    });
    (160..180_u8, vec(change, 1..4)).prop_map(|(r, adjustments)| {
        signed(Op::Adjust {
            request: request(r),
            payload: payload(0),
            actor: name("bert"),
            note: Note::new("").unwrap(),
            adjustments,
        })
    })
}

fn a_pause() -> impl Draw<Value = Op> {
    (180..200_u8, prop::sample::subsequence(vec!["A", "B"], 1..3), prop::bool::weighted(0.3)).prop_map(
        |(r, skus, pause)| {
            signed(Op::Sell {
                request: request(r),
                payload: payload(0),
                skus: skus.into_iter().map(sku).collect(),
                pause,
                actor: name("bert"),
                note: Note::new("").unwrap(),
            })
        },
    )
}

fn a_policy() -> impl Draw<Value = Op> {
    let limit = || option::weighted(0.3, 2..9_i64);
    let places = prop::sample::subsequence(LOCATIONS.to_vec(), 0..3).prop_shuffle();
    let caps = btree_map(a_shop(), 1..6_i64, 0..3);
    let pace = option::weighted(0.5, 1..12_i64);
    let numbers = (1..9_i64, 0..3_i64, 0..4_i64, limit(), limit(), pace);
    let day = (0..60_i64).prop_map(|seconds| Promise::At(UnixMicros(seconds * SECOND)));
    let terms = (option::of(prop_oneof![day, Just(Promise::After(9))]), option::weighted(0.3, 1..12 * HOLD));
    (prop::sample::select(vec!["A", "B"]), numbers, places, caps, terms, prop::bool::weighted(0.05)).prop_map(
        |(code, numbers, places, channel_caps, (promise, default_hold), archived)| {
            let (version, safety, backorder, max_per_reservation, max_per_owner, max_per_minute) = numbers;
            let policy = Policy {
                version,
                safety,
                backorder: if places.is_empty() { 0 } else { backorder },
                max_per_reservation,
                max_per_owner,
                default_hold: default_hold.and_then(HoldMicros::new),
                locations: places.into_iter().map(location).collect(),
                archived,
                max_per_minute,
                channel_caps,
                promise,
            };
            Op::Policies { policies: vec![(sku(code), policy)] }
        },
    )
}

fn a_freshening() -> impl Draw<Value = Op> {
    (prop::sample::select(&Freshness::ALL[..]), a_row(), 0..3_i64, a_channel()).prop_map(
        |(freshness, (code, at), units, connection)| Op::Freshen {
            connection,
            freshness,
            rows: vec![(sku(code), location(at), units)],
        },
    )
}

fn a_batch(keys: Range<u8>) -> impl Draw<Value = Batch> {
    let op = prop_oneof![
        16 => a_reserve(0..KEYS), 16 => a_confirm(keys.clone()), 14 => an_end(keys.clone()), 36 => a_sale(keys.clone()), 28 => an_evidence(keys), 24 => a_count(), 1 => a_refusal(),
        8 => an_adjust(), 4 => a_pause(), 6 => a_policy(), 4 => a_freshening(),
    ];
    let wait = prop_oneof![4 => Just(0), 3 => 1..HOLD, 2 => HOLD..4 * HOLD, 2 => SECOND..70 * SECOND, 1 => 59 * SECOND..61 * SECOND];
    let mark = option::weighted(0.1, (a_channel(), a_moment()));
    let left = prop_oneof![3 => vec(0..KEYS, 0..3), 1 => Just((0..KEYS).collect())];
    (wait, vec(op, 1..12), vec(any::<Index>(), 0..3), left, mark).prop_map(|(wait, ops, again, left, mark)| {
        let left = left.into_iter().map(key).collect();
        Batch { wait, ops, again, left, mark }
    })
}

/// Reservations under each of these keys, most of them bought at once: of holds alone, few would ever be shipped.
fn an_opening(keys: Range<u8>) -> impl Draw<Value = Batch> {
    let begun = keys.map(|n| {
        let only = n..n + 1;
        let (bought, known) = (option::weighted(0.6, a_confirm(only.clone())), an_evidence(only.clone()));
        (a_reserve(only), bought, option::weighted(0.5, known))
    });
    begun.collect::<Vec<_>>().prop_map(|begun| {
        let all = begun.into_iter().flat_map(|(reserve, bought, known)| [Some(reserve), bought, known]);
        let ops = all.flatten().collect();
        Batch { wait: 0, ops, again: Vec::new(), left: BTreeSet::new(), mark: None }
    })
}

/// Batches one after the other.
pub(crate) fn a_history() -> impl Draw<Value = Vec<Batch>> {
    let some = |keys: Range<u8>| vec(a_batch(keys), 0..7);
    (vec(a_batch(0..KEYS), 0..2), an_opening(0..5), some(0..5), an_opening(5..8), some(0..KEYS)).prop_map(
        |(first, opening, then, another, last)| {
            first.into_iter().chain([opening]).chain(then).chain([another]).chain(last).collect()
        },
    )
}

/// The same operation with a payload that follows from what it says, as a request's hash does.
fn signed(mut op: Op) -> Op {
    let mut hasher = DefaultHasher::new();
    format!("{op:?}").hash(&mut hasher);
    let mut said = [0; 32];
    said[..8].copy_from_slice(&hasher.finish().to_be_bytes());
    match &mut op {
        Op::Reserve { payload, .. }
        | Op::Refuse { payload, .. }
        | Op::Confirm { payload, .. }
        | Op::Fulfil { payload, .. }
        | Op::Cancel { payload, .. }
        | Op::Return { payload, .. }
        | Op::Evidence { payload, .. }
        | Op::Sell { payload, .. }
        | Op::Release { payload, .. }
        | Op::Extend { payload, .. }
        | Op::Count { payload, .. }
        | Op::Adjust { payload, .. } => *payload = PayloadHash(said),
        Op::Expire { .. } | Op::Policies { .. } | Op::Freshen { .. } | Op::Repair { .. } => {}
    }
    op
}

/// A world where A has plenty, one of the two connections says that its numbers lag, and a location has no feed; and the same on paper.
pub(crate) fn a_world() -> (World, Reference) {
    let rows = [("A", "W1", 16), ("A", "W2", 6), ("A", "W3", 4), ("B", "W1", 8), ("B", "W3", 5)];
    let mut world = World::with(&rows);
    let terms = FeedTerms { clock_margin_micros: 5, reflection_lag_micros: Some(2 * SECOND) };
    world.feeds.insert(name("web"), terms);
    let paper = rows.map(|(code, at, on_hand)| (row(code, at), [on_hand, 0, 0]));
    let reference = Reference::of(&paper, &world.feeds);
    (world, reference)
}
