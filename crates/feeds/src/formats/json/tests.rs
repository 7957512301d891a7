//! What a registered shape lets through and what it refuses.

use super::*;

fn schema(rows_path: &str) -> JsonSchema {
    JsonSchema::new(rows_path, "sku", "stock", false).unwrap()
}

fn lines() -> JsonSchema {
    JsonSchema::new("", "sku", "stock", true).unwrap()
}

/// A file in short: observations as `line:key=raw`, bad rows as `line!code=raw: reason`.
fn show(file: &ParsedFile) -> Vec<String> {
    let good = file.observations.iter().map(|row| format!("{}:{}={}", row.line, row.key.value(), row.raw_quantity));
    let bad =
        file.bad_rows.iter().map(|row| format!("{}!{}={}: {}", row.line, row.vendor_sku, row.raw_quantity, row.reason));
    good.chain(bad).collect()
}

fn read(schema: &JsonSchema, text: &str) -> Vec<String> {
    show(&schema.parse(text.as_bytes(), 1000).unwrap())
}

fn refusal(schema: &JsonSchema, text: &str) -> String {
    schema.parse(text.as_bytes(), 1000).unwrap_err().to_string()
}

#[test]
fn the_objects_of_the_array_become_observations() {
    let text = r#"[{"sku": "A", "stock": 3, "name": "Chair"}, {"stock": "0", "sku": "B"}]"#;
    assert_eq!(read(&schema(""), text), ["1:A=3", "2:B=0"]);
    let file = schema("").parse(text.as_bytes(), 10).unwrap();
    assert_eq!(file.observations[0].reading, Reading::Exact(3));
}

#[test]
fn the_array_is_found_under_its_path_and_what_stands_around_it_does_not_matter() {
    let text = "\u{feff}\r\n{\"code\": 200, \"list\": [1], \"data\": {\"more\": {\"list\": 1}, \"list\": [\n{\"sku\": \"A\", \"stock\": 3}\n]}, \"ok\": true}\n";
    assert_eq!(read(&schema("data.list"), text), ["1:A=3"]);
}

#[test]
fn keys_of_nested_objects_are_reached() {
    let schema = JsonSchema::new("", "item.code", "item.stock.free", false).unwrap();
    let text = r#"[
        {"item": {"stock": {"free": 4, "all": 9}, "code": "A"}, "code": "X"},
        {"item": {"stock": null, "code": "B"}},
        {"item": {"stock": 5, "code": "C"}},
        {"item": [1], "item.code": "D"}
    ]"#;
    assert_eq!(read(&schema, text), ["1:A=4", "2:B=null", "3:C=", "4!=: no key `item.code`"]);
}

#[test]
fn a_number_is_judged_as_it_stands_in_the_text() {
    use crate::guards::row::QuantityProblem::{Empty, Exponent, NotANumber, PointOrComma, TooLarge};
    for (value, reading) in [
        ("5", Reading::Exact(5)),
        ("\"5\"", Reading::Exact(5)),
        ("\" 5 \"", Reading::Exact(5)),
        ("-0", Reading::Exact(0)),
        ("-3", Reading::Negative),
        ("5.0", Reading::Unreadable(PointOrComma)),
        ("1.5", Reading::Unreadable(PointOrComma)),
        ("\"1,000\"", Reading::Unreadable(PointOrComma)),
        ("1e3", Reading::Unreadable(Exponent)),
        ("1E+3", Reading::Unreadable(Exponent)),
        ("1000000001", Reading::Unreadable(TooLarge)),
        ("99999999999999999999999999999999999999", Reading::Unreadable(TooLarge)),
        ("1e999", Reading::Unreadable(Exponent)),
        ("\">50\"", Reading::AtLeast(50)),
        ("\"\\u0035\\u0030+\"", Reading::AtLeast(50)),
        ("true", Reading::YesNo(true)),
        ("false", Reading::YesNo(false)),
        ("null", Reading::Unreadable(Empty)),
        ("\"\"", Reading::Unreadable(Empty)),
        ("[5]", Reading::Unreadable(NotANumber)),
        ("{\"free\": 5}", Reading::Unreadable(NotANumber)),
    ] {
        let text = format!(r#"[{{"sku": "A", "stock": {value}}}]"#);
        assert_eq!(schema("").parse(text.as_bytes(), 10).unwrap().observations[0].reading, reading, "{value}");
    }
}

#[test]
fn a_code_that_is_a_number_is_its_digits() {
    let text = r#"[{"sku": 1002, "stock": 1}, {"sku": 9831287423305.0, "stock": 1}, {"sku": "007", "stock": 1}]"#;
    assert_eq!(read(&schema(""), text), ["1:1002=1", "2:9831287423305.0=1", "3:007=1"]);
}

#[test]
fn a_row_that_lacks_something_is_told_and_its_neighbours_stand() {
    let text = r#"[{"sku": "A", "stock": 1}, {"stock": 5}, {"sku": null, "stock": 5}, {"sku": true, "stock": 5},
        {"sku": ["x"], "stock": 5}, 7, null, {"sku": "", "stock": ""}, {}, {"sku": "E"}, {"sku": "F", "stock": 2}]"#;
    let file = schema("").parse(text.as_bytes(), 1000).unwrap();
    assert_eq!(
        show(&file),
        [
            "1:A=1",
            "10:E=",
            "11:F=2",
            "2!=5: no key `sku`",
            "3!=5: no vendor's code",
            "4!true=5: the vendor's code is true or false",
            "5![\"x\"]=5: the vendor's code is an array",
            "6!=: the row is a number instead of an object: 7",
            "7!=: the row is null instead of an object: null",
            "8!=: neither a vendor's code nor a quantity",
            "9!=: no key `sku`",
        ]
    );
    assert_eq!(file.bad_rows.iter().filter(|row| !row.damaged).count(), 1, "only the row that says nothing");
    assert_eq!((file.rows(), file.rows_unreadable()), (11, 8));
}

#[test]
fn a_key_that_stands_twice_in_a_row_is_not_guessed() {
    let text = r#"[{"sku": "A", "stock": 5, "stock": 7}, {"sku": "B", "sku": "C", "stock": 1}, {"x": 1, "x": 2, "sku": "D", "stock": 1}]"#;
    assert_eq!(
        read(&schema(""), text),
        ["3:D=1", "1!A=: the key `stock` stands more than once", "2!=1: the key `sku` stands more than once"]
    );
    let nested = JsonSchema::new("", "sku", "of.stock", false).unwrap();
    let text = r#"[{"sku": "A", "of": {"stock": 1}, "of": {"stock": 2}}, {"sku": "B", "of": {"stock": 1}}]"#;
    assert_eq!(read(&nested, text), ["2:B=1", "1!A=: the key `of.stock` stands more than once"]);
}

#[test]
fn a_document_that_is_not_json_to_its_end_is_refused_with_the_place() {
    let whole = "{\"list\": [\n  {\"sku\": \"A\", \"stock\": 3}\n]}";
    assert_eq!(read(&schema("list"), whole), ["1:A=3"]);
    for (at, _) in whole.char_indices() {
        let message = refusal(&schema("list"), &whole[..at]);
        assert!(at == 0 || message.contains("the text ends in the middle of a value"), "{at}: {message}");
    }
    for (text, problem) in [
        ("[{\"sku\": \"A\", \"stock\": 3}] x", "something follows the end of the document (line 1, column 28)"),
        ("[{\"sku\": \"A\", \"stock\": 3}]\n[]", "something follows the end of the document (line 2, column 1)"),
        ("[{\"sku\": \"A\", \"stock\": 3},]", "nothing follows a `,`"),
        ("[{\"sku\": \"A\", \"stock\": 3,}]", "nothing follows a `,`"),
        ("[{\"sku\": \"A\" \"stock\": 3}]", "`,` or `}` is missing"),
        ("[{\"sku\": \"A\"} {\"stock\": 3}]", "`,` or `]` is missing"),
        ("[{'sku': 1}]", "a key in quotes is missing"),
        ("[{\"sku\" 1}]", "`:` is missing"),
        ("[{\"sku\": \"A\",\n \"stock\": 03}]", "a number begins with 0 (line 2, column 12)"),
        ("[{\"sku\": +1}]", "a value is missing"),
        ("[{\"sku\": .5}]", "a value is missing"),
        ("[{\"sku\": 1.}]", "a digit is missing"),
        ("[{\"sku\": 1e}]", "a digit is missing"),
        ("[{\"sku\": NaN}]", "a value is missing"),
        ("[{\"sku\": nil}]", "neither true, false nor null"),
        ("[{\"sku\": \"a\tb\"}]", "a control character stands in a string"),
        ("[{\"sku\": \"\\x\"}]", "an escape that JSON does not have"),
        ("[{\"sku\": \"\\ud800\"}]", "half a character"),
        ("[{\"sku\": \"\\udc00\"}]", "half a character"),
        ("[{\"sku\": \"\\u12g4\"}]", "a hexadecimal digit is missing"),
        ("// a\n[]", "a value is missing"),
    ] {
        let schema = schema(if text.starts_with('{') { "list" } else { "" });
        let message = refusal(&schema, text);
        assert!(message.starts_with("the file is not JSON: ") && message.contains(problem), "{text}: {message}");
    }
}

#[test]
fn a_document_of_another_shape_is_refused() {
    for (path, text, problem) in [
        ("list", "[]", "it has no `list`"),
        ("list", "{}", "it has no `list`"),
        ("list", "{\"List\": []}", "it has no `list`"),
        ("data.list", "{\"data\": [], \"list\": []}", "it has no `data.list`"),
        ("list", "{\"list\": {}}", "`list` is an object instead of an array"),
        ("list", "{\"list\": null}", "`list` is null instead of an array"),
        ("", "{}", "the document itself is an object instead of an array"),
        ("", "5", "the document itself is a number instead of an array"),
        ("list", "{\"list\": [{\"sku\": 1, \"stock\": 1}], \"list\": []}", "`list` stands more than once"),
        ("", "[1, 2]", "none of its rows is an object"),
        ("", "[{\"sku\": 1, \"qty\": 2}, {}]", "none of its rows has `stock`; the first has `sku`, `qty`"),
        ("", "[{}]", "none of its rows has `sku` or `stock`; the first has no keys"),
    ] {
        let message = refusal(&schema(path), text);
        assert_eq!(message, format!("the file is not of the registered shape: {problem}"), "{text}");
    }
    assert_eq!(schema("").parse(b"[]", 10), Err(Refusal::NoRows));
    assert_eq!(schema("").parse(b"\xef\xbb\xbf \r\n", 10), Err(Refusal::Empty));
    assert!(matches!(schema("").parse(b"[\xff]", 10), Err(Refusal::NotUtf8 { offset: 1, .. })));
    assert!(refusal(&schema(""), "\u{0}").contains("line 1, column 1"));
}

#[test]
fn more_rows_than_may_be_read_refuse_the_file() {
    let row = r#"{"sku": "A", "stock": 1}"#;
    let (two, three) = ([row; 2].join(","), [row; 3].join(","));
    assert_eq!(schema("").parse(format!("[{two}]").as_bytes(), 2).unwrap().rows(), 2);
    assert_eq!(schema("").parse(format!("[{three}]").as_bytes(), 2), Err(Refusal::TooManyRows { rows_max: 2 }));
    let nested = format!("{{\"a\": {{\"b\": [{three}]}}}}");
    assert_eq!(schema("a.b").parse(nested.as_bytes(), 2), Err(Refusal::TooManyRows { rows_max: 2 }));
    assert_eq!(lines().parse([row; 2].join("\n").as_bytes(), 2).unwrap().rows(), 2);
    assert_eq!(lines().parse([row; 3].join("\n").as_bytes(), 2), Err(Refusal::TooManyRows { rows_max: 2 }));
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep =
        |depth: usize| format!("[{{\"sku\": \"A\", \"stock\": 1, \"x\": {}{}}}]", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(read(&schema(""), &deep(126)), ["1:A=1"]);
    assert!(refusal(&schema(""), &deep(127)).contains("nested more than 128 deep"));
    assert!(refusal(&schema(""), &"[".repeat(1_000_000)).contains("nested more than 128 deep"));
    assert!(refusal(&schema(""), &"{\"a\":".repeat(1_000_000)).contains("nested more than 128 deep"));
}

#[test]
fn a_line_that_is_not_json_costs_itself() {
    let text = "{\"sku\": \"A\", \"stock\": 1}\r\n\n  \n{\"sku\": \"B\", \"stock\": 2\n{\"sku\": \"C\", \"stock\": 3} x\n[1]\n{\"sku\": \"D\", \"stock\": 4}\n";
    assert_eq!(
        read(&lines(), text),
        [
            "1:A=1",
            "7:D=4",
            "4!=: not JSON: the text ends in the middle of a value (column 24): {\"sku\": \"B\", \"stock\": 2",
            "5!=: not JSON: something follows the end of the document (column 26): {\"sku\": \"C\", \"stock\": 3} x",
            "6!=: the row is an array instead of an object: [1]",
        ]
    );
}

#[test]
fn json_lines_that_break_off_in_the_middle_are_refused() {
    let message = refusal(&lines(), "{\"sku\": \"A\", \"stock\": 1}\n{\"sku\": \"B\", \"sto");
    assert!(message.contains("the last line breaks off") && message.contains("(line 2, column 18)"), "{message}");
    assert_eq!(read(&lines(), "{\"sku\": \"A\", \"stock\": 1}\n{\"sku\": \"B\", \"stock\": 2}"), ["1:A=1", "2:B=2"]);
}

#[test]
fn a_shape_that_cannot_be_is_refused_with_all_that_is_wrong() {
    let parts = |rows, key, quantity, is_lines| {
        let problems = JsonSchema::new(rows, key, quantity, is_lines).unwrap_err();
        problems.into_iter().map(|problem| problem.part).collect::<Vec<_>>()
    };
    assert_eq!(parts("a..b", "", "x.", false), ["rows_path", "key_field", "quantity_field"]);
    assert_eq!(parts("", "sku", "sku", false), ["quantity_field"]);
    assert_eq!(parts("", "item", "item.stock", false), ["quantity_field"]);
    assert_eq!(parts("", "item.sku", "item", false), ["quantity_field"]);
    assert_eq!(parts("rows", "sku", "stock", true), ["rows_path"]);
    let long = "x".repeat(256);
    let deep = ["x"; 33].join(".");
    assert_eq!(parts(&long, &deep, "a\u{0}", false), ["rows_path", "key_field", "quantity_field"]);
    assert!(JsonSchema::new("", "item.sku", "item.stock", true).is_ok());
}
