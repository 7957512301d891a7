//! A shelf that no feed counts: whoever works at it says what happens to it, and the record is right to the unit at every moment.

use crate::verbs::*;
use crate::world::*;
use holdfast_stock::{Answer, Condition, Op, Portion, Refusal, State};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What is done: to which of the sales there are, and with how many units; none: with all that can be.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Buy(i64, Option<i64>),
    Ship(u8, Option<i64>),
    CallOff(u8, Option<i64>, bool),
    Return(u8, i64, Condition),
    Receive(i64),
}

/// A sale on paper. Every number is units.
#[derive(Clone, Copy, Debug, Default)]
struct Sale {
    open: i64,
    shipped: i64,
}

#[derive(Default)]
struct Paper {
    shelf: i64,
    unsellable: BTreeMap<Condition, i64>,
    sales: BTreeMap<u8, Sale>,
}

fn some(units: Option<i64>) -> Vec<(&'static str, &'static str, i64)> {
    units.map(|units| ("A", "", units)).into_iter().collect()
}

fn buy(world: &mut World, paper: &mut Paper, r: u8, units: i64, part: Option<i64>) {
    let n = u8::try_from(paper.sales.len()).unwrap() + 1;
    if world.one(reserve(n, &[("A", "W1", units)])).is_err() {
        return;
    }
    let part = part.filter(|part| *part <= units);
    let Op::Confirm { request, payload, id, reacquire, order, .. } = confirm(r, n) else { panic!("it confirms") };
    let portions: Vec<Portion> = portions(&some(part));
    world.one(Op::Confirm { request, payload, id, portions, reacquire, order }).unwrap();
    paper.sales.insert(n, Sale { open: part.unwrap_or(units), shipped: 0 });
}

fn does(outcome: &Outcome, is_possible: bool) -> bool {
    match outcome {
        Ok(Answer::Reservation(answer)) => {
            assert!(is_possible && !answer.replayed);
            true
        }
        Err(Refusal::Exceeded(_) | Refusal::Fulfilled | Refusal::Cancelled) => {
            assert!(!is_possible, "{outcome:?}");
            false
        }
        other => panic!("{other:?}"),
    }
}

fn happen(world: &mut World, paper: &mut Paper, r: u8, deed: Deed) {
    let sales = u8::try_from(paper.sales.len().max(1)).unwrap();
    let chosen = |n: u8| 1 + n % sales;
    match deed {
        Deed::Buy(units, part) => buy(world, paper, r, units, part),
        Deed::Receive(units) => {
            world.one(adjust(r, &[("A", "W1", Condition::Sellable, units)])).unwrap();
            paper.shelf += units;
        }
        Deed::Ship(n, units) => {
            let Some(sale) = paper.sales.get_mut(&chosen(n)) else { return };
            let all = units.unwrap_or(sale.open);
            if does(&world.one(fulfil(r, chosen(n), &some(units), 0)), all <= sale.open && sale.open > 0) {
                (sale.open, sale.shipped, paper.shelf) = (sale.open - all, sale.shipped + all, paper.shelf - all);
            }
        }
        Deed::CallOff(n, units, lost) => {
            let Some(sale) = paper.sales.get_mut(&chosen(n)) else { return };
            let all = units.unwrap_or(sale.open);
            let op = if lost { lose(r, chosen(n), &some(units)) } else { cancel(r, chosen(n), &some(units)) };
            if does(&world.one(op), all <= sale.open && sale.open > 0) {
                (sale.open, paper.shelf) = (sale.open - all, paper.shelf - if lost { all } else { 0 });
            }
        }
        Deed::Return(n, units, condition) => {
            let Some(sale) = paper.sales.get_mut(&chosen(n)) else { return };
            let op = take_back(r, chosen(n), &[("A", "W1", units, condition, "")]);
            if does(&world.one(op), units <= sale.shipped) {
                sale.shipped -= units;
                match condition {
                    Condition::Sellable => paper.shelf += units,
                    other => *paper.unsellable.entry(other).or_default() += units,
                }
            }
        }
    }
}

fn a_deed() -> impl Strategy<Value = Deed> {
    let part = || prop_oneof![2 => Just(None), 3 => (1..5_i64).prop_map(Some)];
    let condition = prop::sample::select(&Condition::ALL[..]);
    prop_oneof![
        4 => (1..6_i64, part()).prop_map(|(units, part)| Deed::Buy(units, part)),
        4 => (any::<u8>(), part()).prop_map(|(n, units)| Deed::Ship(n, units)),
        2 => (any::<u8>(), part(), any::<bool>()).prop_map(|(n, units, lost)| Deed::CallOff(n, units, lost)),
        2 => (any::<u8>(), 1..4_i64, condition).prop_map(|(n, units, condition)| Deed::Return(n, units, condition)),
        1 => (1..9_i64).prop_map(Deed::Receive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_shelf_that_no_feed_counts_is_known_to_the_unit_at_every_moment(
        shelf in 0..20_i64,
        deeds in vec(a_deed(), 1..60),
    ) {
        let mut world = World::with(&[("A", "W1", shelf)]);
        let mut paper = Paper { shelf, ..Paper::default() };
        for (r, deed) in (1..).zip(deeds) {
            happen(&mut world, &mut paper, r, deed);
            let open: i64 = paper.sales.values().map(|sale| sale.open).sum();
            prop_assert_eq!(world.stock(), (paper.shelf, open, paper.shelf - open));
            prop_assert_eq!(&world.level("A", "W1").unsellable, &paper.unsellable);
            let is_over = |n: &u8| matches!(world.state(*n), State::Fulfilled | State::Cancelled);
            prop_assert!(paper.sales.iter().all(|(n, sale)| is_over(n) == (sale.open == 0)));
        }
    }
}
