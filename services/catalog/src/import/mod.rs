//! Imports of SKUs: a CSV or JSON Lines file in pieces becomes staged rows, then one transaction. Never holds more of the file than a piece, a record and a
//! batch.

mod batch;
mod columns;
mod lines;
mod problems;
mod records;
mod run;
mod source;

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

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header and rows.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// A part of a selling policy that a file may have a column for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyField {
    /// Units not offered at each location.
    SafetyStock,
    /// Units that may be promised beyond what is there.
    BackorderLimit,
    /// Most units in one reservation.
    MaxPerReservation,
    /// Most units of one owner.
    MaxPerOwner,
    /// Default hold time, in whole seconds.
    DefaultHold,
    /// Codes of locations with '|' between them.
    Locations,
    /// Most units that are reserved within any 60 seconds.
    MaxPerMinute,
    /// What channels may have: `CHANNEL=UNITS` with '|' between them.
    ChannelCaps,
    /// When what is promised will be there: an instant or a date.
    PromiseTime,
    /// How long after it is reserved it will be there, in whole seconds.
    PromiseLead,
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
    /// Columns with parts of the policy.
    pub policy_columns: Vec<(PolicyField, String)>,
    /// How the file is written.
    pub format: Format,
    /// What separates fields of a CSV file.
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
            policy_columns,
            format,
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
        let parts = attribute_columns.iter().fold(parts, |parts, column| parts.part(column));
        // What came later is said only where it is used, so that the answers to older requests are still found.
        if *format == Format::Csv && policy_columns.is_empty() {
            return parts;
        }
        let parts = parts.part([*format as u8]);
        policy_columns.iter().fold(parts, |parts, (field, column)| parts.part([*field as u8]).part(column))
    }
}
