//! Cuts the bytes of a CSV file, as they arrive, into records. Holds one record at most.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// The limits of one record.
#[derive(Debug, Clone, Copy)]
pub struct RecordLimits {
    /// Its bytes without delimiters and quotes.
    pub bytes_max: usize,
    /// Its fields.
    pub columns_max: usize,
}

/// A file that cannot be cut into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The record that begins on this line is longer than the limit: usually a quote is missing.
    RecordTooLong {
        /// Where it begins.
        line: i64,
    },
    /// The record that begins on this line has more fields than the limit.
    TooManyColumns {
        /// Where it begins.
        line: i64,
    },
    /// The file ends within quotes that were opened in the record that begins on this line.
    QuoteNotClosed {
        /// Where it begins.
        line: i64,
    },
}

/// A record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// The line on which it begins, from 1.
    pub(super) line: i64,
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    /// How many fields it has, at least one.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The field at an index.
    pub(super) fn get(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.bytes.get(start..end)
    }

    /// All fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        let record = *self;
        (0..record.len()).filter_map(move |index| record.get(index))
    }
}

/// Reads records out of pieces of a file. Empty lines are no records.
#[derive(Debug)]
pub(super) struct Records {
    reader: Reader,
    bytes: Vec<u8>,
    bytes_used: usize,
    ends: Vec<usize>,
    ends_used: usize,
    /// The line of the next byte, and whether the byte before it was a carriage return.
    line: i64,
    after_return: bool,
    /// Where the record in work begins; `None` between records.
    began: Option<i64>,
}

impl Records {
    /// For a file with this delimiter.
    pub(super) fn new(delimiter: u8, limits: RecordLimits) -> Self {
        Self {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            // One more than allowed of each: csv-core stops when they are full, and a record that just fits must not look too long.
            bytes: vec![0; limits.bytes_max + 1],
            bytes_used: 0,
            ends: vec![0; limits.columns_max + 1],
            ends_used: 0,
            line: 1,
            after_return: false,
            began: None,
        }
    }

    /// The next record, cutting what was read off `input`; `None` when `input` is used up and more is needed.
    ///
    /// # Errors
    /// When the record exceeds a limit; the rest of the file cannot be trusted then.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Record<'_>>, Malformed> {
        if self.began.is_none() {
            self.skip_line_ends(input);
            if input.is_empty() {
                return Ok(None);
            }
            (self.bytes_used, self.ends_used) = (0, 0);
            self.began = Some(self.line);
        }
        if input.is_empty() {
            return Ok(None);
        }
        let complete = self.read(input)?;
        Ok(complete.then(|| self.take()))
    }

    /// The last record, if the file does not end with a line end.
    ///
    /// # Errors
    /// When the file ends within quotes.
    pub(super) fn finish(&mut self) -> Result<Option<Record<'_>>, Malformed> {
        let Some(line) = self.began else { return Ok(None) };
        // The line end that is missing closes any record but one that is within quotes.
        if self.read(&mut b"\n".as_slice())? { Ok(Some(self.take())) } else { Err(Malformed::QuoteNotClosed { line }) }
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<bool, Malformed> {
        let line = self.began.unwrap_or(self.line);
        let (result, read, written, ended) =
            self.reader.read_record(input, &mut self.bytes[self.bytes_used..], &mut self.ends[self.ends_used..]);
        self.bytes_used += written;
        self.ends_used += ended;
        let (passed, rest) = input.split_at(read);
        self.count_lines(passed);
        *input = rest;
        match result {
            ReadRecordResult::OutputFull => Err(Malformed::RecordTooLong { line }),
            ReadRecordResult::OutputEndsFull => Err(Malformed::TooManyColumns { line }),
            ReadRecordResult::Record if self.bytes_used == self.bytes.len() => Err(Malformed::RecordTooLong { line }),
            ReadRecordResult::Record if self.ends_used == self.ends.len() => Err(Malformed::TooManyColumns { line }),
            ReadRecordResult::Record => Ok(true),
            ReadRecordResult::InputEmpty | ReadRecordResult::End => Ok(false),
        }
    }

    fn take(&mut self) -> Record<'_> {
        let line = self.began.take().unwrap_or(self.line);
        Record { line, bytes: &self.bytes[..self.bytes_used], ends: &self.ends[..self.ends_used] }
    }

    /// Skips what ends lines between records, so that a record's line is the one on which it stands.
    fn skip_line_ends(&mut self, input: &mut &[u8]) {
        let ends = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (passed, rest) = input.split_at(ends);
        self.count_lines(passed);
        *input = rest;
    }

    /// Lines end with a line feed, a carriage return, or both.
    fn count_lines(&mut self, passed: &[u8]) {
        for byte in passed {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.line += 1,
                _ => {}
            }
            self.after_return = *byte == b'\r';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RecordLimits = RecordLimits { bytes_max: 40, columns_max: 4 };

    type Read = Result<Vec<(i64, Vec<String>)>, Malformed>;

    /// Reads a file in pieces of a size.
    fn read(file: &str, piece: usize) -> Read {
        let mut records = Records::new(b',', LIMITS);
        let mut all = Vec::new();
        let own = |record: Record<'_>| {
            (record.line, record.fields().map(|field| String::from_utf8_lossy(field).into_owned()).collect::<Vec<_>>())
        };
        for mut input in file.as_bytes().chunks(piece) {
            while let Some(record) = records.next(&mut input)? {
                all.push(own(record));
            }
        }
        all.extend(records.finish()?.map(own));
        Ok(all)
    }

    /// However the file is cut, the same comes out.
    fn read_in_all_ways(file: &str) -> Read {
        let whole = read(file, usize::MAX >> 1);
        for piece in 1..=file.len().max(1) {
            assert_eq!(read(file, piece), whole, "in pieces of {piece}: {file:?}");
        }
        whole
    }

    fn rows(rows: &[(i64, &[&str])]) -> Read {
        Ok(rows.iter().map(|(line, fields)| (*line, fields.iter().map(|&field| field.to_owned()).collect())).collect())
    }

    #[test]
    fn records_know_their_lines_whatever_ends_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let file = ["a,b", "", "\"c", "c\",d", "e,f", ""].join(end);
            let quoted = format!("c{end}c");
            assert_eq!(
                read_in_all_ways(&file),
                rows(&[(1, &["a", "b"]), (3, &[&quoted, "d"]), (5, &["e", "f"])]),
                "{end:?}"
            );
        }
    }

    #[test]
    fn the_last_record_needs_no_line_end() {
        assert_eq!(read_in_all_ways("a\nb,"), rows(&[(1, &["a"]), (2, &["b", ""])]));
        assert_eq!(read_in_all_ways("a\n\"b\""), rows(&[(1, &["a"]), (2, &["b"])]));
        assert_eq!(read_in_all_ways("\n\n"), rows(&[]));
        assert_eq!(read_in_all_ways(""), rows(&[]));
    }

    #[test]
    fn quotes_keep_delimiters_and_double_themselves() {
        assert_eq!(read_in_all_ways("\"a,\"\"b\"\"\",c\n"), rows(&[(1, &["a,\"b\"", "c"])]));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_noticed_where_it_opened() {
        assert_eq!(read_in_all_ways("a,b\nc,\"d\ne,f\n"), Err(Malformed::QuoteNotClosed { line: 2 }));
        assert_eq!(read_in_all_ways("a,b\nc,\""), Err(Malformed::QuoteNotClosed { line: 2 }));
    }

    #[test]
    fn a_record_may_be_as_long_as_the_limit_and_no_longer() {
        let (fits, over) = ("x".repeat(40), "x".repeat(41));
        assert_eq!(read_in_all_ways(&format!("a\n{fits}\nb")), rows(&[(1, &["a"]), (2, &[&fits]), (3, &["b"])]));
        assert_eq!(read_in_all_ways(&format!("a\n{over}\nb")), Err(Malformed::RecordTooLong { line: 2 }));
        assert_eq!(read_in_all_ways(&format!("a\n{over}")), Err(Malformed::RecordTooLong { line: 2 }));
    }

    #[test]
    fn a_record_may_have_as_many_columns_as_the_limit_and_no_more() {
        assert_eq!(read_in_all_ways("a,b,c,d"), rows(&[(1, &["a", "b", "c", "d"])]));
        assert_eq!(read_in_all_ways("\na,b,c,d,e"), Err(Malformed::TooManyColumns { line: 2 }));
        assert_eq!(read_in_all_ways("a,b,c,d,e\n"), Err(Malformed::TooManyColumns { line: 1 }));
    }
}
