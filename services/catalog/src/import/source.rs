//! A file on its way in: rows come out of it, whatever its format and wherever it is cut.

use std::borrow::Cow;
use std::str;

use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::Problem;

use super::columns::{Cell, Columns, Row};
use super::lines::{Keys, LineTooLong, Lines};
use super::problems::RowProblem;
use super::records::{Malformed, Record, RecordLimits, Records};
use super::{Format, ImportSpec};

/// How many of the file's columns an error names, and how much of each.
const COLUMNS_NAMED_MAX: usize = 50;
const COLUMN_CHARS_MAX: usize = 40;

/// A row that was read, good or bad.
pub(super) type Read = (i64, Result<Row, Vec<RowProblem>>);

/// Reads rows.
#[derive(Debug)]
pub(super) struct Source {
    columns: Columns,
    limits: RecordLimits,
    format: Reader,
}

#[derive(Debug)]
enum Reader {
    Csv { records: Box<Records>, header: Option<Header> },
    JsonLines { lines: Lines, keys: Keys, begun: bool },
}

impl Source {
    /// Of a file that is written as the specification says.
    pub(super) fn new(spec: &ImportSpec, limits: RecordLimits) -> Self {
        let columns = Columns::new(spec);
        let format = match spec.format {
            Format::Csv => Reader::Csv { records: Box::new(Records::new(spec.delimiter, limits)), header: None },
            Format::JsonLines => {
                Reader::JsonLines { lines: Lines::new(limits), keys: Keys::new(&columns, limits), begun: false }
            }
        };
        Self { columns, limits, format }
    }

    /// The columns that are wanted.
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The next row, cutting what was read off `input`; `None` when `input` is used up and more is needed.
    ///
    /// # Errors
    /// FILE_REFUSED when the file is no table, lacks a column, or a row exceeds a limit.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Read>, Problem> {
        let Self { columns, limits, format } = self;
        match format {
            Reader::Csv { records, header } => loop {
                let record = records.next(input).map_err(|malformed| malformed_file(malformed, *limits))?;
                let Some(record) = record else { return Ok(None) };
                if let Some(read) = row_of(columns, header, record)? {
                    return Ok(Some(read));
                }
            },
            Reader::JsonLines { lines, keys, begun } => {
                let found = lines.next(input).map_err(|too_long| line_too_long(too_long, *limits))?;
                Ok(found.map(|(line, text)| {
                    *begun = true;
                    (line, line_of(columns, keys, line, &text))
                }))
            }
        }
    }

    /// The last row, if the file does not end with a line end.
    ///
    /// # Errors
    /// As [`Source::next`], and when the file is empty or, at its end, lacks a column.
    pub(super) fn finish(&mut self) -> Result<Option<Read>, Problem> {
        let Self { columns, limits, format } = self;
        let (read, begun) = match format {
            Reader::Csv { records, header } => {
                let record = records.finish().map_err(|malformed| malformed_file(malformed, *limits))?;
                let read = record.map(|record| row_of(columns, header, record)).transpose()?.flatten();
                (read, header.is_some())
            }
            Reader::JsonLines { lines, keys, begun } => {
                let last = lines.finish().map(|(line, text)| (line, line_of(columns, keys, line, &text)));
                let begun = *begun || last.is_some();
                if begun {
                    check_keys(keys)?;
                }
                (last, begun)
            }
        };
        if begun { Ok(read) } else { Err(refused("the file is empty")) }
    }
}

/// What a record says; `None` for the header.
fn row_of(columns: &Columns, header: &mut Option<Header>, record: Record<'_>) -> Result<Option<Read>, Problem> {
    let Some(header) = header else {
        *header = Some(Header::new(columns, record)?);
        return Ok(None);
    };
    let line = record.line;
    let row = header.cells(record).map_err(|problem| vec![problem]).and_then(|cells| columns.row(line, cells));
    Ok(Some((line, row)))
}

fn line_of(columns: &Columns, keys: &mut Keys, line: i64, text: &[u8]) -> Result<Row, Vec<RowProblem>> {
    keys.cells(line, text).map_err(|problem| vec![problem]).and_then(|cells| columns.row(line, cells))
}

/// A key that no line has is a mistake in the specification or in the file: going on would look as if it had been imported.
fn check_keys(keys: &Keys) -> Result<(), Problem> {
    if keys.missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<&String> = keys.missing.iter().collect();
    let others: Vec<&String> = keys.others.iter().collect();
    let message = format!("no line has the key {}; others that there are: {}", quoted(&missing), quoted(&others));
    Err(refused(message).metadata("missing_columns", quoted(&missing)).metadata("columns", quoted(&others)))
}

/// Where a CSV file's header puts the columns.
#[derive(Debug)]
struct Header {
    fields: usize,
    places: Vec<usize>,
}

impl Header {
    /// Finds the columns. White space around their names does not matter.
    ///
    /// # Errors
    /// FILE_REFUSED when the header is not UTF-8, has not all of the columns, or has one of them twice; it says which columns the file has.
    fn new(columns: &Columns, header: Record<'_>) -> Result<Self, Problem> {
        let names: Option<Vec<&str>> = header.fields().map(|field| str::from_utf8(field).ok().map(str::trim)).collect();
        let names = names.ok_or_else(|| refused("the header is not UTF-8 text"))?;
        let (mut missing, mut twice, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in columns.names() {
            let mut found = names.iter().enumerate().filter(|(_, name)| **name == wanted.trim());
            match (found.next(), found.next()) {
                (Some((place, _)), None) => places.push(place),
                (Some(_), Some(_)) => twice.push(wanted),
                (None, _) => missing.push(wanted),
            }
        }
        if !missing.is_empty() {
            let message = format!("the header has no column {}; it has {}", quoted(&missing), quoted(&names));
            return Err(refused(message)
                .metadata("missing_columns", quoted(&missing))
                .metadata("columns", quoted(&names)));
        }
        if !twice.is_empty() {
            return Err(refused(format!("the header has more than one column {}", quoted(&twice)))
                .metadata("columns", quoted(&names)));
        }
        Ok(Self { fields: names.len(), places })
    }

    fn cells<'a>(&self, record: Record<'a>) -> Result<Vec<Cell<'a>>, RowProblem> {
        if record.len() != self.fields {
            let description = format!("has {} fields, the header has {}", record.len(), self.fields);
            return Err(RowProblem { line: record.line, column: String::new(), description });
        }
        let cell = |place: &usize| match str::from_utf8(record.get(*place).unwrap_or_default()) {
            Ok(text) => Cell::Text(Cow::Borrowed(text)),
            Err(error) => Cell::Wrong(format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1)),
        };
        Ok(self.places.iter().map(cell).collect())
    }
}

/// A file that cannot be imported at all.
pub(super) fn refused(message: impl Into<String>) -> Problem {
    Problem::new(ErrorReason::FileRefused, message)
}

fn malformed_file(malformed: Malformed, limits: RecordLimits) -> Problem {
    let (line, message) = match malformed {
        Malformed::RecordTooLong { line } => (
            line,
            format!(
                "the row that begins on line {line} is longer than {} bytes; is a quote missing?",
                limits.bytes_max
            ),
        ),
        Malformed::TooManyColumns { line } => {
            (line, format!("the row that begins on line {line} has more than {} columns", limits.columns_max))
        }
        Malformed::QuoteNotClosed { line } => {
            (line, format!("the file ends within quotes; they were opened in the row that begins on line {line}"))
        }
    };
    refused(message).metadata("line", line)
}

fn line_too_long(LineTooLong { line }: LineTooLong, limits: RecordLimits) -> Problem {
    let message = format!("line {line} is longer than {} bytes; are the line ends missing?", limits.bytes_max);
    refused(message).metadata("line", line)
}

/// Names as they may stand in a message: quoted, cut when they are long or many.
fn quoted(names: &[impl AsRef<str>]) -> String {
    let cut = |name: &str| format!("{:?}", name.chars().take(COLUMN_CHARS_MAX).collect::<String>());
    let listed: Vec<String> = names.iter().take(COLUMNS_NAMED_MAX).map(|name| cut(name.as_ref())).collect();
    let more = if names.len() > COLUMNS_NAMED_MAX {
        format!(" and {} more", names.len() - COLUMNS_NAMED_MAX)
    } else {
        String::new()
    };
    format!("{}{more}", listed.join(", "))
}
