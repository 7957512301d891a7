//! Random batches of every verb: each operation against the naive reference, and what no sequence of them may break, looked at after each operation and after each
//! batch.

use crate::drawing::{SECOND, a_history, a_world};
use crate::properties::one_by_one;
use crate::world::*;
use holdfast_stock::{Answer, Cause, Delta, Entry, Op, Plan, Refusal, ReservationId, Sku, State, UnixMicros};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use std::collections::{BTreeMap, BTreeSet};

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
        // What was shipped in spite of being called off left a shelf that no feed counts, too.
        Cause::Fulfil(_) | Cause::Cancel(_) | Cause::Evidence(_) => on_hand <= 0 && unsellable == 0,
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
    assert!(own.count() == 0 || matches!(step.answers[0], Err(Refusal::Paused(_))));
    assert!(step.records_inserted.iter().all(|record| record.state == State::Refused));
    assert!(step.operations.is_empty() && step.policies.is_empty() && step.progress.is_empty());
    let is_swept = |id| before.records.get(&id).is_some_and(|record| record.is_due(UnixMicros(before.now)));
    assert!(step.records_changed.iter().all(|record| is_swept(record.id)), "{:?}", step.records_changed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_verb_does_what_the_reference_says_and_breaks_no_book(batches in a_history()) {
        let (mut world, mut reference) = a_world();
        let mut pace = Pace::default();
        let mut said = Vec::new();
        for batch in batches {
            let (ops, left) = (batch.ops(&mut said), batch.left);
            world.wait(batch.wait);
            if let Some((feed, moment)) = batch.mark {
                let mark = world.marks.get(&feed).copied().max(Some(moment)).unwrap();
                world.marks.insert(feed, mark);
            }
            reference.marks.clone_from(&world.marks);
            reference.begin(world.now, &left);
            let snapshot = world.snapshot(&ops, &left);
            let (stepped, answers) = one_by_one(&world, &snapshot, &ops, |before, op, step, after| {
                pace.look(before, op, step);
                refuses(before, op, step);
                step.ledger.iter().for_each(conserves);
                reference.check(op, &step.answers[0], &LIMITS);
                reference.check_entries(&step.ledger);
                reference.agrees_with(after);
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
