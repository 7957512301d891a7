//! What the small types take and what they refuse, and how units are chosen.

use crate::world::{cart, location, payload, sku};
use holdfast_stock::{
    Availability, Cart, CartProblem, Condition, CountMeaning, CountOutcome, HoldMicros, KeyProblem, KeyWindow, Level,
    Line, Location, NoChoice, Note, Owner, Quantity, Reading, ReservationId, Shortage, Sku, State, Strategy, Terms,
    TextProblem, UnixMicros, Wanted, choose, choose_cart, read,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_code_is_taken_as_it_is_or_not_at_all() {
    assert_eq!(Sku::new("CHAIR-ERGO-BLK").unwrap().as_str(), "CHAIR-ERGO-BLK");
    assert_eq!(Sku::new("стул 3/4\"").unwrap().to_string(), "стул 3/4\"");
    assert_eq!(Sku::new(""), Err(TextProblem::Empty));
    assert_eq!(Sku::new(" A"), Err(TextProblem::SurroundingSpace));
    assert_eq!(Sku::new("A\u{a0}"), Err(TextProblem::SurroundingSpace));
    for control in ["A\0", "A\nB", "\u{7f}", "A\u{85}", "A\u{2028}B"] {
        assert_eq!(Sku::new(control), Err(TextProblem::Control), "{control:?}");
    }
    for invisible in ["A\u{200b}B", "A\u{202e}B", "\u{feff}A", "A\u{ad}", "A\u{2066}B", "A\u{e0041}"] {
        assert_eq!(Owner::new(invisible), Err(TextProblem::Invisible), "{invisible:?}");
    }
}

#[test]
fn lengths_are_bytes_and_their_ends_belong_to_them() {
    assert!(Sku::new(&"x".repeat(128)).is_ok());
    assert_eq!(Sku::new(&"x".repeat(129)), Err(TextProblem::TooLong { bytes: 129, max: 128 }));
    assert_eq!(Location::new(&"é".repeat(33)), Err(TextProblem::TooLong { bytes: 66, max: 64 }));
    assert!(Location::new(&"é".repeat(32)).is_ok());
    assert!(Note::new("").is_ok() && Note::new(&"x".repeat(500)).is_ok() && Note::new(&"x".repeat(501)).is_err());
}

#[test]
fn codes_sort_by_their_bytes_as_postgres_locks_them() {
    let mut codes = ["b", "B", "a-1", "a", "Ä", "a1"].map(sku);
    codes.sort();
    assert_eq!(codes.each_ref().map(Sku::as_str), ["B", "a", "a-1", "a1", "b", "Ä"]);
}

#[test]
fn a_quantity_is_one_to_a_million_also_after_summing() {
    for odd in [i64::MIN, -1, 0, 1_000_001, i64::MAX] {
        assert_eq!(Quantity::new(odd), None);
    }
    let most = Quantity::new(1_000_000).unwrap();
    assert_eq!(most.checked_add(Quantity::new(1).unwrap()), None);
    assert_eq!((HoldMicros::new(0), HoldMicros::new(-1)), (None, None));
}

#[test]
fn a_reservations_key_tells_its_version_and_time() {
    // The example of RFC 9562, made on 2022-02-22 at 19:22:22 UTC.
    let bytes = [0x01, 0x7F, 0x22, 0xE2, 0x79, 0xB0, 0x7C, 0xC3, 0x98, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F];
    let id = ReservationId::from_bytes(bytes);
    assert!(id.is_v7());
    assert_eq!(id.unix_millis(), 1_645_557_742_000);
    assert_eq!(id.to_string(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_eq!(id.to_bytes(), bytes);
    let with = |index: usize, byte: u8| {
        let mut changed = bytes;
        changed[index] = byte;
        ReservationId::from_bytes(changed)
    };
    assert!(!with(6, 0x4C).is_v7(), "version 4");
    assert!(!with(8, 0xD8).is_v7(), "another variant");
}

#[test]
fn a_key_must_lie_in_the_window_whose_ends_belong_to_it() {
    let window = KeyWindow { back_micros: 10_000_000, ahead_micros: 5_000_000 };
    let at = |millis: i64| {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        (bytes[6], bytes[8]) = (0x70, 0x80);
        window.check(ReservationId::from_bytes(bytes), UnixMicros(100_000_000))
    };
    assert_eq!(at(90_000), Ok(()));
    assert_eq!(at(89_999), Err(KeyProblem::TooOld));
    assert_eq!(at(105_000), Ok(()));
    assert_eq!(at(105_001), Err(KeyProblem::TooNew));
    assert_eq!(at(0xFFFF_FFFF_FFFF), Err(KeyProblem::TooNew));
    let v4 = ReservationId::from_bytes([0x44; 16]);
    assert_eq!(window.check(v4, UnixMicros(0)), Err(KeyProblem::NotV7));
}

#[test]
fn names_in_the_database_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for condition in Condition::ALL {
        assert_eq!(Condition::parse(condition.as_str()), Some(condition));
    }
    for reason in holdfast_stock::AdjustmentReason::ALL {
        assert_eq!(holdfast_stock::AdjustmentReason::parse(reason.as_str()), Some(reason));
    }
    for meaning in CountMeaning::ALL {
        assert_eq!(CountMeaning::parse(meaning.as_str()), Some(meaning));
    }
    for outcome in CountOutcome::ALL {
        assert_eq!(CountOutcome::parse(outcome.as_str()), Some(outcome));
    }
    assert_eq!(State::parse("held"), None);
}

fn line(code: &str, at: &str, units: i64) -> Line {
    let location = (!at.is_empty()).then(|| location(at));
    Line { sku: sku(code), location, quantity: Quantity::new(units).unwrap(), split: true }
}

#[test]
fn a_cart_sums_lines_of_the_same_sku_and_location_and_sorts() {
    let made = cart(&[("B", "", 1), ("A", "W1", 2), ("A", "", 3), ("B", "", 4), ("A", "W1", 1)]);
    assert_eq!(made.lines(), [line("A", "", 3), line("A", "W1", 3), line("B", "", 5)]);
    assert_eq!(made.skus().map(Sku::as_str).collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn a_cart_has_one_to_a_hundred_lines_and_names_the_one_that_goes_over() {
    assert_eq!(Cart::new(vec![]), Err(CartProblem::Empty));
    assert!(Cart::new(vec![line("A", "", 1); 100]).is_ok());
    assert_eq!(Cart::new(vec![line("A", "", 1); 101]), Err(CartProblem::TooManyLines { lines: 101 }));
    let over = Cart::new(vec![line("A", "", 600_000), line("A", "W1", 600_000), line("A", "", 400_001)]);
    assert_eq!(over, Err(CartProblem::TooManyUnits { line: 2, sku: sku("A"), location: None }));
}

#[test]
fn availability_is_never_below_zero_and_shortfall_is_what_is_promised_beyond() {
    let level = Level { on_hand: 5, held: 4, committed: 3, safety: 1, backorder: 1, ..Level::default() };
    assert_eq!((level.available(), level.available_with(3), level.shortfall_due()), (0, 1, 1));
    let level = Level { on_hand: 5, safety: 9, ..Level::default() };
    assert_eq!((level.available(), level.shortfall_due()), (0, 0), "what is kept back is not owed");
}

fn places(has: &[(&str, i64)]) -> Vec<(Location, i64)> {
    has.iter().map(|(at, units)| (location(at), *units)).collect()
}

#[test]
fn the_first_location_that_has_it_all_is_chosen() {
    let has = places(&[("W3", 1), ("W2", 5), ("W1", 9)]);
    assert_eq!(choose(&has, 4), Some(places(&[("W2", 4)])), "in the order given, not the fullest");
}

#[test]
fn a_line_is_split_over_the_fullest_locations_the_preferred_first_among_equals() {
    let has = places(&[("W1", 2), ("W2", 0), ("W3", 4), ("W4", 4)]);
    assert_eq!(choose(&has, 7), Some(places(&[("W3", 4), ("W4", 3)])));
    assert_eq!(choose(&has, 10), Some(places(&[("W3", 4), ("W4", 4), ("W1", 2)])));
    assert_eq!(choose(&has, 11), None);
}

#[test]
fn every_unknown_line_is_named_before_any_short_one() {
    let known = Availability::from_iter([(sku("A"), location("W1"), 1), (sku("B"), location("W1"), -7)]);
    let asked = cart(&[("A", "", 9), ("A", "W2", 1), ("X", "", 1), ("X", "W1", 1)]);
    let unknown = vec![(sku("A"), Some(location("W2"))), (sku("X"), None), (sku("X"), Some(location("W1")))];
    assert_eq!(choose_cart(&asked, &Strategy::FixedPriority, &known), Err(NoChoice::Unknown(unknown)));
    let short = Err(NoChoice::Short(vec![
        Shortage { sku: sku("A"), location: None, requested: 9, available: 0 },
        Shortage { sku: sku("B"), location: Some(location("W1")), requested: 2, available: 0 },
    ]));
    let asked = cart(&[("A", "", 9), ("A", "W1", 1), ("B", "W1", 2)]);
    assert_eq!(choose_cart(&asked, &Strategy::FixedPriority, &known), short);
}

#[test]
fn a_read_says_no_only_when_the_rows_have_too_few_and_the_key_is_unused() {
    let (asked, now, paused) = (cart(&[("A", "", 2)]), UnixMicros(0), BTreeSet::new());
    let wanted = Wanted { cart: &asked, terms: &Terms::default(), paused: &paused };
    let say =
        |units| read(now, None, payload(1), wanted, &Availability::from_iter([(sku("A"), location("W1"), units)]));
    assert_eq!(say(2), Reading::Enough);
    let missing = Shortage { sku: sku("A"), location: None, requested: 2, available: 1 };
    assert_eq!(say(1), Reading::Insufficient(vec![missing]));
    let unknown = read(now, None, payload(1), wanted, &Availability::new());
    assert_eq!(unknown, Reading::UnknownSku(vec![(sku("A"), None)]));
}

proptest! {
    #[test]
    fn a_choice_takes_what_is_asked_from_as_few_places_as_can_be(has in vec(0..9_i64, 0..6), units in 1..20_i64) {
        let locations: Vec<_> = has.iter().enumerate().map(|(n, units)| (location(&format!("W{n}")), *units)).collect();
        let fewest = (0..1_u32 << has.len())
            .filter(|set| (0..has.len()).filter(|n| set >> n & 1 == 1).map(|n| has[n]).sum::<i64>() >= units)
            .map(u32::count_ones)
            .min();
        let choice = choose(&locations, units);
        prop_assert_eq!(choice.as_ref().map(Vec::len), fewest.map(|places| usize::try_from(places).unwrap()));
        for (at, taken) in choice.iter().flatten() {
            let has = locations.iter().find(|(other, _)| other == at).unwrap().1;
            prop_assert!(*taken > 0 && *taken <= has);
        }
        prop_assert!(choice.is_none_or(|choice| choice.iter().map(|(_, taken)| taken).sum::<i64>() == units));
    }

    #[test]
    fn no_text_makes_a_code_that_looks_like_another(text in any::<String>()) {
        if let Ok(code) = Sku::new(&text) {
            prop_assert_eq!(code.as_str(), text.trim());
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
