//! JSON files: one document with an array of objects in it, or one object a line. What a row is worth is looked for under two registered keys; what else a
//! row has is of no interest, but it has to be JSON.
//!
//! A document has no seams: if anything in it is not JSON, if it ends too early or goes on too long, nothing of it may be used. JSON Lines have seams: a line
//! that is not JSON costs itself, unless it is the last and ends in the middle, for then the file does.

mod scan;

use std::borrow::Cow;

use crate::{
    formats::{BadRow, ParsedFile, Refusal, SchemaProblem, utf8},
    guards::row::Reading,
    observation::{Key, KeyProblem, Observation},
    text::{excerpt, excerpt_of},
};
use scan::{DEPTH_MAX, Malformed, Scanner, Value};

/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 255;
/// The most keys in a path.
pub const PATH_KEYS_MAX: usize = 32;
/// Keys of a row that a message names.
const KEYS_SHOWN: usize = 10;

const _: () = assert!(2 * PATH_KEYS_MAX < DEPTH_MAX, "what a path leads to can be reached");

/// How a connection's files look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonSchema {
    rows: Vec<String>,
    key: Vec<String>,
    quantity: Vec<String>,
    is_lines: bool,
}

impl JsonSchema {
    /// Registers where a file's rows are and what a row says where. A path is keys of nested objects with `.` between them; `rows_path` may be empty, the
    /// document itself being the array, and is empty for JSON Lines. The two fields differ, and neither lies within the other.
    ///
    /// # Errors
    /// All that is wrong with it at once.
    pub fn new(
        rows_path: &str,
        key_field: &str,
        quantity_field: &str,
        is_lines: bool,
    ) -> Result<Self, Vec<SchemaProblem>> {
        let mut problems = Vec::new();
        let mut problem =
            |part, description: &str| problems.push(SchemaProblem { part, description: description.to_owned() });
        let mut path = |part, text: &str| {
            let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
            if text.len() > PATH_BYTES_MAX || keys.len() > PATH_KEYS_MAX {
                problem(part, "must have at most 255 bytes and 32 keys");
            } else if text.is_empty() {
                problem(part, "must name a key");
            } else if keys.iter().any(|key| key.is_empty() || key.chars().any(char::is_control)) {
                problem(part, "must be keys with '.' between them, none of them empty or with control characters");
            }
            keys
        };
        let rows = if rows_path.is_empty() { Vec::new() } else { path("rows_path", rows_path) };
        let (key, quantity) = (path("key_field", key_field), path("quantity_field", quantity_field));
        if is_lines && !rows.is_empty() {
            problem("rows_path", "is not for JSON Lines, where every line is a row");
        }
        if !key_field.is_empty() && (key.starts_with(&quantity) || quantity.starts_with(&key)) {
            problem("quantity_field", "must be another key than key_field, and neither within the other");
        }
        if problems.is_empty() { Ok(Self { rows, key, quantity, is_lines }) } else { Err(problems) }
    }

    /// Reads a file: a byte-order mark is skipped, and every element of the array, or every line that is not blank, becomes an observation or a bad row.
    ///
    /// # Errors
    /// [`Refusal`], after which nothing of the file may be used: it is empty, not UTF-8, not JSON, has no array where one should be, no rows, or more than
    /// `rows_max`, or no row at all has one of the registered keys.
    pub fn parse(&self, bytes: &[u8], rows_max: u64) -> Result<ParsedFile, Refusal> {
        let text = utf8(bytes)?;
        if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
            return Err(Refusal::Empty);
        }
        let mut rows = Rows { schema: self, file: ParsedFile::default(), rows_max, seen: [false; 2], first_keys: None };
        if self.is_lines {
            rows.lines(text)?;
        } else {
            rows.document(text)?;
        }
        rows.finish()
    }
}

/// What stands under a registered key of a row.
#[derive(Clone, Debug, Default)]
enum Slot<'a> {
    /// The row has no such key.
    #[default]
    Missing,
    /// This.
    Found(Value<'a>),
    /// It has the key, or one on the way to it, more than once; which of them counts is not said.
    Twice,
}

impl<'a> Slot<'a> {
    fn put(&mut self, value: Value<'a>) {
        *self = match self {
            Self::Missing => Self::Found(value),
            Self::Found(_) | Self::Twice => Self::Twice,
        };
    }
}

/// Why reading stopped before the end.
enum Stop {
    Malformed(Malformed),
    Refused(Refusal),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// The rows that were read so far.
struct Rows<'s> {
    schema: &'s JsonSchema,
    file: ParsedFile,
    rows_max: u64,
    /// Whether any row had the key with the code, and the one with the quantity.
    seen: [bool; 2],
    /// The keys of the first row that is an object.
    first_keys: Option<Vec<String>>,
}

impl Rows<'_> {
    /// Reads a document; a row's line is its number in the array, since line breaks mean nothing in there.
    fn document(&mut self, text: &str) -> Result<(), Refusal> {
        let mut scanner = Scanner::new(text);
        let mut found = None;
        let read = self.find(&mut scanner, 0, &mut found).and_then(|()| Ok(scanner.end()?));
        match read {
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Malformed(malformed)) => Err(refuse(text, &malformed, "")),
            // What is found only counts once the whole document is known to be JSON.
            Ok(()) => match found {
                Some(Found::Array) => Ok(()),
                Some(Found::Else(kind)) => Err(shape(format!("{} is {kind} instead of an array", self.rows_name()))),
                Some(Found::Twice) => Err(shape(format!("{} stands more than once", self.rows_name()))),
                None => Err(shape(format!("it has no {}", self.rows_name()))),
            },
        }
    }

    fn rows_name(&self) -> String {
        match self.schema.rows.as_slice() {
            [] => "the document itself".to_owned(),
            keys => format!("`{}`", keys.join(".")),
        }
    }

    /// Takes the value that comes next, which the first `depth` keys of the path led to.
    fn find(&mut self, scanner: &mut Scanner<'_>, depth: usize, found: &mut Option<Found>) -> Result<(), Stop> {
        let schema = self.schema;
        let Some(key) = schema.rows.get(depth) else {
            let before = found.take();
            *found = match (before, scanner.peek()) {
                (Some(_), _) => Some(Found::Twice),
                (None, Some(b'[')) => Some(Found::Array),
                (None, _) => None,
            };
            return match found {
                Some(Found::Array) => self.array(scanner),
                Some(Found::Twice) => Ok(scanner.skip()?),
                Some(Found::Else(_)) | None => {
                    *found = Some(Found::Else(kind(&scanner.value()?)));
                    Ok(())
                }
            };
        };
        if scanner.peek() != Some(b'{') {
            return Ok(scanner.skip()?);
        }
        let mut stop = None;
        let read = scanner.object(|scanner, name| {
            if name != *key {
                return scanner.skip();
            }
            match self.find(scanner, depth + 1, found) {
                Ok(()) => Ok(()),
                Err(Stop::Malformed(malformed)) => Err(malformed),
                Err(Stop::Refused(refusal)) => {
                    stop = Some(refusal);
                    // The rest is not read: this error only leaves the loop.
                    Err(Malformed { at: scanner.at(), problem: "", is_cut_off: false })
                }
            }
        });
        match stop {
            Some(refusal) => Err(Stop::Refused(refusal)),
            None => Ok(read?),
        }
    }

    fn array(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Stop> {
        let mut is_full = false;
        let read = scanner.array(|scanner| {
            if self.file.rows() == self.rows_max {
                is_full = true;
                return Err(Malformed { at: scanner.at(), problem: "", is_cut_off: false });
            }
            let line = self.file.rows() + 1;
            self.row(scanner, line)
        });
        if is_full { Err(Stop::Refused(Refusal::TooManyRows { rows_max: self.rows_max })) } else { Ok(read?) }
    }

    /// Reads JSON Lines.
    fn lines(&mut self, text: &str) -> Result<(), Refusal> {
        let mut lines = text.split('\n').zip(1..).peekable();
        let mut offset = 0;
        while let Some((raw, line)) = lines.next() {
            let from = offset;
            offset += raw.len() + 1;
            let content = raw.trim_matches([' ', '\t', '\r']);
            if content.is_empty() {
                continue;
            }
            if self.file.rows() == self.rows_max {
                return Err(Refusal::TooManyRows { rows_max: self.rows_max });
            }
            let mut scanner = Scanner::new(raw);
            if let Err(malformed) = self.row(&mut scanner, line).and_then(|()| scanner.end()) {
                if malformed.is_cut_off && lines.peek().is_none() {
                    let at = Malformed { at: from + malformed.at, ..malformed };
                    return Err(refuse(text, &at, "the last line breaks off: "));
                }
                self.damaged_line(line, raw, &malformed);
            }
        }
        Ok(())
    }

    /// Notes a line that is not JSON, in place of what was read of it.
    fn damaged_line(&mut self, line: u64, raw: &str, malformed: &Malformed) {
        self.file.observations.pop_if(|row| row.line == line);
        self.file.bad_rows.pop_if(|row| row.line == line);
        let column = raw.get(..malformed.at).map_or(1, |before| before.chars().count() + 1);
        self.file.bad_rows.push(BadRow {
            line,
            vendor_sku: String::new(),
            raw_quantity: String::new(),
            reason: format!("not JSON: {} (column {column}): {}", malformed.problem, excerpt(raw.trim())),
            damaged: true,
        });
    }

    /// Takes a row.
    fn row(&mut self, scanner: &mut Scanner<'_>, line: u64) -> Result<(), Malformed> {
        if scanner.peek() != Some(b'{') {
            let value = scanner.value()?;
            self.file.bad_rows.push(BadRow {
                line,
                vendor_sku: String::new(),
                raw_quantity: String::new(),
                reason: format!("the row is {} instead of an object: {}", kind(&value), excerpt(&shown(&value))),
                damaged: true,
            });
            return Ok(());
        }
        let mut slots = [Slot::Missing, Slot::Missing];
        let mut keys = self.first_keys.is_none().then(Vec::new);
        let schema = self.schema;
        walk(scanner, [Some(schema.key.as_slice()), Some(schema.quantity.as_slice())], &mut slots, &mut keys)?;
        if keys.is_some() {
            self.first_keys = keys;
        }
        for (seen, slot) in self.seen.iter_mut().zip(&slots) {
            *seen |= !matches!(slot, Slot::Missing);
        }
        match self.read(line, slots) {
            Ok(observation) => self.file.observations.push(observation),
            Err(row) => self.file.bad_rows.push(row),
        }
        Ok(())
    }

    /// What the two values of a row say.
    fn read(&self, line: u64, [key, quantity]: [Slot<'_>; 2]) -> Result<Observation, BadRow> {
        let schema = self.schema;
        let (key_text, key_problem) = match &key {
            Slot::Missing => (String::new(), Some(format!("no key `{}`", schema.key.join(".")))),
            Slot::Twice => (String::new(), Some(format!("the key `{}` stands more than once", schema.key.join(".")))),
            Slot::Found(value @ (Value::Bool(_) | Value::Nested { .. })) => {
                (shown(value).into_owned(), Some(format!("the vendor's code is {}", kind(value))))
            }
            Slot::Found(Value::Null) => (String::new(), None),
            Slot::Found(value @ (Value::Text(_) | Value::Number(_))) => (shown(value).into_owned(), None),
        };
        let (raw_quantity, reading, quantity_problem) = match &quantity {
            // A key that is not there is a cell with nothing in it: missing never means zero.
            Slot::Missing => (String::new(), Reading::of(""), None),
            Slot::Twice => {
                let problem = format!("the key `{}` stands more than once", schema.quantity.join("."));
                (String::new(), Reading::of(""), Some(problem))
            }
            Slot::Found(Value::Null) => ("null".to_owned(), Reading::of(""), None),
            Slot::Found(value) => (excerpt(&shown(value)), Reading::of(&shown(value)), None),
        };
        let bad = |reason: String, damaged| BadRow {
            line,
            vendor_sku: excerpt(key_text.trim()),
            raw_quantity: raw_quantity.clone(),
            reason,
            damaged,
        };
        if let Some(problem) = key_problem.or(quantity_problem) {
            return Err(bad(problem, true));
        }
        match Key::vendor_sku(&key_text) {
            Ok(key) => Ok(Observation { line, key, raw_quantity, reading }),
            Err(KeyProblem::Empty) if says_nothing(&quantity) => {
                Err(bad("neither a vendor's code nor a quantity".to_owned(), false))
            }
            Err(problem) => Err(bad(problem.to_string(), true)),
        }
    }

    fn finish(self) -> Result<ParsedFile, Refusal> {
        if self.file.rows() == 0 {
            return Err(Refusal::NoRows);
        }
        let missing: Vec<String> = [&self.schema.key, &self.schema.quantity]
            .into_iter()
            .zip(self.seen)
            .filter(|(_, seen)| !seen)
            .map(|(path, _)| format!("`{}`", path.join(".")))
            .collect();
        // Like another header: the rows are there and say something else than what was registered.
        match (missing.is_empty(), self.first_keys) {
            (true, _) => Ok(self.file),
            (false, None) => Err(shape("none of its rows is an object".to_owned())),
            (false, Some(keys)) => Err(shape(format!(
                "none of its rows has {}; the first has {}",
                missing.join(" or "),
                if keys.is_empty() { "no keys".to_owned() } else { keys.join(", ") },
            ))),
        }
    }
}

/// What was found where the rows should be.
enum Found {
    /// An array.
    Array,
    /// Something else.
    Else(&'static str),
    /// More than one.
    Twice,
}

/// Takes an object and keeps what its keys, and its objects' keys, have for the two paths. Notes the object's own keys if asked to.
fn walk<'a>(
    scanner: &mut Scanner<'a>,
    paths: [Option<&[String]>; 2],
    slots: &mut [Slot<'a>; 2],
    keys: &mut Option<Vec<String>>,
) -> Result<(), Malformed> {
    let mut seen = [false; 2];
    scanner.object(|scanner, name| {
        if let Some(keys) = keys.as_mut().filter(|keys| keys.len() < KEYS_SHOWN) {
            keys.push(format!("`{}`", excerpt_of(&name, 60)));
        }
        let rests = paths.map(|path| path?.split_first().filter(|(key, _)| **key == name).map(|(_, rest)| rest));
        if rests == [None, None] {
            return scanner.skip();
        }
        let mut is_repeated = false;
        for ((seen, slot), rest) in seen.iter_mut().zip(slots.iter_mut()).zip(rests) {
            if rest.is_some() {
                is_repeated |= std::mem::replace(seen, true);
                if is_repeated {
                    *slot = Slot::Twice;
                }
            }
        }
        if is_repeated {
            return scanner.skip();
        }
        if scanner.peek() == Some(b'{') && rests.iter().flatten().any(|rest| !rest.is_empty()) {
            return walk(scanner, rests, slots, &mut None);
        }
        let value = scanner.value()?;
        for (slot, rest) in slots.iter_mut().zip(rests) {
            match rest {
                Some([]) => slot.put(value.clone()),
                // Null in place of an object is the vendor's way of saying that there is nothing; anything else has no such key.
                Some(_) if value == Value::Null => slot.put(Value::Null),
                Some(_) | None => {}
            }
        }
        Ok(())
    })
}

fn says_nothing(quantity: &Slot<'_>) -> bool {
    match quantity {
        Slot::Missing | Slot::Found(Value::Null) => true,
        Slot::Found(value) => shown(value).trim().is_empty(),
        Slot::Twice => false,
    }
}

/// A value as a cell: a string's content, a number's digits.
fn shown<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Number(raw) | Value::Bool(raw) | Value::Nested { raw, .. } => Cow::Borrowed(raw),
        Value::Null => Cow::Borrowed("null"),
    }
}

/// What a value is, for people.
fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Text(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
        Value::Nested { kind, .. } => kind,
    }
}

fn shape(problem: String) -> Refusal {
    Refusal::Shape { problem }
}

fn refuse(text: &str, malformed: &Malformed, prefix: &str) -> Refusal {
    let before = text.get(..malformed.at).unwrap_or(text);
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count() as u64;
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count() as u64;
    Refusal::Malformed { line, column, problem: format!("{prefix}{}", malformed.problem) }
}

#[cfg(test)]
mod tests;
