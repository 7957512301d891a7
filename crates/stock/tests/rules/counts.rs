//! What counts reflect of sales, by example: PROTOCOL 13 to 19.

use crate::verbs::*;
use crate::world::*;
use holdfast_stock::CountMeaning::{Available, OnHand};
use holdfast_stock::{
    Answer, Count, CountEffect, CountMeaning, CountOutcome, EvidenceKind, FeedTerms, Name, Op, Refusal, State,
    UnixMicros,
};

const NOON: i64 = 720;

/// So many minutes after midnight.
fn clock(hour: i64, minute: i64) -> i64 {
    hour * 60 + minute
}

#[test]
fn the_worked_example_of_the_protocol_comes_out_to_the_unit() {
    let mut world = World::with_sales(Available, clock(11, 0), 103, &[3, 2]);
    world.one(reserve(3, &[("A", "W1", 4)])).unwrap();
    world.one(booked(1, 1, &[], clock(11, 55))).unwrap();
    world.one(booked(2, 2, &[], clock(12, 1))).unwrap();
    let at_noon = results(world.one(counted_as(Available, 3, NOON, 100)));
    assert_eq!((at_noon[0].reflected, at_noon[0].available), (3, 94), "A was booked at 11:55, B at 12:01");
    assert_eq!(world.stock(), (100, 2, 94));

    let at_one = results(world.one(counted_as(Available, 4, clock(13, 0), 97)));
    assert_eq!((at_one[0].previous_available, at_one[0].reflected, at_one[0].available), (94, 2, 93));
    assert_eq!(world.stock(), (97, 0, 93), "the next count reflects B");
}

/// Every order of as many things.
fn orders(things: usize) -> Vec<Vec<usize>> {
    if things == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(things - 1);
    let put = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, things - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..things).map(move |at| put(order, at))).collect()
}

#[test]
fn counts_bookings_and_shipments_come_to_the_same_in_whichever_order_they_arrive() {
    for meaning in CountMeaning::ALL {
        // Booked 2 at 10 and 1 at 30, shipped 2 at 20 and 1 at 40; the shelf had 50. Counted at 15, 25, 35.
        let counts = match meaning {
            Available => [(15, 48), (25, 48), (35, 47)],
            OnHand => [(15, 50), (25, 48), (35, 48)],
        };
        let mut ends = Vec::new();
        for order in orders(7) {
            let mut world = World::with_sales(meaning, 0, 50, &[4]);
            for index in order {
                let n = u8::try_from(index).unwrap() + 1;
                let _ = match index {
                    0..=2 => world.one(counted_as(meaning, n, counts[index].0, counts[index].1)).unwrap(),
                    3 => world.one(booked(n, 1, &[("A", "", 2)], 10)).unwrap(),
                    4 => world.one(booked(n, 1, &[("A", "", 1)], 30)).unwrap(),
                    5 => world.one(fulfil(n, 1, &[("A", "", 2)], 20)).unwrap(),
                    _ => world.one(fulfil(n, 1, &[("A", "", 1)], 40)).unwrap(),
                };
            }
            ends.push(world.stock());
        }
        let expected = match meaning {
            Available => (47, 1, 46),
            OnHand => (48, 2, 46),
        };
        assert!(ends.iter().all(|end| *end == expected), "{meaning:?}: {ends:?}");
    }
}

#[test]
fn evidence_that_comes_after_the_count_that_reflects_it_counts_at_once() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(counted_as(Available, 1, 200, 46)).unwrap();
    assert_eq!(world.stock(), (46, 4, 42), "deducted twice until the vendor says that it booked");
    world.one(booked(2, 1, &[("A", "", 1)], 201)).unwrap();
    assert_eq!(world.stock(), (46, 4, 42), "not by this count");
    world.one(booked(3, 1, &[("A", "", 3)], 200)).unwrap();
    assert_eq!(world.stock(), (46, 1, 45), "of the moment of the count is in the count");
    let entry = world.ledger[&row("A", "W1")].last().unwrap();
    assert_eq!((entry.cause.as_str(), entry.delta.committed), ("EVIDENCE", -3));
    world.one(counted_as(Available, 4, 201, 46)).unwrap();
    assert_eq!(world.stock(), (46, 0, 46));
}

#[test]
fn what_was_booked_is_in_an_on_hand_number_until_it_is_shipped() {
    let mut world = World::with_sales(OnHand, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 110)).unwrap();
    world.one(counted_as(OnHand, 2, 200, 50)).unwrap();
    assert_eq!(world.stock(), (50, 4, 46));
    world.one(fulfil(3, 1, &[("A", "", 3)], 210)).unwrap();
    assert_eq!(world.stock(), (50, 4, 46), "the count is older than the shipment");
    world.one(counted_as(OnHand, 4, 220, 47)).unwrap();
    assert_eq!(world.stock(), (47, 1, 46));
}

#[test]
fn a_shipment_implies_the_booking() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(fulfil(1, 1, &[("A", "", 3)], 110)).unwrap();
    world.one(booked(2, 1, &[("A", "", 2)], 105)).unwrap();
    world.one(counted_as(Available, 3, 107, 48)).unwrap();
    assert_eq!(world.stock(), (48, 2, 46));
    world.one(counted_as(Available, 4, 200, 47)).unwrap();
    assert_eq!(world.stock(), (47, 1, 46), "two bookings and three shipments are of three units");
}

#[test]
fn a_count_that_is_not_newer_reflects_nothing() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    let stale = results(world.one(counted_as(Available, 2, 100, 46)));
    assert_eq!((stale[0].outcome, stale[0].reflected), (CountOutcome::Stale, 0));
    assert_eq!(world.stock(), (50, 4, 46));
}

#[test]
fn a_reservation_that_nobody_names_is_reflected_by_a_count() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    let version = world.records[&key(1)].version;
    world.one(counted_as(Available, 2, 200, 46)).unwrap();
    assert_eq!((world.progress(1).reflected, world.records[&key(1)].version), (4, version));
}

#[test]
fn the_same_number_that_reflects_sales_has_an_entry_and_offers_more() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    let result = results(world.one(covering(counted_as(Available, 2, 200, 50)))).remove(0);
    assert_eq!((result.outcome, result.reflected), (CountOutcome::Unchanged, 4));
    assert_eq!((result.previous_available, result.available), (46, 50), "four units came in while four were booked");
    assert_eq!(world.level("A", "W1").count, Some((UnixMicros(200), 0)));
}

#[test]
fn a_whole_runs_row_with_sales_is_dated_so_that_late_evidence_finds_it() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(covering(counted_as(Available, 1, 200, 50))).unwrap();
    world.one(booked(2, 1, &[], 150)).unwrap();
    assert_eq!(world.stock(), (50, 0, 50));
    world.one(covering(counted_as(Available, 3, 300, 50))).unwrap();
    assert_eq!(world.level("A", "W1").count, Some((UnixMicros(200), 0)), "without sales its mark is enough");
    world.one(fulfil(4, 1, &[], 310)).unwrap();
    world.one(covering(counted_as(OnHand, 5, 400, 50))).unwrap();
    let level = world.level("A", "W1");
    assert_eq!((level.count, level.meaning), (Some((UnixMicros(400), 0)), Some(OnHand)), "it means something else");
}

#[test]
fn a_connection_that_comes_to_mean_on_hand_has_booked_units_in_its_number_again() {
    let mut world = World::with_sales(Available, 100, 50, &[4, 2]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    world.one(booked(2, 2, &[], 150)).unwrap();
    world.one(fulfil(3, 1, &[("A", "", 1)], 180)).unwrap();
    world.one(counted_as(Available, 4, 200, 44)).unwrap();
    assert_eq!(world.stock(), (44, 0, 44));
    let result = results(world.one(counted_as(OnHand, 5, 300, 49))).remove(0);
    assert_eq!((result.reflected, result.available), (-5, 44), "five lie on the shelf for somebody");
    assert_eq!(world.stock(), (49, 5, 44));
    world.one(fulfil(6, 1, &[], 310)).unwrap();
    world.one(counted_as(OnHand, 7, 320, 46)).unwrap();
    assert_eq!(world.stock(), (46, 2, 44));
    world.one(counted_as(Available, 8, 330, 44)).unwrap();
    assert_eq!(world.stock(), (44, 0, 44), "and back");
}

#[test]
fn a_person_who_counts_the_shelf_of_a_vendor_counts_booked_units() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    world.one(counted_as(Available, 2, 200, 46)).unwrap();
    world.one(by("house", counted_as(OnHand, 3, 210, 50))).unwrap();
    assert_eq!(world.stock(), (50, 4, 46));
    world.one(counted_as(Available, 4, 220, 46)).unwrap();
    assert_eq!(world.stock(), (46, 0, 46));
}

#[test]
fn booked_units_that_were_called_off_are_in_an_on_hand_number_until_the_vendor_takes_it() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    world.one(counted_as(Available, 2, 200, 46)).unwrap();
    world.one(cancel(3, 1, &[("A", "", 2)])).unwrap();
    assert_eq!((world.stock(), world.progress(1).cancelling), ((46, 0, 46), 0));
    world.one(by("house", counted_as(OnHand, 4, 210, 50))).unwrap();
    assert_eq!((world.stock(), world.progress(1).cancelling), ((50, 4, 46), 2), "the vendor may ship them yet");
    world.one(fulfil(5, 1, &[("A", "", 1)], 215)).unwrap();
    world.one(by("house", counted_as(OnHand, 6, 220, 49))).unwrap();
    assert_eq!(world.stock(), (49, 3, 46));
    world.one(taken(7, 1, &[])).unwrap();
    assert_eq!((world.stock(), world.progress(1).cancelling), ((49, 1, 48), 0));
}

#[test]
fn evidence_finds_nothing_reflected_where_nothing_was_counted_or_its_meaning_not_kept() {
    let mut world = World::with(&[("A", "W1", 9)]);
    world.now = 1;
    world.one(reserve(1, &[("A", "W1", 4)])).unwrap();
    world.one(confirm(1, 1)).unwrap();
    world.one(booked(2, 1, &[], 1)).unwrap();
    assert_eq!(world.stock(), (9, 4, 5));
    let counted = holdfast_stock::Level { count: Some((UnixMicros(50), 0)), ..world.level("A", "W1").clone() };
    world.levels.insert(row("A", "W1"), holdfast_stock::Level { feed: Name::new("acme").ok(), ..counted });
    world.one(fulfil(3, 1, &[("A", "", 1)], 2)).unwrap();
    assert_eq!(world.stock(), (9, 4, 5), "what a number from before means is not known");
    world.one(counted_as(Available, 4, 60, 5)).unwrap();
    assert_eq!(world.stock(), (5, 0, 5));
}

#[test]
fn an_order_that_nothing_is_heard_of_is_reflected_after_the_connections_lag() {
    let mut world = World::with_sales(OnHand, 100, 50, &[4]);
    let terms = FeedTerms { clock_margin_micros: 0, reflection_lag_micros: Some(1_000) };
    world.feeds.insert(Name::new("acme").unwrap(), terms);
    world.one(sent(1, 1, &[("A", "", 3)], 500)).unwrap();
    world.one(counted_as(OnHand, 2, 1_499, 50)).unwrap();
    assert_eq!(world.stock(), (50, 4, 46));
    world.one(fulfil(3, 1, &[("A", "", 1)], 1_400)).unwrap();
    assert_eq!(world.stock(), (50, 3, 47));
    world.one(counted_as(OnHand, 4, 1_500, 47)).unwrap();
    assert_eq!(world.stock(), (47, 1, 46), "no unit counts twice: the shipped one is among the three that were sent");
    world.one(sent(5, 1, &[], 400)).unwrap();
    assert_eq!(world.stock(), (47, 0, 47), "what becomes known late too");
}

#[test]
fn without_a_lag_an_order_that_nothing_is_heard_of_stays_deducted() {
    let mut world = World::with_sales(OnHand, 100, 50, &[4]);
    world.one(sent(1, 1, &[], 110)).unwrap();
    world.one(counted_as(OnHand, 2, i64::MAX, 50)).unwrap();
    assert_eq!(world.stock(), (50, 4, 46));
}

#[test]
fn evidence_without_the_vendors_time_is_as_of_now_and_the_clocks_margin() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    let terms = FeedTerms { clock_margin_micros: 60, reflection_lag_micros: None };
    world.feeds.insert(Name::new("acme").unwrap(), terms);
    world.one(told(1, 1, &[], Some(EvidenceKind::Booked), None)).unwrap();
    assert_eq!(world.progress(1).evidence[0].at, UnixMicros(world.now + 60));
    world.one(counted_as(Available, 2, world.now + 59, 46)).unwrap();
    assert_eq!(world.stock(), (46, 4, 42));
    world.one(counted_as(Available, 3, world.now + 60, 46)).unwrap();
    assert_eq!(world.stock(), (46, 0, 46));
}

#[test]
fn a_number_that_waits_for_a_person_reflects_nothing_until_the_person_believes_it() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    let limited = |r, effect| match counted_as(Available, r, 200, 6) {
        Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts } => {
            let counts = counts.into_iter().map(|count| Count { effect, ..count }).collect();
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts }
        }
        other => other,
    };
    let result = results(world.one(limited(2, CountEffect::Limit))).remove(0);
    assert_eq!((result.reflected, result.previous_available, result.available), (0, 46, 2));
    assert_eq!((world.level("A", "W1").on_hand, world.level("A", "W1").committed), (50, 4));
    let result = results(world.one(limited(3, CountEffect::Set))).remove(0);
    assert_eq!((result.reflected, result.available), (4, 6));
    assert_eq!(world.stock(), (6, 0, 6));
}

#[test]
fn a_count_raises_a_shortfall_and_what_it_reflects_later_lowers_it() {
    let mut world = World::with_sales(OnHand, 100, 10, &[4, 5]);
    let result = results(world.one(counted_as(OnHand, 1, 200, 6))).remove(0);
    assert_eq!((result.shortfall, result.available), (3, 0));
    world.one(fulfil(2, 1, &[], 150)).unwrap();
    assert_eq!((world.level("A", "W1").shortfall, world.stock()), (0, (6, 5, 1)), "the four had left before");
    world.one(counted_as(OnHand, 3, 300, 2)).unwrap();
    assert_eq!(world.level("A", "W1").shortfall, 3);
    world.one(cancel(4, 2, &[("A", "", 3)])).unwrap();
    assert_eq!(world.level("A", "W1").shortfall, 0);
}

fn expecting(op: Op, expected: i64) -> Op {
    match op {
        Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts } => {
            let counts = counts.into_iter().map(|count| Count { expected: Some(expected), ..count }).collect();
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts }
        }
        other => other,
    }
}

#[test]
fn a_count_that_expects_something_else_changes_nothing_of_its_row() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    let result = results(world.one(expecting(counted_as(Available, 2, 200, 46), 49))).remove(0);
    assert_eq!((result.outcome, result.on_hand, result.reflected), (CountOutcome::Conflict, 50, 0));
    assert_eq!((world.level("A", "W1").count, world.stock()), (Some((UnixMicros(100), 0)), (50, 4, 46)));
    let again = world.one(expecting(counted_as(Available, 2, 200, 46), 49));
    assert!(matches!(again, Ok(Answer::Counted { replayed: true, results }) if results[0] == result));
    let result = results(world.one(expecting(counted_as(Available, 3, 200, 46), 50))).remove(0);
    assert_eq!((result.outcome, result.reflected), (CountOutcome::Applied, 4));
    let stale = results(world.one(expecting(counted_as(Available, 4, 200, 46), 50))).remove(0);
    assert_eq!(stale.outcome, CountOutcome::Stale);
}

#[test]
fn each_row_compares_for_itself_and_none_there_compares_as_zero() {
    let mut world = World::with(&[("A", "W1", 5), ("B", "W1", 5)]);
    let of = |r, units| expecting(count(r, 100, 0, &[("A", "W1", units), ("B", "W1", units), ("C", "W1", units)]), 5);
    world.one(adjust(1, &[("B", "W1", holdfast_stock::Condition::Sellable, 1)])).unwrap();
    let outcomes: Vec<_> = results(world.one(of(2, 7))).into_iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, [CountOutcome::Applied, CountOutcome::Conflict, CountOutcome::Conflict]);
    assert!(!world.levels.contains_key(&row("C", "W1")));
    let made = results(world.one(expecting(count(3, 100, 0, &[("C", "W1", 7)]), 0))).remove(0);
    assert_eq!((made.outcome, made.on_hand), (CountOutcome::Applied, 7));
}

#[test]
fn a_batch_reflects_what_its_own_operations_told() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(reserve(2, &[("A", "W1", 2)])).unwrap();
    let answers = world.batch(&[
        booked(1, 1, &[("A", "", 3)], 150),
        counted_as(Available, 2, 200, 45),
        confirm(3, 2),
        booked(4, 2, &[], 250),
        booked(5, 1, &[], 160),
        counted_as(Available, 6, 300, 44),
    ]);
    let reflected: Vec<i64> = [&answers[1], &answers[5]].map(|it| results(it.clone())[0].reflected).into();
    assert_eq!(reflected, [3, 2]);
    assert_eq!(world.stock(), (44, 0, 44));
}

#[test]
fn a_count_reflects_units_of_sales_that_are_over() {
    let mut world = World::with_sales(OnHand, 100, 50, &[4, 3]);
    world.one(fulfil(1, 1, &[], 150)).unwrap();
    world.one(sent(2, 2, &[], 120)).unwrap();
    world.one(cancel(3, 2, &[])).unwrap();
    assert_eq!((world.state(1), world.state(2)), (State::Fulfilled, State::Cancelled));
    assert_eq!(world.stock(), (50, 7, 43));
    world.one(counted_as(OnHand, 4, 200, 46)).unwrap();
    assert_eq!(world.stock(), (46, 3, 43));
    world.one(taken(5, 2, &[])).unwrap();
    assert_eq!(world.stock(), (46, 0, 46));
}

#[test]
fn a_request_with_a_number_that_cannot_be_reflects_nothing() {
    let mut world = World::with_sales(Available, 100, 50, &[4]);
    world.one(booked(1, 1, &[], 150)).unwrap();
    let odd = with_meaning(count(2, 200, 0, &[("A", "W1", 46), ("B", "W1", -1)]), Available);
    assert_eq!(world.one(odd), Err(Refusal::OutOfRange(vec![row("B", "W1")])));
    assert_eq!((world.stock(), world.progress(1).reflected), ((50, 4, 46), 0));
}
