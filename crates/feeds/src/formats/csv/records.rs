//! Splits delimited text into records, strictly enough that a stray quote cannot swallow the rest of a file.
//!
//! The usual reader is lenient: a quote that opens a field and is never closed makes one huge field of everything after
//! it, and a hundred rows are silently gone. Here such a record is malformed, it ends with its own line, and reading
//! goes on with the next one. A quote inside an unquoted field (`Pipe 5" long`) is a character like any other.

use std::borrow::Cow;

/// A record or what is left of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A record with its fields, quotes taken off.
    Record {
        /// The line on which it begins, the first being 1.
        line: u64,
        /// The fields.
        fields: Vec<Cow<'a, str>>,
    },
    /// A line whose quotes do not match.
    Malformed {
        /// The line, the first being 1.
        line: u64,
        /// The line as it stands.
        text: &'a str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Reads records one after the other, skipping blank lines.
pub(super) struct Records<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    delimiter: u8,
}

impl<'a> Records<'a> {
    /// Starts at the beginning of the text; the delimiter is ASCII and neither a quote nor a line break.
    pub(super) fn new(text: &'a str, delimiter: u8) -> Self {
        Self { text, at: 0, line: 1, delimiter }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Steps over a line break (`\n`, `\r\n` or `\r`) that begins at `at`; `None` if none does.
    fn past_break(&self, at: usize) -> Option<usize> {
        match (self.byte(at)?, self.byte(at + 1)) {
            (b'\r', Some(b'\n')) => Some(at + 2),
            (b'\r' | b'\n', _) => Some(at + 1),
            _ => None,
        }
    }

    fn is_delimiter(&self, at: usize) -> bool {
        self.byte(at) == Some(self.delimiter)
    }

    /// The first place at or after `at` where a line ends.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len())
    }

    /// Splits the record that begins at `self.at`: its fields, where it ends, and how many line breaks are inside it.
    fn split(&self) -> Result<(Vec<Cow<'a, str>>, usize, u64), &'static str> {
        let mut fields = Vec::new();
        let (mut at, mut breaks) = (self.at, 0);
        loop {
            let (field, end) = if self.byte(at) == Some(b'"') {
                let (field, end, inside) = self.quoted(at + 1)?;
                breaks += inside;
                (field, end)
            } else {
                self.unquoted(at)
            };
            fields.push(field);
            if !self.is_delimiter(end) {
                return Ok((fields, end, breaks));
            }
            at = end + 1;
        }
    }

    fn unquoted(&self, start: usize) -> (Cow<'a, str>, usize) {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == self.delimiter || matches!(byte, b'\r' | b'\n'));
        let end = start + length.unwrap_or(rest.len());
        (Cow::Borrowed(&self.text[start..end]), end)
    }

    /// A field whose opening quote stands before `start`: the field, where it ends, and how many line breaks it has.
    fn quoted(&self, start: usize) -> Result<(Cow<'a, str>, usize, u64), &'static str> {
        let mut value = Cow::Borrowed("");
        let (mut from, mut breaks) = (start, 0);
        loop {
            let rest = self.text.as_bytes().get(from..).unwrap_or_default();
            let quote = from + rest.iter().position(|byte| *byte == b'"').ok_or("a quote is never closed")?;
            let piece = &self.text[from..quote];
            breaks += count_breaks(piece);
            if value.is_empty() {
                value = Cow::Borrowed(piece);
            } else {
                value.to_mut().push_str(piece);
            }
            let after = quote + 1;
            if self.byte(after) == Some(b'"') {
                value.to_mut().push('"');
                from = after + 1;
            } else if self.byte(after).is_none() || self.is_delimiter(after) || self.past_break(after).is_some() {
                return Ok((value, after, breaks));
            } else {
                return Err("text follows a closing quote");
            }
        }
    }
}

fn count_breaks(piece: &str) -> u64 {
    let bytes = piece.as_bytes();
    let alone = |at: usize| bytes.get(at + 1) != Some(&b'\n');
    let breaks = bytes.iter().enumerate().filter(|(at, byte)| **byte == b'\n' || (**byte == b'\r' && alone(*at)));
    breaks.count() as u64
}

impl<'a> Iterator for Records<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            if self.at >= self.text.len() {
                return None;
            }
            let end = self.line_end(self.at);
            if !self.text[self.at..end].trim_matches(' ').is_empty() {
                break;
            }
            self.at = self.past_break(end).unwrap_or(end);
            self.line += 1;
        }
        let line = self.line;
        let (item, end) = match self.split() {
            Ok((fields, end, breaks)) => {
                self.line += breaks;
                (Item::Record { line, fields }, end)
            }
            Err(problem) => {
                let end = self.line_end(self.at);
                (Item::Malformed { line, text: &self.text[self.at..end], problem }, end)
            }
        };
        self.at = self.past_break(end).unwrap_or(end);
        self.line += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as `line:field|field`, malformed ones as `line!text`.
    fn read(text: &str) -> Vec<String> {
        Records::new(text, b',')
            .map(|item| match item {
                Item::Record { line, fields } => format!("{line}:{}", fields.join("|")),
                Item::Malformed { line, text, .. } => format!("{line}!{text}"),
            })
            .collect()
    }

    #[test]
    fn every_kind_of_line_break_ends_a_record_and_blank_lines_are_none() {
        assert_eq!(read("a,b\nc,d\r\ne,f\rg,h"), ["1:a|b", "2:c|d", "3:e|f", "4:g|h"]);
        assert_eq!(read("\n\r\n  \na,b\n\n\nc,d\n\n"), ["4:a|b", "7:c|d"]);
        assert_eq!(read(""), Vec::<String>::new());
        assert_eq!(read(","), ["1:|"]);
        assert_eq!(read("a,\n"), ["1:a|"]);
    }

    #[test]
    fn quotes_protect_delimiters_quotes_and_line_breaks() {
        assert_eq!(read("\"a,b\",\"c\"\"d\"\nx,y"), ["1:a,b|c\"d", "2:x|y"]);
        assert_eq!(read("\"two\r\nlines\",1\nx,2"), ["1:two\r\nlines|1", "3:x|2"]);
        assert_eq!(read("\"\",\"\"\"\"\n"), ["1:|\""]);
        assert_eq!(read("\"\"\"a\",1"), ["1:\"a|1"]);
    }

    #[test]
    fn a_quote_inside_an_unquoted_field_is_a_character() {
        assert_eq!(read("Pipe 5\" long,3\nx,4"), ["1:Pipe 5\" long|3", "2:x|4"]);
    }

    #[test]
    fn a_stray_quote_costs_its_own_line_and_nothing_more() {
        assert_eq!(read("a,1\n\"b,2\nc,3\nd,4\n"), ["1:a|1", "2!\"b,2", "3:c|3", "4:d|4"]);
        assert_eq!(read("\"b\"x,2\nc,3"), ["1!\"b\"x,2", "2:c|3"]);
        assert_eq!(read("\"b,2\n\"c,3\nd,4"), ["1!\"b,2", "2!\"c,3", "3:d|4"]);
    }
}
