//! Cuts the bytes of a JSON Lines file, as they arrive, into lines, and a line into cells. Holds one line at most.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::{Cell, Columns};
use super::problems::RowProblem;
use super::records::RecordLimits;

/// A line that is longer than the limit: the rest of the file cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineTooLong {
    /// Which.
    pub(super) line: i64,
}

/// Reads lines out of pieces of a file. Empty lines are no records.
#[derive(Debug)]
pub(super) struct Lines {
    bytes_max: usize,
    /// The beginning of the line in work.
    begun: Vec<u8>,
    line: i64,
}

impl Lines {
    pub(super) fn new(limits: RecordLimits) -> Self {
        Self { bytes_max: limits.bytes_max, begun: Vec::new(), line: 1 }
    }

    /// The next line that is not empty and its number, cutting what was read off `input`; `None` when `input` is used up and more is needed.
    ///
    /// # Errors
    /// When a line exceeds the limit.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<(i64, Vec<u8>)>, LineTooLong> {
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            self.keep(&input[..end])?;
            *input = &input[end + 1..];
            let (line, text) = (self.line, std::mem::take(&mut self.begun));
            self.line += 1;
            if !text.trim_ascii().is_empty() {
                return Ok(Some((line, text)));
            }
        }
        self.keep(input)?;
        *input = &[];
        Ok(None)
    }

    /// The last line, if the file does not end with a line end.
    pub(super) fn finish(&mut self) -> Option<(i64, Vec<u8>)> {
        let text = std::mem::take(&mut self.begun);
        (!text.trim_ascii().is_empty()).then_some((self.line, text))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        if self.begun.len() + bytes.len() > self.bytes_max {
            return Err(LineTooLong { line: self.line });
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }
}

/// Where the keys of a line's object go.
#[derive(Debug)]
pub(super) struct Keys {
    /// The places of a key's cells in the order of the columns.
    places: HashMap<String, Vec<usize>>,
    cells: usize,
    keys_max: usize,
    /// Wanted keys that no line has had yet.
    pub(super) missing: BTreeSet<String>,
    /// Keys that nobody wants, the first of them.
    pub(super) others: BTreeSet<String>,
}

/// How many keys that nobody wants are remembered, to be named when a wanted one is missing.
const OTHERS_MAX: usize = 51;

impl Keys {
    pub(super) fn new(columns: &Columns, limits: RecordLimits) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, name) in columns.names().enumerate() {
            places.entry(name.to_owned()).or_default().push(place);
        }
        let missing = places.keys().cloned().collect();
        let cells = columns.names().count();
        Self { places, cells, keys_max: limits.columns_max, missing, others: BTreeSet::new() }
    }

    /// The cells of a line, in the order of the columns.
    ///
    /// # Errors
    /// When it is no JSON object, or has a key twice.
    pub(super) fn cells<'a>(&mut self, line: i64, text: &'a [u8]) -> Result<Vec<Cell<'a>>, RowProblem> {
        let wrong = |description: String| RowProblem { line, column: String::new(), description };
        let text = std::str::from_utf8(text)
            .map_err(|error| wrong(format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1)))?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let mut twice = None;
        let cells = deserializer.deserialize_map(Object { keys: self, twice: &mut twice });
        let cells = cells.and_then(|cells| deserializer.end().map(|()| cells));
        if let Some(key) = twice {
            let description = String::from("stands in the object twice");
            return Err(RowProblem { line, column: key, description });
        }
        cells.map_err(|error| wrong(format!("is no JSON object: {}", said(&error))))
    }
}

/// What the parser says, without the line that it counts within the text.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{what} (at byte {})", error.column())
}

struct Object<'k> {
    keys: &'k mut Keys,
    twice: &'k mut Option<String>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Cell<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { keys, twice } = self;
        let mut cells = vec![Cell::Absent; keys.cells];
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let value: &'de RawValue = map.next_value()?;
            if let Some(places) = keys.places.get(key.as_ref()) {
                let cell = cell(value);
                for place in places {
                    cells[*place] = cell.clone();
                }
                keys.missing.remove(key.as_ref());
            } else if keys.others.len() < OTHERS_MAX && !keys.others.contains(key.as_ref()) {
                keys.others.insert(key.clone().into_owned());
            }
            if seen.len() == keys.keys_max {
                return Err(A::Error::custom(format_args!("it has more than {} keys", keys.keys_max)));
            }
            if let Some(key) = seen.replace(key) {
                *twice = Some(key.chars().take(KEY_CHARS_MAX).collect());
                return Err(A::Error::custom("a key stands in it twice"));
            }
        }
        Ok(cells)
    }
}

/// How much of a key is repeated, in characters.
const KEY_CHARS_MAX: usize = 64;

/// A value as text: numbers as they are written, so that no digit is lost.
fn cell(value: &RawValue) -> Cell<'_> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') => Cell::Text(Cow::Borrowed("")),
        Some(b'"') => match serde_json::from_str::<Cow<'_, str>>(text) {
            Ok(string) => Cell::Text(Cow::Owned(string.into_owned())),
            Err(error) => Cell::Wrong(format!("is no text: {}", said(&error))),
        },
        Some(b'{') => Cell::Wrong(String::from("must be a string, a number, true, false or null, is an object")),
        Some(b'[') => Cell::Wrong(String::from("must be a string, a number, true, false or null, is an array")),
        _ => Cell::Text(Cow::Borrowed(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RecordLimits = RecordLimits { bytes_max: 40, columns_max: 4 };

    fn read(file: &str, piece: usize) -> Result<Vec<(i64, String)>, LineTooLong> {
        let mut lines = Lines::new(LIMITS);
        let mut all = Vec::new();
        for mut input in file.as_bytes().chunks(piece) {
            while let Some((line, text)) = lines.next(&mut input)? {
                all.push((line, String::from_utf8(text).unwrap()));
            }
        }
        all.extend(lines.finish().map(|(line, text)| (line, String::from_utf8(text).unwrap())));
        Ok(all)
    }

    #[test]
    fn lines_are_the_same_however_the_file_is_cut() {
        let file = "{\"a\":1}\n\r\n  \n{\"b\":2}\r\n{\"c\":3}";
        for piece in 1..=file.len() {
            let found = read(file, piece).unwrap();
            let numbers: Vec<i64> = found.iter().map(|(line, _)| *line).collect();
            assert_eq!(numbers, [1, 4, 5], "in pieces of {piece}");
            assert_eq!(found[2].1, "{\"c\":3}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let (fits, over) = ("x".repeat(40), "x".repeat(41));
        for piece in [1, 7, 100] {
            assert_eq!(read(&format!("a\n{fits}\nb"), piece).unwrap().len(), 3);
            assert_eq!(read(&format!("a\n{over}\nb"), piece), Err(LineTooLong { line: 2 }));
            assert_eq!(read(&format!("a\n{over}"), piece), Err(LineTooLong { line: 2 }));
        }
    }
}
