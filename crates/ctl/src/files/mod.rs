//! Shops' and vendors' CSV and JSON files as they come: compressed or not, with any usual delimiter, with columns called as their authors liked.
//!
//! What is found here is a proposal that a person can overrule; what a file means is registered with its connection and checked by vendor-sync.

mod columns;
mod json;
mod sniff;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

pub use columns::{CatalogColumns, Meaning, OfferColumns, OfferPositions, StockColumns};
pub use json::JsonFile;

/// The largest file that is read, decompressed, in bytes. A catalog of a million SKUs is a tenth of it; a "zip bomb" ends here.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// A file's name, without folders and `.gz`, and its bytes, uncompressed (`.gz` is known by its first bytes).
///
/// # Errors
/// [`FileError`] if it cannot be read or is too large. What is in it is not looked at.
pub fn open(path: &Path) -> Result<(String, Bytes), FileError> {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let name = name.strip_suffix(".gz").unwrap_or(&name).to_owned();
    Ok((name, read(path)?.into()))
}

/// True if a file is JSON, by its first character: an object or an array.
pub fn is_json(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// A CSV file, read whole.
#[derive(Debug, Clone)]
pub struct CsvFile {
    name: String,
    bytes: Bytes,
    delimiter: u8,
    header: Vec<String>,
}

/// Why a file cannot be used. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read from disk, or not be decompressed.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("{0} is larger than 1 GiB when unpacked")]
    TooLarge(PathBuf),
    /// It is no text with a header.
    #[error("{name} is not a CSV file: {problem}")]
    NotCsv {
        /// The file's name.
        name: String,
        /// What it is instead.
        problem: String,
    },
    /// It is no JSON with rows in it.
    #[error("{name} has no rows of JSON: {problem}")]
    NotJson {
        /// The file's name.
        name: String,
        /// What it is instead.
        problem: String,
    },
    /// A column that is needed cannot be told from the header.
    #[error("{name}: no column looks like {wanted}; its columns are {columns}. Name it with {flag}")]
    NoColumn {
        /// The file's name.
        name: String,
        /// What was looked for.
        wanted: &'static str,
        /// The header.
        columns: String,
        /// The flag that names it.
        flag: &'static str,
    },
}

/// A row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line on which it begins, the header being 1.
    pub line: u64,
    /// Its cells. Their number may differ from the header's.
    pub cells: Vec<String>,
}

impl Row {
    /// The cell of a column, without white space at its ends; empty where the row is too short.
    pub fn cell(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", |cell| cell.trim())
    }
}

impl CsvFile {
    /// Reads a file, `.gz` too (known by its first bytes), and finds its delimiter and header.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, is too large, or is no UTF-8 text with a header.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let (name, bytes) = open(path)?;
        Self::from_bytes(name, bytes)
    }

    /// Takes a file's bytes, uncompressed.
    ///
    /// # Errors
    /// [`FileError::NotCsv`] if they are no UTF-8 text with a header.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Bytes>) -> Result<Self, FileError> {
        let (name, bytes) = (name.into(), bytes.into());
        let text = match text_of(&bytes) {
            Ok(text) => text,
            Err(problem) => return Err(FileError::NotCsv { name, problem }),
        };
        let delimiter = sniff::delimiter(text);
        let header = reader(text, delimiter)
            .records()
            .next()
            .and_then(Result::ok)
            .map(|record| record.iter().map(ToOwned::to_owned).collect::<Vec<String>>())
            .unwrap_or_default();
        if header.iter().all(|column| column.trim().is_empty()) {
            return Err(FileError::NotCsv { name, problem: "its first line names no columns".to_owned() });
        }
        Ok(Self { name, bytes, delimiter, header })
    }

    /// What the file is called, without folders and `.gz`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's bytes, uncompressed, otherwise as they are.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// What stands between two cells.
    pub fn delimiter(&self) -> char {
        char::from(self.delimiter)
    }

    /// The first line's cells, as they are.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Where a column stands, by its exact name.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|name| name == column)
    }

    /// The rows after the header. A row that no CSV reader could make sense of is left out here; the services report it.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let text = text_of(&self.bytes).expect("checked when the file was opened");
        reader(text, self.delimiter).into_records().skip(1).filter_map(Result::ok).map(|record| Row {
            line: record.position().map_or(0, csv::Position::line),
            cells: record.iter().map(ToOwned::to_owned).collect(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(bytes.as_slice())
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut unpacked)
            .map_err(unreadable)?;
        bytes = unpacked;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(FileError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

/// The text after a byte-order mark, or what the bytes are instead.
fn text_of(bytes: &[u8]) -> Result<&str, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Err("it is a ZIP archive or an XLSX workbook; export it as CSV".to_owned());
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(text)
        .map_err(|error| format!("it is not UTF-8 (byte {}); save it with that encoding", error.valid_up_to()))
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_compressed_file_reads_like_the_plain_one() {
        let dir = tempfile::tempdir().unwrap();
        let text = "sku,stock\nA,1\nB,2\n";
        let plain = dir.path().join("stock.csv");
        std::fs::write(&plain, text).unwrap();
        let packed = dir.path().join("stock.csv.gz");
        let mut encoder = flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();

        let (plain, packed) = (CsvFile::open(&plain).unwrap(), CsvFile::open(&packed).unwrap());
        assert_eq!(plain.name(), packed.name());
        assert_eq!(plain.bytes(), packed.bytes());
        assert_eq!(packed.rows().map(|row| row.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn what_is_no_csv_is_said_to_be_so() {
        for (bytes, says) in [
            (&b""[..], "empty"),
            (b"PK\x03\x04rest", "XLSX"),
            (b"sku;caf\xe9\n", "UTF-8"),
            (b"\n\n", "names no columns"),
        ] {
            let error = CsvFile::from_bytes("x.csv", bytes.to_vec()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_column() {
        let file = CsvFile::from_bytes("x.csv", "\u{feff}sku,stock\nA,1\n").unwrap();
        assert_eq!(file.header(), ["sku", "stock"]);
    }

    #[test]
    fn quoted_cells_may_have_delimiters_and_lines() {
        let file = CsvFile::from_bytes("x.csv", "sku,name\nA,\"one, two\nthree\"\nB,x\n").unwrap();
        let rows: Vec<_> = file.rows().collect();
        assert_eq!(rows[0].cell(1), "one, two\nthree");
        assert_eq!((rows[1].line, rows[1].cell(0), rows[1].cell(7)), (4, "B", ""));
    }
}
