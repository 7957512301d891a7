//! Repair on rows, ledgers and reservations that contradict each other in any way.

use crate::world::*;
use holdfast_stock::{
    Answer, Cause, Condition, Level, Movement, Name, Note, Op, Plan, Policy, RepairEvidence, RepairOutcome,
    RepairResult, ReservationId, Side, Snapshot, State, Sums, UnixMicros, plan,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A row that was edited by hand: what it says, and what its ledger says.
#[derive(Clone, Debug)]
struct Damage {
    row: [i64; 5],
    ledger: [i64; 5],
    damaged: (i64, i64),
    version: i64,
    policy: Option<(i64, i64)>,
    holds: Vec<(i64, i64, bool)>,
    side: Side,
}

fn some_damage() -> impl Strategy<Value = Damage> {
    let numbers = || prop::array::uniform5(0_i64..20);
    let hold = (1_i64..6, 0_i64..6, any::<bool>());
    (
        numbers(),
        numbers(),
        (0_i64..5, 0_i64..5),
        1_i64..9,
        proptest::option::of((0_i64..5, 0_i64..5)),
        proptest::collection::vec(hold, 0..4),
        prop::bool::ANY,
    )
        .prop_map(|(row, ledger, damaged, version, policy, holds, to_ledger)| Damage {
            row,
            ledger,
            damaged,
            version,
            policy,
            holds,
            side: if to_ledger { Side::Ledger } else { Side::Row },
        })
}

fn units(damaged: i64) -> BTreeMap<Condition, i64> {
    (damaged > 0).then_some((Condition::Damaged, damaged)).into_iter().collect()
}

impl Damage {
    fn snapshot(&self) -> Snapshot {
        let [on_hand, held, committed, safety, backorder] = self.row;
        let mut level =
            Level { on_hand, held, committed, safety, backorder, version: self.version, ..Level::default() };
        level.unsellable = units(self.damaged.0);
        level.shortfall = level.shortfall_due();
        let [on_hand, held, committed, safety, backorder] = self.ledger;
        let mut evidence = RepairEvidence { entries: self.version, newest: self.version, ..RepairEvidence::default() };
        evidence.sums = Sums { on_hand, held, committed, safety, backorder, unsellable: units(self.damaged.1) };
        for (n, (allocated, in_ledger, confirmed)) in (1..).zip(&self.holds) {
            let state = if *confirmed { State::Confirmed } else { State::Held };
            let (held, committed) = if *confirmed { (0, *allocated) } else { (*allocated, 0) };
            evidence.promised_held += held;
            evidence.promised_committed += committed;
            let movement = Movement {
                state: Some(state),
                allocated: *allocated,
                promised_held: held,
                promised_committed: committed,
                progress: None,
                progressed: None,
                loose: 0,
                after: 0,
                held: if *confirmed { 0 } else { *in_ledger },
                committed: if *confirmed { *in_ledger } else { 0 },
                taken: *in_ledger,
                reserved: 1,
                ended: i64::from(*confirmed),
                repaired: 0,
                told: Some(state),
            };
            evidence.movements.insert(key(n), movement);
        }
        let policy = self.policy.map(|(safety, backorder)| {
            let locations = vec![location("W1")];
            (sku("A"), Policy { version: 1, safety, backorder, locations, ..Policy::default() })
        });
        Snapshot {
            now: UnixMicros(1_000),
            levels: BTreeMap::from([(row("A", "W1"), level)]),
            policies: policy.into_iter().collect(),
            evidence: BTreeMap::from([(row("A", "W1"), evidence)]),
            ..Snapshot::default()
        }
    }
}

fn repair(side: Side, reservations: &[ReservationId], validate_only: bool) -> Op {
    Op::Repair {
        request: request(1),
        payload: payload(1),
        actor: Name::new("ada").unwrap(),
        note: Note::new("planted").unwrap(),
        rows: BTreeSet::from([row("A", "W1")]),
        reservations: reservations.iter().copied().collect(),
        side,
        validate_only,
    }
}

fn results(plan: &Plan) -> &[RepairResult] {
    match plan.answers.as_slice() {
        [Ok(Answer::Repaired { results, .. })] => results,
        other => panic!("{other:?}"),
    }
}

/// A row that sums up otherwise than it is, with a hold on it that is over.
fn with_a_hold_that_is_over() -> Snapshot {
    let mut snapshot = Damage {
        row: [9, 4, 0, 0, 0],
        ledger: [7, 4, 0, 0, 0],
        damaged: (0, 0),
        version: 3,
        policy: None,
        holds: vec![(4, 4, false)],
        side: Side::Row,
    }
    .snapshot();
    let mut world = World::with(&[("A", "W1", 9)]);
    world.now = 0;
    world.one(reserve(1, &[("A", "W1", 4)])).unwrap();
    snapshot.records = world.records;
    snapshot
}

/// A repair of the row and of the hold beside others' operations: what it says.
#[track_caller]
fn left_for_later(snapshot: Snapshot, mut ops: Vec<Op>) {
    ops.push(repair(Side::Row, &[key(1)], false));
    let plan = plan(snapshot, &ops, &LIMITS);
    let Some(Ok(Answer::Repaired { results, .. })) = plan.answers.last() else { panic!("{:?}", plan.answers) };
    assert!(results.iter().all(|result| result.outcome == RepairOutcome::Left), "{results:?}");
    assert!(results.iter().all(|result| result.detail.contains("look again")), "{results:?}");
    assert!(plan.ledger.iter().all(|entry| !matches!(entry.cause, Cause::Repair(_) | Cause::RepairReservation(_))));
    assert!(plan.operations.iter().all(|(landed, _)| *landed != request(1)), "its key stays free");
}

#[test]
fn a_repair_leaves_what_its_own_batch_has_changed_for_another_look() {
    let snapshot = with_a_hold_that_is_over();
    left_for_later(snapshot.clone(), vec![adjust(2, &[("A", "W1", Condition::Sellable, 1)])]);
    left_for_later(Snapshot { due: BTreeSet::from([key(1)]), ..snapshot.clone() }, Vec::new());
    let alone = plan(snapshot, &[repair(Side::Row, &[key(1)], false)], &LIMITS);
    let outcomes: Vec<RepairOutcome> = results(&alone).iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, [RepairOutcome::Gone, RepairOutcome::Repaired]);
}

proptest! {
    #[test]
    fn a_repaired_row_is_its_ledgers_sum_its_reservations_and_its_policy(damage in some_damage()) {
        let snapshot = damage.snapshot();
        let before = snapshot.levels[&row("A", "W1")].clone();
        let evidence = snapshot.evidence[&row("A", "W1")].clone();
        let plan = plan(snapshot, &[repair(damage.side, &[], false)], &LIMITS);
        let after = plan.levels.get(&row("A", "W1")).cloned().unwrap_or(before.clone());
        let sum = |of: fn(&holdfast_stock::Delta) -> i64| plan.ledger.iter().map(|entry| of(&entry.delta)).sum::<i64>();
        let sums = &evidence.sums;
        prop_assert_eq!(after.on_hand, sums.on_hand + sum(|d| d.on_hand));
        prop_assert_eq!(after.held, sums.held + sum(|d| d.held));
        prop_assert_eq!(after.committed, sums.committed + sum(|d| d.committed));
        prop_assert_eq!(after.safety, sums.safety + sum(|d| d.safety));
        prop_assert_eq!(after.backorder, sums.backorder + sum(|d| d.backorder));
        let damaged = |units: &BTreeMap<Condition, i64>| units.get(&Condition::Damaged).copied().unwrap_or(0);
        prop_assert_eq!(damaged(&after.unsellable), damaged(&sums.unsellable) + sum(|d| d.unsellable.map_or(0, |(_, n)| n)));
        prop_assert_eq!((after.held, after.committed), (evidence.promised_held, evidence.promised_committed));
        prop_assert_eq!(after.shortfall, after.shortfall_due());
        prop_assert_eq!(after.on_hand, if damage.side == Side::Row { before.on_hand } else { sums.on_hand });
        if let Some((safety, backorder)) = damage.policy {
            prop_assert_eq!((after.safety, after.backorder, after.rank), (safety, backorder, 0));
        }
        // Versions follow on without a gap, and every reservation's share is what it should count for.
        let versions: Vec<i64> = plan.ledger.iter().map(|entry| entry.version).collect();
        prop_assert_eq!(&versions, &(1..).map(|n| damage.version + n).take(versions.len()).collect::<Vec<_>>());
        prop_assert_eq!(after.version, damage.version + i64::try_from(versions.len()).unwrap());
        for (id, movement) in &evidence.movements {
            let own = plan.ledger.iter().filter(|entry| entry.cause == Cause::RepairReservation(*id));
            let (held, committed) = own.fold((movement.held, movement.committed), |(h, c), e| (h + e.delta.held, c + e.delta.committed));
            prop_assert_eq!((held, committed), (movement.promised_held, movement.promised_committed));
        }
        let expected = if plan.ledger.is_empty() { RepairOutcome::Gone } else { RepairOutcome::Repaired };
        prop_assert_eq!(results(&plan)[0].outcome, expected);
    }

    #[test]
    fn a_dry_run_says_the_same_and_writes_nothing(damage in some_damage()) {
        let wet = plan(damage.snapshot(), &[repair(damage.side, &[], false)], &LIMITS);
        let dry = plan(damage.snapshot(), &[repair(damage.side, &[], true)], &LIMITS);
        prop_assert_eq!(results(&dry), results(&wet));
        prop_assert_eq!((dry.ledger.len(), dry.levels.len(), dry.operations.len()), (0, 0, 0));
    }
}

#[test]
fn a_ledger_with_lost_entries_is_left_whatever_else_is_wrong() {
    let damage = Damage {
        row: [5, 0, 0, 0, 0],
        ledger: [4, 0, 0, 0, 0],
        damaged: (0, 0),
        version: 3,
        policy: None,
        holds: Vec::new(),
        side: Side::Row,
    };
    for (entries, newest) in [(2, 3), (4, 3), (2, 2)] {
        let mut snapshot = damage.snapshot();
        let evidence = snapshot.evidence.get_mut(&row("A", "W1")).unwrap();
        (evidence.entries, evidence.newest) = (entries, newest);
        let plan = plan(snapshot, &[repair(Side::Row, &[], false)], &LIMITS);
        assert_eq!(results(&plan)[0].outcome, RepairOutcome::Left);
        assert!(plan.ledger.is_empty() && plan.levels.is_empty() && plan.operations.is_empty());
    }
}

#[test]
fn a_hold_that_vanished_comes_back_closed_and_a_sale_comes_back_sold() {
    for (told, state, committed) in [(State::Held, State::Released, 0), (State::Confirmed, State::Confirmed, 2)] {
        let mut snapshot = Damage {
            row: [9, 2 - committed, committed, 0, 0],
            ledger: [9, 2 - committed, committed, 0, 0],
            damaged: (0, 0),
            version: 2,
            policy: None,
            holds: Vec::new(),
            side: Side::Row,
        }
        .snapshot();
        let movement = Movement {
            allocated: 2,
            held: 2 - committed,
            committed,
            taken: 2,
            reserved: 1,
            ended: i64::from(told != State::Held),
            told: Some(told),
            ..Movement::default()
        };
        snapshot.evidence.get_mut(&row("A", "W1")).unwrap().movements.insert(key(1), movement);
        let plan = plan(snapshot, &[repair(Side::Row, &[key(1)], false)], &LIMITS);
        let [record] = plan.records_inserted.as_slice() else { panic!("{plan:?}") };
        assert_eq!((record.state, record.lines[0].quantity.get()), (state, 2));
        let level = plan.levels.get(&row("A", "W1")).map_or((0, committed), |level| (level.held, level.committed));
        assert_eq!(level, (0, committed));
    }
}
