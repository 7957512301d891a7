//! The ledger on paper: every change of a row, with its cause.

use super::{Reference, Row};
use holdfast_stock::{Cause, Delta, Entry, Policy, RowKey, Turn, UnixMicros};
use std::collections::BTreeMap;

impl Reference {
    /// Notes that a row changes.
    pub(super) fn note(&mut self, row: &RowKey, cause: Cause, delta: Delta) {
        let page = self.rows.get_mut(row).unwrap();
        page.version += 1;
        let (version, (sku, location), at) = (page.version, row.clone(), UnixMicros(self.now));
        self.entries.push(Entry { sku, location, version, at, delta, cause, op: None });
    }

    /// Makes a row that is not there; what its first change says is beside it what the SKU's policy says of every row.
    pub(super) fn first_change(&mut self, row: &RowKey, delta: Delta) -> Delta {
        if self.rows.contains_key(row) {
            return delta;
        }
        self.rows.insert(row.clone(), Row::default());
        let paused = self.pauses.contains_key(&row.0).then_some(true);
        let archived = self.policies.get(&row.0).is_some_and(|policy: &Policy| policy.archived).then_some(true);
        let turn = Turn { archived, paused, ..delta.turn };
        Delta { safety: self.safety(row), backorder: self.backorder(row), turn, ..delta }
    }

    /// The planner wrote what is on the paper, row by row, since this was last looked at.
    #[track_caller]
    pub(crate) fn check_entries(&mut self, written: &[Entry]) {
        let expected = std::mem::take(&mut self.entries);
        assert_eq!(by_row(written), by_row(&expected));
    }
}

/// The entries of each row in their order, without the index of their operation.
fn by_row(entries: &[Entry]) -> BTreeMap<RowKey, Vec<Entry>> {
    let mut rows: BTreeMap<RowKey, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        let row = (entry.sku.clone(), entry.location.clone());
        rows.entry(row).or_default().push(Entry { op: None, ..entry.clone() });
    }
    rows
}
