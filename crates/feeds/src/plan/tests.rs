//! What a file's rows come to, mode by mode.

use super::*;
use crate::formats::csv::CsvSchema;

/// A file of `code quantity` rows.
fn file(rows: &str) -> ParsedFile {
    let header = ["code".to_owned(), "stock".to_owned()];
    let schema = CsvSchema::new("|", &header, "code", "stock").unwrap();
    let text = format!("code|stock\n{}", rows.split_whitespace().collect::<Vec<_>>().join("\n").replace('=', "|"));
    schema.parse(text.as_bytes(), 1000).unwrap()
}

/// Offers as `code:SKU` or `code:SKU*pack`.
fn offers(text: &str) -> HashMap<String, Offer> {
    text.split_whitespace()
        .map(|offer| {
            let (code, sku) = offer.split_once(':').unwrap();
            let (sku, pack) = sku.split_once('*').unwrap_or((sku, "1"));
            (code.to_owned(), Offer { sku: sku.to_owned(), pack_size: pack.parse().unwrap() })
        })
        .collect()
}

/// Known codes as `code:SKU=units`, `code:SKU` (never readable) or `code` (never mapped).
fn known(text: &str) -> Vec<KnownKey> {
    text.split_whitespace()
        .map(|known| {
            let (code, rest) = known.split_once(':').map_or((known, None), |(code, rest)| (code, Some(rest)));
            let (sku, units) = rest.map_or((None, None), |rest| match rest.split_once('=') {
                Some((sku, units)) => (Some(sku), Some(units.parse().unwrap())),
                None => (Some(rest), None),
            });
            KnownKey { vendor_sku: code.to_owned(), sku: sku.map(str::to_owned), units, quantity: units, waiting: None }
        })
        .collect()
}

/// Plans a file that is not the first one, with nothing on hand that is not known.
fn look(mode: Mode, file: &ParsedFile, offers: &HashMap<String, Offer>, known: &[KnownKey]) -> Plan {
    look_beside(mode, file, offers, known, "")
}

/// The same with stock on hand as `SKU=units`.
fn look_beside(
    mode: Mode,
    file: &ParsedFile,
    offers: &HashMap<String, Offer>,
    known: &[KnownKey],
    on_hand: &str,
) -> Plan {
    look_after_sales(mode, file, offers, known, on_hand, "")
}

/// The same after sales that the file's numbers reflect, as `SKU=units`.
fn look_after_sales(
    mode: Mode,
    file: &ParsedFile,
    offers: &HashMap<String, Offer>,
    known: &[KnownKey],
    on_hand: &str,
    reflectable: &str,
) -> Plan {
    let units = |text: &str| -> HashMap<String, u64> {
        text.split_whitespace()
            .map(|stock| stock.split_once('=').unwrap())
            .map(|(sku, units)| (sku.to_owned(), units.parse().unwrap()))
            .collect()
    };
    let (on_hand, reflectable, limits) = (units(on_hand), units(reflectable), RowLimits::default());
    let beside =
        Beside { mode, offers, known, on_hand: &on_hand, reflectable: &reflectable, limits: &limits, is_first: false };
    plan(file, &beside)
}

/// Stopped codes as `code:rule,rule:old→new`, with `!` if their SKU is limited on their account.
fn stopped(plan: &Plan) -> String {
    let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    let show = |stopped: &Stopped| {
        let rules = stopped.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let limited = if stopped.is_limited { "!" } else { "" };
        format!("{}:{rules}:{}→{}{limited}", stopped.vendor_sku, number(stopped.old), number(stopped.new))
    };
    plan.stopped.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn counts(plan: &Plan) -> String {
    plan.counts
        .iter()
        .map(|count| match count.effect {
            Effect::Set => format!("{}={}", count.sku, count.units),
            Effect::Limit => format!("{}<={}", count.sku, count.units),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Rows as `line:code:fate`.
fn rows(plan: &Plan) -> String {
    let show = |row: &PlannedRow| format!("{}:{}:{:?}", row.line, row.vendor_sku, row.fate);
    plan.rows.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_row_counts_for_the_sku_of_its_offer_in_the_skus_units() {
    let plan = look(Mode::Partial, &file("a=3 b=2 c=1"), &offers("a:CHAIR b:CUP*12"), &[]);
    assert_eq!(counts(&plan), "CHAIR=3 CUP=24");
    assert_eq!(rows(&plan), "2:a:Counted 3:b:Counted 4:c:Unmapped");
    assert_eq!(plan.rows[1].units, Some(24));
}

#[test]
fn different_codes_of_one_sku_add_up_and_say_so() {
    let plan = look(Mode::Partial, &file("single=5 dozen=2"), &offers("single:CUP dozen:CUP*12"), &[]);
    assert_eq!(counts(&plan), "CUP=29");
    for row in &plan.rows {
        assert_eq!(row.note, "2 codes are this SKU, 29 units together");
    }
    assert_eq!((plan.rows[0].units, plan.rows[1].units), (Some(5), Some(24)));
}

#[test]
fn the_same_code_twice_never_adds_up() {
    let plan = look(Mode::Partial, &file("a=5 a=7 b=3 b=3"), &offers("a:CHAIR b:CUP"), &[]);
    assert_eq!(counts(&plan), "CHAIR=5 CUP=3");
    assert!(plan.rows[1].note.contains("R7"), "{}", plan.rows[1].note);
    assert_eq!(plan.rows[1].units, Some(5), "the report says what was taken");
}

#[test]
fn absent_from_a_full_file_is_gone_and_reported_on_line_0() {
    let plan = look(Mode::Full, &file("a=3"), &offers("a:CHAIR"), &known("a:CHAIR=4 b:CUP=9 c"));
    assert_eq!(counts(&plan), "CHAIR=3 CUP=0");
    assert_eq!(rows(&plan), "2:a:Counted 0:b:Counted");
    assert_eq!(plan.rows[1].units, Some(0));
    assert_eq!(plan.rows[1].note, "absent from a FULL file: gone");
}

#[test]
fn absent_from_a_partial_file_changes_nothing() {
    let plan = look(Mode::Partial, &file("a=3"), &offers("a:CHAIR"), &known("a:CHAIR=4 b:CUP=9"));
    assert_eq!(counts(&plan), "CHAIR=3");
    assert_eq!(rows(&plan), "2:a:Counted");
}

#[test]
fn a_partial_file_with_one_code_of_a_sku_keeps_what_the_other_said() {
    let plan = look(Mode::Partial, &file("single=5"), &offers("single:CUP"), &known("single:CUP=7 dozen:CUP=24"));
    assert_eq!(counts(&plan), "CUP=29");
    assert_eq!(plan.rows[0].note, "2 codes are this SKU, 29 units together, 1 of them as it said in an earlier file");
}

#[test]
fn a_full_file_without_one_code_of_a_sku_counts_only_the_other() {
    let plan = look(Mode::Full, &file("single=5"), &offers("single:CUP"), &known("single:CUP=7 dozen:CUP=24"));
    assert_eq!(counts(&plan), "CUP=5");
    assert_eq!(rows(&plan), "2:single:Counted 0:dozen:Counted");
}

#[test]
fn a_row_that_cannot_be_read_leaves_its_sku_as_it_is() {
    for mode in [Mode::Full, Mode::Partial] {
        let plan = look(mode, &file("a=1.5 b=>50 c=2"), &offers("a:CHAIR b:CUP c:LAMP"), &known("a:CHAIR=4"));
        assert_eq!(counts(&plan), "LAMP=2", "{mode:?}");
        assert_eq!(rows(&plan), "2:a:Quarantined 3:b:Rejected 4:c:Counted", "{mode:?}");
        assert_eq!(stopped(&plan), "a:R1:4→?", "{mode:?}");
    }
}

#[test]
fn an_unreadable_code_counts_on_beside_a_readable_one_of_its_sku() {
    let plan =
        look(Mode::Full, &file("single=5 dozen=2.0"), &offers("single:CUP dozen:CUP*12"), &known("dozen:CUP=24"));
    assert_eq!(counts(&plan), "CUP=29");
    assert_eq!(rows(&plan), "2:single:Counted 3:dozen:Quarantined");
}

#[test]
fn a_code_that_became_another_skus_takes_its_units_with_it() {
    let plan = look(Mode::Partial, &file("a=3"), &offers("a:NEW"), &known("a:OLD=4"));
    assert_eq!(counts(&plan), "NEW=3 OLD=0");
    assert_eq!(plan.rows[1].note, "the code became SKU NEW");
}

#[test]
fn a_known_code_whose_offer_is_missing_does_not_zero_its_sku() {
    let plan = look(Mode::Full, &file("a=3"), &offers(""), &known("a:CHAIR=4"));
    assert_eq!(counts(&plan), "");
    assert_eq!(rows(&plan), "2:a:Unmapped");
}

#[test]
fn more_than_a_billion_units_are_rejected_not_wrapped() {
    let one = look(Mode::Partial, &file("a=1000000000"), &offers("a:CHAIR*2"), &[]);
    assert_eq!((counts(&one).as_str(), rows(&one).as_str()), ("", "2:a:Rejected"));
    let huge = look(Mode::Partial, &file("a=1000000000"), &offers("a:CHAIR*18446744073709551615"), &[]);
    assert_eq!(counts(&huge), "");
    let large = known("a:CHAIR=500000000 b:CHAIR=500000000");
    let both = look(Mode::Partial, &file("a=600000000 b=600000000"), &offers("a:CHAIR b:CHAIR"), &large);
    assert_eq!((counts(&both).as_str(), rows(&both).as_str()), ("", "2:a:Rejected 3:b:Rejected"));
    let most = look(Mode::Partial, &file("a=600000000 b=400000000"), &offers("a:CHAIR b:CHAIR"), &large);
    assert_eq!(counts(&most), "CHAIR=1000000000");
}

#[test]
fn a_spreadsheets_code_is_not_guessed() {
    let plan = look(Mode::Partial, &file("9831287423305.0=3"), &offers("9831287423305:CHAIR"), &[]);
    assert_eq!((counts(&plan).as_str(), rows(&plan).as_str()), ("", "2:9831287423305.0:Unmapped"));
    assert!(plan.rows[0].note.contains("spreadsheet"), "{}", plan.rows[0].note);
}

#[test]
fn the_gate_is_told_which_known_codes_are_gone() {
    let facts = facts(&file("a=3 b=x d=1"), &known("a:CHAIR=1 b:CUP=2 c:LAMP=3 e"), &RowLimits::default());
    assert_eq!((facts.rows, facts.rows_unreadable), (3, 1));
    assert_eq!((facts.keys_known, facts.keys_gone), (4, 2), "an unreadable row is not an absent one");
}

#[test]
fn an_older_full_file_brings_nothing_back() {
    let rows = stale(&file("a=3 b=x c=1"));
    let fates: Vec<Fate> = rows.iter().map(|row| row.fate).collect();
    assert_eq!(fates, [Fate::Stale, Fate::Rejected, Fate::Stale]);
}

#[test]
fn the_report_of_a_held_file_has_the_rows_that_speak_against_it() {
    let rows = unreadable(&file("a=3 b=x c=>50 d=1.5"));
    let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [3, 4, 5]);
}

#[test]
fn a_number_that_is_not_believed_gives_its_sku_no_count_and_blocks_no_neighbour() {
    let plan = look(Mode::Full, &file("a=999 b=7"), &offers("a:CHAIR b:CUP"), &known("a:CHAIR=150 b:CUP=8"));
    assert_eq!(counts(&plan), "CUP=7");
    assert_eq!(rows(&plan), "2:a:Quarantined 3:b:Counted");
    assert_eq!(stopped(&plan), "a:R4,R2:150→999");
    assert_eq!(plan.stopped[0].exposure(), 849);
    assert_eq!(plan.rows[0].units, Some(999));
}

#[test]
fn a_decrease_that_looks_like_a_slip_limits_the_offer_and_sets_nothing() {
    let plan = look(Mode::Full, &file("a=15"), &offers("a:CHAIR"), &known("a:CHAIR=150"));
    assert_eq!((counts(&plan).as_str(), stopped(&plan).as_str()), ("CHAIR<=15", "a:R5:150→15!"));
    assert_eq!(plan.stopped[0].exposure(), 0);
}

#[test]
fn a_code_that_waits_adds_the_lower_of_the_old_and_the_new_number() {
    let plan = look(
        Mode::Full,
        &file("single=999 dozen=2"),
        &offers("single:CUP dozen:CUP*12"),
        &known("single:CUP=50 dozen:CUP=24"),
    );
    assert_eq!(counts(&plan), "CUP=74");
    let lower = look(
        Mode::Full,
        &file("single=5 dozen=3"),
        &offers("single:CUP dozen:CUP*12"),
        &known("single:CUP=50 dozen:CUP=24"),
    );
    assert_eq!(counts(&lower), "CUP<=41", "the whole SKU waits with its lower number");
}

#[test]
fn a_lower_number_of_an_earlier_file_limits_on_until_it_is_decided() {
    let mut known = known("single:CUP=50 dozen:CUP=24");
    known[0].waiting = Some(5);
    let offers = offers("single:CUP dozen:CUP*12");
    let other_code = look(Mode::Partial, &file("dozen=3"), &offers, &known);
    assert_eq!(counts(&other_code), "CUP<=41");
    let good = look(Mode::Partial, &file("single=49"), &offers, &known);
    assert_eq!(counts(&good), "CUP=73", "a good number of the code itself ends it");
    let alone = look(Mode::Partial, &file("single=999"), &offers, &known[..1]);
    assert_eq!(counts(&alone), "CUP<=50", "another number that waits takes the place of its limit");
    assert_eq!(stopped(&alone), "single:R4,R2:50→999!");
}

#[test]
fn what_is_on_hand_is_compared_with_if_one_code_speaks_alone_and_nothing_is_known_of_it() {
    let (one, two) = (offers("a:CHAIR"), offers("a:CHAIR b:CHAIR"));
    assert_eq!(stopped(&look_beside(Mode::Partial, &file("a=999"), &one, &[], "CHAIR=150")), "a:R4,R2:150→999");
    assert_eq!(stopped(&look_beside(Mode::Partial, &file("a=600"), &one, &[], "CHAIR=599")), "");
    assert_eq!(stopped(&look_beside(Mode::Partial, &file("a=600 b=2"), &two, &[], "CHAIR=100")), "");
    // What somebody else counted since says more than the code's own last word.
    let own = known("a:CHAIR=2400");
    assert_eq!(stopped(&look_beside(Mode::Partial, &file("a=999"), &one, &own, "CHAIR=150")), "a:R4,R2:150→999");
    assert_eq!(stopped(&look_beside(Mode::Partial, &file("a=2400"), &one, &own, "CHAIR=150")), "a:R2:150→2400");
    assert_eq!(stopped(&look_beside(Mode::Partial, &file("a=2400"), &one, &own, "")), "");
    let alone = |mode, rows, offers, said| {
        let alone = alone(mode, &file(rows), offers, &known(said)).into_iter();
        alone.map(|(sku, has_said)| format!("{sku}:{has_said}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(alone(Mode::Partial, "a=1", &one, "a:CHAIR=4"), "CHAIR:true");
    assert_eq!(alone(Mode::Partial, "a=1", &one, "a:CHAIR"), "CHAIR:false");
    assert_eq!(alone(Mode::Partial, "a=1 b=1", &two, ""), "");
    assert_eq!(alone(Mode::Partial, "a=1", &two, "b:CHAIR=3"), "");
    assert_eq!(alone(Mode::Full, "a=1", &two, "b:CHAIR=3"), "CHAIR:false", "a rename");
}

#[test]
fn many_units_of_what_nothing_is_known_of_wait_unless_it_is_the_first_file() {
    let (file, offers, on_hand, limits) = (file("a=5000"), offers("a:CHAIR"), HashMap::new(), RowLimits::default());
    let beside = Beside {
        mode: Mode::Full,
        offers: &offers,
        known: &[],
        on_hand: &on_hand,
        reflectable: &on_hand,
        limits: &limits,
        is_first: false,
    };
    assert_eq!(stopped(&plan(&file, &beside)), "a:R3:?→5000");
    assert_eq!(counts(&plan(&file, &beside)), "");
    assert_eq!(counts(&plan(&file, &Beside { is_first: true, ..beside })), "CHAIR=5000");
}

#[test]
fn a_code_on_several_rows_waits_once() {
    let plan =
        look(Mode::Full, &file("a=999 a=999 b=1.5 b=1,5"), &offers("a:CHAIR b:CUP"), &known("a:CHAIR=150 b:CUP=3"));
    assert_eq!(rows(&plan), "2:a:Quarantined 3:a:Quarantined 4:b:Quarantined 5:b:Quarantined");
    assert_eq!(stopped(&plan), "a:R4,R2:150→999 b:R1:3→?");
}

#[test]
fn a_number_in_two_ways_of_a_code_without_an_offer_waits_for_nobody() {
    let plan = look(Mode::Full, &file("a=1.5"), &offers(""), &[]);
    assert_eq!((rows(&plan).as_str(), plan.stopped.len()), ("2:a:Rejected", 0));
}

#[test]
fn the_gate_is_told_what_changed() {
    let limits = RowLimits::default();
    let facts = facts(&file("a=0 b=5 c=999 d=7 e=7"), &known("a:A=3 b:B=5 c:C=100 f:F=2"), &limits);
    assert_eq!((facts.keys_in_stock, facts.keys_sold_out, facts.keys_unknown), (4, 1, 2));
    assert_eq!((facts.keys_compared, facts.keys_changed), (3, 2));
    assert_eq!((facts.units_before, facts.units), (110, 5 + 100 + 7 + 7), "what waits counts as it was");
    assert_eq!((facts.top_value, facts.top_value_rows), (7, 2));
}

#[test]
fn codes_that_no_offer_maps_and_words_for_numbers_do_not_distort_what_the_gate_sees() {
    let limits = RowLimits::default();
    let said = known("a:A=10 b:B=20 c d");
    // c and d are mapped by no offer: their numbers were not summed before and are not now.
    let same = facts(&file("a=10 b=20 c=500 d=700"), &said, &limits);
    assert_eq!((same.units_before, same.units, same.keys_unknown, same.keys_changed), (30, 30, 0, 0));
    // A code that always says ">50" is in no memory and is not new in every file.
    let bounds = facts(&file("a=10 b=20 c=1 d=1 e=>50 f=>50"), &said, &limits);
    assert_eq!((bounds.keys_unknown, bounds.keys_unsaid), (0, 0));
    let words = facts(&file("a=instock b=instock c=1 d=1"), &said, &limits);
    assert_eq!((words.keys_unsaid, words.keys_compared, words.units), (2, 0, 30));
}

#[test]
fn a_number_that_looks_like_a_decrease_is_a_jump_when_what_was_sold_should_be_off_it() {
    let (offers, known) = (offers("a:CHAIR"), known("a:CHAIR=100"));
    let after = |new: &str, sold: &str| look_after_sales(Mode::Full, &file(new), &offers, &known, "", sold);
    // 80 of the 100 were booked: 20 are expected.
    for (new, seen) in
        [("a=20", ""), ("a=98", ""), ("a=100", "a:R2:100→100"), ("a=0", ""), ("a=200", "a:R5,R2:100→200")]
    {
        assert_eq!(stopped(&after(new, "CHAIR=80")), seen, "{new}");
    }
    let plan = after("a=100", "CHAIR=80");
    assert_eq!(counts(&plan), "", "what was there stays, and what was booked stays off it");
    assert_eq!((plan.stopped[0].expected, plan.stopped[0].exposure()), (Some(20), 80));
    assert_eq!(
        plan.stopped[0].explanation,
        "100 is 5 times the 20 before, or more; there were 100, and 80 sold since are off them"
    );
    assert_eq!(stopped(&after("a=100", "")), "", "nothing was sold: nothing changed");
}

#[test]
fn a_decrease_to_what_is_expected_is_no_slip_and_a_slip_is_one_of_what_is_expected() {
    let (offers, known) = (offers("a:CHAIR"), known("a:CHAIR=150"));
    let after = |new: &str, sold: &str| look_after_sales(Mode::Full, &file(new), &offers, &known, "", sold);
    assert_eq!(stopped(&after("a=15", "CHAIR=135")), "", "a tenth is left because the rest was sold");
    assert_eq!(stopped(&after("a=15", "")), "a:R5:150→15!");
    let slip = after("a=13", "CHAIR=20");
    assert_eq!(stopped(&slip), "a:R5:150→13!", "a tenth of the 130 that are expected");
    assert_eq!(counts(&slip), "CHAIR<=13", "the limit is the count as it was said");
    assert_eq!(stopped(&after("a=5", "CHAIR=400")), "", "more sold than there were: nothing is expected");
}

#[test]
fn of_several_codes_nobody_can_say_whose_units_were_sold() {
    let (offers, known) = (offers("a:CHAIR b:CHAIR"), known("a:CHAIR=100 b:CHAIR=50"));
    let plan = look_after_sales(Mode::Full, &file("a=100 b=50"), &offers, &known, "", "CHAIR=80");
    assert_eq!((stopped(&plan).as_str(), counts(&plan).as_str()), ("", "CHAIR=150"));
}

#[test]
fn a_limit_in_an_older_ones_place_is_the_count_before() {
    let mut known = known("a:CHAIR=100");
    known[0].waiting = Some(10);
    let plan = look_after_sales(Mode::Full, &file("a=999"), &offers("a:CHAIR"), &known, "", "CHAIR=40");
    assert_eq!(counts(&plan), "CHAIR<=100", "what was booked is taken off it by reservation");
}
