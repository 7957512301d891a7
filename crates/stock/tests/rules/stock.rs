//! What becomes of counts and adjustments, by example.

use crate::world::*;
use holdfast_stock::{Answer, Condition, CountOutcome, CountResult, LEVEL_MAX, Refusal, UnixMicros};

#[track_caller]
fn counted(outcome: Outcome) -> Vec<CountResult> {
    match outcome {
        Ok(Answer::Counted { results, .. }) => results,
        other => panic!("not counted: {other:?}"),
    }
}

fn outcomes(outcome: Outcome) -> Vec<CountOutcome> {
    counted(outcome).into_iter().map(|result| result.outcome).collect()
}

#[test]
fn a_count_makes_rows_and_their_first_entry() {
    let mut world = World::with(&[]);
    let results = counted(world.one(count(1, 100, 0, &[("A", "W1", 7), ("B", "W1", 0)])));
    assert_eq!(results[0].outcome, CountOutcome::Applied);
    assert_eq!((results[0].previous_on_hand, results[0].on_hand), (0, 7));
    assert_eq!(results[1].outcome, CountOutcome::Applied, "a row with nothing in it is news too");
    assert_eq!(world.level("A", "W1").count, Some((UnixMicros(100), 0)));
    assert_eq!((world.level("A", "W1").version, world.level("B", "W1").version), (1, 1));
}

#[test]
fn only_a_later_count_is_taken_by_time_and_then_by_sequence() {
    let mut world = World::with(&[]);
    let mut say = |r, as_of, sequence, units| outcomes(world.one(count(r, as_of, sequence, &[("A", "W1", units)])))[0];
    assert_eq!(say(1, 100, 5, 7), CountOutcome::Applied);
    assert_eq!(say(2, 100, 5, 8), CountOutcome::Stale);
    assert_eq!(say(3, 100, 4, 8), CountOutcome::Stale);
    assert_eq!(say(4, 99, 9, 8), CountOutcome::Stale);
    assert_eq!(say(5, 100, 6, 9), CountOutcome::Applied);
    assert_eq!(say(6, 101, 0, 3), CountOutcome::Applied);
    assert_eq!(world.level("A", "W1").on_hand, 3);
}

#[test]
fn the_same_number_moves_the_rows_time_and_nothing_else() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 7)])).unwrap();
    let ops = [count(2, 200, 0, &[("A", "W1", 7)])];
    let plan = holdfast_stock::plan(world.snapshot(&ops, &Default::default()), &ops, &LIMITS);
    assert_eq!(outcomes(plan.answers[0].clone()), [CountOutcome::Unchanged]);
    assert!(plan.ledger.is_empty());
    world.write(plan);
    assert_eq!(world.level("A", "W1").count, Some((UnixMicros(200), 0)));
    assert_eq!(outcomes(world.one(count(3, 150, 0, &[("A", "W1", 9)]))), [CountOutcome::Stale]);
}

#[test]
fn rows_of_one_request_decide_independently() {
    let mut world = World::with(&[]);
    world.one(count(1, 100, 0, &[("A", "W1", 7)])).unwrap();
    let next = count(2, 50, 0, &[("A", "W1", 1), ("A", "W2", 2), ("A", "W2", 3)]);
    let results = outcomes(world.one(next));
    assert_eq!(
        results,
        [CountOutcome::Stale, CountOutcome::Applied, CountOutcome::Stale],
        "a row takes one count a request"
    );
    assert_eq!((world.level("A", "W1").on_hand, world.level("A", "W2").on_hand), (7, 2));
}

#[test]
fn a_count_below_what_is_promised_is_taken_and_the_shortfall_said() {
    let mut world = World::with(&[("A", "W1", 10)]);
    world.one(reserve(1, &[("A", "", 4)])).unwrap();
    world.one(reserve(2, &[("A", "", 3)])).unwrap();
    world.one(confirm(3, 2)).unwrap();
    let results = counted(world.one(count(4, 100, 0, &[("A", "W1", 5)])));
    assert_eq!((results[0].on_hand, results[0].shortfall), (5, 2));
    assert!(world.one(reserve(5, &[("A", "", 1)])).is_err());
    world.one(release(6, 1)).unwrap();
    assert_eq!(world.level("A", "W1").shortfall, 0, "what lowers held sets the shortfall anew");
    assert_eq!(world.level("A", "W1").available(), 2);
}

#[test]
fn a_replayed_count_is_answered_as_at_first_and_counts_nothing() {
    let mut world = World::with(&[]);
    let first = counted(world.one(count(1, 100, 0, &[("A", "W1", 7)])));
    world.one(count(2, 200, 0, &[("A", "W1", 3)])).unwrap();
    let again = world.one(count(1, 100, 0, &[("A", "W1", 7)]));
    assert_eq!(again, Ok(Answer::Counted { results: first, replayed: true }));
    assert_eq!(world.level("A", "W1").on_hand, 3);
}

#[test]
fn a_count_that_cannot_be_changes_nothing() {
    let mut world = World::with(&[]);
    let odd = world.one(count(1, 100, 0, &[("A", "W1", 7), ("B", "W1", -1), ("C", "W1", LEVEL_MAX + 1)]));
    assert_eq!(odd, Err(Refusal::OutOfRange(vec![row("B", "W1"), row("C", "W1")])));
    assert!(world.levels.is_empty() && world.operations.is_empty());
}

#[test]
fn adjustments_are_made_all_or_none_and_each_has_its_entry() {
    let mut world = World::with(&[("A", "W1", 10)]);
    let moved = [("A", "W1", Condition::Sellable, -3), ("A", "W1", Condition::Damaged, 3)];
    let Ok(Answer::Adjusted { levels, replayed: false }) = world.one(adjust(1, &moved)) else { panic!("not adjusted") };
    assert_eq!(levels.len(), 1);
    assert_eq!(levels[0].level, *world.level("A", "W1"));
    assert_eq!((world.level("A", "W1").on_hand, world.level("A", "W1").version), (7, 2));
    assert_eq!(world.level("A", "W1").unsellable[&Condition::Damaged], 3);

    let too_many = [
        ("A", "W1", Condition::Sellable, 5),
        ("A", "W1", Condition::Damaged, -4),
        ("A", "W1", Condition::QualityHold, -1),
    ];
    let Err(Refusal::WouldBeNegative(negatives)) = world.one(adjust(2, &too_many)) else { panic!("taken") };
    let named: Vec<_> = negatives.iter().map(|n| (n.index, n.condition, n.present, n.delta)).collect();
    assert_eq!(named, [(1, Condition::Damaged, 3, -4), (2, Condition::QualityHold, 0, -1)]);
    assert_eq!(world.level("A", "W1").on_hand, 7);

    world.one(adjust(3, &[("A", "W1", Condition::Damaged, -3)])).unwrap();
    assert!(world.level("A", "W1").unsellable.is_empty());
}

#[test]
fn an_addition_makes_a_row_and_a_removal_does_not() {
    let mut world = World::with(&[("A", "W1", 1)]);
    let removed = world.one(adjust(1, &[("A", "W2", Condition::Damaged, -1), ("A", "W1", Condition::Sellable, 1)]));
    assert_eq!(removed, Err(Refusal::UnknownSku(vec![(sku("A"), Some(location("W2")))])));
    assert_eq!(world.level("A", "W1").on_hand, 1);
    let added = [("A", "W2", Condition::Sellable, 4), ("A", "W2", Condition::Sellable, -1)];
    world.one(adjust(1, &added)).unwrap();
    assert_eq!((world.level("A", "W2").on_hand, world.level("A", "W2").count), (3, None));
}

#[test]
fn an_adjustment_may_raise_a_shortfall() {
    let mut world = World::with(&[("A", "W1", 5)]);
    world.one(reserve(1, &[("A", "", 4)])).unwrap();
    world.one(adjust(2, &[("A", "W1", Condition::Sellable, -3)])).unwrap();
    assert_eq!(world.level("A", "W1").shortfall, 2);
    assert!(world.one(confirm(3, 1)).is_ok(), "what is promised stays promised");
    assert_eq!(world.level("A", "W1").shortfall, 2);
}

#[test]
fn a_replayed_adjustment_shows_the_rows_as_they_were_right_after() {
    let mut world = World::with(&[("A", "W1", 5)]);
    let add = || adjust(1, &[("A", "W1", Condition::Sellable, 1)]);
    let Ok(Answer::Adjusted { levels: first, .. }) = world.one(add()) else { panic!("not adjusted") };
    world.one(reserve(1, &[("A", "", 4)])).unwrap();
    assert_eq!(world.one(add()), Ok(Answer::Adjusted { levels: first, replayed: true }));
    assert_eq!(world.level("A", "W1").on_hand, 6);
}

#[test]
fn more_units_than_a_row_can_have_are_refused_beside_a_neighbour_that_is_served() {
    let mut world = World::with(&[("A", "W1", LEVEL_MAX), ("B", "W1", 1)]);
    let answers = world.batch(&[
        adjust(1, &[("B", "W1", Condition::Sellable, 1), ("A", "W1", Condition::Sellable, 1)]),
        adjust(2, &[("B", "W1", Condition::Sellable, i64::MAX), ("A", "W1", Condition::Sellable, i64::MIN)]),
        reserve(3, &[("B", "", 1)]),
    ]);
    assert_eq!(answers[0], Err(Refusal::OutOfRange(vec![row("A", "W1")])));
    assert!(answers[1].is_err() && answers[2].is_ok());
    assert_eq!(world.level("B", "W1").on_hand, 1);
}
