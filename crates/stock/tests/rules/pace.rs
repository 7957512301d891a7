//! Pausing and resuming, by hand and by the breaker, and the caps of channels.

use crate::asking::*;
use crate::world::*;
use holdfast_stock::{
    Answer, Breach, Condition, Limit, Op, Policy, Refusal, RequestId, Selling, Sku, State, UnixMicros,
};

const SECOND: i64 = 1_000_000;

fn paused(outcome: &Outcome) {
    assert_eq!(*outcome, Err(Refusal::Paused(vec![sku("A")])));
}

fn changed(outcome: Outcome) -> Vec<Sku> {
    match outcome {
        Ok(Answer::Sold { changed, .. }) => changed,
        other => panic!("not turned: {other:?}"),
    }
}

/// A world with plenty of A, of which so many may be reserved a minute, at a full second.
fn limited(most: i64) -> World {
    let mut world = World::with(&[("A", "W1", 1_000), ("A", "W2", 1_000), ("B", "W1", 1_000)]);
    govern(&mut world, "A", Policy { max_per_minute: Some(most), ..Policy::default() });
    world
}

#[test]
fn what_is_paused_is_not_reserved_and_everything_else_goes_on() {
    let mut world = World::with(&[("A", "W1", 9), ("A", "W2", 9), ("B", "W1", 9)]);
    reserved(world.one(reserve(1, &[("A", "", 2)])));
    reserved(world.one(reserve(2, &[("A", "", 2)])));
    assert_eq!(changed(world.one(pause(1, &["A"]))), [sku("A")]);
    assert!(world.level("A", "W1").available() == 0 && world.level("A", "W2").available() == 0);
    paused(&world.one(reserve(3, &[("A", "", 1), ("B", "", 1)])));
    paused(&world.one(replacing(3, 1, &[("A", "", 1)])));
    paused(&world.one(best_effort(3, &[("A", "", 1), ("B", "", 1)])));
    reserved(world.one(reserve(3, &[("B", "", 1)])));
    reserved(world.one(extend(2, 1, 2 * HOLD)));
    reserved(world.one(confirm(3, 1)));
    reserved(world.one(release(4, 2)));
    assert_eq!(changed(world.one(resume(5, &["A"]))), [sku("A")]);
    reserved(world.one(reserve(4, &[("A", "", 1)])));
}

#[test]
fn only_what_changes_is_named_and_a_request_lands_once() {
    let mut world = World::with(&[("A", "W1", 9), ("B", "W1", 9)]);
    assert_eq!(changed(world.one(pause(1, &["A"]))), [sku("A")]);
    let at = world.selling[&sku("A")].pause.clone().unwrap().at;
    world.wait(5);
    assert_eq!(changed(world.one(pause(2, &["B", "A"]))), [sku("B")]);
    assert_eq!(world.selling[&sku("A")].pause.clone().unwrap().at, at, "since when it is");
    changed(world.one(resume(3, &["A", "B"])));
    let Ok(Answer::Sold { changed, replayed: true }) = world.one(pause(1, &["A"])) else { panic!("not a replay") };
    assert_eq!(changed, [sku("A")]);
    assert!(world.selling[&sku("A")].pause.is_none(), "a replay pauses nothing");
    assert_eq!(world.one(resume(1, &["A"])).map(|_| ()), Ok(()), "same payload in these tests: the verb's answer");
}

#[test]
fn nobody_pauses_what_nobody_knows_but_a_sku_with_a_policy_is_known() {
    let mut world = World::with(&[("A", "W1", 9)]);
    let unknown = Err(Refusal::UnknownSku(vec![(sku("X"), None)]));
    assert_eq!(world.one(pause(1, &["A", "X"])), unknown);
    assert!(!world.level("A", "W1").paused);
    govern(&mut world, "X", Policy::default());
    changed(world.one(pause(1, &["A", "X"])));
    world.one(adjust(2, &[("X", "W1", Condition::Sellable, 5)])).unwrap();
    assert!(world.level("X", "W1").paused, "a new row of a paused SKU is paused");
    assert_eq!(world.level("X", "W1").available(), 0);
}

#[test]
fn a_pause_closes_the_key_of_a_retry() {
    let mut world = World::with(&[("A", "W1", 9)]);
    changed(world.one(pause(1, &["A"])));
    paused(&world.one(retried(reserve(1, &[("A", "", 1)]))));
    assert_eq!(world.state(1), State::Refused);
    changed(world.one(resume(2, &["A"])));
    let refused = Err(Refusal::Insufficient(vec![missing(("A", "", 1, 0))]));
    assert_eq!(world.one(reserve(1, &[("A", "", 1)])), refused);
}

#[test]
fn whoever_would_sell_too_fast_pauses_the_sku() {
    let mut world = limited(10);
    reserved(world.one(reserve(1, &[("A", "", 6), ("B", "", 1)])));
    reserved(world.one(reserve(2, &[("A", "", 4)])));
    paused(&world.one(reserve(3, &[("A", "", 1), ("B", "", 1)])));
    let pause = world.selling[&sku("A")].pause.clone().unwrap();
    assert_eq!((pause.at, pause.actor.as_str()), (UnixMicros(world.now), "holdfast"));
    assert_eq!(pause.note.as_str(), "10 units within a minute, 1 more wanted, 10 allowed");
    assert!(world.level("A", "W1").paused && world.level("A", "W2").paused && !world.level("B", "W1").paused);
    let entry = world.ledger[&row("A", "W2")].last().unwrap();
    assert_eq!(entry.cause, holdfast_stock::Cause::Pause(RequestId::from_bytes([3; 16])));
    assert!(!world.records.contains_key(&key(3)));
    world.wait(90 * SECOND);
    paused(&world.one(reserve(3, &[("A", "", 1)])));
}

#[test]
fn the_rest_of_a_batch_finds_the_pause() {
    let mut world = limited(10);
    let answers = world.batch(&[
        reserve(1, &[("A", "", 10)]),
        reserve(2, &[("A", "", 1)]),
        reserve(3, &[("A", "", 1)]),
        reserve(4, &[("B", "", 1)]),
        confirm(1, 1),
    ]);
    assert!(answers[0].is_ok() && answers[3].is_ok() && answers[4].is_ok());
    paused(&answers[1]);
    paused(&answers[2]);
    assert_eq!(world.ledger[&row("A", "W1")].iter().filter(|e| e.delta.turn.paused == Some(true)).count(), 1);
}

#[test]
fn a_minute_is_never_shorter_than_sixty_seconds() {
    let mut world = limited(10);
    world.wait(SECOND - 1);
    reserved(world.one(reserve(1, &[("A", "", 10)])));
    world.wait(60 * SECOND);
    paused(&world.clone().one(reserve(2, &[("A", "", 1)])));
    world.wait(1);
    reserved(world.one(reserve(2, &[("A", "", 10)])));
}

#[test]
fn what_is_given_back_was_sold_all_the_same_and_a_replacement_counts_whole() {
    let mut world = limited(10);
    reserved(world.one(reserve(1, &[("A", "", 5)])));
    reserved(world.one(release(1, 1)));
    reserved(world.one(reserve(2, &[("A", "", 2)])));
    reserved(world.one(replacing(3, 2, &[("A", "", 3)])));
    paused(&world.one(reserve(4, &[("A", "", 1)])));
}

#[test]
fn what_is_bought_anew_counts_too() {
    let mut world = limited(10);
    reserved(world.one(reserve(1, &[("A", "", 5)])));
    world.wait(HOLD);
    reserved(world.one(reacquire(1, 1, 2, &[])));
    paused(&world.one(reserve(3, &[("A", "", 1)])));
}

#[test]
fn a_replacement_that_trips_the_breaker_leaves_the_hold() {
    let mut world = limited(10);
    reserved(world.one(reserve(1, &[("A", "", 6)])));
    paused(&world.one(replacing(2, 1, &[("A", "", 6)])));
    assert_eq!((world.state(1), world.level("A", "W1").held), (State::Held, 6));
    reserved(world.one(confirm(1, 1)));
}

#[test]
fn resuming_forgets_the_minute() {
    let mut world = limited(10);
    reserved(world.one(reserve(1, &[("A", "", 10)])));
    paused(&world.one(reserve(2, &[("A", "", 1)])));
    changed(world.one(resume(1, &["A"])));
    assert_eq!(world.selling[&sku("A")], Selling::default());
    reserved(world.one(reserve(2, &[("A", "", 10)])));
    changed(world.one(pause(2, &["A"])));
    assert_eq!(world.selling[&sku("A")].recent, [(1, 10)], "a pause by hand forgets nothing");
}

#[test]
fn what_is_short_or_beyond_another_limit_does_not_trip_the_breaker() {
    let mut world = World::with(&[("A", "W1", 5)]);
    govern(&mut world, "A", Policy { max_per_minute: Some(4), max_per_reservation: Some(8), ..Policy::default() });
    assert!(matches!(world.one(reserve(1, &[("A", "", 6)])), Err(Refusal::Insufficient(_))));
    assert_eq!(breaches(world.one(reserve(1, &[("A", "", 9)])))[0].limit, Limit::Reservation);
    assert!(world.selling.is_empty() && !world.level("A", "W1").paused);
    assert_eq!(places(&reserved(world.one(best_effort(1, &[("A", "", 4)]))).first), [("A", "W1", 4)]);
}

#[test]
fn a_clock_that_is_set_back_frees_nothing_and_keeps_the_seconds_in_order() {
    let mut world = limited(100);
    for n in 1..=80_u8 {
        reserved(world.one(reserve(n, &[("A", "", 1)])));
        world.wait(if n % 3 == 0 { -3 * SECOND } else { SECOND });
    }
    let recent = &world.selling[&sku("A")].recent;
    assert!(recent.is_sorted_by(|a, b| a.0 < b.0) && recent.len() <= Selling::RECENT_MAX);
    assert_eq!(recent.iter().map(|(_, units)| units).sum::<i64>(), 80);
    paused(&world.one(reserve(81, &[("A", "", 21)])));
}

#[test]
fn a_channel_has_no_more_than_its_cap_together() {
    let mut world = World::with(&[("A", "W1", 99)]);
    govern(&mut world, "A", Policy { channel_caps: [(name("web"), 5)].into(), ..Policy::default() });
    reserved(world.one(by("web", reserve(1, &[("A", "", 3)]))));
    reserved(world.one(confirm(1, 1)));
    let breach = Breach { sku: sku("A"), requested: 3, allowed: 2, limit: Limit::Channel };
    assert_eq!(breaches(world.one(by("web", reserve(2, &[("A", "", 3)])))), [breach]);
    reserved(world.one(by("shop", reserve(3, &[("A", "", 30)]))));
    reserved(world.one(reserve(4, &[("A", "", 30)])));
    reserved(world.one(by("web", reserve(2, &[("A", "", 2)]))));
    reserved(world.one(release(2, 2)));
    reserved(world.one(by("web", reserve(5, &[("A", "", 2)]))));
    world.wait(HOLD);
    reserved(world.one(by("web", reserve(6, &[("A", "", 2)]))));
    assert_eq!(world.channels[&(sku("A"), name("web"))].units, 5);
    assert!(!world.channels.contains_key(&(sku("A"), name("shop"))), "only what is capped is counted");
}

#[test]
fn a_new_cap_counts_what_the_channel_has_already_and_goes_on_counting_without_one() {
    let mut world = World::with(&[("A", "W1", 99)]);
    reserved(world.one(by("web", reserve(1, &[("A", "", 3)]))));
    govern(&mut world, "A", Policy { channel_caps: [(name("web"), 4)].into(), ..Policy::default() });
    assert_eq!(breaches(world.one(by("web", reserve(2, &[("A", "", 2)]))))[0].allowed, 1);
    govern(&mut world, "A", Policy::default());
    reserved(world.one(by("web", reserve(2, &[("A", "", 2)]))));
    govern(&mut world, "A", Policy { channel_caps: [(name("web"), 6)].into(), ..Policy::default() });
    assert_eq!(breaches(world.one(by("web", reserve(3, &[("A", "", 2)]))))[0].allowed, 1);
}

#[test]
fn a_cap_begun_in_a_batch_counts_what_the_batch_took_before() {
    let mut world = World::with(&[("A", "W1", 99)]);
    let policy = Policy { version: 1, channel_caps: [(name("web"), 4)].into(), ..Policy::default() };
    let answers = world.batch(&[
        by("web", reserve(1, &[("A", "", 3)])),
        Op::Policies { policies: vec![(sku("A"), policy)] },
        by("web", reserve(2, &[("A", "", 2)])),
    ]);
    assert_eq!(breaches(answers[2].clone())[0].allowed, 1);
}

#[test]
fn holds_of_a_channel_that_are_over_count_for_nobody() {
    let mut world = World::with(&[("A", "W1", 99)]);
    govern(&mut world, "A", Policy { channel_caps: [(name("web"), 5)].into(), ..Policy::default() });
    reserved(world.one(by("web", reserve(1, &[("A", "", 3)]))));
    world.wait(HOLD);
    let left = [key(1)].into();
    let beside = |world: &mut World, op| world.batch_beside(&[op], &left).remove(0);
    assert_eq!(beside(&mut world, by("web", retried(reserve(2, &[("A", "", 4)])))), Err(Refusal::Contended));
    assert!(!world.records.contains_key(&key(2)), "ask again: the key stays free");
    assert_eq!(breaches(beside(&mut world, by("web", reserve(2, &[("A", "", 6)]))))[0].allowed, 2);
    reserved(world.one(by("web", reserve(2, &[("A", "", 5)]))));
}

#[test]
fn a_policy_that_no_counter_can_take_is_not_taken() {
    let mut world = World::with(&[("A", "W1", 9)]);
    let odd = [
        Policy { max_per_minute: Some(-1), ..Policy::default() },
        Policy { channel_caps: [(name("web"), -1)].into(), ..Policy::default() },
        Policy { promise: Some(holdfast_stock::Promise::After(-1)), ..Policy::default() },
    ];
    for policy in odd {
        let policies = vec![(sku("A"), Policy { version: 1, ..policy })];
        assert!(matches!(world.one(Op::Policies { policies }), Err(Refusal::Inconsistent(_))));
    }
    assert!(world.policies.is_empty());
}
