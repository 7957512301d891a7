//! Confirm in part, of a hold that is over, and the order's name.

use crate::asking::*;
use crate::world::*;
use holdfast_stock::{Excess, Policy, Refusal, State};

#[test]
fn what_is_not_bought_is_free_at_once() {
    let mut world = World::with(&[("A", "W1", 4), ("A", "W2", 3), ("B", "W1", 2)]);
    reserved(world.one(reserve(1, &[("A", "", 6), ("B", "", 2)])));
    let bought = reserved(world.one(buy(1, 1, &[("A", "", 5)]))).first;
    assert_eq!(bought.state, State::Confirmed);
    let released: Vec<i64> = bought.allocations.iter().map(|a| a.progress.released).collect();
    assert_eq!((places(&bought), released), (vec![("A", "W1", 4), ("A", "W2", 2), ("B", "W1", 2)], vec![0, 1, 2]));
    assert_eq!((world.level("A", "W1").committed, world.level("A", "W2").committed), (4, 1));
    assert_eq!((world.level("A", "W2").available(), world.level("B", "W1").available()), (2, 2));
    assert_eq!((world.level("B", "W1").held, world.level("B", "W1").committed), (0, 0));
}

#[test]
fn a_confirmation_sent_again_answers_as_it_did_and_another_one_as_it_stands() {
    let mut world = World::with(&[("A", "W1", 4)]);
    reserved(world.one(reserve(1, &[("A", "", 4)])));
    let first = reserved(world.one(buy(1, 1, &[("A", "W1", 3)])));
    let after = world.levels.clone();
    let again = reserved(world.one(buy(1, 1, &[("A", "W1", 3)])));
    assert!(again.replayed && again.first == first.first);
    let other = reserved(world.one(buy(2, 1, &[("A", "W1", 1)])));
    assert!(!other.replayed && other.first == first.first, "bought is bought");
    assert_eq!(world.levels, after);
}

#[test]
fn more_than_is_held_is_bought_by_nobody() {
    let mut world = World::with(&[("A", "W1", 4), ("A", "W2", 3)]);
    reserved(world.one(reserve(1, &[("A", "W1", 2), ("A", "W2", 2)])));
    let before = world.clone();
    let excess = |index, wanted, left| Excess { index, portion: portion(wanted), left };
    let wanted = [("A", "W1", 3), ("A", "", 2), ("B", "", 1), ("A", "W9", 1), ("A", "", 3)];
    let answer = world.one(buy(1, 1, &wanted));
    let expected =
        vec![excess(0, wanted[0], 2), excess(2, wanted[2], 0), excess(3, wanted[3], 0), excess(4, wanted[4], 2)];
    assert_eq!(answer, Err(Refusal::Exceeded(expected)));
    assert_eq!((&world.levels, &world.records), (&before.levels, &before.records));
}

#[test]
fn what_is_given_back_counts_no_more_for_owner_and_channel() {
    let mut world = World::with(&[("A", "W1", 9)]);
    let caps = [(name("web"), 4)].into();
    govern(&mut world, "A", Policy { max_per_owner: Some(4), channel_caps: caps, ..Policy::default() });
    reserved(world.one(by("web", reserve(1, &[("A", "", 4)]))));
    reserved(world.one(buy(1, 1, &[("A", "", 1)])));
    assert_eq!(breaches(world.one(by("web", reserve(2, &[("A", "", 4)]))))[0].allowed, 3);
    reserved(world.one(by("web", reserve(2, &[("A", "", 3)]))));
}

#[test]
fn an_order_is_named_once() {
    let mut world = World::with(&[("A", "W1", 9)]);
    reserved(world.one(reserve(1, &[("A", "", 1)])));
    reserved(world.one(with(reserve(2, &[("A", "", 1)]), |terms| terms.details.order = Some(name("O-2")))));
    let order = |answer: Outcome| reserved(answer).first.details.order;
    assert_eq!(order(world.one(purchase(1, 1, &[], None, Some("O-1")))), Some(name("O-1")));
    assert_eq!(order(world.one(purchase(2, 2, &[], None, Some("O-9")))), Some(name("O-2")));
    assert_eq!(order(world.one(purchase(3, 1, &[], None, Some("O-9")))), Some(name("O-1")));
}

#[test]
fn a_hold_that_is_over_is_bought_anew_where_it_is_to_be_had() {
    let mut world = World::with(&[("A", "W1", 4), ("B", "W1", 4)]);
    let ask = with(reserve(1, &[("A", "", 3), ("B", "W1", 2)]), |terms| {
        terms.details.channel = Some(name("web"));
        terms.details.labels.insert("cart".to_owned(), "7".to_owned());
    });
    reserved(world.one(ask));
    world.wait(HOLD);
    assert_eq!(world.one(confirm(9, 1)), Err(Refusal::Expired));
    let bought = reserved(world.one(reacquire(1, 1, 2, &[])));
    let made = bought.first;
    assert_eq!((made.id, made.state, made.predecessor, made.version), (key(2), State::Confirmed, Some(key(1)), 1));
    assert_eq!(places(&made), [("A", "W1", 3), ("B", "W1", 2)]);
    assert_eq!((made.details.channel, made.details.labels.len()), (Some(name("web")), 1));
    let old = &world.records[&key(1)];
    assert_eq!((old.state, old.successor), (State::Expired, Some(key(2))));
    assert_eq!((world.level("A", "W1").held, world.level("A", "W1").committed), (0, 3));
    let again = reserved(world.one(reacquire(1, 1, 2, &[])));
    assert!(again.replayed && again.first.id == key(2));
    let other = reserved(world.one(reacquire(2, 1, 2, &[])));
    assert!(!other.replayed && other.first.id == key(2), "the key stands for this sale");
    assert_eq!(world.level("A", "W1").committed, 3);
}

#[test]
fn its_own_units_are_enough_for_a_hold_that_is_over_and_not_yet_freed() {
    let mut world = World::with(&[("A", "W1", 3)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    world.wait(HOLD);
    let bought = world.batch_beside(&[reacquire(1, 1, 2, &[])], &[key(1)].into()).remove(0);
    assert_eq!(reserved(bought).first.state, State::Confirmed);
    let old = &world.records[&key(1)];
    assert_eq!((old.state, old.version, old.successor), (State::Expired, 2, Some(key(2))));
}

#[test]
fn a_hold_that_is_over_is_bought_anew_in_part() {
    let mut world = World::with(&[("A", "W1", 2), ("A", "W2", 4)]);
    reserved(world.one(reserve(1, &[("A", "", 4), ("A", "W1", 2)])));
    world.wait(HOLD);
    let made = reserved(world.one(reacquire(1, 1, 2, &[("A", "W1", 1), ("A", "W2", 3)]))).first;
    assert_eq!(made.lines, cart(&[("A", "", 3), ("A", "W1", 1)]).lines(), "a named line stays named");
    assert_eq!(places(&made), [("A", "W1", 1), ("A", "W2", 3)]);
    assert!(made.allocations.iter().all(|a| a.progress.is_none()), "nothing was given back: it was never held");
}

#[test]
fn what_others_took_meanwhile_is_not_bought_anew() {
    let mut world = World::with(&[("A", "W1", 3)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    world.wait(HOLD);
    reserved(world.one(reserve(2, &[("A", "", 1)])));
    let short = Err(Refusal::Insufficient(vec![missing(("A", "", 3, 2))]));
    assert_eq!(world.one(reacquire(1, 1, 3, &[])), short);
    assert!(!world.records.contains_key(&key(3)) && world.records[&key(1)].successor.is_none());
    let made = reserved(world.one(reacquire(1, 1, 3, &[("A", "", 2)]))).first;
    assert_eq!(places(&made), [("A", "W1", 2)]);
}

#[test]
fn a_cart_is_not_bought_anew_twice_under_two_keys() {
    let mut world = World::with(&[("A", "W1", 9)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    world.wait(HOLD);
    let answers = world.batch(&[reacquire(1, 1, 2, &[]), reacquire(2, 1, 3, &[])]);
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(Refusal::Expired));
    assert_eq!(world.level("A", "W1").committed, 3);
}

#[test]
fn a_key_that_stands_for_something_else_buys_nothing() {
    let mut world = World::with(&[("A", "W1", 9)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    world.wait(HOLD);
    reserved(world.one(reserve(2, &[("A", "", 3)])));
    assert_eq!(world.one(reacquire(1, 1, 2, &[])), Err(Refusal::KeyReused));
    assert_eq!(world.one(reserve(3, &[("A", "", 3)])).map(|_| ()), Ok(()));
    reserved(world.one(release(5, 4)));
    assert_eq!(world.one(reacquire(2, 1, 4, &[])), Err(Refusal::KeyReused), "a key that was closed");
    reserved(world.one(reacquire(3, 1, 6, &[])));
    assert_eq!(world.one(reserve(6, &[("A", "", 3)])), Err(Refusal::KeyReused), "a sale's key makes no hold");
}

#[test]
fn limits_and_pauses_hold_for_what_is_bought_anew() {
    let mut world = World::with(&[("A", "W1", 9)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    world.wait(HOLD);
    govern(&mut world, "A", Policy { max_per_owner: Some(2), ..Policy::default() });
    assert_eq!(breaches(world.one(reacquire(1, 1, 2, &[])))[0].allowed, 2);
    govern(&mut world, "A", Policy { archived: true, ..Policy::default() });
    assert_eq!(world.one(reacquire(2, 1, 2, &[])), Err(Refusal::Archived(vec![sku("A")])));
    govern(&mut world, "A", Policy::default());
    assert!(world.one(pause(3, &["A"])).is_ok());
    assert_eq!(world.one(reacquire(4, 1, 2, &[])), Err(Refusal::Paused(vec![sku("A")])));
    assert!(world.one(resume(5, &["A"])).is_ok());
    reserved(world.one(reacquire(6, 1, 2, &[])));
}

#[test]
fn a_living_hold_is_bought_as_it_is_and_the_other_key_stays_free() {
    let mut world = World::with(&[("A", "W1", 9)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    assert_eq!(reserved(world.one(reacquire(1, 1, 2, &[]))).first.id, key(1));
    reserved(world.one(release(2, 3)));
    assert_eq!(world.one(reacquire(3, 3, 4, &[])), Err(Refusal::Released));
    reserved(world.one(reserve(2, &[("A", "", 1)])));
}
