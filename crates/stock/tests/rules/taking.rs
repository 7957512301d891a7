//! Reserve as much as there is, in the place of another hold, and beyond what is there.

use crate::asking::*;
use crate::world::*;
use holdfast_stock::{Level, Owner, Policy, Promise, Refusal, State, UnixMicros};

#[test]
fn as_much_as_there_is_is_held_and_the_rest_is_named() {
    let mut world = World::with(&[("A", "W1", 3), ("B", "W1", 0)]);
    let made = reserved(world.one(best_effort(1, &[("A", "", 5), ("B", "", 1)]))).first;
    assert_eq!(places(&made), [("A", "W1", 3)]);
    assert_eq!(made.lines, cart(&[("A", "", 3)]).lines(), "the lines have only what there was");
    assert_eq!(made.shortages, [missing(("A", "", 5, 3)), missing(("B", "", 1, 0))]);
    assert_eq!(world.level("A", "W1").available(), 0);
    let again = reserved(world.one(best_effort(1, &[("A", "", 5), ("B", "", 1)])));
    assert!(again.replayed && again.first == made);
    reserved(world.one(confirm(1, 1)));
    assert_eq!(world.level("A", "W1").committed, 3);
}

#[test]
fn nothing_at_all_is_refused_and_closes_the_key_of_a_retry() {
    let mut world = World::with(&[("A", "W1", 0)]);
    let short = Err(Refusal::Insufficient(vec![missing(("A", "", 5, 0))]));
    assert_eq!(world.one(best_effort(1, &[("A", "", 5)])), short);
    assert!(world.records.is_empty());
    assert_eq!(world.one(retried(best_effort(1, &[("A", "", 5)]))), short);
    assert_eq!(world.state(1), State::Refused);
}

#[test]
fn as_much_as_there_is_waits_for_units_that_are_just_being_freed() {
    let mut world = World::with(&[("A", "W1", 4)]);
    reserved(world.one(reserve(1, &[("A", "", 3)])));
    world.wait(HOLD);
    let left = [key(1)].into();
    assert_eq!(world.batch_beside(&[best_effort(2, &[("A", "", 4)])], &left), [Err(Refusal::Contended)]);
    let made = world.batch_beside(&[best_effort(2, &[("A", "", 1)])], &left).remove(0);
    assert!(reserved(made).first.shortages.is_empty(), "enough without them");
    let made = world.one(best_effort(3, &[("A", "", 9)]));
    assert_eq!(places(&reserved(made).first), [("A", "W1", 3)]);
}

#[test]
fn a_limit_refuses_the_whole_of_what_is_asked_for_as_much_as_there_is() {
    let mut world = World::with(&[("A", "W1", 3)]);
    govern(&mut world, "A", Policy { max_per_reservation: Some(4), ..Policy::default() });
    assert_eq!(breaches(world.one(best_effort(1, &[("A", "", 5)])))[0].allowed, 4);
    assert_eq!(places(&reserved(world.one(best_effort(1, &[("A", "", 4)]))).first), [("A", "W1", 3)]);
}

#[test]
fn a_hold_is_replaced_by_one_that_needs_its_units() {
    let mut world = World::with(&[("A", "W1", 5)]);
    reserved(world.one(reserve(1, &[("A", "", 4)])));
    let made = reserved(world.one(replacing(2, 1, &[("A", "", 5)]))).first;
    assert_eq!((made.predecessor, places(&made)), (Some(key(1)), vec![("A", "W1", 5)]));
    let old = &world.records[&key(1)];
    assert_eq!((old.state, old.successor, old.version), (State::Released, Some(key(2)), 2));
    assert_eq!(world.level("A", "W1").held, 5);
    assert!(reserved(world.one(replacing(2, 1, &[("A", "", 5)]))).replayed);
    assert_eq!(world.one(confirm(1, 1)), Err(Refusal::Released));
}

#[test]
fn a_replacement_that_cannot_be_had_leaves_the_hold_as_it_is() {
    let mut world = World::with(&[("A", "W1", 5), ("B", "W1", 1)]);
    reserved(world.one(reserve(1, &[("A", "", 4)])));
    let before = world.clone();
    let short = Err(Refusal::Insufficient(vec![missing(("A", "", 6, 5)), missing(("B", "", 2, 1))]));
    assert_eq!(world.one(replacing(2, 1, &[("A", "", 6), ("B", "", 2)])), short);
    assert_eq!((&world.records, &world.levels, &world.ledger), (&before.records, &before.levels, &before.ledger));
    assert_eq!(world.one(retried(replacing(2, 1, &[("A", "", 6), ("B", "", 2)]))), short);
    assert_eq!((world.state(1), world.state(2)), (State::Held, State::Refused));
    assert_eq!(world.levels, before.levels);
}

#[test]
fn only_a_living_hold_of_the_same_owner_is_replaced() {
    let mut world = World::with(&[("A", "W1", 9)]);
    for n in 1..=5 {
        reserved(world.one(reserve(n, &[("A", "", 1)])));
    }
    reserved(world.one(confirm(1, 1)));
    reserved(world.one(release(2, 2)));
    reserved(world.one(extend(3, 4, 5 * HOLD)));
    let Err(Refusal::Released) = world.one(replacing(9, 2, &[("A", "", 1)])) else { panic!("released") };
    assert_eq!(world.one(replacing(9, 1, &[("A", "", 1)])), Err(Refusal::Confirmed));
    assert_eq!(world.one(replacing(9, 8, &[("A", "", 1)])), Err(Refusal::NotFound));
    let mut other = replacing(9, 4, &[("A", "", 1)]);
    if let holdfast_stock::Op::Reserve { owner, .. } = &mut other {
        *owner = Owner::new("bert").unwrap();
    }
    assert_eq!(world.one(other), Err(Refusal::OwnerMismatch));
    world.wait(HOLD);
    assert_eq!(world.one(replacing(9, 3, &[("A", "", 1)])), Err(Refusal::Expired));
    let late = world.batch_beside(&[replacing(9, 5, &[("A", "", 1)])], &[key(5)].into());
    assert_eq!(late, [Err(Refusal::Expired)], "over, though nobody has freed it");
    let cancel = holdfast_stock::Op::Cancel {
        request: request(7),
        payload: payload(7),
        id: key(1),
        portions: Vec::new(),
        lost: false,
        actor: name("bert"),
        note: holdfast_stock::Note::new("").unwrap(),
    };
    reserved(world.one(cancel));
    assert_eq!(world.one(replacing(9, 1, &[("A", "", 1)])), Err(Refusal::Cancelled));
    reserved(world.one(replacing(9, 4, &[("A", "", 1)])));
}

#[test]
fn of_two_replacements_of_a_hold_one_is_made() {
    let mut world = World::with(&[("A", "W1", 2)]);
    reserved(world.one(reserve(1, &[("A", "", 2)])));
    let answers = world.batch(&[replacing(2, 1, &[("A", "", 2)]), replacing(3, 1, &[("A", "", 1)])]);
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(Refusal::Released));
}

#[test]
fn a_replacement_counts_once_for_its_owner_and_its_channel() {
    let mut world = World::with(&[("A", "W1", 9)]);
    let caps = [(name("web"), 3)].into();
    govern(&mut world, "A", Policy { max_per_owner: Some(3), channel_caps: caps, ..Policy::default() });
    reserved(world.one(by("web", reserve(1, &[("A", "", 2)]))));
    reserved(world.one(by("web", replacing(2, 1, &[("A", "", 3)]))));
    assert_eq!(breaches(world.one(by("web", replacing(3, 2, &[("A", "", 4)]))))[0].allowed, 3);
    assert_eq!(breaches(world.one(reserve(4, &[("A", "", 1)])))[0].allowed, 0, "the owner has three");
}

#[test]
fn units_that_are_not_there_are_promised_for_the_policys_date() {
    let mut world = World::with(&[("A", "W1", 3)]);
    let policy = Policy { backorder: 5, locations: vec![location("W1")], ..Policy::default() };
    govern(&mut world, "A", Policy { promise: Some(Promise::After(500)), safety: 1, ..policy.clone() });
    let made = reserved(world.one(reserve(1, &[("A", "", 4)]))).first;
    let promise =
        |record: &holdfast_stock::Record| (record.allocations[0].backordered, record.allocations[0].promised_at);
    assert_eq!(promise(&made), (2, Some(UnixMicros(world.now + 500))), "one of three is kept back");
    let day = UnixMicros(world.now + 900);
    govern(&mut world, "A", Policy { promise: Some(Promise::At(day)), safety: 1, ..policy.clone() });
    assert_eq!(promise(&reserved(world.one(reserve(2, &[("A", "", 1)]))).first), (1, Some(day)));
    world.wait(900);
    assert_eq!(promise(&reserved(world.one(reserve(3, &[("A", "", 1)]))).first), (1, None), "that day has come");
    govern(&mut world, "A", policy);
    assert_eq!(promise(&reserved(world.one(replacing(4, 3, &[("A", "", 1)]))).first), (1, None));
    assert_eq!(world.level("A", "W1").shortfall, 0);
}

#[test]
fn units_that_are_there_are_not_called_promised() {
    let mut world = World::with(&[]);
    world.set("A", "W1", Level { on_hand: 3, backorder: 2, ..Level::default() });
    let made = reserved(world.one(reserve(1, &[("A", "", 3)]))).first;
    assert_eq!((made.allocations[0].backordered, made.allocations[0].promised_at), (0, None));
    let made = reserved(world.one(replacing(2, 1, &[("A", "", 4)]))).first;
    assert_eq!(made.allocations[0].backordered, 1, "the replaced hold's units are there");
}
