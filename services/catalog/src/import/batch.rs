//! Good rows of a file on their way to the staging table, many at once.

use std::collections::{HashMap, HashSet};

use super::columns::Row;
use super::problems::RowProblem;
use crate::store::StagedRows;

/// Good rows, gathered to be staged together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    rows: Vec<(i64, Row)>,
    lines: HashMap<String, i64>,
    bytes: usize,
}

impl Batch {
    /// Adds a row, unless its code is there: then it answers the line on which that stands.
    pub(super) fn add(&mut self, line: i64, row: Row) -> Result<(), i64> {
        if let Some(first_line) = self.lines.get(&row.code) {
            return Err(*first_line);
        }
        self.bytes += row.bytes();
        self.lines.insert(row.code.clone(), line);
        self.rows.push((line, row));
        Ok(())
    }

    /// Whether it has so many rows, or about so many bytes.
    pub(super) fn is_full(&self, rows_max: u32, bytes_max: usize) -> bool {
        self.rows.len() >= rows_max as usize || self.bytes >= bytes_max
    }

    /// The locations that its rows name.
    pub(super) fn locations(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().flat_map(|(_, row)| &row.policy.locations)
    }

    /// Takes the rows out that name one of these locations; answers what is wrong with each.
    pub(super) fn refuse_locations(&mut self, unknown: &HashSet<String>, column: &str) -> Vec<RowProblem> {
        let mut problems = Vec::new();
        self.rows.retain(|(line, row)| {
            let wrong = row.policy.locations.iter().find(|code| unknown.contains(*code));
            if let Some(code) = wrong {
                let description = format!("no location has the code {code:?}");
                problems.push(RowProblem { line: *line, column: column.to_owned(), description });
            }
            wrong.is_none()
        });
        problems
    }

    /// The rows by column.
    pub(super) fn into_rows(self) -> StagedRows {
        let mut staged = StagedRows::default();
        for (line, Row { code, name, gtin, attributes, removed, policy, policy_removed }) in self.rows {
            staged.codes.push(code);
            staged.lines.push(line);
            staged.names.push(name);
            staged.gtins_given.push(gtin.is_some());
            staged.gtins.push(gtin.flatten());
            staged.attributes.push(json(&attributes));
            staged.removed.push((!removed.is_empty()).then(|| json(&removed)));
            staged.policies.push(json(&policy));
            staged.policies_removed.push((!policy_removed.is_empty()).then(|| json(&policy_removed)));
        }
        staged
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("numbers, texts and maps of texts can be written as JSON")
}
