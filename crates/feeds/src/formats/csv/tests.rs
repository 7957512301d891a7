//! What a registered header lets through and what it refuses.

use super::*;

fn schema() -> CsvSchema {
    CsvSchema::new(",", &columns("sku,stock,name"), "sku", "stock").unwrap()
}

fn columns(header: &str) -> Vec<String> {
    header.split(',').map(str::to_owned).collect()
}

fn parse(text: &str) -> Result<ParsedFile, Refusal> {
    schema().parse(text.as_bytes(), 1000)
}

/// Observations as `line:key=quantity`.
fn seen(file: &ParsedFile) -> Vec<String> {
    let show = |row: &Observation| format!("{}:{}={}", row.line, row.key.value(), row.raw_quantity);
    file.observations.iter().map(show).collect()
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn rows_under_the_registered_header_become_observations() {
    let file = parse("sku,stock,name\nA,3,Chair\nB,0,\"Table, round\"\n").unwrap();
    assert_eq!(seen(&file), ["2:A=3", "3:B=0"]);
    assert_eq!(file.bad_rows, []);
    assert_eq!(file.observations[0].reading, Reading::Exact(3));
}

#[test]
fn a_byte_order_mark_blank_lines_and_crlf_change_nothing() {
    let file = parse("\u{feff}\r\nsku,stock,name\r\n\r\nA,3,Chair\r\n\r\n").unwrap();
    assert_eq!(seen(&file), ["4:A=3"]);
}

#[test]
fn a_delimiter_that_changed_overnight_refuses_the_file() {
    let message = refusal("sku;stock;name\nA;3;Chair\n");
    assert!(message.contains("the delimiter is `;` instead of `,`"), "{message}");
    assert!(message.contains("expected `sku,stock,name`, found `sku;stock;name`"), "{message}");
}

#[test]
fn a_header_that_differs_in_anything_refuses_the_file_and_says_in_what() {
    for (header, difference) in [
        ("sku,qty,name", "missing `stock`, added `qty`"),
        ("sku,stock,name,price", "added `price`"),
        ("sku,stock", "missing `name`"),
        ("stock,sku,name", "the columns stand in another order"),
        ("sku,stock,name,name", "it has 4 columns instead of 3"),
        ("SKU,stock,name", "missing `sku`, added `SKU`"),
        ("A,3,Chair", "missing `sku`, `stock`, `name`, added `A`, `3`, `Chair`"),
        ("\"sku,stock,name", "a quote is never closed"),
    ] {
        let message = refusal(&format!("{header}\nA,3,Chair\n"));
        assert!(message.contains(difference), "{header}: {message}");
        assert!(message.contains("expected `sku,stock,name`"), "{header}: {message}");
    }
}

#[test]
fn an_empty_file_and_a_header_without_rows_are_refused() {
    assert_eq!(parse(""), Err(Refusal::Empty));
    assert_eq!(parse("\u{feff}"), Err(Refusal::Empty));
    assert_eq!(parse("\n \n\n"), Err(Refusal::Empty));
    assert_eq!(parse("sku,stock,name\n\n"), Err(Refusal::NoRows));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let cyrillic = [b"sku,stock,name\nA,3,".as_slice(), &[0xd1, 0xf2, 0xf3, 0xeb], b"\n"].concat();
    let message = schema().parse(&cyrillic, 1000).unwrap_err().to_string();
    assert!(message.contains("byte 19") && message.contains("windows-1251"), "{message}");
    let marked = [b"\xef\xbb\xbfsku,stock,name\nA,3,".as_slice(), &[0xe9], b"\n"].concat();
    let message = schema().parse(&marked, 1000).unwrap_err().to_string();
    assert!(message.contains("byte 22"), "{message}");
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(b"sku".iter().flat_map(|byte| [*byte, 0])).collect();
    assert!(schema().parse(&utf16, 1000).unwrap_err().to_string().contains("UTF-16"));
}

#[test]
fn a_damaged_row_is_rejected_alone() {
    let file = parse("sku,stock,name\nA,3\nB,4,x,y\n\"C,5,z\nD,6,w\n,7,v\n").unwrap();
    assert_eq!(seen(&file), ["5:D=6"]);
    let reasons: Vec<(u64, &str)> = file.bad_rows.iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (2, "2 columns instead of 3"),
            (3, "4 columns instead of 3"),
            (4, "a quote is never closed: \"C,5,z"),
            (6, "no vendor's code"),
        ]
    );
    assert_eq!((file.rows(), file.rows_unreadable()), (5, 4));
}

#[test]
fn a_row_that_says_nothing_does_not_speak_against_the_file() {
    let file = parse("sku,stock,name\nA,3,x\n,,picture\n,,\n").unwrap();
    assert_eq!((file.rows(), file.rows_unreadable()), (3, 0));
    assert_eq!(file.bad_rows.len(), 2);
}

#[test]
fn codes_are_kept_as_they_stand() {
    let file = parse("sku,stock,name\n007,1,x\n9831287423305.0,1,x\n A1 ,1,x\n").unwrap();
    assert_eq!(seen(&file), ["2:007=1", "3:9831287423305.0=1", "4:A1=1"]);
}

#[test]
fn a_code_that_no_offer_can_have_is_rejected() {
    let long = "x".repeat(129);
    let file = parse(&format!("sku,stock,name\n{long},1,a\nA\u{0}B,1,b\n")).unwrap();
    let reasons: Vec<&str> = file.bad_rows.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons, ["the vendor's code is longer than 128 bytes", "the vendor's code has control characters"]);
    assert_eq!(file.bad_rows[1].vendor_sku, "A\u{fffd}B", "what a report keeps has no NUL");
}

#[test]
fn more_rows_than_allowed_refuse_the_file() {
    assert_eq!(schema().parse(b"sku,stock,name\nA,1,x\nB,1,x\n", 1), Err(Refusal::TooManyRows { rows_max: 1 }));
    assert!(schema().parse(b"sku,stock,name\nA,1,x\n", 1).is_ok());
}

#[test]
fn a_schema_says_all_that_is_wrong_with_it_at_once() {
    let parts = |delimiter, header: &str, key, quantity| -> Vec<&'static str> {
        let problems = CsvSchema::new(delimiter, &columns(header), key, quantity).unwrap_err();
        problems.iter().map(|problem| problem.part).collect()
    };
    assert_eq!(parts("ab", "one", "x", ""), ["delimiter", "header", "key_column", "quantity_column"]);
    assert_eq!(parts("\"", "a,b", "a", "b"), ["delimiter"]);
    assert_eq!(parts(" ", "a,b", "a", "b"), ["delimiter"]);
    assert_eq!(parts("7", "a,b", "a", "b"), ["delimiter"]);
    assert_eq!(parts("\n", "a,b", "a", "b"), ["delimiter"]);
    assert_eq!(parts("ü", "a,b", "a", "b"), ["delimiter"]);
    assert_eq!(parts(",", "a,b", "a", "a"), ["quantity_column"]);
    assert_eq!(parts(",", "a,a,b", "a", "b"), ["key_column"]);
    assert_eq!(parts(",", "a\u{0},b", "b", "c"), ["header", "quantity_column"]);
    assert!(CsvSchema::new("\t", &columns("a,,b"), "a", "b").is_ok(), "a nameless column is allowed");
    assert!(CsvSchema::new("", &columns("a,b"), "a", "b").is_ok(), "empty means a comma");
}
