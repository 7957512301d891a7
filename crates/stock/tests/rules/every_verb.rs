//! Random batches of every verb: what no sequence of them may break, looked at after each operation and after each batch.

use crate::asking::name;
use crate::properties::one_by_one;
use crate::world::*;
use holdfast_stock::{
    Adjustment, AdjustmentReason, Answer, Cart, Cause, Condition, Count, CountEffect, CountMeaning, Delta, Details,
    Entry, EvidenceKind, FeedTerms, Freshness, HoldMicros, Line, Note, Op, Owner, PayloadHash, Plan, Policy, Portion,
    Promise, Quantity, ReservationId, Returned, Sku, State, Strategy, Terms, UnixMicros,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy as Draw, any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::prop_oneof;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

const SKUS: [&str; 2] = ["A", "B"];
const LOCATIONS: [&str; 3] = ["W1", "W2", "W3"];
const CHANNELS: [&str; 2] = ["shop", "web"];
const SECOND: i64 = 1_000_000;
const KEYS: u8 = 7;

#[derive(Clone, Debug)]
struct Batch {
    wait: i64,
    ops: Vec<Op>,
    left: BTreeSet<ReservationId>,
}

fn a_row() -> impl Draw<Value = (&'static str, &'static str)> {
    (prop::sample::select(&SKUS[..]), prop::sample::select(&LOCATIONS[..]))
}

fn a_channel() -> impl Draw<Value = holdfast_stock::Name> {
    prop::sample::select(&CHANNELS[..]).prop_map(name)
}

fn some_portions() -> impl Draw<Value = Vec<Portion>> {
    let part = (a_row(), any::<bool>(), 1..4_i64).prop_map(|((code, at), named, units)| Portion {
        sku: sku(code),
        location: named.then(|| location(at)),
        units,
    });
    prop_oneof![2 => Just(Vec::new()), 3 => vec(part, 1..3)]
}

fn a_cart() -> impl Draw<Value = Cart> {
    let line = (a_row(), prop::bool::weighted(0.3), 1..5_i64, prop::bool::weighted(0.8));
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
        1 => Just(Strategy::Nearest(vec![location("W3"), location("W1")])),
    ];
    let replaces = option::weighted(0.25, (0..KEYS).prop_map(key));
    (strategy, prop::bool::weighted(0.2), replaces, option::of(a_channel())).prop_map(
        |(strategy, best_effort, replaces, channel)| {
            let details = Details { channel, ..Details::default() };
            Box::new(Terms { strategy, best_effort: best_effort && replaces.is_none(), replaces, details })
        },
    )
}

fn a_reserve() -> impl Draw<Value = Op> {
    let owner = prop::sample::select(vec!["anna", "bert"]).prop_map(|owner| Owner::new(owner).unwrap());
    (0..KEYS, owner, a_cart(), 1..3 * HOLD, prop::bool::weighted(0.2), some_terms()).prop_map(
        |(n, owner, cart, hold, retry, terms)| {
            let op = Op::Reserve {
                id: key(n),
                owner,
                payload: payload(0),
                cart,
                hold: HoldMicros::new(hold),
                retry: false,
                terms,
            };
            if retry { retried(signed(op)) } else { signed(op) }
        },
    )
}

/// What becomes of a hold.
fn a_move() -> impl Draw<Value = Op> {
    let new = option::weighted(0.5, (0..KEYS).prop_map(key));
    (0..60_u8, 0..KEYS, 0..8_u8, some_portions(), new, 1..12 * HOLD).prop_map(|(r, n, verb, portions, new, hold)| {
        let (request, payload, id) = (request(r), payload(0), key(n));
        signed(match verb {
            0..=4 => Op::Confirm { request, payload, id, portions, reacquire: new, order: Some(name("order")) },
            5 => Op::Release { request, payload, id },
            6 => Op::Extend { request, payload, id, hold: HoldMicros::new(hold).unwrap() },
            _ => Op::Expire { id },
        })
    })
}

/// What becomes of a sale.
fn a_sale() -> impl Draw<Value = Op> {
    let kind = prop::sample::select(vec![Some(EvidenceKind::Sent), Some(EvidenceKind::Booked), None]);
    let back = (prop::sample::select(&Condition::ALL[..]), option::of(prop::sample::select(&LOCATIONS[..])));
    let at = option::of((-3..3_i64).prop_map(|seconds| UnixMicros(2 * SECOND + seconds * SECOND)));
    (60..120_u8, 0..KEYS, 0..8_u8, some_portions(), (kind, at, back, any::<bool>())).prop_map(
        |(r, n, verb, portions, (kind, at, (condition, to), lost))| {
            let (request, payload, id) = (request(r), payload(0), key(n));
            let (actor, note) = (name("bert"), Note::new("").unwrap());
            signed(match verb {
                0..=2 => Op::Fulfil { request, payload, id, portions, at },
                3 => Op::Cancel { request, payload, id, portions, lost, actor, note },
                4 => {
                    let to = to.map(location);
                    let returned = |portion| Returned { portion, condition, to: to.clone() };
                    let returns = portions.into_iter().map(returned).collect();
                    Op::Return { request, payload, id, returns, actor, note }
                }
                _ => Op::Evidence { request, payload, id, portions, kind, at },
            })
        },
    )
}

fn a_count() -> impl Draw<Value = Op> {
    let expected = option::weighted(0.2, 0..12_i64);
    let counts = vec((a_row(), 0..12_i64, expected), 1..4);
    (120..160_u8, 0..5_i64, prop::sample::select(&CountMeaning::ALL[..]), counts, a_channel()).prop_map(
        |(r, seconds, meaning, counts, connection)| {
            let mut seen = BTreeSet::new();
            let counts = counts.into_iter().filter(|(row, _, _)| seen.insert(*row));
            let count = |((code, at), units, expected): ((&str, &str), i64, Option<i64>)| Count {
                sku: sku(code),
                location: location(at),
                units,
                effect: CountEffect::Set,
                expected,
            };
            signed(Op::Count {
                request: request(r),
                payload: payload(0),
                connection,
                run: name("run"),
                as_of: UnixMicros(seconds * SECOND),
                sequence: 0,
                meaning,
                covers_all: false,
                counts: counts.map(count).collect(),
            })
        },
    )
}

fn an_adjust() -> impl Draw<Value = Op> {
    (160..180_u8, a_row(), prop::sample::select(&Condition::ALL[..]), 1..6_i64, any::<bool>()).prop_map(
        |(r, (code, at), condition, units, less)| {
            let (sku, location, reason) = (sku(code), location(at), AdjustmentReason::Correction);
            let delta = if less { -units } else { units };
            signed(Op::Adjust {
                request: request(r),
                payload: payload(0),
                actor: name("bert"),
                note: Note::new("").unwrap(),
                adjustments: vec![Adjustment { sku, location, condition, delta, reason }],
            })
        },
    )
}

fn a_pause() -> impl Draw<Value = Op> {
    (180..200_u8, prop::sample::subsequence(SKUS.to_vec(), 1..3), prop::bool::weighted(0.3)).prop_map(
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
    let caps = btree_map(a_channel(), 1..8_i64, 0..3);
    let pace = option::weighted(0.5, 1..12_i64);
    let numbers = (1..9_i64, 0..3_i64, 0..4_i64, limit(), limit(), pace);
    (prop::sample::select(&SKUS[..]), numbers, places, caps, prop::bool::weighted(0.05)).prop_map(
        |(code, numbers, places, channel_caps, archived)| {
            let (version, safety, backorder, max_per_reservation, max_per_owner, max_per_minute) = numbers;
            let policy = Policy {
                version,
                safety,
                backorder: if places.is_empty() { 0 } else { backorder },
                max_per_reservation,
                max_per_owner,
                default_hold: None,
                locations: places.into_iter().map(location).collect(),
                archived,
                max_per_minute,
                channel_caps,
                promise: Some(Promise::After(9)),
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

fn a_batch() -> impl Draw<Value = Batch> {
    let op = prop_oneof![
        9 => a_reserve(), 8 => a_move(), 8 => a_sale(), 3 => a_count(),
        1 => an_adjust(), 1 => a_pause(), 2 => a_policy(), 1 => a_freshening(),
    ];
    let wait = prop_oneof![4 => Just(0), 3 => 1..HOLD, 2 => HOLD..4 * HOLD, 2 => SECOND..70 * SECOND];
    (wait, vec(op, 1..10), vec(0..KEYS, 0..3)).prop_map(|(wait, ops, left)| Batch {
        wait,
        ops,
        left: left.into_iter().map(key).collect(),
    })
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

/// A world where A has plenty, one of the two connections says that its numbers lag, and a location has no feed.
fn a_world() -> World {
    let mut world = World::with(&[("A", "W1", 9), ("A", "W2", 6), ("B", "W1", 4), ("B", "W3", 5)]);
    let terms = FeedTerms { clock_margin_micros: 5, reflection_lag_micros: Some(2 * SECOND) };
    world.feeds.insert(name("web"), terms);
    world
}

/// What was reserved of SKUs while a policy limited the pace: when, and how much.
#[derive(Clone, Default)]
struct Pace(BTreeMap<Sku, Vec<(i64, i64)>>);

impl Pace {
    /// Notes what a step reserves: never more within any 60 seconds than the policy of that moment allows.
    fn look(&mut self, before: &World, op: &Op, step: &Plan) {
        for record in &step.records_inserted {
            let mut taken: BTreeMap<&Sku, i64> = BTreeMap::new();
            for allocation in &record.allocations {
                *taken.entry(&allocation.sku).or_default() += allocation.quantity;
            }
            for (code, units) in taken {
                let Some(most) = before.policies.get(code).and_then(|policy| policy.max_per_minute) else { continue };
                let sold = self.0.entry(code.clone()).or_default();
                sold.push((before.now, units));
                let within = sold.iter().filter(|(when, _)| *when > before.now - 60 * SECOND).map(|(_, units)| units);
                assert!(within.sum::<i64>() <= most, "{code} is sold too fast: {sold:?}, {most} allowed");
            }
        }
        if let (Op::Sell { pause: false, .. }, Ok(Answer::Sold { changed, replayed: false })) = (op, &step.answers[0]) {
            for code in changed {
                self.0.remove(code);
            }
        }
    }
}

/// Units come and go only by the verbs that say so, and only so many.
fn conserves(entry: &Entry) {
    let Delta { on_hand, held, committed, safety, backorder, unsellable, .. } = entry.delta;
    let unsellable = unsellable.map_or(0, |(_, units)| units);
    let promises = (held, committed);
    let is_fine = match entry.cause {
        Cause::Reserve(_) => held > 0 && committed == 0,
        Cause::Confirm(_) => held < 0 && (0..=-held).contains(&committed),
        Cause::Release(_) | Cause::Expire(_) => held < 0 && committed == 0,
        Cause::Fulfil(_) | Cause::Cancel(_) | Cause::Evidence(_) => held == 0 && committed <= 0,
        Cause::Count(_) => held == 0,
        Cause::Return(_) => promises == (0, 0) && on_hand >= 0 && unsellable >= 0,
        Cause::Adjust(..) | Cause::Policy(_) | Cause::Freshness | Cause::Pause(_) | Cause::Resume(_) => {
            promises == (0, 0)
        }
        Cause::Repair(_) | Cause::RepairReservation(_) => unreachable!("nobody repairs here"),
    };
    assert!(is_fine, "{entry:?}");
    let may_move = match entry.cause {
        Cause::Count(_) | Cause::Adjust(..) | Cause::Return(_) => true,
        Cause::Fulfil(_) | Cause::Cancel(_) => on_hand <= 0 && unsellable == 0,
        _ => (on_hand, unsellable) == (0, 0),
    };
    assert!(may_move, "{entry:?} makes units");
    // A row that is made has what its SKU's policy says; a count by another connection ends what was kept back for the first one's lateness.
    let may_keep_back = match entry.cause {
        Cause::Policy(_) | Cause::Freshness | Cause::Count(_) => true,
        _ => (safety, backorder) == (0, 0) || entry.version == 1,
    };
    assert!(may_keep_back, "{entry:?}");
}

/// What came back is what was shipped, and what was shipped left a shelf at most once.
fn books(world: &World) {
    let (mut shipped, mut returned) = (0, 0);
    for allocation in world.records.values().flat_map(|record| &record.allocations) {
        shipped += allocation.progress.fulfilled;
        returned += allocation.progress.returned;
    }
    let (mut left, mut came) = (0, 0);
    for entry in world.ledger.values().flatten() {
        match entry.cause {
            Cause::Fulfil(_) => left -= entry.delta.on_hand,
            Cause::Return(_) => came += entry.delta.on_hand + entry.delta.unsellable.map_or(0, |(_, units)| units),
            _ => {}
        }
    }
    assert_eq!(came, returned, "what came back");
    assert!(left <= shipped, "{left} units left a shelf, {shipped} were shipped");
}

/// Sent again, whatever was answered with a yes is answered as it was, and changes nothing.
fn repeats(world: &World, ops: &[Op], answers: &[Outcome], left: &BTreeSet<ReservationId>) {
    let mut again = world.clone();
    for (op, answer) in ops.iter().zip(answers) {
        let has_key = op.request().is_some() || matches!(op, Op::Reserve { .. });
        let Some(first) = answer.as_ref().ok().filter(|_| has_key) else { continue };
        match (again.batch_beside(std::slice::from_ref(op), left).remove(0), first) {
            (Ok(Answer::Reservation(replay)), Answer::Reservation(first)) => {
                // A Confirm may have named the order since, and a hold that was over may have got a successor.
                let mut told = replay.first.clone();
                told.details.order.clone_from(&first.first.details.order);
                told.successor = first.first.successor;
                assert!(replay.replayed && told == first.first, "{replay:?} for {first:?}");
            }
            (Ok(Answer::Counted { results, replayed: true }), Answer::Counted { results: first, .. }) => {
                assert_eq!(results, *first);
            }
            (Ok(Answer::Adjusted { levels, replayed: true }), Answer::Adjusted { levels: first, .. }) => {
                assert_eq!(levels, *first);
            }
            (Ok(Answer::Sold { changed, replayed: true }), Answer::Sold { changed: first, .. }) => {
                assert_eq!(changed, *first);
            }
            (other, first) => panic!("{other:?} is no replay of {first:?}"),
        }
    }
    assert_eq!(again.ledger, world.ledger, "a replay moves nothing");
    assert_eq!((&again.records, &again.levels), (&world.records, &world.levels));
    assert_eq!((&again.selling, &again.channels), (&world.selling, &world.channels));
}

/// A no changes nothing: but for a key that it closes, and a SKU that was sold too fast.
fn refuses(before: &World, op: &Op, step: &Plan) {
    if step.answers[0].is_ok() {
        return;
    }
    let own = step.ledger.iter().filter(|entry| entry.op.is_some());
    assert!(own.clone().all(|entry| matches!(entry.cause, Cause::Pause(_))), "{op:?} was refused: {:?}", step.ledger);
    assert!(own.count() == 0 || matches!(step.answers[0], Err(holdfast_stock::Refusal::Paused(_))));
    assert!(step.records_inserted.iter().all(|record| record.state == State::Refused));
    assert!(step.operations.is_empty() && step.policies.is_empty() && step.progress.is_empty());
    let is_swept = |id| before.records.get(&id).is_some_and(|record| record.is_due(UnixMicros(before.now)));
    assert!(step.records_changed.iter().all(|record| is_swept(record.id)), "{:?}", step.records_changed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_verbs_breaks_the_books(batches in vec(a_batch(), 1..14)) {
        let mut world = a_world();
        let mut pace = Pace::default();
        for Batch { wait, ops, left } in batches {
            world.wait(wait);
            let snapshot = world.snapshot(&ops, &left);
            let (stepped, answers) = one_by_one(&world, &snapshot, &ops, |before, op, step| {
                pace.look(before, op, step);
                refuses(before, op, step);
                step.ledger.iter().for_each(conserves);
            });
            prop_assert_eq!(&world.batch_beside(&ops, &left), &answers);
            prop_assert_eq!(&world.levels, &stepped.levels);
            prop_assert_eq!(&world.records, &stepped.records);
            prop_assert_eq!(&world.operations, &stepped.operations);
            prop_assert_eq!(&world.ledger, &stepped.ledger);
            prop_assert_eq!(&world.selling, &stepped.selling);
            prop_assert!(stepped.channels.iter().all(|(which, used)| world.channels.get(which) == Some(used)));
            books(&world);
            repeats(&world, &ops, &answers, &left);
        }
    }
}
