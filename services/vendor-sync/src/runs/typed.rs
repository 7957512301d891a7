//! What a typed count says beside its number: what was on hand before counting. It stands in a column of its own of the file that the counts became.

use std::collections::HashMap;

use crate::convert::TYPED_COLUMNS;
use crate::model::{Columns, Layout, Run, RunOrigin};
use crate::store::StoreError;

/// Whether a run's file is one of typed counts with that column. Those that an earlier version took have none: they are taken whatever is on hand.
pub(super) fn is_typed(run: &Run, content: &[u8]) -> bool {
    let header = TYPED_COLUMNS.join(",");
    run.is_house() && run.origin == RunOrigin::Typed && content.starts_with(header.as_bytes())
}

/// How such a file looks.
pub(super) fn layout() -> Layout {
    layout_of(TYPED_COLUMNS[1])
}

/// What must be on hand, by SKU, for its number to be taken; of SKUs without an entry, whatever is.
///
/// # Errors
/// [`StoreError::Unreadable`]: the service wrote the file itself.
pub(super) fn expected(content: &[u8]) -> Result<HashMap<String, i64>, StoreError> {
    let unreadable = |what: String| StoreError::Unreadable(format!("typed counts: {what}"));
    // The same file, read as if what was expected were its number.
    let schema = layout_of(TYPED_COLUMNS[2]).schema().map_err(|problems| unreadable(format!("{problems:?}")))?;
    let file = schema.parse(content, u64::MAX).map_err(|refusal| unreadable(refusal.to_string()))?;
    let number = |units: u64| i64::try_from(units).ok();
    let expected = file.observations.iter().filter_map(|row| {
        let units = row.reading.quantity().ok().and_then(number)?;
        Some((row.key.value().to_owned(), units))
    });
    Ok(expected.collect())
}

fn layout_of(quantity_column: &str) -> Layout {
    Layout::Csv(Columns {
        delimiter: ",".to_owned(),
        header: TYPED_COLUMNS.map(str::to_owned).to_vec(),
        key_column: TYPED_COLUMNS[0].to_owned(),
        quantity_column: quantity_column.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cell_expects_nothing_and_a_zero_expects_none() {
        let content = b"sku,quantity,expected\n\"A\",5,3\n\"B, \"\"b\"\"\",5,0\n\"C\",5,\n";
        let expected = expected(content).unwrap();
        assert_eq!(expected, HashMap::from([("A".to_owned(), 3), ("B, \"b\"".to_owned(), 0)]));
        let file = layout().schema().unwrap().parse(content, 10).unwrap();
        assert!(file.observations.iter().all(|row| row.reading.quantity() == Ok(5)));
    }
}
