//! The vendor's later files, made from the first one: some numbers changed, or cut off in the middle.

use std::collections::HashMap;

use holdfast_ctl::files::CsvFile;

use super::goods::Goods;

/// Known codes below which a file that lacks half of them is not held: shares say little in so small a file.
const ROWS_TO_CUT_MIN: usize = 40;

/// A row of the first file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) vendor_sku: String,
    pub(super) sku: String,
    pub(super) units: i64,
}

/// Who plays which part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cast {
    /// What the first file says of the wanted SKU; 0 if it says nothing that can be read.
    pub(super) wanted_units: i64,
    /// A SKU beside it, of which two come in.
    pub(super) neighbour: Option<Counted>,
    /// A SKU of which a delivery comes in that is so large that a guard stops it.
    pub(super) delivered: Option<Counted>,
    /// True if there are enough rows for a missing half to be seen.
    pub(super) can_be_cut: bool,
}

impl Cast {
    /// Finds SKUs for the parts.
    pub(super) fn choose(goods: &Goods) -> anyhow::Result<Self> {
        let rows = counted(goods)?;
        let can_be_cut = rows.len() >= ROWS_TO_CUT_MIN;
        let wanted_units = rows.iter().filter(|row| row.sku == goods.wanted).map(|row| row.units).max().unwrap_or(0);
        let others: Vec<Counted> = rows.into_iter().filter(|row| row.sku != goods.wanted).collect();
        // The first that makes a good story, else the first that makes one at all.
        let pick = |taken: Option<&Counted>| {
            let free = || others.iter().filter(|row| Some(*row) != taken && row.units >= 1);
            free().find(|row| (5..=400).contains(&row.units)).or_else(|| free().next()).cloned()
        };
        let neighbour = pick(None);
        let delivered = pick(neighbour.as_ref());
        Ok(Self { wanted_units, neighbour, delivered, can_be_cut })
    }

    /// The file of the next day: two more of the neighbour, the delivery, and the slip.
    pub(super) fn later_file(&self, goods: &Goods, slip: i64) -> anyhow::Result<String> {
        let mut changes = HashMap::from([(goods.wanted_vendor_sku.as_str(), slip)]);
        changes.extend(self.neighbour.iter().map(|row| (row.vendor_sku.as_str(), row.units + 2)));
        changes.extend(self.delivered.iter().map(|row| (row.vendor_sku.as_str(), delivery(row.units))));
        with_changes(&goods.feed.file, &changes)
    }
}

/// So many units after a large delivery that a guard stops them: six times as many, or 99 where there were so few that any number is believed.
pub(super) fn delivery(units: i64) -> i64 {
    if units >= 5 { units.saturating_mul(6).min(1_000_000_000) } else { 99 }
}

/// What a slip of the finger makes of so many units: 999, which stands for "many", where that is twice as much or more; else a zero too many.
pub(super) fn slip(units: i64) -> i64 {
    if units < 500 { 999 } else { units.saturating_mul(10).min(1_000_000_000) }
}

/// The first half of a file, its last row cut in two.
pub(super) fn cut_off(file: &str) -> &str {
    let mut end = file.len() / 2;
    // Not at a row's end (that would be a whole, shorter file), nor within a character.
    while end < file.len() && (!file.is_char_boundary(end) || file[..end].ends_with(['\n', '\r'])) {
        end += 1;
    }
    &file[..end]
}

/// The rows of the first file that are offered, can be read, and name a code that no other row names.
fn counted(goods: &Goods) -> anyhow::Result<Vec<Counted>> {
    let file = &goods.feed.file;
    let columns = file.stock_columns()?;
    let (Some(key), Some(quantity)) = (file.position(&columns.key), file.position(&columns.quantity)) else {
        return Ok(Vec::new());
    };
    let mut times: HashMap<String, usize> = HashMap::new();
    for row in file.rows() {
        *times.entry(row.cell(key).to_owned()).or_default() += 1;
    }
    let offered: HashMap<&str, &str> = goods.offers.iter().map(|(code, sku)| (code.as_str(), sku.as_str())).collect();
    let rows = file.rows().filter_map(|row| {
        let code = row.cell(key);
        let units = row.cell(quantity).parse().ok()?;
        let sku = offered.get(code)?;
        (times.get(code) == Some(&1)).then(|| Counted { vendor_sku: code.to_owned(), sku: (*sku).to_owned(), units })
    });
    Ok(rows.collect())
}

/// The same file with other numbers for some codes.
fn with_changes(file: &CsvFile, changes: &HashMap<&str, i64>) -> anyhow::Result<String> {
    let columns = file.stock_columns()?;
    let (key, quantity) = (file.position(&columns.key), file.position(&columns.quantity));
    let delimiter = u8::try_from(file.delimiter()).unwrap_or(b',');
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).flexible(true).from_writer(Vec::new());
    writer.write_record(file.header())?;
    for mut row in file.rows() {
        let change = key.and_then(|key| changes.get(row.cell(key)));
        if let (Some(units), Some(cell)) = (change, quantity.and_then(|quantity| row.cells.get_mut(quantity))) {
            *cell = units.to_string();
        }
        writer.write_record(&row.cells)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::say::Say;
    use super::*;

    fn goods(feed: &str) -> (tempfile::TempDir, Goods) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        std::fs::write(&path, feed).unwrap();
        let goods = Goods::prepare(&Options { feed: Some(path), ..Options::new(dir.path()) }, &Say::silent());
        (dir, goods.unwrap())
    }

    #[test]
    fn a_later_file_differs_in_just_the_rows_that_play_a_part() {
        let (_dir, goods) = goods("sku;qty;name\nA;150;\"x; y\"\nB;7;b\nC;20;c\nD;0;d\n");
        let cast = Cast::choose(&goods).unwrap();
        assert_eq!(goods.wanted, "A");
        let later = cast.later_file(&goods, slip(150)).unwrap();
        assert_eq!(later, "sku;qty;name\nA;999;\"x; y\"\nB;9;b\nC;120;c\nD;0;d\n");
    }

    #[test]
    fn a_code_on_two_rows_and_one_that_is_no_number_play_no_part() {
        let (_dir, goods) = goods("sku,qty\nA,150\nB,7\nB,8\nC,?\nD,20\n");
        let cast = Cast::choose(&goods).unwrap();
        assert_eq!(slip(2_400), 24_000, "999 would be a decrease");
        assert_eq!(cast.wanted_units, 150);
        assert_eq!(cast.neighbour.unwrap().sku, "D");
        assert_eq!(cast.delivered, None);
        assert!(!cast.can_be_cut);
    }

    #[test]
    fn where_there_is_little_of_everything_there_is_a_story_too() {
        let (_dir, goods) = goods("sku,qty\nA,9\nB,0\nC,1\nD,2\n");
        let cast = Cast::choose(&goods).unwrap();
        assert_eq!(cast.later_file(&goods, 999).unwrap(), "sku,qty\nA,999\nB,0\nC,3\nD,99\n");
    }

    #[test]
    fn a_file_is_cut_within_a_row_and_a_character_stays_whole() {
        assert_eq!(cut_off("a,b\n1,2\n3,4\n5,6\n"), "a,b\n1,2\n3");
        assert_eq!(cut_off("a,bé\n1é"), "a,bé");
        assert_eq!(cut_off(""), "");
    }

    #[test]
    fn real_files_have_parts_to_play_and_keep_their_shape() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        if !data.is_dir() {
            eprintln!("skipped: the folder with real files is not there");
            return;
        }
        for (feed, can_be_cut) in [
            ("csv_marketplace/refurbed_import_20260526T1324_50a9e07.csv", true),
            ("csv_shopify/jewelery.csv", false),
            ("misc/inventory_report.csv", false),
        ] {
            let (_dir, goods) = goods(&std::fs::read_to_string(data.join(feed)).unwrap());
            let cast = Cast::choose(&goods).unwrap();
            assert_eq!(cast.can_be_cut, can_be_cut, "{feed}");
            let later = CsvFile::from_bytes(feed, cast.later_file(&goods, slip(150)).unwrap()).unwrap();
            let first = &goods.feed.file;
            assert_eq!((later.header(), later.delimiter()), (first.header(), first.delimiter()), "{feed}");
            let key = first.position(&first.stock_columns().unwrap().key).unwrap();
            let changed = first.rows().zip(later.rows()).filter(|(before, after)| before.cells != after.cells);
            // A code on two rows changes on both.
            let changed: std::collections::HashSet<_> = changed.map(|(row, _)| row.cell(key).to_owned()).collect();
            let parts = usize::from(cast.neighbour.is_some()) + usize::from(cast.delivered.is_some());
            assert_eq!(changed.len(), 1 + parts, "{feed}");
            assert_eq!(first.rows().count(), later.rows().count(), "{feed}");
        }
    }
}
