//! Random batches against the naive reference, with the auditor after each.

use crate::reference::Reference;
use crate::world::*;
use holdfast_stock::{
    Adjustment, AdjustmentReason, Answer, Cart, Condition, CountMeaning, Freshness, HoldMicros, Level, Line, Name,
    Note, Op, Owner, PayloadHash, Plan, Policy, Quantity, ReservationId, Shortage, Snapshot, UnixMicros, plan,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SKUS: [&str; 3] = ["A", "B", "C"];
const LOCATIONS: [&str; 3] = ["W1", "W2", "W3"];

/// One batch: how much time passes before it, what is asked, and which of the due holds are left as they are.
#[derive(Clone, Debug)]
struct Batch {
    wait: i64,
    ops: Vec<Op>,
    left: BTreeSet<ReservationId>,
}

fn a_row() -> impl Strategy<Value = (&'static str, &'static str)> {
    (prop::sample::select(&SKUS[..]), prop::sample::select(&LOCATIONS[..]))
}

fn a_cart() -> impl Strategy<Value = Cart> {
    let line = (a_row(), prop::bool::weighted(0.4), 1_i64..6).prop_map(|((code, at), named, units)| Line {
        sku: sku(code),
        location: named.then(|| location(at)),
        quantity: Quantity::new(units).unwrap(),
        split: true,
    });
    vec(line, 1..5).prop_map(|lines| Cart::new(lines).unwrap())
}

fn a_reserve() -> impl Strategy<Value = Op> {
    let hold = prop_oneof![9 => 1..3 * HOLD, 1 => Just(LIMITS.longest_hold_micros + 1)];
    (0..8_u8, 0..2_u8, a_cart(), hold, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(n, say, cart, hold, retry, refuse)| {
            // Usually one key asks for one thing: then the payload follows from the key.
            let (id, owner, payload) = (key(n), Owner::new("anna").unwrap(), payload(say));
            if refuse {
                let shortages = vec![Shortage { sku: sku("A"), location: None, requested: 9, available: 8 }];
                Op::Refuse { id, owner, payload, cart, shortages }
            } else {
                Op::Reserve { id, owner, payload, cart, hold: HoldMicros::new(hold), retry, terms: Box::default() }
            }
        },
    )
}

fn a_move() -> impl Strategy<Value = Op> {
    (0..12_u8, 0..8_u8, 0..8_u8, 1..12 * HOLD).prop_map(|(r, n, verb, hold)| {
        // The payload tells the verbs and reservations apart, as a request's hash does.
        let (request, id) = (request(r), key(n));
        let payload = |verb: u8| PayloadHash([n + 16 * verb; 32]);
        match verb {
            0..=2 => {
                Op::Confirm { request, payload: payload(1), id, portions: Vec::new(), reacquire: None, order: None }
            }
            3..=4 => Op::Release { request, payload: payload(2), id },
            5..=6 => Op::Extend { request, payload: payload(3), id, hold: HoldMicros::new(hold).unwrap() },
            _ => Op::Expire { id },
        }
    })
}

fn a_count() -> impl Strategy<Value = Op> {
    (12..16_u8, 0..4_u8, 0..6_i64, 0..2_i64, vec((a_row(), 0..12_i64), 1..5)).prop_map(
        |(r, say, as_of, sequence, counts)| Op::Count {
            request: request(r),
            payload: payload(64 + say),
            connection: Name::new("acme").unwrap(),
            run: Name::new("run").unwrap(),
            as_of: UnixMicros(as_of),
            sequence,
            meaning: CountMeaning::Available,
            covers_all: false,
            counts: counts.into_iter().map(|((code, at), units)| set(code, at, units)).collect(),
        },
    )
}

fn an_adjust() -> impl Strategy<Value = Op> {
    let change =
        (a_row(), prop::sample::select(&Condition::ALL[..]), -4..6_i64).prop_map(|((code, at), condition, delta)| {
            let (sku, location, reason) = (sku(code), location(at), AdjustmentReason::Correction);
            Adjustment { sku, location, condition, delta: if delta == 0 { 5 } else { delta }, reason }
        });
    (16..20_u8, 0..4_u8, vec(change, 1..4)).prop_map(|(r, say, adjustments)| Op::Adjust {
        request: request(r),
        payload: payload(96 + say),
        actor: Name::new("bert").unwrap(),
        note: Note::new("").unwrap(),
        adjustments,
    })
}

fn a_batch() -> impl Strategy<Value = Batch> {
    let op = prop_oneof![5 => a_reserve(), 5 => a_move(), 1 => a_count(), 1 => an_adjust()];
    let wait = prop_oneof![2 => Just(0), 2 => 1..HOLD, 1 => HOLD..4 * HOLD];
    (wait, vec(op, 1..12), vec(0..8_u8, 0..4)).prop_map(|(wait, ops, left)| Batch {
        wait,
        ops,
        left: left.into_iter().map(key).collect(),
    })
}

fn a_world() -> impl Strategy<Value = (World, Reference)> {
    vec((a_row(), 0..10_i64, 0..3_i64, 0..3_i64), 1..7).prop_map(|rows| {
        let mut world = World::with(&[]);
        let mut paper = BTreeMap::new();
        for ((code, at), on_hand, safety, backorder) in rows {
            world.set(code, at, Level { on_hand, safety, backorder, ..Level::default() });
            paper.insert(row(code, at), [on_hand, safety, backorder]);
        }
        let paper: Vec<_> = paper.into_iter().collect();
        let reference = Reference::of(&paper, &world.feeds);
        (world, reference)
    })
}

/// The plan of a batch, made operation by operation, each on what the ones before it left; `look` sees the world before each and after it.
pub(crate) fn one_by_one(
    world: &World,
    snapshot: &Snapshot,
    ops: &[Op],
    mut look: impl FnMut(&World, &Op, &Plan, &World),
) -> (World, Vec<Outcome>) {
    let mut world = world.clone();
    let mut answers = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        // Everything that the batch had, as it stands now.
        let read = Snapshot {
            levels: world.levels.clone(),
            records: world
                .records
                .iter()
                .filter(|(id, _)| {
                    snapshot.records.contains_key(id)
                        || ops.iter().flat_map(Op::reservations).any(|named| named == **id)
                })
                .map(|(id, record)| (*id, record.clone()))
                .collect(),
            operations: world.operations.clone(),
            policies: world.policies.clone(),
            owned: world.owned(),
            selling: world.selling.clone(),
            channels: world.channels(std::slice::from_ref(op)),
            pending: world.pending(std::slice::from_ref(op)),
            ..snapshot.clone()
        };
        let mut step: Plan = plan(read, std::slice::from_ref(op), &LIMITS);
        step.ledger.iter_mut().for_each(|entry| entry.op = entry.op.map(|_| index));
        let answer = step.answers[0].clone();
        let before = world.clone();
        world.write(step.clone());
        look(&before, op, &step, &world);
        answers.append(&mut step.answers);
        within_policy(&world, op, &answer);
    }
    (world, answers)
}

/// A hold that was just made is within what its SKUs' policies allow.
fn within_policy(world: &World, op: &Op, answer: &Outcome) {
    let (Op::Reserve { owner, cart, .. }, Ok(Answer::Reservation(made))) = (op, answer) else { return };
    for sku in cart.skus().filter(|_| !made.replayed) {
        let Some(policy) = world.policies.get(sku) else { continue };
        assert!(!policy.archived, "{sku} is not sold any more");
        let taken: i64 = made.first.allocations.iter().filter(|a| a.sku == *sku).map(|a| a.quantity).sum();
        assert!(policy.max_per_reservation.is_none_or(|most| taken <= most));
        let owned = world.owned().get(&(owner.clone(), sku.clone())).copied().unwrap_or(0);
        assert!(policy.max_per_owner.is_none_or(|most| owned <= most), "{owner} has {owned} of {sku}");
    }
}

fn a_policy() -> impl Strategy<Value = Op> {
    let limit = || prop_oneof![Just(None), (1..6_i64).prop_map(Some)];
    let places = prop::sample::subsequence(vec!["W1", "W2", "W3"], 0..3).prop_shuffle();
    let policy = (0..6_i64, 0..4_i64, 0..4_i64, limit(), limit(), places, prop::bool::weighted(0.2));
    vec((prop::sample::select(vec!["A", "B", "C"]), policy), 1..3).prop_map(|policies| {
        let mut seen = BTreeSet::new();
        let policies = policies.into_iter().filter(|(code, _)| seen.insert(*code)).map(|(code, parts)| {
            let (version, safety, backorder, max_per_reservation, max_per_owner, places, archived) = parts;
            let locations: Vec<_> = places.into_iter().map(location).collect();
            let backorder = if locations.is_empty() { 0 } else { backorder };
            let default_hold = HoldMicros::new(HOLD / 2);
            let policy = Policy {
                version,
                safety,
                backorder,
                max_per_reservation,
                max_per_owner,
                default_hold,
                locations,
                archived,
                ..Policy::default()
            };
            (sku(code), policy)
        });
        Op::Policies { policies: policies.collect() }
    })
}

fn a_freshening() -> impl Strategy<Value = Op> {
    (prop::sample::select(&Freshness::ALL[..]), vec((a_row(), 0..5_i64), 1..4)).prop_map(|(freshness, rows)| {
        let mut seen = BTreeSet::new();
        let rows = rows.into_iter().filter(|(row, _)| seen.insert(*row));
        let rows = rows.map(|((code, at), units)| (sku(code), location(at), units)).collect();
        Op::Freshen { connection: Name::new("acme").unwrap(), freshness, rows }
    })
}

fn a_governed_batch() -> impl Strategy<Value = Batch> {
    let op = prop_oneof![6 => a_reserve(), 4 => a_move(), 2 => a_count(), 1 => an_adjust(), 2 => a_policy(), 2 => a_freshening()];
    let wait = prop_oneof![2 => Just(0), 2 => 1..HOLD, 1 => HOLD..4 * HOLD];
    (wait, vec(op, 1..12), vec(0..8_u8, 0..4)).prop_map(|(wait, ops, left)| Batch {
        wait,
        ops,
        left: left.into_iter().map(key).collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_batch_does_what_the_rules_say_one_operation_at_a_time(
        (mut world, mut reference) in a_world(),
        batches in vec(a_batch(), 1..12),
    ) {
        for Batch { wait, ops, left } in batches {
            world.wait(wait);
            reference.begin(world.now, &left);
            let answers = world.batch_beside(&ops, &left);
            for (op, answer) in ops.iter().zip(&answers) {
                reference.check(op, answer, &LIMITS);
            }
            reference.agrees_with(&world);
        }
    }

    #[test]
    fn a_batch_is_planned_as_its_operations_one_by_one(
        (mut world, mut reference) in a_world(),
        batches in vec(a_governed_batch(), 1..10),
    ) {
        for Batch { wait, ops, left } in batches {
            world.wait(wait);
            let snapshot = world.snapshot(&ops, &left);
            reference.begin(world.now, &left);
            let (stepped, answers) = one_by_one(&world, &snapshot, &ops, |_, op, step, after| {
                reference.check(op, &step.answers[0], &LIMITS);
                reference.check_entries(&step.ledger);
                reference.agrees_with(after);
            });
            prop_assert_eq!(world.batch_beside(&ops, &left), answers);
            prop_assert_eq!(&world.levels, &stepped.levels);
            prop_assert_eq!(&world.records, &stepped.records);
            prop_assert_eq!(&world.operations, &stepped.operations);
            prop_assert_eq!(&world.ledger, &stepped.ledger);
        }
    }
}
