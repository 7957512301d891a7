//! Imports of SKUs: a CSV file in pieces becomes staged rows, then one transaction. Never holds more of the file than a piece, a record and a batch.

mod batch;
mod layout;
mod problems;
mod records;
mod run;

pub use problems::{Problems, RowProblem};
pub use records::RecordLimits;
pub use run::{ImportLimits, Importer, Part, Report, UNSTAGE_ROWS};

use uuid::Uuid;

use crate::fingerprint::Fingerprint;

/// What bad rows do to the good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorMode {
    /// One bad row and nothing is imported.
    AllOrNothing,
    /// Good rows are imported, bad ones reported.
    SkipBadRows,
}

/// How a file is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSpec {
    /// The key that the caller made.
    pub request_id: Uuid,
    /// The column with the SKU's code.
    pub code_column: String,
    /// The column with the name.
    pub name_column: Option<String>,
    /// The column with the GTIN.
    pub gtin_column: Option<String>,
    /// Columns that become attributes under their own names.
    pub attribute_columns: Vec<String>,
    /// What separates fields.
    pub delimiter: u8,
    /// What bad rows do to the good ones.
    pub error_mode: ErrorMode,
    /// The file's size in bytes, if the caller knows it.
    pub size_bytes: Option<u64>,
}

impl ImportSpec {
    /// The beginning of the fingerprint of the whole request; the file's bytes follow as the last part.
    fn fingerprint(&self) -> Fingerprint {
        let Self {
            request_id: _,
            code_column,
            name_column,
            gtin_column,
            attribute_columns,
            delimiter,
            error_mode,
            size_bytes: _,
        } = self;
        let mode = match error_mode {
            ErrorMode::AllOrNothing => b'a',
            ErrorMode::SkipBadRows => b's',
        };
        let parts = Fingerprint::new().part(code_column).optional(name_column.as_ref()).optional(gtin_column.as_ref());
        let parts = parts.part([*delimiter, mode]).part(attribute_columns.len().to_be_bytes());
        attribute_columns.iter().fold(parts, |parts, column| parts.part(column))
    }
}
