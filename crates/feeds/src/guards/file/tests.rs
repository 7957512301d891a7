//! Each rule at its boundary.

use super::*;

/// A file of 1,000 rows like the 1,000 before it, of a feed that is known well.
fn usual() -> FileFacts {
    FileFacts {
        rows: 1000,
        keys_known: 1000,
        keys_in_stock: 800,
        keys_compared: 1000,
        units_before: 10_000,
        units: 10_000,
        top_value_rows: 200,
        ..FileFacts::default()
    }
}

const KNOWN_WELL: FileHistory = FileHistory { accepted_files: 5, rows_median: 1000, top_value_permille: Some(200) };
const SECOND_FILE: FileHistory = FileHistory { accepted_files: 1, rows_median: 1000, top_value_permille: Some(200) };

fn look(facts: &FileFacts, history: &FileHistory) -> (usize, usize) {
    let findings = check(&FileLimits::default(), Mode::Full, facts, history);
    (findings.held.len(), findings.warned.len())
}

/// Asserts what the gate says of a usual file after a change: nothing, then a warning, then a hold.
fn boundaries(history: &FileHistory, change: impl Fn(&mut FileFacts, u64), quiet: u64, warned: u64) {
    let say = |value| {
        let mut facts = usual();
        change(&mut facts, value);
        look(&facts, history)
    };
    assert_eq!(say(quiet), (0, 0), "{quiet} is quiet");
    assert_eq!(say(quiet + 1), (0, 1), "{} is warned of", quiet + 1);
    assert_eq!(say(warned), (0, 1), "{warned} is warned of");
    assert_eq!(say(warned + 1), (1, 0), "{} is held", warned + 1);
}

#[test]
fn a_usual_file_is_quiet() {
    assert_eq!(look(&usual(), &KNOWN_WELL), (0, 0));
    assert_eq!(look(&usual(), &SECOND_FILE), (0, 0));
}

#[test]
fn one_row_in_a_thousand_may_be_unreadable_five_are_warned_of() {
    boundaries(&SECOND_FILE, |facts, rows| facts.rows_unreadable = rows, 1, 5);
}

#[test]
fn three_percent_of_the_known_codes_may_go_ten_are_warned_of() {
    boundaries(&SECOND_FILE, |facts, keys| facts.keys_gone = keys, 30, 100);
}

#[test]
fn three_percent_of_the_codes_may_be_new_twenty_are_warned_of() {
    boundaries(&SECOND_FILE, |facts, keys| facts.keys_unknown = keys, 30, 200);
}

#[test]
fn five_percent_of_what_is_in_stock_may_sell_out_at_once_ten_are_warned_of() {
    boundaries(&SECOND_FILE, |facts, keys| facts.keys_sold_out = keys, 40, 80);
}

#[test]
fn rows_are_compared_with_the_median_once_the_feed_is_known() {
    boundaries(&KNOWN_WELL, |facts, fewer| facts.rows = 1000 - fewer, 30, 100);
    let rows = |rows, history| look(&FileFacts { rows, ..usual() }, history);
    assert_eq!(rows(1500, &KNOWN_WELL), (0, 0));
    assert_eq!(rows(1501, &KNOWN_WELL), (1, 0));
    assert_eq!(rows(1501, &FileHistory { accepted_files: 4, ..KNOWN_WELL }), (0, 0), "four files are too few");
    assert_eq!(FileHistory::new(vec![7, 1000, 3, 990, 1010], None).rows_median, 990);
}

#[test]
fn the_sum_may_move_by_eight_percent_and_is_warned_of_up_to_twenty() {
    boundaries(&KNOWN_WELL, |facts, more| facts.units = 10_000 + more, 800, 2000);
    boundaries(&KNOWN_WELL, |facts, fewer| facts.units = 10_000 - fewer, 800, 2000);
    assert_eq!(look(&FileFacts { units: 1, ..usual() }, &SECOND_FILE), (0, 0));
    let nothing_before = FileFacts { units_before: 0, ..usual() };
    assert_eq!(look(&nothing_before, &KNOWN_WELL), (0, 0), "there is nothing to compare it with");
}

#[test]
fn a_small_files_sum_matters_once_more_than_ten_of_its_rows_changed() {
    let facts = FileFacts { rows: 50, keys_known: 50, keys_compared: 50, units: 90_000, top_value_rows: 5, ..usual() };
    let history = FileHistory { rows_median: 50, ..KNOWN_WELL };
    assert_eq!(look(&FileFacts { keys_changed: 10, ..facts }, &history), (0, 0));
    assert_eq!(look(&FileFacts { keys_changed: 9, keys_unknown: 2, ..facts }, &history), (1, 0));
}

#[test]
fn a_fifth_of_the_numbers_may_change_at_once_two_fifths_are_warned_of() {
    boundaries(&KNOWN_WELL, |facts, keys| facts.keys_changed = keys, 200, 400);
}

#[test]
fn one_number_on_nine_rows_of_ten_holds_the_file_unless_that_is_usual() {
    let facts = |top_value_rows| FileFacts { top_value_rows, ..usual() };
    assert_eq!(look(&facts(900), &SECOND_FILE), (0, 0));
    assert_eq!(look(&facts(901), &SECOND_FILE), (1, 0));
    let before = |permille| FileHistory { top_value_permille: permille, ..SECOND_FILE };
    assert_eq!(look(&facts(1000), &before(Some(499))), (1, 0));
    assert_eq!(look(&facts(1000), &before(Some(500))), (0, 0));
    assert_eq!(look(&facts(1000), &before(None)), (0, 0), "there is nothing to compare it with");
    assert_eq!(facts(901).top_value_permille(), 901);
}

#[test]
fn a_small_file_may_have_ten_rows_wrong() {
    let gone = |known, gone| look(&FileFacts { keys_known: known, keys_gone: gone, ..usual() }, &SECOND_FILE).0;
    assert_eq!((gone(20, 10), gone(20, 11)), (0, 1));
    assert_eq!((gone(199, 19), gone(199, 20)), (0, 1), "the percentage is the larger one here");
    assert_eq!((gone(200, 20), gone(200, 21)), (0, 1));
    let unreadable = |rows, unreadable| {
        look(&FileFacts { rows, rows_unreadable: unreadable, top_value_rows: 0, ..usual() }, &SECOND_FILE).0
    };
    assert_eq!((unreadable(30, 10), unreadable(30, 11)), (0, 1));
}

#[test]
fn a_partial_file_is_only_judged_by_what_is_wrong_within_it() {
    let odd = FileFacts {
        rows: 300,
        keys_gone: 1000,
        keys_unknown: 1000,
        keys_sold_out: 800,
        keys_changed: 1000,
        units: 0,
        ..usual()
    };
    let partial = |facts: &FileFacts| check(&FileLimits::default(), Mode::Partial, facts, &KNOWN_WELL).held.len();
    assert_eq!(partial(&odd), 0);
    assert_eq!(partial(&FileFacts { top_value_rows: 300, ..odd }), 1);
    assert_eq!(partial(&FileFacts { rows_unreadable: 100, ..odd }), 1);
}

#[test]
fn every_reason_is_told_and_a_first_file_has_none_of_its_own() {
    let cut_off = FileFacts { rows: 500, keys_gone: 500, rows_unreadable: 100, units: 5000, ..usual() };
    let findings = check(&FileLimits::default(), Mode::Full, &cut_off, &KNOWN_WELL);
    assert_eq!(findings.held.len(), 4, "{findings:?}");
    let first = FileFacts { rows: 1000, keys_unknown: 1000, top_value_rows: 1000, units: 9, ..FileFacts::default() };
    assert_eq!(check(&FileLimits::default(), Mode::Full, &first, &FileHistory::default()), Findings::default());
}
