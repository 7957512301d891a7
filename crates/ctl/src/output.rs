//! Printing: tables for people, JSON for programs, both from the same values.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use crate::called;
use crate::cli::Format;
use crate::failure::Failure;

/// A column of a table: its title, and where its value is, as a JSON pointer without the first slash.
pub(crate) type Column = (&'static str, &'static str);

/// Prints several things of a kind.
pub(crate) fn list(format: Format, columns: &[Column], items: &[Value]) -> Result<(), Failure> {
    match format {
        Format::Json => json(&Value::Array(items.to_vec())),
        Format::Table if items.is_empty() => write("Nothing found.\n"),
        Format::Table => write(&format!("{}\n", table(columns, items).trim_fmt())),
    }
}

/// Prints one thing, a line for each of its columns.
pub(crate) fn one(format: Format, columns: &[Column], item: &Value) -> Result<(), Failure> {
    match format {
        Format::Json => json(item),
        Format::Table => {
            let mut fields = bare_table();
            for (title, pointer) in columns {
                fields.add_row([(*title).to_owned(), cell(at(item, pointer))]);
            }
            write(&format!("{}\n", fields.trim_fmt()))
        }
    }
}

/// Prints one of many things of a stream: a JSON object in a line.
pub(crate) fn line(value: &Value) -> Result<(), Failure> {
    write(&format!("{value}\n"))
}

/// Prints one of many things of a stream, for people.
pub(crate) fn words(words: &str) -> Result<(), Failure> {
    write(&format!("{words}\n"))
}

/// Tells a person something that is not the result: on standard error, so that results can be piped.
pub(crate) fn note(words: &str) {
    // Nobody listens: then there is nobody to tell.
    let _unheard = writeln!(io::stderr(), "{words}");
}

/// Says why a command failed.
pub(crate) fn complain(words: &str) {
    note(&format!("{}: {words}", called::program()));
}

fn json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("a JSON value can be written");
    write(&format!("{text}\n"))
}

/// Writes the result. A reader that has gone (`holdctl … | head`) is no failure.
fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Refused(format!("the command was carried out, but its result cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn table(columns: &[Column], items: &[Value]) -> Table {
    let mut table = bare_table();
    table.set_header(columns.iter().map(|(title, _)| *title));
    for item in items {
        table.add_row(columns.iter().map(|(_, pointer)| cell(at(item, pointer))));
    }
    table.discover_columns();
    for (number, (_, pointer)) in columns.iter().enumerate() {
        let numeric = items.iter().all(|item| at(item, pointer).is_number());
        if let Some(column) = table.column_mut(number).filter(|_| numeric) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn at<'a>(item: &'a Value, pointer: &str) -> &'a Value {
    item.pointer(&format!("/{pointer}")).unwrap_or(&Value::Null)
}

/// A value in a cell: lists joined, objects as a phrase.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.replace(char::is_control, " "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => phrase(fields),
    }
}

/// `2 × CHAIR (2 at HALL)` for a line, `2 at HALL` for a part of it, `3 DAMAGED` for units in a condition, else `name=value …`.
fn phrase(fields: &Map<String, Value>) -> String {
    let field = |name| fields.get(name).map(cell);
    let units = field("quantity").or_else(|| field("available"));
    if let (Some(sku), Some(asked), Some(there)) =
        (field("sku"), field("requested_quantity"), field("available_quantity"))
    {
        return format!("{there} of {asked} × {sku}");
    }
    match (units, field("sku"), field("location"), field("condition")) {
        (Some(units), Some(sku), _, _) => match field("allocations") {
            Some(parts) if !parts.is_empty() => format!("{units} × {sku} ({parts})"),
            _ => format!("{units} × {sku}"),
        },
        (Some(units), None, Some(location), _) => format!("{units} at {location}{}", became(fields)),
        (Some(units), None, None, Some(condition)) => format!("{units} {condition}"),
        _ => fields.iter().map(|(name, value)| format!("{name}={}", cell(value))).collect::<Vec<_>>().join(" "),
    }
}

/// What became of units: `; 1 shipped, 1 cancelled`.
fn became(fields: &Map<String, Value>) -> String {
    let what = [
        ("backordered_quantity", "on backorder"),
        ("released_quantity", "given back"),
        ("cancelled_quantity", "cancelled"),
        ("fulfilled_quantity", "shipped"),
        ("returned_quantity", "returned"),
    ];
    let units = |name: &str| fields.get(name).and_then(Value::as_i64).filter(|units| *units > 0);
    let parts: Vec<_> = what.iter().filter_map(|(name, done)| Some(format!("{} {done}", units(name)?))).collect();
    if parts.is_empty() { String::new() } else { format!("; {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_became_of_units_is_said_beside_them() {
        let part = json!({"location": "HALL", "quantity": 3, "released_quantity": 0, "fulfilled_quantity": 2, "cancelled_quantity": 1});
        assert_eq!(cell(&part), "3 at HALL; 1 cancelled, 2 shipped");
        let missing = json!([{"sku": "CHAIR", "location": "", "requested_quantity": 5, "available_quantity": 2}]);
        assert_eq!(cell(&missing), "2 of 5 × CHAIR");
    }

    #[test]
    fn a_table_has_its_titles_and_values_in_order() {
        let items = [json!({"code": "A", "totals": {"rows": 7}}), json!({"code": "B", "totals": {"rows": 12}})];
        let text = table(&[("CODE", "code"), ("ROWS", "totals/rows")], &items).to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [["CODE", "ROWS"], ["A", "7"], ["B", "12"]]);
    }

    #[test]
    fn lines_and_their_parts_read_as_phrases() {
        let parts = json!([{"location": "HALL", "quantity": 2}, {"location": "SHOP", "quantity": 1}]);
        let line = json!([{"sku": "CHAIR", "quantity": 3, "allocations": parts}]);
        assert_eq!(cell(&line), "3 × CHAIR (2 at HALL, 1 at SHOP)");
        assert_eq!(cell(&json!([{"condition": "DAMAGED", "quantity": 4}])), "4 DAMAGED");
        assert_eq!(cell(&json!({"colour": "red"})), "colour=red");
    }

    #[test]
    fn a_cell_never_breaks_its_line() {
        assert_eq!(cell(&json!("one\ntwo\u{1b}[31m")), "one two [31m");
        assert_eq!(cell(&Value::Null), "-");
    }
}
