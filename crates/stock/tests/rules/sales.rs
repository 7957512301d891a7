//! What becomes of a sale, by example: shipped, called off, told of, returned.

use crate::verbs::*;
use crate::world::*;
use holdfast_stock::CountMeaning::{Available, OnHand};
use holdfast_stock::{
    Answer, Condition, Evidence, EvidenceKind, Excess, Level, NegativeAdjustment, Op, Policy, Progress, Refusal, State,
    UnixMicros, Watermark,
};

/// A SKU at two locations without a feed, all of it sold to one: 3 at W1 and 5 at W2.
fn sold_without_a_feed() -> World {
    let mut world = World::with(&[("A", "W1", 3), ("A", "W2", 5)]);
    world.one(reserve(1, &[("A", "", 8)])).unwrap();
    world.one(confirm(201, 1)).unwrap();
    world
}

fn exceeded(outcome: Outcome) -> Vec<(usize, i64)> {
    match outcome {
        Err(Refusal::Exceeded(excesses)) => excesses.iter().map(|Excess { index, left, .. }| (*index, *left)).collect(),
        other => panic!("not exceeded: {other:?}"),
    }
}

#[test]
fn a_shipment_from_where_no_feed_counts_leaves_on_hand_with_the_promise() {
    let mut world = sold_without_a_feed();
    let answer = reserved(world.one(fulfil(1, 1, &[("A", "W2", 2)], 5)));
    assert_eq!((answer.current_state, answer.first.version), (State::Confirmed, 3));
    assert_eq!(answer.first.allocations[1].progress.fulfilled, 2);
    let level = world.level("A", "W2");
    assert_eq!((level.on_hand, level.committed, level.shortfall), (3, 3, 0));
    let entry = world.ledger[&row("A", "W2")].last().unwrap();
    assert_eq!((entry.cause.as_str(), entry.delta.on_hand, entry.delta.committed), ("FULFIL", -2, -2));
    let answer = reserved(world.one(fulfil(2, 1, &[], 6)));
    assert_eq!(answer.current_state, State::Fulfilled);
    assert_eq!((world.stock(), world.level("A", "W2").on_hand), ((0, 0, 0), 0));
}

#[test]
fn units_that_are_not_on_hand_cannot_be_shipped_until_they_are_received() {
    let mut world = World::with(&[]);
    world.set("A", "W1", Level { on_hand: 1, backorder: 5, ..Level::default() });
    world.one(reserve(1, &[("A", "W1", 4)])).unwrap();
    world.one(confirm(201, 1)).unwrap();
    let missing = NegativeAdjustment {
        index: 0,
        sku: sku("A"),
        location: location("W1"),
        condition: Condition::Sellable,
        present: 1,
        delta: -3,
    };
    assert_eq!(world.one(fulfil(1, 1, &[("A", "", 3)], 5)), Err(Refusal::WouldBeNegative(vec![missing])));
    assert_eq!((world.progress(1), world.stock()), (&Progress::default(), (1, 4, 2)));
    world.one(adjust(2, &[("A", "W1", Condition::Sellable, 9)])).unwrap();
    world.one(fulfil(1, 1, &[("A", "", 3)], 5)).unwrap();
    assert_eq!(world.stock(), (7, 1, 11));
}

#[test]
fn every_location_that_lacks_what_was_shipped_in_spite_of_being_called_off_is_named() {
    let mut world = sold_without_a_feed();
    world.one(sent(1, 1, &[], 105)).unwrap();
    world.one(cancel(2, 1, &[])).unwrap();
    let lost = [("A", "W1", Condition::Sellable, -1), ("A", "W2", Condition::Sellable, -3)];
    world.one(adjust(3, &lost)).unwrap();
    let lacking = match world.one(told(4, 1, &[], Some(EvidenceKind::Shipped), Some(110))) {
        Err(Refusal::WouldBeNegative(lacking)) => lacking,
        other => panic!("nothing lacks: {other:?}"),
    };
    let lacking: Vec<_> = lacking.iter().map(|it| (it.location.as_str(), it.present, it.delta)).collect();
    assert_eq!(lacking, [("W1", 2, -3), ("W2", 2, -5)]);
}

#[test]
fn what_was_shipped_before_a_feed_began_is_not_counted_as_shipped_again() {
    let mut world = World::with(&[("A", "W1", 10)]);
    world.now = 40;
    world.one(reserve(1, &[("A", "W1", 5)])).unwrap();
    world.one(confirm(201, 1)).unwrap();
    world.one(fulfil(1, 1, &[("A", "", 2)], 50)).unwrap();
    world.one(counted_as(OnHand, 2, 100, 8)).unwrap();
    assert_eq!(world.stock(), (8, 3, 5));
    world.one(fulfil(3, 1, &[("A", "", 2)], 150)).unwrap();
    assert_eq!(world.stock(), (8, 3, 5));
    world.one(counted_as(OnHand, 4, 200, 6)).unwrap();
    assert_eq!(world.stock(), (6, 1, 5));
}

#[test]
fn what_is_dated_before_it_was_sold_is_not_missing_in_a_count_of_before() {
    // The vendor counts 10 in the morning; 4 are sold at noon and shipped in the afternoon, by a date without a time of day.
    let mut world = World::with_sales(OnHand, 100, 10, &[]);
    world.now = 200;
    world.one(reserve(1, &[("A", "W1", 4)])).unwrap();
    world.one(confirm(201, 1)).unwrap();
    world.one(fulfil(1, 1, &[], 0)).unwrap();
    assert_eq!(world.stock(), (10, 4, 6), "the count of the morning has them");
    assert_eq!(world.progress(1).evidence, [Evidence { kind: EvidenceKind::Shipped, units: 4, at: UnixMicros(200) }]);
    world.one(counted_as(OnHand, 2, 250, 6)).unwrap();
    assert_eq!(world.stock(), (6, 0, 6));
}

#[test]
fn a_shipment_where_a_feed_counts_leaves_stock_to_the_count() {
    let mut world = World::with_sales(OnHand, 100, 10, &[4]);
    let version = world.level("A", "W1").version;
    world.one(fulfil(1, 1, &[], 150)).unwrap();
    assert_eq!(
        (world.state(1), world.stock(), world.level("A", "W1").version),
        (State::Fulfilled, (10, 4, 6), version + 1),
        "the ledger tells of it, and nothing else of the row changed"
    );
    assert_eq!(world.progress(1).evidence, [Evidence { kind: EvidenceKind::Shipped, units: 4, at: UnixMicros(150) }]);
}

#[test]
fn portions_take_what_they_name_first_and_then_from_the_first_location_on() {
    let mut world = sold_without_a_feed();
    world.one(fulfil(1, 1, &[("A", "", 4), ("A", "W1", 2), ("A", "", 1)], 5)).unwrap();
    assert_eq!((world.progress_at(1, "A", "W1").fulfilled, world.progress_at(1, "A", "W2").fulfilled), (3, 4));
    assert_eq!(
        exceeded(world.one(fulfil(2, 1, &[("A", "", 2), ("A", "W1", 1), ("B", "", 1)], 5))),
        [(0, 1), (1, 0), (2, 0)]
    );
    assert_eq!(exceeded(world.one(fulfil(3, 1, &[("A", "", 1), ("A", "W2", 1)], 5))), [(0, 0)]);
    let odd = [("A", "", i64::MAX), ("A", "W2", i64::MAX), ("A", "", 0), ("A", "", i64::MIN)];
    assert_eq!(exceeded(world.one(fulfil(4, 1, &odd, 5))), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.progress_at(1, "A", "W2").fulfilled, 4, "nothing of them was done");
}

#[test]
fn units_that_no_vendor_knows_of_leave_committed_as_they_are_called_off() {
    let mut world = World::with_sales(OnHand, 100, 10, &[4]);
    world.one(sent(1, 1, &[("A", "", 1)], 110)).unwrap();
    let answer = reserved(world.one(cancel(2, 1, &[("A", "", 3)])));
    assert_eq!((answer.current_state, answer.first.allocations[0].progress.cancelled), (State::Confirmed, 3));
    assert_eq!((world.stock(), world.progress(1).cancelling), ((10, 1, 9), 0));
    let entry = world.ledger[&row("A", "W1")].last().unwrap();
    assert_eq!((entry.cause.as_str(), entry.delta.committed), ("CANCEL", -3));
    world.one(cancel(3, 1, &[])).unwrap();
    assert_eq!((world.state(1), world.stock()), (State::Cancelled, (10, 1, 9)), "the vendor knows of the last one");
}

#[test]
fn units_that_the_vendor_knows_of_stay_until_it_takes_the_cancellation() {
    for known in [sent, booked] {
        let mut world = World::with_sales(Available, 100, 10, &[4]);
        world.one(known(1, 1, &[("A", "", 3)], 110)).unwrap();
        world.one(cancel(2, 1, &[("A", "", 3)])).unwrap();
        assert_eq!((world.stock(), world.progress(1).cancelling), ((10, 3, 7), 2), "one was not sent");
        world.one(taken(3, 1, &[("A", "", 1)])).unwrap();
        assert_eq!((world.stock(), world.progress(1).cancelling), ((10, 2, 8), 1));
        world.one(taken(4, 1, &[])).unwrap();
        assert_eq!((world.stock(), world.progress(1).cancelling), ((10, 1, 9), 0));
        assert_eq!(exceeded(world.one(taken(5, 1, &[("A", "", 1)]))), [(0, 0)]);
        assert!(world.one(taken(6, 1, &[])).is_ok(), "nothing is left to be taken");
        assert_eq!(world.stock(), (10, 1, 9));
    }
}

#[test]
fn units_that_the_count_reflects_come_back_with_a_count_and_not_before() {
    let mut world = World::with_sales(Available, 100, 10, &[4]);
    world.one(booked(1, 1, &[("A", "", 3)], 110)).unwrap();
    world.one(counted_as(Available, 2, 200, 7)).unwrap();
    assert_eq!(world.stock(), (7, 1, 6));
    world.one(cancel(3, 1, &[])).unwrap();
    assert_eq!((world.state(1), world.stock()), (State::Cancelled, (7, 0, 7)), "one was never sent");
    world.one(taken(4, 1, &[])).unwrap();
    assert_eq!(world.stock(), (7, 0, 7));
    world.one(counted_as(Available, 5, 300, 10)).unwrap();
    assert_eq!(world.stock(), (10, 0, 10));
}

#[test]
fn what_is_called_off_and_was_booked_before_the_next_count_is_not_deducted_twice() {
    // Booked at 110, the count of 200 is without them, and only then the vendor takes the cancellation.
    let mut world = World::with_sales(Available, 100, 10, &[4]);
    world.one(booked(1, 1, &[], 110)).unwrap();
    world.one(cancel(2, 1, &[])).unwrap();
    assert_eq!(world.stock(), (10, 4, 6));
    world.one(counted_as(Available, 3, 200, 6)).unwrap();
    assert_eq!((world.stock(), world.progress(1).cancelling), ((6, 0, 6), 0));
    world.one(taken(4, 1, &[])).unwrap();
    assert_eq!(world.stock(), (6, 0, 6));
    world.one(counted_as(Available, 5, 300, 10)).unwrap();
    assert_eq!(world.stock(), (10, 0, 10));
}

#[test]
fn a_booking_that_is_told_after_its_cancellation_changes_nothing() {
    let mut world = World::with_sales(Available, 100, 10, &[4]);
    world.one(sent(1, 1, &[], 105)).unwrap();
    world.one(cancel(2, 1, &[("A", "", 3)])).unwrap();
    world.one(taken(3, 1, &[])).unwrap();
    world.one(booked(4, 1, &[], 110)).unwrap();
    assert_eq!(world.progress(1).told(EvidenceKind::Booked), 4, "it had booked them all before");
    assert_eq!(world.stock(), (10, 1, 9));
    world.one(counted_as(Available, 5, 200, 9)).unwrap();
    assert_eq!(world.stock(), (9, 0, 9));
}

#[test]
fn units_called_off_before_they_were_sent_cannot_be_sent() {
    let mut world = World::with_sales(Available, 100, 10, &[4]);
    world.one(cancel(1, 1, &[("A", "", 3)])).unwrap();
    assert_eq!(exceeded(world.one(sent(2, 1, &[("A", "", 2)], 110))), [(0, 1)]);
    assert_eq!(exceeded(world.one(booked(3, 1, &[("A", "", 2)], 110))), [(0, 1)]);
    world.one(sent(4, 1, &[], 110)).unwrap();
    assert_eq!(world.progress(1).told(EvidenceKind::Sent), 1);
}

#[test]
fn lost_units_leave_on_hand_with_committed() {
    let mut world = World::with_sales(OnHand, 100, 10, &[4]);
    world.one(sent(1, 1, &[("A", "", 1)], 110)).unwrap();
    world.one(lose(2, 1, &[])).unwrap();
    assert_eq!(world.stock(), (7, 1, 6), "the vendor says itself what it lost");
    let mut world = World::with_sales(OnHand, 100, 10, &[4]);
    world.one(counted_as(OnHand, 1, 200, 2)).unwrap();
    world.one(lose(2, 1, &[])).unwrap();
    assert_eq!((world.stock(), world.level("A", "W1").shortfall), ((0, 0, 0), 0), "some were not there before");
}

#[test]
fn units_shipped_in_spite_of_being_called_off_are_told_as_such() {
    let mut world = World::with_sales(OnHand, 100, 10, &[4]);
    world.one(sent(1, 1, &[], 105)).unwrap();
    world.one(cancel(2, 1, &[("A", "", 3)])).unwrap();
    assert_eq!(exceeded(world.one(fulfil(3, 1, &[("A", "", 3)], 110))), [(0, 1)]);
    world.one(fulfil(3, 1, &[("A", "", 1)], 110)).unwrap();
    let spite = |r, units| told(r, 1, &[("A", "", units)], Some(EvidenceKind::Shipped), Some(110));
    assert_eq!(exceeded(world.one(spite(4, 4))), [(0, 3)]);
    world.one(spite(4, 2)).unwrap();
    assert_eq!(exceeded(world.one(taken(5, 1, &[("A", "", 2)]))), [(0, 1)], "what was shipped cannot be taken off");
    world.one(taken(5, 1, &[])).unwrap();
    assert_eq!(world.stock(), (10, 3, 7));
    world.one(counted_as(OnHand, 6, 200, 7)).unwrap();
    assert_eq!((world.stock(), world.state(1)), ((7, 0, 7), State::Fulfilled));
}

#[test]
fn evidence_is_kept_within_its_bound_and_never_reflects_too_early() {
    let mut world = World::with_sales(OnHand, 0, 1_000, &[300]);
    for n in 0..150_u8 {
        // Ever farther apart, so that the earliest lie closest.
        let at = 1_000 + i64::from(n) * i64::from(n);
        let op = fulfil(n, 1, &[("A", "", 1)], at);
        world.one(op).unwrap();
    }
    let progress = world.progress(1);
    assert_eq!((progress.evidence.len(), progress.told(EvidenceKind::Shipped)), (Progress::EVIDENCE_MAX, 150));
    for n in 0..150 {
        let count = Watermark { as_of: UnixMicros(1_000 + n * n), meaning: OnHand, reflection_lag_micros: None };
        let reflected = progress.reflected_by(300, &count);
        assert!(reflected <= n + 1, "{reflected} of {} by then", n + 1);
        assert!(n < 60 || reflected == n + 1, "what lies apart is kept apart: {reflected} of {}", n + 1);
    }
}

#[test]
fn returned_units_lie_where_they_were_put_in_their_condition() {
    let mut world = sold_without_a_feed();
    let policy = Policy { version: 1, safety: 1, locations: vec![location("W3")], ..Policy::default() };
    world.one(Op::Policies { policies: vec![(sku("A"), policy)] }).unwrap();
    world.one(fulfil(1, 1, &[("A", "W1", 3), ("A", "W2", 4)], 5)).unwrap();
    let returns = [
        ("A", "", 2, Condition::Damaged, "W3"),
        ("A", "W1", 2, Condition::Sellable, ""),
        ("A", "W2", 1, Condition::QualityHold, ""),
    ];
    let answer = reserved(world.one(take_back(2, 1, &returns)));
    assert_eq!((answer.current_state, answer.first.version), (State::Confirmed, 4));
    let returned: Vec<i64> = answer.first.allocations.iter().map(|it| it.progress.returned).collect();
    assert_eq!(returned, [3, 2], "those with a location come first");
    assert_eq!(world.level("A", "W1").on_hand, 2);
    assert_eq!(world.level("A", "W2").unsellable[&Condition::QualityHold], 1);
    let made = world.level("A", "W3");
    assert_eq!((made.on_hand, made.unsellable[&Condition::Damaged], made.safety, made.rank), (0, 2, 1, 0));
    let entry = world.ledger[&row("A", "W3")].last().unwrap();
    assert_eq!((entry.cause.as_str(), entry.version), ("RETURN", 2));
}

#[test]
fn no_more_units_come_back_than_were_shipped() {
    let mut world = sold_without_a_feed();
    world.one(fulfil(1, 1, &[("A", "W2", 2)], 5)).unwrap();
    let back = |r, units| take_back(r, 1, &[("A", "", units, Condition::Sellable, "")]);
    let two = [("A", "", 1, Condition::Sellable, "W9"), ("A", "W2", 2, Condition::Damaged, "")];
    assert_eq!(exceeded(world.one(take_back(2, 1, &two))), [(0, 0)]);
    assert!(!world.levels.contains_key(&row("A", "W9")));
    assert_eq!(exceeded(world.one(back(3, 3))), [(0, 2)]);
    world.one(back(4, 1)).unwrap();
    assert_eq!(exceeded(world.one(back(5, 2))), [(0, 1)]);
    assert_eq!(world.one(back(4, 1)).map(|_| ()), Ok(()), "a replay");
    assert_eq!(world.level("A", "W2").on_hand, 4);
}

#[test]
fn a_sale_that_is_over_takes_returns_and_stays_over() {
    let mut world = sold_without_a_feed();
    world.one(fulfil(1, 1, &[("A", "W1", 3)], 5)).unwrap();
    world.one(cancel(2, 1, &[])).unwrap();
    let over = world.records[&key(1)].clone();
    assert_eq!(over.state, State::Fulfilled, "some of it was shipped");
    world.wait(5);
    world.one(take_back(3, 1, &[("A", "W1", 1, Condition::Sellable, "")])).unwrap();
    let record = &world.records[&key(1)];
    assert_eq!((record.state, record.state_at, record.version), (State::Fulfilled, over.state_at, over.version + 1));
    assert_eq!(world.one(fulfil(4, 1, &[], 5)), Err(Refusal::Fulfilled));
    assert_eq!(world.one(cancel(5, 1, &[])), Err(Refusal::Fulfilled));
}

#[test]
fn only_a_confirmed_reservation_is_shipped_called_off_told_of_or_returned() {
    let mut world = World::with(&[("A", "W1", 50)]);
    for n in 1..=5 {
        world.one(reserve(n, &[("A", "W1", 2)])).unwrap();
    }
    world.one(confirm(201, 5)).unwrap();
    world.one(release(202, 2)).unwrap();
    world.one(Op::Expire { id: key(3) }).unwrap();
    world.one(retried(reserve(6, &[("A", "W1", 99)]))).unwrap_err();
    world.one(cancel(203, 5, &[])).unwrap();
    let verbs: [fn(u8) -> Op; 2] = [|n| fulfil(1, n, &[], 5), |n| cancel(1, n, &[])];
    for verb in verbs {
        assert_eq!(world.one(verb(9)), Err(Refusal::NotFound));
        assert_eq!(world.one(verb(1)), Err(Refusal::NotConfirmed));
        assert_eq!(world.one(verb(2)), Err(Refusal::Released));
        assert_eq!(world.one(verb(6)), Err(Refusal::Released));
        assert_eq!(world.one(verb(5)), Err(Refusal::Cancelled));
    }
    let verbs: [fn(u8) -> Op; 2] =
        [|n| sent(1, n, &[], 5), |n| take_back(1, n, &[("A", "", 1, Condition::Sellable, "")])];
    for verb in verbs {
        assert_eq!(world.one(verb(9)), Err(Refusal::NotFound));
        for n in [1, 2, 3, 6] {
            assert_eq!(world.one(verb(n)), Err(Refusal::NotConfirmed));
        }
    }
    world.wait(HOLD);
    assert_eq!(world.one(fulfil(1, 4, &[], 5)), Err(Refusal::Expired));
    assert_eq!(exceeded(world.one(take_back(1, 5, &[("A", "", 1, Condition::Sellable, "")]))), [(0, 0)]);
    assert!(world.operations.keys().all(|request| request.to_bytes()[0] > 200), "a refusal keeps nothing");
}

#[test]
fn every_replay_shows_the_sale_as_it_stood_and_does_nothing() {
    let mut world = World::with_sales(OnHand, 100, 50, &[9]);
    let ops = [
        sent(1, 1, &[("A", "", 6)], 105),
        fulfil(2, 1, &[("A", "", 2)], 110),
        cancel(3, 1, &[("A", "", 4)]),
        taken(4, 1, &[]),
        take_back(5, 1, &[("A", "", 1, Condition::Sellable, "")]),
        fulfil(6, 1, &[], 120),
    ];
    let mut firsts = Vec::new();
    for op in &ops {
        firsts.push(reserved(world.one(op.clone())));
        world.wait(1);
    }
    let end = (world.levels.clone(), world.records.clone());
    for (op, first) in ops.iter().zip(&firsts) {
        let again = reserved(world.one(op.clone()));
        assert!(again.replayed && !first.replayed);
        assert_eq!((&again.first, again.current_state), (&first.first, State::Fulfilled));
    }
    assert_eq!((world.levels.clone(), world.records.clone()), end);
    let Op::Cancel { id, portions, lost, actor, note, .. } = cancel(2, 1, &[]) else { panic!("it is a cancellation") };
    let other = Op::Cancel { request: request(2), payload: payload(99), id, portions, lost, actor, note };
    assert_eq!(world.one(other), Err(Refusal::KeyReused));
    assert_eq!(world.one(count(3, 200, 0, &[("A", "W1", 1)])), Err(Refusal::KeyReused));
}

#[test]
fn an_owner_may_have_more_when_units_are_called_off_but_not_when_they_are_shipped() {
    let mut world = World::with(&[("A", "W1", 50)]);
    let policy = Policy { version: 1, max_per_owner: Some(4), ..Policy::default() };
    world.one(Op::Policies { policies: vec![(sku("A"), policy)] }).unwrap();
    world.one(reserve(1, &[("A", "W1", 4)])).unwrap();
    let answers = world.batch(&[
        reserve(2, &[("A", "W1", 1)]),
        confirm(201, 1),
        reserve(2, &[("A", "W1", 1)]),
        fulfil(1, 1, &[("A", "", 1)], 5),
        reserve(2, &[("A", "W1", 1)]),
        cancel(2, 1, &[("A", "", 1)]),
        reserve(3, &[("A", "W1", 2)]),
        reserve(4, &[("A", "W1", 1)]),
    ]);
    let yes: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(yes, [false, true, false, true, false, true, false, true]);
    assert_eq!(world.owned().values().copied().collect::<Vec<_>>(), [4]);
    assert!(matches!(world.one(reserve(5, &[("A", "W1", 1)])), Err(Refusal::Limit(_))));
}

#[test]
fn evidence_moves_neither_the_reservations_version_nor_its_state() {
    let mut world = World::with_sales(OnHand, 100, 10, &[4]);
    let before = world.records[&key(1)].moment();
    for op in [sent(1, 1, &[], 105), booked(2, 1, &[], 106), booked(3, 1, &[], 107)] {
        let Ok(Answer::Reservation(answer)) = world.one(op) else { panic!("refused") };
        assert_eq!(answer.first.moment(), before);
    }
    assert_eq!(world.progress(1).told(EvidenceKind::Booked), 4, "what is told of all is told once");
}
