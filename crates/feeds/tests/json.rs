//! What holds for any JSON whatever, and a real vendor's JSON, where it is at hand: it is not part of the project.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{fs, io::Read as _, path::PathBuf};

use holdfast_feeds::{
    UNITS_MAX,
    formats::{Refusal, json::JsonSchema},
    guards::row::Reading,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema(is_lines: bool) -> JsonSchema {
    JsonSchema::new("", "k", "q", is_lines).unwrap()
}

/// Text that resembles JSON: what JSON is made of is far more frequent than by chance.
fn json_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[\\[\\]{},:]",
        3 => Just("\"k\":".to_owned()),
        3 => Just("\"q\":".to_owned()),
        2 => "\"[a-c\\\\\"u0-9é]{0,4}\"",
        2 => "-?[0-9]{1,12}(\\.[0-9]{1,2})?([eE][+-]?[0-9]{1,3})?",
        1 => prop_oneof![Just("true".to_owned()), Just("null".to_owned()), Just("fals".to_owned())],
        1 => "[ \n\r\t]",
        1 => "\\PC",
        1 => prop_oneof![Just("\\ud83d\\ude00".to_owned()), Just("\\ud83d".to_owned()), Just("\"".to_owned())],
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Any value at all.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}|[\"\\\\\n\t\u{0}a]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[kqab\"]{1,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether a document was read as JSON to its end, whatever it says.
fn is_json(text: &str) -> bool {
    !matches!(schema(false).parse(text.as_bytes(), 1000), Err(Refusal::Malformed { .. } | Refusal::Empty))
}

/// What serde_json says; nothing about floats out of its range, which are JSON all the same.
fn serde_says(text: &str) -> Option<bool> {
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Some(true),
        Err(error) => (!error.to_string().starts_with("number out of range")).then_some(false),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is JSON and what is not: the same as another reader finds.
    #[test]
    fn the_same_texts_are_json_as_for_another_reader(text in json_like()) {
        if let Some(says) = serde_says(&text) {
            prop_assert_eq!(is_json(&text), says, "{}", text);
        }
    }

    /// Well-formed documents of any shape are read to their end.
    #[test]
    fn every_document_that_is_written_is_read(value in any_value()) {
        prop_assert!(is_json(&value.to_string()));
        prop_assert!(is_json(&serde_json::to_string_pretty(&value).unwrap()));
    }

    /// Cut anywhere, a document is no document.
    #[test]
    fn a_document_cut_anywhere_is_refused(rows in proptest::collection::vec(("[a-z]{1,4}", 0u64..1000), 1..5), at in any::<prop::sample::Index>()) {
        let rows: Vec<Value> = rows.iter().map(|(key, quantity)| json!({"k": key, "q": quantity})).collect();
        let text = Value::from(rows).to_string();
        let cut = &text[..at.index(text.len())];
        prop_assert!(schema(false).parse(cut.as_bytes(), 1000).is_err());
    }

    /// Fuzzing in small: any bytes, in both forms, panic never and make no number up.
    #[test]
    fn no_bytes_panic_and_no_number_is_made_up(
        text in json_like(), noise in proptest::collection::vec(any::<u8>(), 0..4), is_lines in any::<bool>(),
    ) {
        let bytes = [format!("[{{\"k\":\"a\",{text}}}]").as_bytes(), &noise].concat();
        for bytes in [bytes.as_slice(), text.as_bytes(), &noise] {
            match schema(is_lines).parse(bytes, 50) {
                Ok(file) => for row in &file.observations {
                    if let Reading::Exact(number) = row.reading {
                        prop_assert!(row.raw_quantity.trim().trim_start_matches(['-', '0']) == number.to_string() || number == 0);
                    }
                },
                Err(refusal) => prop_assert!(!refusal.to_string().is_empty() && refusal.to_string().len() < 4000),
            }
        }
    }

    /// What a careful writer writes is read back as it was, as a document and as lines.
    #[test]
    fn well_formed_rows_are_read_as_they_were_written(
        rows in proptest::collection::vec(("[a-z0-9\"\\\\/é€😀]{1,8}", 0u64..=UNITS_MAX, any_value(), any::<bool>()), 1..20),
    ) {
        let values: Vec<Value> = rows
            .iter()
            .map(|(key, quantity, other, quoted)| {
                let quantity = if *quoted { Value::from(quantity.to_string()) } else { Value::from(*quantity) };
                json!({"a": other, "k": key, "q": quantity, "z": other})
            })
            .collect();
        let written: Vec<(&str, Reading)> = rows.iter().map(|(key, quantity, ..)| (key.as_str(), Reading::Exact(*quantity))).collect();
        let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
        let pretty = serde_json::to_string_pretty(&values).unwrap();
        for (is_lines, text) in [(false, Value::from(values).to_string()), (false, pretty), (true, lines)] {
            let file = schema(is_lines).parse(text.as_bytes(), 100).unwrap();
            let read: Vec<(&str, Reading)> = file.observations.iter().map(|row| (row.key.value(), row.reading.clone())).collect();
            prop_assert_eq!(&read, &written);
        }
    }
}

#[test]
fn a_parts_vendors_pages_are_read_row_by_row() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/json_parts");
    if !folder.is_dir() {
        eprintln!("skipped: ../shared/data/json_parts is not at hand");
        return;
    }
    let schema = JsonSchema::new("data.componentPageInfo.list", "componentCode", "stockCount", false).unwrap();
    let mut rows = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let mut text = String::new();
        flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let list = value["data"]["componentPageInfo"]["list"].as_array();
        match schema.parse(text.as_bytes(), 10_000) {
            Ok(file) => {
                let wanted: Vec<(&str, i64)> = list
                    .unwrap()
                    .iter()
                    .map(|row| (row["componentCode"].as_str().unwrap(), row["stockCount"].as_i64().unwrap().max(0)))
                    .collect();
                let read: Vec<(&str, i64)> = file
                    .observations
                    .iter()
                    .map(|row| (row.key.value(), row.reading.quantity().unwrap().try_into().unwrap()))
                    .collect();
                assert_eq!(read, wanted, "{}", path.display());
                rows += read.len();
            }
            Err(refusal) => assert!(list.is_none_or(Vec::is_empty), "{}: {refusal}", path.display()),
        }
        assert!(schema.parse(&text.as_bytes()[..text.len() / 2], 10_000).is_err(), "half of it is nothing");
    }
    assert!(rows > 1000, "{rows} rows");
}
