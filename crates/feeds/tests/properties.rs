//! What holds for any file whatever: nothing panics, every row is accounted for, and no number comes out that does not
//! stand in the file.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::{BTreeMap, HashMap};

use holdfast_feeds::{
    UNITS_MAX,
    formats::{ParsedFile, csv::CsvSchema},
    guards::{jump::RowLimits, row::Reading},
    observation::Mode,
    plan::{Beside, Effect, Fate, KnownKey, Offer, Plan},
};
use proptest::prelude::*;

fn schema() -> CsvSchema {
    let header: Vec<String> = ["code", "stock", "name"].map(str::to_owned).to_vec();
    CsvSchema::new(",", &header, "code", "stock").unwrap()
}

fn parse(body: &[u8]) -> Result<ParsedFile, holdfast_feeds::formats::Refusal> {
    schema().parse(&[b"code,stock,name\n".as_slice(), body].concat(), 100_000)
}

/// Bytes that resemble feeds: what delimits, what breaks, and digits are far more frequent than by chance.
fn feed_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[A-D]{1,2}".prop_map(String::into_bytes),
        4 => "-?[0-9]{1,12}".prop_map(String::into_bytes),
        4 => Just(b",".to_vec()),
        3 => prop_oneof![Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\r".to_vec())],
        2 => Just(b"\"".to_vec()),
        1 => "[.,+>e \t;\u{a0}]".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..3),
    ];
    proptest::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

/// Rows that are mostly whole: a code of few, and a quantity written in one way or another.
fn rows() -> impl Strategy<Value = String> {
    let quantity = prop_oneof![
        // Small ones, so that numbers meet the ones before them and the guards' bounds.
        6 => (0u64..300).prop_map(|n| n.to_string()),
        2 => prop::sample::select(vec![99u64, 999, 150, 15, 1500]).prop_map(|n| n.to_string()),
        4 => (0u64..2_000_000_000).prop_map(|n| n.to_string()),
        2 => Just("-3".to_owned()),
        2 => Just(">50".to_owned()),
        2 => Just("1.5".to_owned()),
        1 => Just(String::new()),
    ];
    let row = ("[a-f]", quantity).prop_map(|(code, quantity)| format!("{code},\"{quantity}\",x\n"));
    proptest::collection::vec(row, 1..40).prop_map(|rows| rows.concat())
}

fn offers() -> impl Strategy<Value = HashMap<String, Offer>> {
    let offer = ("[A-C]", prop_oneof![3 => Just(1u64), 1 => 2u64..13, 1 => 1u64..100_000])
        .prop_map(|(sku, pack_size)| Offer { sku, pack_size });
    proptest::collection::hash_map("[a-f]", offer, 0..6)
}

fn known() -> impl Strategy<Value = Vec<KnownKey>> {
    let sku = proptest::option::of("[A-D]");
    let units = proptest::option::of(prop_oneof![4 => 0u64..300, 1 => 0u64..=UNITS_MAX]);
    proptest::collection::btree_map("[a-h]", (sku, units), 0..8).prop_map(|keys| {
        let known = |(vendor_sku, (sku, units)): (String, (Option<String>, Option<u64>))| {
            let units = units.filter(|_| sku.is_some());
            KnownKey { vendor_sku, sku, units, quantity: units, waiting: None }
        };
        keys.into_iter().map(known).collect()
    })
}

/// Plans a file that is not the first one.
fn plan(mode: Mode, file: &ParsedFile, offers: &HashMap<String, Offer>, known: &[KnownKey]) -> Plan {
    let (on_hand, limits) = (HashMap::new(), RowLimits::default());
    let beside =
        Beside { mode, offers, known, on_hand: &on_hand, reflectable: &on_hand, limits: &limits, is_first: false };
    holdfast_feeds::plan::plan(file, &beside)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Fuzzing in small: any bytes under the right header.
    #[test]
    fn no_bytes_panic_and_no_number_is_made_up(body in feed_like()) {
        if let Ok(file) = parse(&body) {
            let text = String::from_utf8(body).expect("a file that parses is UTF-8");
            for row in &file.observations {
                // Within quotes a quote is written twice.
                let quoted = row.key.value().replace('"', "\"\"");
                let is_there = text.contains(row.key.value()) || text.contains(&quoted);
                prop_assert!(is_there, "code {:?} is not in the file", row.key);
                match row.reading.quantity() {
                    Ok(0) => {}
                    Ok(number) => {
                        // A line break beside a quoted number is shown as the replacement character.
                        let is_padding = |c: char| c.is_whitespace() || c == char::REPLACEMENT_CHARACTER;
                        let cell = row.raw_quantity.trim_matches(is_padding);
                        prop_assert!(text.contains(cell) && cell.trim_start_matches('0') == number.to_string());
                    }
                    Err(reason) => prop_assert!(!reason.is_empty()),
                }
            }
            for row in &file.bad_rows {
                prop_assert!(!row.reason.is_empty());
                prop_assert!(!row.vendor_sku.contains('\0') && !row.raw_quantity.contains('\0'));
            }
        }
    }

    /// Any bytes at all, also where the header should be.
    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(refusal) = schema().parse(&bytes, 100) {
            prop_assert!(!refusal.to_string().is_empty() && refusal.to_string().len() < 4000);
        }
    }

    /// Any cell: a number comes out only if the cell is that number.
    #[test]
    fn a_cell_is_read_literally_or_not_at_all(cell in "\\PC{0,12}|[-+0-9.,eE> ]{0,14}") {
        match Reading::of(&cell) {
            Reading::Exact(0) => prop_assert!(cell.trim().trim_start_matches('-').bytes().all(|byte| byte == b'0')),
            Reading::Exact(number) => prop_assert_eq!(cell.trim().trim_start_matches('0'), number.to_string()),
            Reading::Negative => prop_assert!(cell.trim().starts_with('-')),
            Reading::AtLeast(bound) => prop_assert!(cell.contains('>') || cell.contains('+'), "{}", bound),
            Reading::YesNo(_) => prop_assert!(!cell.bytes().any(|byte| byte.is_ascii_digit())),
            Reading::Unreadable(problem) => prop_assert!(!problem.to_string().is_empty()),
        }
    }

    /// What a careful writer writes, quotes and line breaks in cells included, is read back as it was.
    #[test]
    fn well_formed_files_are_read_as_the_csv_crate_writes_them(
        cells in proptest::collection::vec(("[a-z0-9]{1,8}", 0u64..=UNITS_MAX, "[a-c\",\r\n ;]{0,12}"), 1..30),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["code", "stock", "name"]).unwrap();
        for (code, quantity, name) in &cells {
            writer.write_record([code, &quantity.to_string(), name]).unwrap();
        }
        let file = schema().parse(&writer.into_inner().unwrap(), 100).unwrap();
        let read: Vec<(&str, Reading)> =
            file.observations.iter().map(|row| (row.key.value(), row.reading.clone())).collect();
        let written: Vec<(&str, Reading)> =
            cells.iter().map(|(code, quantity, _)| (code.as_str(), Reading::Exact(*quantity))).collect();
        prop_assert_eq!(read, written);
    }

    /// Every row of the file is in the report once, and a SKU's count is what its codes said, in sum.
    #[test]
    fn a_plan_accounts_for_every_row_and_every_unit(
        body in rows(), offers in offers(), known in known(), full in any::<bool>(),
    ) {
        let mode = if full { Mode::Full } else { Mode::Partial };
        let file = parse(body.as_bytes()).unwrap();
        let plan = plan(mode, &file, &offers, &known);

        let lines: Vec<u64> = plan.rows.iter().map(|row| row.line).filter(|line| *line > 0).collect();
        prop_assert_eq!(lines, (2..2 + file.rows()).collect::<Vec<_>>(), "each line once, in order");

        let counts: BTreeMap<&str, u64> = plan.counts.iter().map(|count| (count.sku.as_str(), count.units)).collect();
        prop_assert_eq!(counts.len(), plan.counts.len(), "each SKU once");
        let mut said: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for row in &plan.rows {
            match row.fate {
                Fate::Counted => {
                    let (sku, units) = (row.sku.as_deref().unwrap(), row.units.unwrap());
                    let before = said.entry(sku).or_default().insert(&row.vendor_sku, units);
                    prop_assert!(before.is_none_or(|before| before == units), "one code, one number");
                }
                Fate::Stale => prop_assert!(row.line == u64::MAX, "only an older file is stale"),
                Fate::Unmapped => prop_assert!(!offers.contains_key(&row.vendor_sku)),
                Fate::Rejected => prop_assert!(!row.note.is_empty()),
                Fate::Quarantined => {
                    let codes = plan.stopped.iter().filter(|stopped| stopped.vendor_sku == row.vendor_sku).count();
                    prop_assert!(codes == 1 && !row.note.is_empty(), "a row that waits is one number that waits");
                }
            }
        }
        for sku in said.keys() {
            prop_assert!(counts.contains_key(sku), "counted rows lead to a count");
        }
        for count in &plan.counts {
            let sku = count.sku.as_str();
            let waiting: BTreeMap<&str, u64> = plan
                .stopped
                .iter()
                .filter(|stopped| stopped.sku == sku)
                .map(|stopped| (stopped.vendor_sku.as_str(), stopped.old.unwrap_or(0).min(stopped.new.unwrap_or(u64::MAX))))
                .collect();
            prop_assert!(said.contains_key(sku) || count.effect == Effect::Limit, "without a word there is only a limit");
            let of_said: u64 = said.get(sku).map_or(0, |codes| codes.values().sum());
            let others: u64 = known
                .iter()
                .filter(|key| key.sku.as_deref() == Some(sku))
                .filter(|key| !waiting.contains_key(key.vendor_sku.as_str()))
                .filter(|key| said.get(sku).is_none_or(|codes| !codes.contains_key(key.vendor_sku.as_str())))
                .filter_map(|key| key.units)
                .sum();
            let most = of_said + others + waiting.values().sum::<u64>();
            prop_assert!(count.units <= most, "never more than min(old, new) of what waits: {} of {}", count.units, sku);
            prop_assert!(count.units >= of_said, "what was believed counts");
        }
        for (sku, codes) in said {
            prop_assert!(counts[sku] <= UNITS_MAX);
            let remembered: u64 = known
                .iter()
                .filter(|key| key.sku.as_deref() == Some(sku) && !codes.contains_key(key.vendor_sku.as_str()))
                .filter_map(|key| key.units)
                .sum();
            let sum: u64 = codes.values().sum();
            prop_assert!((sum..=sum + remembered).contains(&counts[sku]) || plan.stopped.iter().any(|stopped| stopped.sku == sku), "{} of {}", counts[sku], sku);
        }
    }

    /// Only FULL files, and codes that moved to another SKU, take units away by silence.
    #[test]
    fn a_partial_file_zeroes_nothing_that_it_does_not_name(body in rows(), offers in offers(), known in known()) {
        let file = parse(body.as_bytes()).unwrap();
        for row in plan(Mode::Partial, &file, &offers, &known).rows {
            prop_assert!(row.line > 0 || offers.get(&row.vendor_sku).is_some_and(|offer| Some(&offer.sku) != row.sku.as_ref()));
        }
    }
}
