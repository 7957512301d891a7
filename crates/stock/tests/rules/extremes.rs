//! Numbers at the end of their ranges: refused or taken, never a panic, never half.

use crate::world::*;
use holdfast_stock::{
    Adjustment, AdjustmentReason, Cart, Condition, HoldMicros, LEVEL_MAX, Level, LevelProblem, Limits, Line, Name,
    Note, Op, Owner, Quantity, Snapshot, UnixMicros, plan,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_units() -> impl Strategy<Value = i64> {
    prop_oneof![
        prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, LEVEL_MAX - 1, LEVEL_MAX, LEVEL_MAX + 1, i64::MAX]),
        any::<i64>(),
        -3..3_i64,
    ]
}

fn any_level() -> impl Strategy<Value = Level> {
    (any_units(), any_units(), any_units(), any_units(), any_units(), any::<bool>()).prop_map(
        |(on_hand, held, committed, safety, backorder, honest)| {
            let mut level = Level { on_hand, held, committed, safety, backorder, ..Level::default() };
            level.shortfall = if honest { level.shortfall_due() } else { 0 };
            level
        },
    )
}

fn any_op() -> impl Strategy<Value = Op> {
    (0..8_u8, 0..4_u8, 0..8_u8, any_units(), any_units(), 1..=Quantity::MAX).prop_map(|(verb, n, r, x, y, units)| {
        let hold = HoldMicros::new(x).unwrap_or(HoldMicros::new(i64::MAX).unwrap());
        let line = Line { sku: sku("A"), location: None, quantity: Quantity::new(units).unwrap(), split: true };
        let cart = Cart::new(vec![line]).unwrap();
        match verb {
            0 => Op::Reserve {
                id: key(n),
                owner: Owner::new("a").unwrap(),
                payload: payload(0),
                cart,
                hold: Some(hold),
                retry: x > y,
                terms: Box::default(),
            },
            1 => confirm(r, n),
            2 => release(r, n),
            3 => Op::Extend { request: request(r), payload: payload(n), id: key(n), hold },
            4 => Op::Expire { id: key(n) },
            5 => count(r, x, y, &[("A", "W1", x), ("A", "W2", y)]),
            _ => Op::Adjust {
                request: request(r),
                payload: payload(n),
                actor: Name::new("a").unwrap(),
                note: Note::new("").unwrap(),
                adjustments: [(Condition::Sellable, x), (Condition::Damaged, y)]
                    .map(|(condition, delta)| Adjustment {
                        sku: sku("A"),
                        location: location("W1"),
                        condition,
                        delta,
                        reason: AdjustmentReason::Lost,
                    })
                    .into(),
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_number_makes_the_planner_panic_or_write_nonsense(
        levels in vec(any_level(), 1..3),
        now in any_units(),
        later in any_units(),
        longest in any_units(),
        ops in vec(any_op(), 1..10),
        more in vec(any_op(), 1..10),
    ) {
        let limits = Limits { longest_hold_micros: longest, default_hold: HoldMicros::new(1).unwrap() };
        let mut read = Snapshot { now: UnixMicros(now), ..Snapshot::default() };
        for (level, at) in levels.into_iter().zip(["W1", "W2"]) {
            read.levels.insert(row("A", at), level);
        }
        let first = plan(read.clone(), &ops, &limits);
        let mut next = Snapshot { now: UnixMicros(later), ..read };
        for record in first.records_inserted.iter().chain(&first.records_changed) {
            next.records.insert(record.id, record.clone());
            next.due.insert(record.id);
        }
        next.levels.extend(first.levels.clone());
        next.operations.extend(first.operations.clone());
        let second = plan(next, &more, &limits);
        for made in [first, second] {
            for level in made.levels.values() {
                prop_assert_eq!(level.shortfall, level.shortfall_due());
            }
            for entry in &made.ledger {
                let level = &made.levels[&(entry.sku.clone(), entry.location.clone())];
                prop_assert!((0..=LEVEL_MAX).contains(&level.on_hand) && (0..=LEVEL_MAX).contains(&level.held));
            }
        }
    }

    #[test]
    fn a_change_that_does_not_fit_leaves_the_level_as_it_was(level in any_level(), x in any_units(), y in any_units()) {
        let delta = holdfast_stock::Delta {
            on_hand: x,
            held: y,
            unsellable: Some((Condition::Damaged, x)),
            ..Default::default()
        };
        let mut changed = level.clone();
        match changed.apply(&delta) {
            Ok(()) => prop_assert_eq!(changed.version, level.version + 1),
            Err(LevelProblem::Negative | LevelProblem::TooLarge) => prop_assert_eq!(changed, level),
        }
    }
}
