//! Good rows of a file on their way to the staging table, many at once.

use std::collections::HashMap;

use crate::model::NewSku;
use crate::store::StagedRows;

/// Good rows, gathered to be staged together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    rows: StagedRows,
    lines: HashMap<String, i64>,
    bytes: usize,
}

impl Batch {
    /// Adds a row, unless its code is there: then it answers the line on which that stands.
    pub(super) fn add(&mut self, line: i64, sku: NewSku) -> Result<(), i64> {
        let NewSku { code, name, gtin, attributes } = sku;
        if let Some(first_line) = self.lines.get(&code) {
            return Err(*first_line);
        }
        let attributes = serde_json::to_string(&attributes).expect("a map of strings can be written as JSON");
        self.bytes += 2 * code.len() + name.len() + attributes.len();
        self.lines.insert(code.clone(), line);
        self.rows.codes.push(code);
        self.rows.lines.push(line);
        self.rows.names.push(name);
        self.rows.gtins.push(gtin);
        self.rows.attributes.push(attributes);
        Ok(())
    }

    /// The rows by column.
    pub(super) fn rows(&self) -> &StagedRows {
        &self.rows
    }

    /// Whether it has so many rows, or about so many bytes.
    pub(super) fn is_full(&self, rows_max: u32, bytes_max: usize) -> bool {
        self.rows.codes.len() >= rows_max as usize || self.bytes >= bytes_max
    }
}
