//! Selling policies, freshness and suspicious counts, by example.

use crate::world::*;
use holdfast_stock::{
    Answer, Breach, Cap, Count, CountEffect, CountOutcome, Freshness, HoldMicros, LEVEL_MAX, Limit, Name, Op, Owner,
    Policy, Refusal, UnixMicros,
};

fn policy(version: i64) -> Policy {
    Policy { version, ..Policy::default() }
}

fn policies(all: &[(&str, Policy)]) -> Op {
    Op::Policies { policies: all.iter().map(|(code, policy)| (sku(code), policy.clone())).collect() }
}

fn freshen(freshness: Freshness, rows: &[(&str, &str, i64)]) -> Op {
    let rows = rows.iter().map(|(code, at, units)| (sku(code), location(at), *units)).collect();
    Op::Freshen { connection: acme(), freshness, rows }
}

fn acme() -> Name {
    Name::new("acme").unwrap()
}

fn by(op: Op, other: &str) -> Op {
    match op {
        Op::Count { request, payload, run, as_of, sequence, meaning, covers_all, counts, .. } => {
            let connection = Name::new(other).unwrap();
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts }
        }
        other => other,
    }
}

fn with_effect(op: Op, effect: CountEffect) -> Op {
    match op {
        Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts } => {
            let counts = counts.into_iter().map(|count| Count { effect, ..count }).collect();
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts }
        }
        other => other,
    }
}

fn covering(op: Op) -> Op {
    match op {
        Op::Count { request, payload, connection, run, as_of, sequence, meaning, counts, .. } => {
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all: true, counts }
        }
        other => other,
    }
}

#[track_caller]
fn outcome(outcome: Outcome) -> CountOutcome {
    match outcome {
        Ok(Answer::Counted { results, .. }) => results[0].outcome,
        other => panic!("not counted: {other:?}"),
    }
}

#[test]
fn safety_stock_is_kept_back_at_every_location_and_backorder_is_offered_at_the_first() {
    let mut world = World::with(&[("A", "W1", 10), ("A", "W2", 10), ("B", "W1", 10)]);
    let said = Policy { safety: 3, backorder: 5, locations: vec![location("W2")], ..policy(1) };
    assert_eq!(world.one(policies(&[("A", said)])), Ok(Answer::Policies { applied: 1 }));
    let available = |world: &World, code: &str, at: &str| world.level(code, at).available();
    assert_eq!((available(&world, "A", "W1"), available(&world, "A", "W2")), (7, 12));
    assert_eq!(available(&world, "B", "W1"), 10, "another SKU is not touched");
    world.one(policies(&[("A", policy(2))])).unwrap();
    assert_eq!((available(&world, "A", "W1"), available(&world, "A", "W2")), (10, 10));
}

#[test]
fn a_policy_that_is_not_newer_changes_nothing() {
    let mut world = World::with(&[("A", "W1", 10)]);
    world.one(policies(&[("A", Policy { safety: 3, ..policy(7) })])).unwrap();
    for version in [7, 6, 1] {
        let said = policies(&[("A", Policy { safety: 9, ..policy(version) })]);
        assert_eq!(world.one(said), Ok(Answer::Policies { applied: 0 }));
    }
    assert_eq!((world.level("A", "W1").safety, world.level("A", "W1").version), (3, 1));
}

#[test]
fn a_row_that_comes_later_has_what_the_policy_says() {
    let mut world = World::with(&[]);
    let said = Policy { safety: 2, backorder: 4, locations: vec![location("W2"), location("W1")], ..policy(1) };
    world.one(policies(&[("A", said)])).unwrap();
    assert_eq!(world.level("A", "W2").available(), 2, "what can be promised before a count has a row");
    world.one(count(1, 100, 0, &[("A", "W1", 10), ("A", "W2", 10)])).unwrap();
    assert_eq!((world.level("A", "W1").available(), world.level("A", "W2").available()), (8, 12));
    assert!(world.level("A", "W2").rank < world.level("A", "W1").rank);
}

#[test]
fn units_are_taken_where_the_policy_prefers() {
    let mut world = World::with(&[("A", "W1", 10), ("A", "W2", 10), ("A", "W3", 10)]);
    let said = Policy { locations: vec![location("W3"), location("W2")], ..policy(1) };
    world.one(policies(&[("A", said)])).unwrap();
    let taken = |world: &mut World, n, units| {
        let record = reserved(world.one(reserve(n, &[("A", "", units)]))).first;
        record.allocations[0].location.to_string()
    };
    assert_eq!(taken(&mut world, 1, 8), "W3");
    assert_eq!(taken(&mut world, 2, 8), "W2");
    assert_eq!(taken(&mut world, 3, 8), "W1");
}

#[test]
fn lowering_the_backorder_limit_below_what_is_promised_is_a_shortfall_that_is_said() {
    let mut world = World::with(&[("A", "W1", 0)]);
    world.one(policies(&[("A", Policy { backorder: 5, locations: vec![location("W1")], ..policy(1) })])).unwrap();
    reserved(world.one(reserve(1, &[("A", "", 5)])));
    world.one(policies(&[("A", policy(2))])).unwrap();
    assert_eq!(world.level("A", "W1").shortfall, 5);
    assert_eq!(world.one(policies(&[("A", Policy { safety: -1, ..policy(3) })])), inconsistent());
    assert_eq!(world.one(policies(&[("A", Policy { backorder: LEVEL_MAX + 1, ..policy(3) })])), inconsistent());
}

fn inconsistent() -> Outcome {
    Err(Refusal::Inconsistent("a selling policy is out of range"))
}

#[test]
fn an_archived_sku_is_refused_as_such_and_its_holds_can_still_be_bought() {
    let mut world = World::with(&[("A", "W1", 10), ("B", "W1", 10)]);
    reserved(world.one(reserve(1, &[("A", "", 2)])));
    world.one(policies(&[("A", Policy { archived: true, ..policy(1) })])).unwrap();
    assert_eq!(world.level("A", "W1").available(), 0);
    assert_eq!(world.one(reserve(2, &[("A", "", 1), ("B", "", 1)])), Err(Refusal::Archived(vec![sku("A")])));
    reserved(world.one(confirm(1, 1)));
    world.one(policies(&[("A", policy(2))])).unwrap();
    reserved(world.one(reserve(2, &[("A", "", 8)])));
}

#[test]
fn a_limit_per_reservation_counts_all_lines_of_the_sku() {
    let mut world = World::with(&[("A", "W1", 10), ("A", "W2", 10)]);
    world.one(policies(&[("A", Policy { max_per_reservation: Some(4), ..policy(1) })])).unwrap();
    let breach = Breach { sku: sku("A"), requested: 5, allowed: 4, limit: Limit::Reservation };
    assert_eq!(world.one(reserve(1, &[("A", "W1", 3), ("A", "W2", 2)])), Err(Refusal::Limit(vec![breach])));
    reserved(world.one(reserve(1, &[("A", "W1", 2), ("A", "W2", 2)])));
}

#[test]
fn a_limit_per_owner_counts_what_is_held_and_bought_and_forgets_what_came_back() {
    let mut world = World::with(&[("A", "W1", 100)]);
    world.one(policies(&[("A", Policy { max_per_owner: Some(5), ..policy(1) })])).unwrap();
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    let allowed = |outcome: Outcome| match outcome {
        Err(Refusal::Limit(breaches)) => breaches[0].allowed,
        other => panic!("not limited: {other:?}"),
    };
    assert_eq!(allowed(world.one(reserve(2, &[("A", "", 3)]))), 2);
    reserved(world.one(confirm(1, 1)));
    assert_eq!(allowed(world.one(reserve(2, &[("A", "", 3)]))), 2);
    reserved(world.one(reserve(2, &[("A", "", 2)])));
    world.one(release(2, 2)).unwrap();
    reserved(world.one(reserve(3, &[("A", "", 2)])));
    // A hold that is over counts for nobody, be it freed before or within the batch.
    world.wait(2 * HOLD);
    reserved(world.one(reserve(4, &[("A", "", 2)])));
    // Two of the same batch see each other; another owner is another.
    let Op::Reserve { id, payload, cart, hold, retry, .. } = reserve(7, &[("A", "", 5)]) else { unreachable!() };
    let bert =
        Op::Reserve { id, owner: Owner::new("bert").unwrap(), payload, cart, hold, retry, terms: Box::default() };
    let answers = world.batch(&[release(3, 4), reserve(5, &[("A", "", 2)]), reserve(6, &[("A", "", 1)]), bert]);
    assert!(answers[1].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert_eq!(allowed(answers[2].clone()), 0);
}

#[test]
fn a_hold_without_a_time_lasts_as_the_shortest_policy_of_its_skus_says() {
    let mut world = World::with(&[("A", "W1", 9), ("B", "W1", 9), ("C", "W1", 9)]);
    let lasting = |micros| Policy { default_hold: HoldMicros::new(micros), ..policy(1) };
    world.one(policies(&[("A", lasting(70)), ("B", lasting(50)), ("C", lasting(100 * HOLD))])).unwrap();
    let mut lasts = |n, lines: &[(&str, &str, i64)]| {
        let Op::Reserve { id, owner, payload, cart, retry, .. } = reserve(n, lines) else { unreachable!() };
        let asked = Op::Reserve { id, owner, payload, cart, hold: None, retry, terms: Box::default() };
        let record = reserved(world.one(asked)).first;
        record.expires_at.unwrap().0 - record.created_at.0
    };
    assert_eq!(lasts(1, &[("A", "", 1)]), 70);
    assert_eq!(lasts(2, &[("A", "", 1), ("B", "", 1)]), 50);
    assert_eq!(lasts(3, &[("C", "", 1)]), LIMITS.longest_hold_micros);
}

#[test]
fn a_late_row_keeps_more_back_and_a_stale_one_offers_nothing_until_it_is_fresh() {
    let mut world = World::with(&[]);
    world.one(policies(&[("A", Policy { safety: 2, ..policy(1) })])).unwrap();
    world.one(count(1, 100, 0, &[("A", "W1", 20)])).unwrap();
    reserved(world.one(reserve(1, &[("A", "", 1)])));
    assert_eq!(world.one(freshen(Freshness::Late, &[("A", "W1", 6)])), Ok(Answer::Freshened { rows: 1 }));
    assert_eq!((world.level("A", "W1").available(), world.level("A", "W1").safety), (11, 8));
    assert_eq!(world.one(freshen(Freshness::Late, &[("A", "W1", 6)])), Ok(Answer::Freshened { rows: 0 }));
    // A policy that keeps more back than the feed's lateness does.
    world.one(policies(&[("A", Policy { safety: 7, ..policy(2) })])).unwrap();
    assert_eq!(world.level("A", "W1").safety, 14, "the buffer is at least the policy's own");
    world.one(freshen(Freshness::Stale, &[("A", "W1", 6)])).unwrap();
    assert_eq!(world.level("A", "W1").available(), 0);
    assert!(matches!(world.one(reserve(2, &[("A", "", 1)])), Err(Refusal::Insufficient(_))));
    reserved(world.one(confirm(2, 1)));
    world.one(freshen(Freshness::Fresh, &[("A", "W1", 6)])).unwrap();
    assert_eq!((world.level("A", "W1").available(), world.level("A", "W1").safety), (12, 7));
}

#[test]
fn rows_that_another_connection_counted_since_are_not_aged() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 20)])).unwrap();
    world.one(by(count(2, 200, 0, &[("A", "W1", 21)]), "house")).unwrap();
    assert_eq!(
        world.one(freshen(Freshness::Stale, &[("A", "W1", 0), ("X", "W1", 0)])),
        Ok(Answer::Freshened { rows: 0 })
    );
    assert_eq!(world.level("A", "W1").available(), 21);
}

#[test]
fn a_stale_row_that_another_connection_counts_is_fresh_at_once() {
    for freshness in [Freshness::Late, Freshness::Stale] {
        let mut world = World::with(&[]);
        world.one(count(1, 100, 0, &[("A", "W1", 20)])).unwrap();
        world.one(freshen(freshness, &[("A", "W1", 6)])).unwrap();
        // The same number, too, is a new count of it.
        world.one(by(count(2, 200, 0, &[("A", "W1", 20)]), "house")).unwrap();
        let level = world.level("A", "W1");
        assert_eq!((level.freshness, level.buffer, level.available()), (Freshness::Fresh, 0, 20));
        let own = world.one(freshen(freshness, &[("A", "W1", 6)]));
        assert_eq!(own, Ok(Answer::Freshened { rows: 0 }), "it is house's now");
    }
}

#[test]
fn a_marked_retry_beyond_a_limit_or_for_what_is_archived_closes_its_key() {
    let mut world = World::with(&[("A", "W1", 10), ("B", "W1", 10)]);
    let limited = Policy { max_per_reservation: Some(2), ..policy(1) };
    world.one(policies(&[("A", limited), ("B", Policy { archived: true, ..policy(1) })])).unwrap();
    assert!(matches!(world.one(retried(reserve(1, &[("A", "", 3)]))), Err(Refusal::Limit(_))));
    assert!(matches!(world.one(retried(reserve(2, &[("B", "", 3)]))), Err(Refusal::Archived(_))));
    world.one(policies(&[("A", policy(2)), ("B", policy(2))])).unwrap();
    for late in [reserve(1, &[("A", "", 3)]), reserve(2, &[("B", "", 3)])] {
        assert!(matches!(world.one(late), Err(Refusal::Insufficient(_))), "the first attempt cannot land any more");
    }
    reserved(world.one(reserve(3, &[("A", "", 3)])));
}

#[test]
fn a_suspicious_lower_number_caps_the_offer_and_raises_no_shortfall() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 150)])).unwrap();
    reserved(world.one(reserve(1, &[("A", "", 40)])));
    let typed = with_effect(count(2, 200, 0, &[("A", "W1", 15)]), CountEffect::Limit);
    assert_eq!(outcome(world.one(typed)), CountOutcome::Applied);
    let level = world.level("A", "W1");
    assert_eq!((level.on_hand, level.shortfall, level.available()), (150, 0, 0));
    assert_eq!(level.count, Some((UnixMicros(100), 0)));
    // The person says that it is right: now it is taken, and the shortfall is said.
    assert_eq!(outcome(world.one(count(3, 200, 0, &[("A", "W1", 15)]))), CountOutcome::Applied);
    let level = world.level("A", "W1");
    assert_eq!((level.on_hand, level.shortfall, level.cap), (15, 25, None));
}

#[test]
fn a_limit_goes_when_it_is_not_believed_or_when_a_newer_number_comes() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 150)])).unwrap();
    let limit = |r, as_of, units| with_effect(count(r, as_of, 0, &[("A", "W1", units)]), CountEffect::Limit);
    let unlimit = |r, as_of| with_effect(count(r, as_of, 0, &[("A", "W1", 0)]), CountEffect::Unlimit);
    assert_eq!(outcome(world.one(limit(2, 200, 15))), CountOutcome::Applied);
    assert_eq!(outcome(world.one(limit(3, 200, 15))), CountOutcome::Unchanged);
    assert_eq!(outcome(world.one(limit(4, 190, 10))), CountOutcome::Stale, "an older suspicion");
    assert_eq!(outcome(world.one(limit(5, 100, 10))), CountOutcome::Stale, "not newer than the count");
    assert_eq!(outcome(world.one(unlimit(6, 199))), CountOutcome::Unchanged, "another moment's");
    assert_eq!(outcome(world.one(unlimit(7, 200))), CountOutcome::Applied);
    assert_eq!((world.level("A", "W1").available(), world.level("A", "W1").on_hand), (150, 150));
    world.one(limit(8, 300, 15)).unwrap();
    assert_eq!(outcome(world.one(count(9, 250, 0, &[("A", "W1", 140)]))), CountOutcome::Applied);
    let moment = (UnixMicros(300), 0);
    assert_eq!(world.level("A", "W1").cap, Some(Cap { units: 15, moment }), "the older number does not clear it");
    assert_eq!(outcome(world.one(count(10, 301, 0, &[("A", "W1", 140)]))), CountOutcome::Unchanged);
    assert_eq!(world.level("A", "W1").cap, None, "the same number, newer, does");
    let nowhere = with_effect(count(11, 400, 0, &[("B", "W1", 1)]), CountEffect::Limit);
    assert_eq!(outcome(world.one(nowhere)), CountOutcome::Unchanged);
    assert!(!world.levels.contains_key(&row("B", "W1")));
}

#[test]
fn a_row_that_has_the_number_already_costs_a_whole_run_no_write() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 7)])).unwrap();
    let ops = [covering(count(2, 200, 0, &[("A", "W1", 7)]))];
    let plan = holdfast_stock::plan(world.snapshot(&ops, &Default::default()), &ops, &LIMITS);
    assert!(plan.levels.is_empty() && plan.ledger.is_empty());
    world.write(plan);
    // Once the run is marked as whole, an older number is as stale as if the row had been written.
    world.marks.insert(acme(), (UnixMicros(200), 0));
    assert_eq!(outcome(world.one(count(3, 150, 0, &[("A", "W1", 9)]))), CountOutcome::Stale);
    assert_eq!(outcome(world.one(by(count(4, 150, 0, &[("A", "W1", 9)]), "house"))), CountOutcome::Stale);
    // A number of that very run, which waited for a person, is not.
    assert_eq!(outcome(world.one(count(5, 200, 0, &[("A", "W1", 9)]))), CountOutcome::Applied);
    assert_eq!(outcome(world.one(count(6, 200, 0, &[("A", "W1", 8)]))), CountOutcome::Stale);
    // What the whole run did not know is not made by an older number of the same connection.
    assert_eq!(outcome(world.one(count(7, 150, 0, &[("NEW", "W1", 8)]))), CountOutcome::Stale);
    assert_eq!(outcome(world.one(by(count(8, 150, 0, &[("NEW", "W1", 8)]), "house"))), CountOutcome::Applied);
}

#[test]
fn a_row_that_two_connections_count_is_written_every_time() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 7)])).unwrap();
    world.one(by(count(2, 110, 0, &[("A", "W1", 7)]), "house")).unwrap();
    world.one(covering(count(3, 200, 0, &[("A", "W1", 7)]))).unwrap();
    assert_eq!(world.level("A", "W1").count, Some((UnixMicros(200), 0)));
    assert_eq!(outcome(world.one(by(count(4, 150, 0, &[("A", "W1", 9)]), "house"))), CountOutcome::Stale);
}
