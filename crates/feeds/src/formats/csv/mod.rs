//! CSV files with a registered header. With another delimiter, or with a column more, a file would still parse, into
//! nonsense; so a header that differs in anything refuses the file.

mod records;

use std::{borrow::Cow, fmt};

use crate::{
    formats::{BadRow, ParsedFile, Refusal, SchemaProblem, utf8},
    guards::row::Reading,
    observation::{Key, KeyProblem, Observation},
    text::{excerpt, excerpt_of},
};
use records::{Item, Records};

/// The fewest and the most columns that a header may have.
pub const COLUMNS: std::ops::RangeInclusive<usize> = 2..=500;
/// The longest column name, in bytes.
pub const COLUMN_BYTES_MAX: usize = 255;
/// How much of a header a message shows, in bytes.
const HEADER_SHOWN_BYTES: usize = 400;

/// How a connection's files look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvSchema {
    delimiter: u8,
    header: Vec<String>,
    key_column: usize,
    quantity_column: usize,
}

impl CsvSchema {
    /// Registers a header. The delimiter is one printable ASCII character or a tab, neither a letter, a digit, a quote
    /// nor a space; empty means a comma. The two columns stand in the header exactly once and are not the same.
    ///
    /// # Errors
    /// All that is wrong with it at once.
    pub fn new(
        delimiter: &str,
        header: &[String],
        key_column: &str,
        quantity_column: &str,
    ) -> Result<Self, Vec<SchemaProblem>> {
        let mut problems = Vec::new();
        let mut problem = |part, description: String| problems.push(SchemaProblem { part, description });
        let delimiter_byte = delimiter_of(delimiter);
        if delimiter_byte.is_none() {
            problem("delimiter", "must be one ASCII character: no letter, digit, quote, space or line break".into());
        }
        if !COLUMNS.contains(&header.len()) {
            problem("header", format!("must have 2 to 500 columns, has {}", header.len()));
        }
        if let Some(at) = header.iter().position(|name| !is_column_name(name)) {
            problem("header", format!("column {} is longer than 255 bytes or has control characters", at + 1));
        }
        let mut column = |part, name: &str| {
            let mut places = header.iter().enumerate().filter(|(_, column)| *column == name).map(|(at, _)| at);
            match (name.is_empty(), places.next(), places.next()) {
                (false, Some(at), None) => Some(at),
                (true, _, _) => {
                    problem(part, "must name a column".into());
                    None
                }
                (false, None, _) => {
                    problem(part, "is no column of the header".into());
                    None
                }
                (false, Some(_), Some(_)) => {
                    problem(part, "stands in the header more than once".into());
                    None
                }
            }
        };
        let key = column("key_column", key_column);
        let quantity = column("quantity_column", quantity_column);
        if key.is_some() && key == quantity {
            problem("quantity_column", "must be another column than key_column".into());
        }
        match (delimiter_byte, key, quantity) {
            (Some(delimiter), Some(key_column), Some(quantity_column)) if problems.is_empty() => {
                Ok(Self { delimiter, header: header.to_vec(), key_column, quantity_column })
            }
            _ => Err(problems),
        }
    }

    /// Reads a file: a byte-order mark and blank lines are skipped, the header is compared, and every row becomes an
    /// observation or a bad row.
    ///
    /// # Errors
    /// [`Refusal`], after which nothing of the file may be used: it is empty, not UTF-8, has another header, no rows, or
    /// more than `rows_max`.
    pub fn parse(&self, bytes: &[u8], rows_max: u64) -> Result<ParsedFile, Refusal> {
        let text = utf8(bytes)?;
        let mut records = Records::new(text, self.delimiter);
        match records.next() {
            None => return Err(Refusal::Empty),
            Some(Item::Record { fields, .. }) if fields == self.header => {}
            Some(Item::Record { fields, .. }) => return Err(self.refuse_header(text, &fields)),
            Some(Item::Malformed { text: line, problem, .. }) => {
                return Err(self.header_refusal(excerpt_of(line, HEADER_SHOWN_BYTES), problem.to_owned()));
            }
        }
        let mut file = ParsedFile::default();
        for record in records {
            if file.rows() == rows_max {
                return Err(Refusal::TooManyRows { rows_max });
            }
            match self.row(record) {
                Ok(observation) => file.observations.push(observation),
                Err(row) => file.bad_rows.push(row),
            }
        }
        if file.rows() == 0 { Err(Refusal::NoRows) } else { Ok(file) }
    }

    fn row(&self, record: Item<'_>) -> Result<Observation, BadRow> {
        let (line, fields) = match record {
            Item::Record { line, fields } => (line, fields),
            Item::Malformed { line, text, problem } => {
                return Err(BadRow {
                    line,
                    vendor_sku: String::new(),
                    raw_quantity: String::new(),
                    reason: format!("{problem}: {}", excerpt(text)),
                    damaged: true,
                });
            }
        };
        let cell = |column: usize| fields.get(column).map_or("", Cow::as_ref);
        let (key_cell, quantity_cell) = (cell(self.key_column), cell(self.quantity_column));
        let bad = |reason: String, damaged| BadRow {
            line,
            vendor_sku: excerpt(key_cell.trim()),
            raw_quantity: excerpt(quantity_cell),
            reason,
            damaged,
        };
        if fields.len() != self.header.len() {
            return Err(bad(format!("{} columns instead of {}", fields.len(), self.header.len()), true));
        }
        match Key::vendor_sku(key_cell) {
            Ok(key) => {
                Ok(Observation { line, key, raw_quantity: excerpt(quantity_cell), reading: Reading::of(quantity_cell) })
            }
            Err(KeyProblem::Empty) if quantity_cell.trim().is_empty() => {
                Err(bad("neither a vendor's code nor a quantity".to_owned(), false))
            }
            Err(problem) => Err(bad(problem.to_string(), true)),
        }
    }

    fn refuse_header(&self, text: &str, found: &[Cow<'_, str>]) -> Refusal {
        let shown = show(found.iter().map(Cow::as_ref), self.delimiter);
        self.header_refusal(shown, self.difference(text, found))
    }

    fn header_refusal(&self, found: String, difference: String) -> Refusal {
        let expected = show(self.header.iter().map(String::as_str), self.delimiter);
        Refusal::Header { expected, found, difference }
    }

    /// Says what differs, the most helpful thing first.
    fn difference(&self, text: &str, found: &[Cow<'_, str>]) -> String {
        let same_with = |delimiter: &u8| matches!(Records::new(text, *delimiter).next(), Some(Item::Record { fields, .. }) if fields == self.header);
        if let Some(delimiter) = b",;\t|:".iter().find(|delimiter| same_with(delimiter)) {
            let (found, registered) = (Shown(*delimiter), Shown(self.delimiter));
            return format!("the delimiter is {found} instead of {registered}");
        }
        let missing: Vec<&str> =
            self.header.iter().map(String::as_str).filter(|name| !found.iter().any(|other| other == name)).collect();
        let added: Vec<&str> =
            found.iter().map(Cow::as_ref).filter(|name| !self.header.iter().any(|other| other == name)).collect();
        match (missing.is_empty(), added.is_empty()) {
            (true, true) if found.len() == self.header.len() => "the columns stand in another order".to_owned(),
            (true, true) => format!("it has {} columns instead of {}", found.len(), self.header.len()),
            (false, true) => format!("missing {}", quoted(&missing)),
            (true, false) => format!("added {}", quoted(&added)),
            (false, false) => format!("missing {}, added {}", quoted(&missing), quoted(&added)),
        }
    }
}

fn delimiter_of(delimiter: &str) -> Option<u8> {
    match delimiter.as_bytes() {
        [] => Some(b','),
        [b'\t'] => Some(b'\t'),
        [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Some(*byte),
        _ => None,
    }
}

fn is_column_name(name: &str) -> bool {
    name.len() <= COLUMN_BYTES_MAX && !name.chars().any(char::is_control)
}

/// A header for people: its columns, its delimiter, not too long.
fn show<'a>(columns: impl Iterator<Item = &'a str>, delimiter: u8) -> String {
    let separator = if delimiter == b'\t' { "\\t".to_owned() } else { char::from(delimiter).to_string() };
    let joined = columns.take(COLUMNS.end() + 1).collect::<Vec<_>>().join(&separator);
    format!("`{}`", excerpt_of(&joined, HEADER_SHOWN_BYTES))
}

/// Up to five names for people.
fn quoted(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{}`", excerpt_of(name, 60))).collect();
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// A delimiter for people.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == b'\t' { f.write_str("a tab") } else { write!(f, "`{}`", char::from(self.0)) }
    }
}

#[cfg(test)]
mod tests;
