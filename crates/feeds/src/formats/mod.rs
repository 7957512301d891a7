//! Formats: a file's bytes → observations. A format only reads; what a number is worth is for the guards to say.
//!
//! Every format answers with the same two things: a [`ParsedFile`], whose rows are all accounted for, or a [`Refusal`],
//! after which nothing of the file may be used.

pub mod csv;
pub mod json;

use std::fmt;

use crate::observation::Observation;
use csv::CsvSchema;
use json::JsonSchema;

/// How a connection's files look, in whichever format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSchema {
    /// CSV.
    Csv(CsvSchema),
    /// JSON, or JSON Lines.
    Json(JsonSchema),
}

impl FileSchema {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Refusal`], after which nothing of the file may be used.
    pub fn parse(&self, bytes: &[u8], rows_max: u64) -> Result<ParsedFile, Refusal> {
        match self {
            Self::Csv(schema) => schema.parse(bytes, rows_max),
            Self::Json(schema) => schema.parse(bytes, rows_max),
        }
    }
}

/// What is wrong with a registered schema: which part of it, and what about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    /// The field's name, such as `header` or `rows_path`.
    pub part: &'static str,
    /// What is wrong with it, for people.
    pub description: String,
}

/// A file that is what its connection registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedFile {
    /// The rows that name something and say something, in the order of the file.
    pub observations: Vec<Observation>,
    /// The rows that do not, in the order of the file.
    pub bad_rows: Vec<BadRow>,
}

impl ParsedFile {
    /// How many rows the file has, without the header and blank lines.
    #[must_use]
    pub fn rows(&self) -> u64 {
        (self.observations.len() + self.bad_rows.len()) as u64
    }

    /// How many of them cannot be read: damaged, or with a quantity that is none of the ways in which vendors write one.
    #[must_use]
    pub fn rows_unreadable(&self) -> u64 {
        let cells = self.observations.iter().filter(|observation| observation.reading.is_unreadable()).count();
        let damaged = self.bad_rows.iter().filter(|row| row.damaged).count();
        (cells + damaged) as u64
    }
}

/// A row from which no observation could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The line of the file on which it begins, the first line being 1.
    pub line: u64,
    /// What stands where the vendor's code should be, fit for a report; may be empty.
    pub vendor_sku: String,
    /// What stands where the quantity should be, fit for a report; may be empty.
    pub raw_quantity: String,
    /// What is wrong with it.
    pub reason: String,
    /// False for a row that has neither code nor quantity (a picture's row, a line of delimiters): it says nothing, and
    /// it does not speak against the file.
    pub damaged: bool,
}

/// Why a file is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no bytes, or nothing but blanks.
    Empty,
    /// It has everything but a row.
    NoRows,
    /// It has more rows than may be read at once.
    TooManyRows {
        /// The limit.
        rows_max: u64,
    },
    /// It is not text in UTF-8.
    NotUtf8 {
        /// Where the first wrong byte stands, the first byte of the file being 0.
        offset: usize,
        /// What it may be instead.
        hint: &'static str,
    },
    /// Its header is not the registered one.
    Header {
        /// What was registered, for people.
        expected: String,
        /// What the file has, for people.
        found: String,
        /// What differs, in words.
        difference: String,
    },
    /// It is not JSON from the beginning to the end.
    Malformed {
        /// The line of the first wrong byte, the first line being 1.
        line: u64,
        /// The character of that line, the first being 1.
        column: u64,
        /// What is wrong, for people.
        problem: String,
    },
    /// It is JSON, and not of the registered shape.
    Shape {
        /// What differs, for people.
        problem: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::NoRows => f.write_str("the file has no rows"),
            Self::TooManyRows { rows_max } => write!(f, "the file has more than {rows_max} rows"),
            Self::NotUtf8 { offset, hint } => {
                write!(f, "the file is not UTF-8: byte {offset} begins no character{hint}")
            }
            Self::Header { expected, found, difference } => {
                write!(f, "the header is not the registered one: {difference}; expected {expected}, found {found}")
            }
            Self::Malformed { line, column, problem } => {
                write!(f, "the file is not JSON: {problem} (line {line}, column {column})")
            }
            Self::Shape { problem } => write!(f, "the file is not of the registered shape: {problem}"),
        }
    }
}

/// A file as text, without a byte-order mark.
fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    const UTF16: &str = "; it looks like UTF-16";
    const SINGLE_BYTE: &str = "; it may be windows-1251, latin-1 or another encoding of one byte a character";
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(text).map_err(|error| {
        let hint = if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) { UTF16 } else { SINGLE_BYTE };
        Refusal::NotUtf8 { offset: error.valid_up_to() + (bytes.len() - text.len()), hint }
    })
}
