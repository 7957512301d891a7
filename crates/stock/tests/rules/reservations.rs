//! What becomes of reservations, by example.

use crate::world::*;
use holdfast_stock::{Answer, Level, Op, Refusal, ReservationId, Shortage, State, UnixMicros};
use std::collections::BTreeSet;

fn nobody() -> BTreeSet<ReservationId> {
    BTreeSet::new()
}

#[test]
fn a_cart_is_held_wholly_or_not_at_all() {
    let mut world = World::with(&[("A", "W1", 5), ("B", "W1", 1)]);
    let short = world.one(reserve(1, &[("A", "", 2), ("B", "", 2)]));
    let missing = Shortage { sku: sku("B"), location: None, requested: 2, available: 1 };
    assert_eq!(short, Err(Refusal::Insufficient(vec![missing])));
    assert_eq!(world.level("A", "W1").held, 0);
    assert!(world.records.is_empty(), "a no binds nothing");

    let held = reserved(world.one(reserve(1, &[("A", "", 2), ("B", "", 1)])));
    assert_eq!((held.first.state, held.replayed), (State::Held, false));
    assert_eq!(held.first.expires_at, Some(UnixMicros(world.now + HOLD)));
    assert_eq!((world.level("A", "W1").held, world.level("B", "W1").available()), (2, 0));
}

#[test]
fn buyers_in_one_batch_compete_in_the_order_of_arrival() {
    let mut world = World::with(&[("A", "W1", 1)]);
    let answers = world.batch(&[reserve(9, &[("A", "", 1)]), reserve(1, &[("A", "", 1)]), reserve(5, &[("A", "", 1)])]);
    assert!(answers[0].is_ok());
    assert!(matches!(answers[1], Err(Refusal::Insufficient(_))));
    assert!(matches!(answers[2], Err(Refusal::Insufficient(_))));
}

#[test]
fn a_refused_neighbour_leaves_the_others_as_they_would_be_without_it() {
    let mut world = World::with(&[("A", "W1", 3)]);
    let answers = world.batch(&[
        reserve(1, &[("A", "", 1)]),
        reserve(2, &[("NOPE", "", 1)]),
        reserve(3, &[("A", "", 9)]),
        confirm(4, 77),
        reserve(5, &[("A", "", 2)]),
    ]);
    assert!(answers[0].is_ok() && answers[4].is_ok());
    assert_eq!(answers[1], Err(Refusal::UnknownSku(vec![(sku("NOPE"), None)])));
    assert_eq!(answers[3], Err(Refusal::NotFound));
    assert_eq!(world.level("A", "W1").available(), 0);
}

#[test]
fn a_named_location_without_a_row_is_unknown_and_never_taken_elsewhere() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let unknown = world.one(reserve(1, &[("A", "W2", 1)]));
    assert_eq!(unknown, Err(Refusal::UnknownSku(vec![(sku("A"), Some(location("W2")))])));
}

#[test]
fn a_free_line_takes_what_the_named_lines_leave() {
    let mut world = World::with(&[("A", "W1", 4), ("A", "W2", 3)]);
    let held = reserved(world.one(reserve(1, &[("A", "", 5), ("A", "W1", 2)])));
    let lines = held.first.allocated_lines();
    assert_eq!(lines[0].allocations, vec![(location("W1"), 2), (location("W2"), 3)]);
    assert_eq!(lines[1].allocations, vec![(location("W1"), 2)]);
    assert_eq!((world.level("A", "W1").available(), world.level("A", "W2").available()), (0, 0));
}

#[test]
fn safety_stock_is_kept_back_and_backorders_are_promised() {
    let mut world = World::with(&[]);
    world.set("A", "W1", Level { on_hand: 3, safety: 2, ..Level::default() });
    world.set("B", "W1", Level { on_hand: 0, backorder: 2, ..Level::default() });
    assert!(world.one(reserve(1, &[("A", "", 2)])).is_err());
    assert!(world.one(reserve(1, &[("A", "", 1), ("B", "", 2)])).is_ok());
    assert_eq!((world.level("B", "W1").shortfall, world.level("B", "W1").available()), (0, 0));
}

#[test]
fn a_replay_gets_the_first_answer_and_the_current_state() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let first = reserved(world.one(reserve(1, &[("A", "", 2)])));
    world.wait(1);
    world.one(extend(2, 1, 2 * HOLD)).unwrap();
    world.one(confirm(3, 1)).unwrap();
    let again = reserved(world.one(reserve(1, &[("A", "", 2)])));
    assert_eq!(again.first, first.first);
    assert_eq!((again.current_state, again.replayed), (State::Confirmed, true));
    assert_eq!(again.current_expires_at, Some(UnixMicros(world.now + 2 * HOLD)));
    assert_eq!(world.level("A", "W1").committed, 2, "one key, one effect");
}

#[test]
fn a_replayed_extension_of_a_hold_past_its_time_does_not_look_alive() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.one(extend(1, 1, 2 * HOLD)).unwrap();
    world.wait(2 * HOLD);
    // Nobody has freed it.
    let again = world.batch_beside(&[extend(1, 1, 2 * HOLD)], &BTreeSet::from([key(1)])).remove(0);
    let again = reserved(again);
    assert_eq!((again.first.state, again.current_state, again.replayed), (State::Held, State::Expired, true));
    assert_eq!(world.state(1), State::Held);
}

#[test]
fn a_replay_of_a_hold_past_its_time_does_not_look_alive() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(HOLD);
    let locked = BTreeSet::from([key(1)]);
    let again = reserved(world.batch_beside(&[reserve(1, &[("A", "", 2)])], &locked).remove(0));
    assert_eq!((again.first.state, again.current_state), (State::Held, State::Expired));
    assert_eq!(world.state(1), State::Held, "reading changes nothing");
}

#[test]
fn the_same_key_with_another_payload_is_refused_and_changes_nothing() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let answers = world.batch(&[reserve(1, &[("A", "", 2)]), reserve(1, &[("A", "", 3)])]);
    assert_eq!(answers[1], Err(Refusal::KeyReused));
    assert_eq!(world.level("A", "W1").held, 2);
}

#[test]
fn a_key_twice_in_one_batch_holds_once_and_answers_alike() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let mut answers = world.batch(&[reserve(1, &[("A", "", 2)]), reserve(1, &[("A", "", 2)])]);
    let (second, first) = (reserved(answers.remove(1)), reserved(answers.remove(0)));
    assert_eq!(first.first, second.first);
    assert!(second.replayed && !first.replayed);
    assert_eq!(world.level("A", "W1").held, 2);
}

#[test]
fn a_no_leaves_the_key_free_but_a_marked_retrys_no_closes_it() {
    let mut world = World::with(&[("A", "W1", 1)]);
    let two = [("A", "", 2)];
    assert!(world.one(reserve(1, &two)).is_err());
    let no = world.one(retried(reserve(1, &two))).unwrap_err();
    assert!(matches!(no, Refusal::Insufficient(_)));
    assert_eq!(world.state(1), State::Refused);

    world.one(count(9, 5, 0, &[("A", "W1", 10)])).unwrap();
    assert_eq!(world.one(reserve(1, &two)), Err(no.clone()), "the same no, though there is plenty now");
    assert_eq!(world.one(reserve(1, &[("A", "", 3)])), Err(Refusal::KeyReused));
    assert_eq!(world.one(confirm(2, 1)), Err(no.clone()));
    assert_eq!(world.one(extend(3, 1, HOLD)), Err(no));
    assert!(world.one(reserve(2, &two)).is_ok());
}

#[test]
fn a_refuse_closes_an_unused_key_and_leaves_a_used_one_alone() {
    let mut world = World::with(&[("A", "W1", 2)]);
    let Op::Reserve { id, owner, payload, cart, .. } = reserve(1, &[("A", "", 2)]) else { unreachable!() };
    let shortages = vec![Shortage { sku: sku("A"), location: None, requested: 2, available: 1 }];
    let refuse = Op::Refuse { id, owner, payload, cart, shortages: shortages.clone() };
    let mut used = world.clone();

    assert_eq!(world.one(refuse.clone()), Err(Refusal::Insufficient(shortages.clone())));
    assert_eq!(world.one(reserve(1, &[("A", "", 2)])), Err(Refusal::Insufficient(shortages)));

    let first = reserved(used.one(reserve(1, &[("A", "", 2)])));
    assert_eq!(reserved(used.one(refuse)).first, first.first, "the first attempt landed after all");
    assert_eq!(used.state(1), State::Held);
}

#[test]
fn a_released_hold_can_be_taken_by_someone_else() {
    let mut world = World::with(&[("A", "W1", 1)]);
    world.one(reserve(1, &[("A", "", 1)])).unwrap();
    let answers = world.batch(&[release(2, 1), reserve(3, &[("A", "", 1)])]);
    assert!(answers[1].is_ok());
    assert_eq!(world.state(1), State::Released);
    assert_eq!(world.one(confirm(4, 1)), Err(Refusal::Released));
    assert_eq!(world.one(extend(5, 1, HOLD)), Err(Refusal::Released));
    assert_eq!(reserved(world.one(reserve(1, &[("A", "", 1)]))).current_state, State::Released);
}

#[test]
fn releasing_an_unknown_key_closes_it_for_good() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let closed = reserved(world.one(release(2, 1)));
    assert_eq!((closed.first.state, closed.first.owner, closed.replayed), (State::Released, None, false));
    assert_eq!(world.one(reserve(1, &[("A", "", 1)])), Err(Refusal::Released));
    assert_eq!(world.one(confirm(3, 1)), Err(Refusal::Released));
    assert_eq!(world.level("A", "W1").held, 0);
}

#[test]
fn a_hold_past_its_time_is_over_for_confirm_and_extend() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(HOLD - 1);
    assert!(world.clone().one(confirm(2, 1)).is_ok(), "the last microsecond still counts");
    world.wait(1);
    assert_eq!(world.one(confirm(2, 1)), Err(Refusal::Expired));
    assert_eq!(world.one(extend(3, 1, HOLD)), Err(Refusal::Expired));
    assert_eq!(world.state(1), State::Expired, "it was due, and swept by the way");
    assert_eq!(world.one(confirm(2, 1)), Err(Refusal::Expired));
}

#[test]
fn a_hold_past_its_time_is_over_even_if_nobody_looked_whether_it_is_due() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(HOLD);
    let left = BTreeSet::from([key(1)]);
    let answers = world.batch_beside(&[confirm(2, 1), extend(3, 1, HOLD)], &left);
    assert_eq!(answers, [Err(Refusal::Expired), Err(Refusal::Expired)]);
    assert_eq!(world.state(1), State::Held, "a no changes nothing");
}

#[test]
fn releasing_a_hold_past_its_time_expires_it() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(HOLD);
    let mut snapshot = world.snapshot(&[release(2, 1)], &nobody());
    snapshot.due.clear();
    let plan = holdfast_stock::plan(snapshot, &[release(2, 1)], &LIMITS);
    assert_eq!(plan.ledger[0].cause.as_str(), "EXPIRE");
    let answer = reserved(plan.answers[0].clone());
    assert_eq!((answer.first.state, answer.current_state), (State::Expired, State::Expired));
    world.write(plan);
    world.audit();
    assert_eq!(reserved(world.one(release(3, 1))).first.state, State::Expired);
}

#[test]
fn due_holds_give_their_units_to_the_batch_that_finds_them() {
    let mut world = World::with(&[("A", "W1", 2), ("B", "W1", 1)]);
    world.one(reserve(1, &[("A", "", 2), ("B", "", 1)])).unwrap();
    world.wait(HOLD);
    assert!(world.one(reserve(2, &[("A", "", 2)])).is_ok());
    assert_eq!(world.state(1), State::Expired);
    assert_eq!(world.level("B", "W1").held, 0);
}

#[test]
fn due_holds_that_somebody_else_has_locked_make_no_shortage() {
    let mut world = World::with(&[("A", "W1", 3)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(HOLD);
    let locked = BTreeSet::from([key(1)]);
    let ask = |world: &mut World, n, units| {
        world.batch_beside(&[retried(reserve(n, &[("A", "", units)]))], &locked).remove(0)
    };
    assert_eq!(ask(&mut world, 2, 2), Err(Refusal::Contended));
    assert!(!world.records.contains_key(&key(2)), "the key is not closed, for it was no no");
    let missing = Shortage { sku: sku("A"), location: None, requested: 4, available: 3 };
    assert_eq!(ask(&mut world, 3, 4), Err(Refusal::Insufficient(vec![missing])), "too little even so");
    assert!(ask(&mut world, 4, 1).is_ok());
}

#[test]
fn a_due_hold_whose_other_rows_were_not_read_makes_no_shortage_and_stays() {
    let mut world = World::with(&[("A", "W1", 1), ("B", "W1", 1)]);
    world.one(reserve(1, &[("A", "", 1), ("B", "", 1)])).unwrap();
    world.wait(HOLD);
    let ops = [reserve(2, &[("A", "", 1)])];
    let mut snapshot = world.snapshot(&ops, &nobody());
    snapshot.levels.remove(&row("B", "W1"));
    let plan = holdfast_stock::plan(snapshot, &ops, &LIMITS);
    assert_eq!(plan.answers, vec![Err(Refusal::Contended)]);
    assert!(plan.ledger.is_empty() && plan.records_changed.is_empty());
}

#[test]
fn units_of_a_due_hold_that_a_release_frees_can_be_had_behind_it() {
    let mut world = World::with(&[("A", "W1", 1)]);
    world.one(reserve(1, &[("A", "", 1)])).unwrap();
    world.wait(HOLD);
    let ops = [reserve(2, &[("A", "", 1)]), release(3, 1), reserve(4, &[("A", "", 1)]), reserve(5, &[("A", "", 1)])];
    let mut snapshot = world.snapshot(&ops, &nobody());
    snapshot.due.clear();
    let plan = holdfast_stock::plan(snapshot, &ops, &LIMITS);
    assert_eq!(plan.answers[0], Err(Refusal::Contended));
    assert!(plan.answers[2].is_ok());
    assert!(matches!(plan.answers[3], Err(Refusal::Insufficient(_))), "nothing is overdue any more");
}

#[test]
fn confirm_commits_every_row_and_is_final_for_release_and_extend() {
    let mut world = World::with(&[("A", "W1", 2), ("A", "W2", 2), ("B", "W1", 1)]);
    world.one(reserve(1, &[("A", "", 3), ("B", "", 1)])).unwrap();
    let answer = reserved(world.one(confirm(2, 1)));
    assert_eq!((answer.first.state, answer.replayed), (State::Confirmed, false));
    let held_and_committed = |sku, at| (world.level(sku, at).held, world.level(sku, at).committed);
    assert_eq!(
        [held_and_committed("A", "W1"), held_and_committed("A", "W2"), held_and_committed("B", "W1")],
        [(0, 2), (0, 1), (0, 1)]
    );
    assert_eq!(world.one(release(3, 1)), Err(Refusal::Confirmed));
    assert_eq!(world.one(extend(4, 1, HOLD)), Err(Refusal::Confirmed));
    world.wait(2 * HOLD);
    assert_eq!(world.one(Op::Expire { id: key(1) }), Ok(Answer::Expiry { expired: false }));
}

#[test]
fn confirming_twice_sells_once() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    let mut answers = world.batch(&[confirm(2, 1), confirm(2, 1), confirm(3, 1)]);
    let other_key = reserved(answers.remove(2));
    let (again, first) = (reserved(answers.remove(1)), reserved(answers.remove(0)));
    assert_eq!(again.first, first.first);
    assert!(again.replayed && !first.replayed && !other_key.replayed);
    assert_eq!(other_key.first.state, State::Confirmed);
    assert_eq!(world.level("A", "W1").committed, 2);
}

#[test]
fn a_requests_key_stands_for_one_request_and_one_verb() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.one(reserve(2, &[("A", "", 2)])).unwrap();
    world.one(confirm(3, 1)).unwrap();
    assert_eq!(world.one(confirm(3, 2)), Err(Refusal::KeyReused));
    assert_eq!(world.one(release(3, 2)), Err(Refusal::KeyReused));
    assert_eq!(world.state(2), State::Held);
    world.one(count(7, 1, 1, &[("A", "W1", 5)])).unwrap();
    assert_eq!(world.one(adjust(7, &[])), Err(Refusal::KeyReused), "whatever the payload says");
}

#[test]
fn a_replayed_release_tells_what_was_and_what_is() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    let first = reserved(world.one(extend(2, 1, 3 * HOLD)));
    world.wait(1);
    world.one(release(3, 1)).unwrap();
    let again = reserved(world.one(extend(2, 1, 3 * HOLD)));
    assert_eq!(again.first, first.first);
    assert_eq!((again.first.state, again.current_state, again.replayed), (State::Held, State::Released, true));
}

#[test]
fn a_refused_request_leaves_its_key_free() {
    let mut world = World::with(&[("A", "W1", 5)]);
    assert_eq!(world.one(confirm(2, 1)), Err(Refusal::NotFound));
    assert!(world.operations.is_empty());
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    assert!(world.one(confirm(2, 1)).is_ok());
}

#[test]
fn extend_counts_from_now_and_never_takes_time_away() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let end = world.now + HOLD;
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(1);
    let same = reserved(world.one(extend(2, 1, 1)));
    assert_eq!((same.first.expires_at, same.first.version), (Some(UnixMicros(end)), 1));
    let more = reserved(world.one(extend(3, 1, HOLD)));
    assert_eq!((more.first.expires_at, more.first.version), (Some(UnixMicros(end + 1)), 2));
    assert_eq!(more.first.first_expires_at, Some(UnixMicros(end)));
}

#[test]
fn a_hold_lasts_no_longer_than_the_longest_extensions_included() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let longest = LIMITS.longest_hold_micros;
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    world.wait(10);
    let refused = Err(Refusal::HoldTooLong { max_micros: longest - 10 });
    assert_eq!(world.one(extend(2, 1, longest - 9)), refused);
    assert!(world.one(extend(2, 1, longest - 10)).is_ok());

    let Op::Reserve { id: _, owner, payload, cart, .. } = reserve(1, &[("A", "", 1)]) else { unreachable!() };
    let hold = holdfast_stock::HoldMicros::new(longest + 1).unwrap();
    let too_long =
        Op::Reserve { id: key(2), owner, payload, cart, hold: Some(hold), retry: true, terms: Box::default() };
    assert_eq!(world.one(too_long), Err(Refusal::HoldTooLong { max_micros: longest }));
    assert!(!world.records.contains_key(&key(2)), "a mistaken request closes no key");
}

#[test]
fn expiry_frees_only_a_hold_that_is_over() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    let expire = || Op::Expire { id: key(1) };
    assert_eq!(world.one(expire()), Ok(Answer::Expiry { expired: false }));
    world.wait(HOLD);
    let mut snapshot = world.snapshot(&[expire(), expire()], &nobody());
    snapshot.due.clear();
    let plan = holdfast_stock::plan(snapshot, &[expire(), expire()], &LIMITS);
    assert_eq!(plan.answers, vec![Ok(Answer::Expiry { expired: true }), Ok(Answer::Expiry { expired: false })]);
    world.write(plan);
    world.audit();
    assert_eq!(
        world.one(Op::Expire { id: key(8) }),
        Ok(Answer::Expiry { expired: false }),
        "an unknown one is no error"
    );
}

#[test]
fn cancelled_and_fulfilled_reservations_answer_by_what_can_be_done_next() {
    let mut world = World::with(&[("A", "W1", 5)]);
    for n in [1, 2] {
        world.one(reserve(n, &[("A", "", 1)])).unwrap();
        world.one(confirm(10 + n, n)).unwrap();
    }
    world.records.get_mut(&key(1)).unwrap().state = State::Cancelled;
    world.records.get_mut(&key(2)).unwrap().state = State::Fulfilled;
    let ask = |op: Op| holdfast_stock::plan(world.snapshot(std::slice::from_ref(&op), &nobody()), &[op], &LIMITS);
    assert_eq!(ask(confirm(30, 1)).answers[0], Err(Refusal::Cancelled));
    assert_eq!(ask(release(30, 1)).answers[0], Err(Refusal::Cancelled));
    assert_eq!(ask(extend(30, 1, HOLD)).answers[0], Err(Refusal::Cancelled));
    assert_eq!(reserved(ask(confirm(30, 2)).answers[0].clone()).first.state, State::Fulfilled);
    assert_eq!(ask(release(30, 2)).answers[0], Err(Refusal::Confirmed));
    assert_eq!(ask(extend(30, 2, HOLD)).answers[0], Err(Refusal::Confirmed));
}

#[test]
fn a_row_that_was_not_read_or_contradicts_itself_is_said_to_and_never_written() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 2)])).unwrap();
    let ops = [confirm(2, 1), reserve(3, &[("A", "", 1)])];
    let spoilt = |spoil: &dyn Fn(&mut Level)| {
        let mut snapshot = world.snapshot(&ops, &nobody());
        snapshot.levels.values_mut().for_each(spoil);
        holdfast_stock::plan(snapshot, &ops, &LIMITS)
    };
    let mut missing = world.snapshot(&ops, &nobody());
    missing.levels.clear();
    let plan = holdfast_stock::plan(missing, &ops, &LIMITS);
    assert!(matches!(plan.answers[0], Err(Refusal::Inconsistent(_))));

    let plan = spoilt(&|level| level.held = 1);
    assert!(matches!(plan.answers[0], Err(Refusal::Inconsistent(_))), "fewer held than the reservation says");
    assert!(plan.answers[1].is_ok(), "the neighbour is served");
    let plan = spoilt(&|level| level.shortfall = 1);
    assert!(matches!(plan.answers[..], [Err(Refusal::Inconsistent(_)), Err(Refusal::Inconsistent(_))]));
    assert!(plan.levels.is_empty() && plan.operations.is_empty());
}
