//! From which locations carts are taken: the strategies, lines that must not be split, and as much as there is.

use crate::asking::*;
use crate::world::*;
use holdfast_stock::{Availability, Cart, Choice, Line, NoChoice, Quantity, Strategy, choose_best, choose_cart};
use proptest::collection::vec;
use proptest::prelude::{Strategy as Draw, any, prop, prop_assert, prop_assert_eq, proptest};
use std::collections::{BTreeMap, BTreeSet};

type Places = Vec<(String, String, i64)>;

/// The locations stand in the order of preference.
fn there(rows: &[(&str, &str, i64)]) -> Availability {
    rows.iter().map(|(code, at, units)| (sku(code), location(at), *units)).collect()
}

fn unsplit(lines: &[(&str, &str, i64)]) -> Cart {
    let lines = cart(lines).lines().iter().map(|line| Line { split: false, ..line.clone() }).collect();
    Cart::new(lines).unwrap()
}

fn chosen(cart: &Cart, strategy: &Strategy, rows: &[(&str, &str, i64)]) -> Option<Places> {
    let allocations = choose_cart(cart, strategy, &there(rows)).ok()?;
    let place = |a: holdfast_stock::Allocation| (a.sku.to_string(), a.location.to_string(), a.quantity);
    Some(allocations.into_iter().map(place).collect())
}

fn at(places: &[(&str, &str, i64)]) -> Option<Places> {
    Some(places.iter().map(|(code, at, units)| ((*code).to_owned(), (*at).to_owned(), *units)).collect())
}

fn near(codes: &[&str]) -> Strategy {
    Strategy::Nearest(codes.iter().map(|code| location(code)).collect())
}

#[test]
fn the_fullest_location_gives_first_by_most_stock() {
    let rows = [("A", "W1", 5), ("A", "W2", 7), ("A", "W3", 7)];
    assert_eq!(chosen(&cart(&[("A", "", 3)]), &Strategy::MostStock, &rows), at(&[("A", "W2", 3)]));
    assert_eq!(chosen(&cart(&[("A", "", 9)]), &Strategy::MostStock, &rows), at(&[("A", "W2", 7), ("A", "W3", 2)]));
    assert_eq!(chosen(&cart(&[("A", "", 3)]), &Strategy::FixedPriority, &rows), at(&[("A", "W1", 3)]));
}

#[test]
fn the_nearest_location_that_has_all_gives_all() {
    let rows = [("A", "W1", 9), ("A", "W2", 2), ("A", "W3", 4), ("A", "W4", 9)];
    assert_eq!(chosen(&cart(&[("A", "", 4)]), &near(&["W2", "W3"]), &rows), at(&[("A", "W3", 4)]));
    assert_eq!(chosen(&cart(&[("A", "", 2)]), &near(&["W3", "W2"]), &rows), at(&[("A", "W3", 2)]));
}

#[test]
fn near_locations_give_what_they_have_before_a_far_one_gives_the_rest() {
    let rows = [("A", "W1", 9), ("A", "W2", 2), ("A", "W3", 4), ("A", "W4", 9)];
    let taken = chosen(&cart(&[("A", "", 7)]), &near(&["W2", "W3"]), &rows);
    assert_eq!(taken, at(&[("A", "W1", 1), ("A", "W2", 2), ("A", "W3", 4)]));
    let taken = chosen(&cart(&[("A", "", 5)]), &near(&["W2", "W9", "W2"]), &rows);
    assert_eq!(taken, at(&[("A", "W1", 3), ("A", "W2", 2)]), "a location named twice has its units once");
    assert_eq!(chosen(&cart(&[("A", "", 9)]), &near(&[]), &rows), at(&[("A", "W1", 9)]));
}

#[test]
fn a_line_that_must_not_be_split_comes_from_one_location_by_any_strategy() {
    let rows = [("A", "W1", 3), ("A", "W2", 5), ("A", "W3", 6)];
    let asked = unsplit(&[("A", "", 4)]);
    assert_eq!(chosen(&asked, &Strategy::FixedPriority, &rows), at(&[("A", "W2", 4)]));
    assert_eq!(chosen(&asked, &Strategy::FewestParcels, &rows), at(&[("A", "W2", 4)]));
    assert_eq!(chosen(&asked, &Strategy::MostStock, &rows), at(&[("A", "W3", 4)]));
    assert_eq!(chosen(&asked, &near(&["W1", "W3"]), &rows), at(&[("A", "W3", 4)]));
    assert_eq!(chosen(&asked, &near(&["W1"]), &rows), at(&[("A", "W2", 4)]));
    let short = Err(NoChoice::Short(vec![missing(("A", "", 7, 6))]));
    assert_eq!(choose_cart(&unsplit(&[("A", "", 7)]), &Strategy::MostStock, &there(&rows)), short);
    assert_eq!(chosen(&cart(&[("A", "", 7)]), &Strategy::FixedPriority, &rows), at(&[("A", "W2", 1), ("A", "W3", 6)]));
}

#[test]
fn lines_of_a_sku_are_split_only_if_all_of_them_may_be() {
    let line = |split| Line { sku: sku("A"), location: None, quantity: Quantity::new(2).unwrap(), split };
    assert!(!Cart::new(vec![line(true), line(false)]).unwrap().lines()[0].split);
    assert!(!Cart::new(vec![line(false), line(true)]).unwrap().lines()[0].split);
    assert!(Cart::new(vec![line(true), line(true)]).unwrap().lines()[0].split);
}

#[test]
fn a_cart_travels_in_as_few_parcels_as_possible_though_each_line_prefers_another() {
    let rows = [("A", "W1", 9), ("A", "W3", 2), ("B", "W2", 9), ("B", "W3", 2)];
    let asked = cart(&[("A", "", 2), ("B", "", 2)]);
    assert_eq!(chosen(&asked, &Strategy::FewestParcels, &rows), at(&[("A", "W3", 2), ("B", "W3", 2)]));
    assert_eq!(chosen(&asked, &Strategy::FixedPriority, &rows), at(&[("A", "W1", 2), ("B", "W2", 2)]));
}

#[test]
fn a_parcel_that_goes_anyway_takes_more_along() {
    let rows = [("A", "W1", 9), ("A", "W2", 9), ("B", "W2", 1)];
    let asked = cart(&[("A", "", 2), ("B", "W2", 1)]);
    assert_eq!(chosen(&asked, &Strategy::FewestParcels, &rows), at(&[("A", "W2", 2), ("B", "W2", 1)]));
}

#[test]
fn among_as_few_parcels_the_preferred_locations_are_taken() {
    let rows = [("A", "W9", 5), ("A", "W1", 5), ("B", "W9", 5), ("B", "W1", 5)];
    let asked = cart(&[("A", "", 2), ("B", "", 2)]);
    assert_eq!(chosen(&asked, &Strategy::FewestParcels, &rows), at(&[("A", "W9", 2), ("B", "W9", 2)]));
}

#[test]
fn as_much_as_there_is_leaves_out_lines_for_which_there_is_nothing() {
    let rows = [("A", "W1", 3), ("A", "W2", 1), ("B", "W1", 0), ("C", "W1", 8)];
    let asked = cart(&[("A", "", 9), ("A", "W1", 2), ("B", "", 1), ("C", "", 8)]);
    let Choice { lines, allocations, shortages } =
        choose_best(&asked, &Strategy::FixedPriority, &there(&rows)).unwrap();
    assert_eq!(lines, cart(&[("A", "", 2), ("A", "W1", 2), ("C", "", 8)]).lines());
    let taken: Vec<_> = allocations.iter().map(|a| (a.sku.as_str(), a.location.as_str(), a.quantity)).collect();
    assert_eq!(taken, [("A", "W1", 3), ("A", "W2", 1), ("C", "W1", 8)]);
    assert_eq!(shortages, [missing(("A", "", 9, 2)), missing(("B", "", 1, 0))]);
}

#[test]
fn as_much_as_there_is_of_an_unsplit_line_is_what_one_location_has() {
    let rows = [("A", "W1", 2), ("A", "W2", 3)];
    let choice = choose_best(&unsplit(&[("A", "", 4)]), &Strategy::FixedPriority, &there(&rows)).unwrap();
    assert_eq!(choice.allocations, [holdfast_stock::Allocation::new(sku("A"), location("W2"), 3)]);
    assert_eq!(choice.shortages, [missing(("A", "", 4, 3))]);
}

#[test]
fn nothing_at_all_and_an_unknown_sku_are_no_choice() {
    let rows = there(&[("A", "W1", 0)]);
    let nothing = choose_best(&cart(&[("A", "", 4)]), &Strategy::FixedPriority, &rows);
    assert_eq!(nothing, Err(NoChoice::Short(vec![missing(("A", "", 4, 0))])));
    let unknown = choose_best(&cart(&[("A", "", 4), ("X", "", 1)]), &Strategy::FixedPriority, &rows);
    assert_eq!(unknown, Err(NoChoice::Unknown(vec![(sku("X"), None)])));
}

fn a_strategy() -> impl Draw<Value = Strategy> {
    (0..4_u8, prop::sample::subsequence((0..6).collect::<Vec<_>>(), 0..4).prop_shuffle()).prop_map(|(kind, nearest)| {
        match kind {
            0 => Strategy::FixedPriority,
            1 => Strategy::FewestParcels,
            2 => Strategy::MostStock,
            _ => Strategy::Nearest(nearest.into_iter().map(|n| location(&format!("W{n}"))).collect()),
        }
    })
}

fn a_stock(locations: usize) -> impl Draw<Value = Availability> {
    vec((0..3_usize, 0..locations, 0..7_i64), 1..3 * locations).prop_map(|rows| {
        let rows = rows.into_iter();
        rows.map(|(code, at, units)| (sku(["A", "B", "C"][code]), location(&format!("W{at}")), units)).collect()
    })
}

fn a_wish(locations: usize) -> impl Draw<Value = Cart> {
    let line = (0..3_usize, prop::option::weighted(0.2, 0..locations), 1..9_i64, any::<bool>());
    vec(line, 1..5).prop_map(|lines| {
        let line = |(code, at, units, split): (usize, Option<usize>, i64, bool)| Line {
            sku: sku(["A", "B", "C"][code]),
            location: at.map(|at| location(&format!("W{at}"))),
            quantity: Quantity::new(units).unwrap(),
            split,
        };
        Cart::new(lines.into_iter().map(line).collect()).unwrap()
    })
}

/// What of a row there is.
fn units(stock: &Availability, (code, at): &holdfast_stock::RowKey) -> i64 {
    stock.locations(code).into_iter().flatten().find(|(other, _)| other == at).map_or(0, |(_, units)| *units)
}

/// Whether a set of locations has all of a cart.
fn has_all(cart: &Cart, stock: &Availability, allowed: &BTreeSet<holdfast_stock::Location>) -> bool {
    let rows = cart.skus().flat_map(|code| stock.locations(code).into_iter().flatten().map(move |row| (code, row)));
    let within: Availability = rows
        .map(|(code, (at, units))| (code.clone(), at.clone(), if allowed.contains(at) { *units } else { 0 }))
        .collect();
    choose_cart(cart, &Strategy::FixedPriority, &within).is_ok()
}

proptest! {
    #[test]
    fn whatever_the_strategy_a_line_gets_its_units_where_they_are_and_as_it_may(
        stock in a_stock(6), cart in a_wish(6), strategy in a_strategy(),
    ) {
        let fixed = choose_cart(&cart, &Strategy::FixedPriority, &stock);
        let taken = choose_cart(&cart, &strategy, &stock);
        prop_assert_eq!(taken.is_ok(), fixed.is_ok(), "whether there is enough does not hang on the strategy");
        let Ok(taken) = taken else { return Ok(()) };
        let mut left: BTreeMap<_, _> = taken.iter().map(|a| (a.row(), a.quantity)).collect();
        prop_assert!(taken.iter().all(|a| a.quantity > 0 && a.quantity <= units(&stock, &a.row())));
        for line in cart.lines().iter().filter(|line| line.location.is_some()) {
            let named = left.get_mut(&(line.sku.clone(), line.location.clone().unwrap()));
            prop_assert!(named.is_some());
            *named.unwrap() -= line.quantity.get();
        }
        prop_assert!(left.values().all(|units| *units >= 0));
        for code in cart.skus() {
            let free = cart.lines().iter().find(|line| line.sku == *code && line.location.is_none());
            let rest: Vec<i64> = left.iter().filter(|((other, _), _)| other == code).map(|(_, units)| *units).collect();
            prop_assert_eq!(rest.iter().sum::<i64>(), free.map_or(0, |line| line.quantity.get()));
            if free.is_some_and(|line| !line.split) {
                prop_assert_eq!(rest.iter().filter(|units| **units > 0).count(), 1);
            }
        }
    }

    #[test]
    fn fewest_parcels_are_as_few_as_any_set_of_locations_that_has_all(stock in a_stock(6), cart in a_wish(6)) {
        let Ok(taken) = choose_cart(&cart, &Strategy::FewestParcels, &stock) else { return Ok(()) };
        let parcels: BTreeSet<_> = taken.into_iter().map(|a| a.location).collect();
        let all: Vec<_> = (0..6).map(|n| location(&format!("W{n}"))).collect();
        let sets = (0..64_u32).map(|set| (0..6).filter(|n| set >> n & 1 == 1).map(|n| all[n].clone()).collect());
        let fewest = sets.filter(|set: &BTreeSet<_>| has_all(&cart, &stock, set)).map(|set| set.len()).min();
        prop_assert_eq!(Some(parcels.len()), fewest);
    }

    #[test]
    fn of_many_locations_no_parcel_is_needless(stock in a_stock(20), cart in a_wish(20)) {
        let Ok(taken) = choose_cart(&cart, &Strategy::FewestParcels, &stock) else { return Ok(()) };
        let parcels: BTreeSet<_> = taken.into_iter().map(|a| a.location).collect();
        prop_assert!(has_all(&cart, &stock, &parcels));
        for parcel in &parcels {
            let without = parcels.iter().filter(|other| *other != parcel).cloned().collect();
            prop_assert!(!has_all(&cart, &stock, &without), "{} could be left out", parcel);
        }
    }

    #[test]
    fn as_much_as_there_is_is_all_where_there_is_enough_and_never_more_than_asked(
        stock in a_stock(6), cart in a_wish(6), strategy in a_strategy(),
    ) {
        match (choose_best(&cart, &strategy, &stock), choose_cart(&cart, &strategy, &stock)) {
            (Ok(choice), whole) => {
                let sum = |lines: &[Line]| lines.iter().map(|line| line.quantity.get()).sum::<i64>();
                let taken: i64 = choice.allocations.iter().map(|a| a.quantity).sum();
                prop_assert_eq!(taken, sum(&choice.lines));
                let lacking: i64 = choice.shortages.iter().map(|s| s.requested - s.available).sum();
                prop_assert_eq!(taken + lacking, sum(cart.lines()));
                prop_assert_eq!(choice.shortages.is_empty(), whole.is_ok());
                prop_assert!(whole.is_err() || whole == Ok(choice.allocations));
            }
            (Err(NoChoice::Unknown(best)), whole) => prop_assert_eq!(whole, Err(NoChoice::Unknown(best))),
            (Err(NoChoice::Short(best)), whole) => {
                prop_assert!(best.iter().all(|shortage| shortage.available == 0));
                prop_assert!(whole.is_err());
            }
        }
    }
}
