//! What the file gate looks at: a file by itself and beside what its codes said before. All in the vendor's own units, so
//! that neither catalog nor stock is needed to hold a file.

use std::collections::HashMap;

use super::{KnownKey, present_keys};
use crate::{
    formats::ParsedFile,
    guards::{
        file::FileFacts,
        jump::{self, Change, RowLimits},
        row::{KeyReading, by_key},
    },
};

/// Looks at a file beside the codes known before it.
#[must_use]
pub fn facts(file: &ParsedFile, known: &[KnownKey], limits: &RowLimits) -> FileFacts {
    let present = present_keys(file);
    let before: HashMap<&str, &KnownKey> = known.iter().map(|key| (key.vendor_sku.as_str(), key)).collect();
    let gone = known.iter().filter(|key| !present.contains(key.vendor_sku.as_str())).count();
    let in_stock = known.iter().filter(|key| key.quantity.is_some_and(|quantity| quantity > 0)).count();
    let mut facts = FileFacts {
        rows: file.rows(),
        rows_unreadable: file.rows_unreadable(),
        keys_known: known.len() as u64,
        keys_gone: gone as u64,
        keys_in_stock: in_stock as u64,
        // A billion units on each of a billion rows fit.
        units_before: known.iter().filter_map(|key| key.quantity).fold(0, u64::saturating_add),
        ..FileFacts::default()
    };
    let keys = by_key(&file.observations);
    // A code that never said a readable number is in no memory: it is not new each time.
    let is_new = |key: &str, reading: &KeyReading| reading.quantity.is_some() && !before.contains_key(key);
    facts.keys_unknown = keys.iter().filter(|(key, reading)| is_new(key, reading)).count() as u64;
    for (key, reading) in &keys {
        let said = before.get(key);
        // Without an offer, or whatever else kept its number from counting: what was not summed before is not summed now.
        if said.is_some_and(|said| said.quantity.is_none()) {
            continue;
        }
        let old = said.and_then(|said| said.quantity);
        // What cannot be read, or is not compared, is taken for what it was.
        let Some(new) = reading.quantity else {
            facts.units = facts.units.saturating_add(old.unwrap_or(0));
            facts.keys_unsaid += u64::from(old.is_some());
            continue;
        };
        if let Some(old) = old {
            facts.keys_compared += 1;
            facts.keys_changed += u64::from(old != new);
            facts.keys_sold_out += u64::from(old > 0 && new == 0);
        }
        let change = Change { old, new, pack_size: 1, judge_unknown: !known.is_empty() };
        let believed = match jump::check(limits, &change) {
            Some(_) => old.map_or(0, |old| old.min(new)),
            None => new,
        };
        facts.units = facts.units.saturating_add(believed);
    }
    let mut rows_by_value: HashMap<u64, u64> = HashMap::new();
    for quantity in file.observations.iter().filter_map(|observation| observation.reading.quantity().ok()) {
        *rows_by_value.entry(quantity).or_insert(0) += 1;
    }
    let top = rows_by_value.into_iter().max_by_key(|(value, rows)| (*rows, *value));
    (facts.top_value, facts.top_value_rows) = top.unwrap_or_default();
    facts
}
