//! What a file's columns are, told from their names and, where names mislead, from what stands in them.

use std::collections::HashSet;

use super::{CsvFile, FileError};

/// Names of a column with the shop's code, best first, as [`plain`] writes them.
const CODES: &[&str] = &[
    "sku",
    "skucode",
    "skuid",
    "variantsku",
    "productsku",
    "itemsku",
    "merchantsku",
    "sellersku",
    "code",
    "productcode",
    "itemcode",
    "articlecode",
    "articleno",
    "articlenumber",
    "article",
    "itemno",
    "itemnumber",
    "partno",
    "partnumber",
    "mpn",
    "productid",
    "itemid",
    "variantid",
    "id",
    "handle",
    "ean",
    "gtin",
    "upc",
    "barcode",
];

/// Names of a column with the vendor's code, where a file has its own for that.
const VENDOR_CODES: &[&str] =
    &["vendorsku", "vendorcode", "suppliersku", "suppliercode", "supplierpartnumber", "vendorpartnumber"];

/// Names of a column with a name for people.
const NAMES: &[&str] = &[
    "name",
    "title",
    "productname",
    "productdisplayname",
    "displayname",
    "itemname",
    "producttitle",
    "description",
    "shortdescription",
    "itemdescription",
    "supplierdescription",
    "articletype",
    "producttype",
    "type",
];

/// Names of a column with a quantity, best first.
const QUANTITIES: &[&str] = &[
    "onhand",
    "quantityonhand",
    "qtyonhand",
    "qoh",
    "stock",
    "stockquantity",
    "stockqty",
    "stocklevel",
    "stockonhand",
    "instock",
    "currentstock",
    "inventory",
    "inventoryquantity",
    "inventoryqty",
    "variantinventoryqty",
    "variantinventoryquantity",
    "quantity",
    "qty",
    "available",
    "availablequantity",
    "availableqty",
    "qtyavailable",
    "quantityavailable",
    "availability",
    "freestock",
    "units",
    "count",
    "balance",
];

/// Names of a column with a pack size.
const PACK_SIZES: &[&str] = &["packsize", "pack", "packqty", "packquantity", "unitsperpack"];

/// Names of a column with a GTIN.
const GTINS: &[&str] = &["gtin", "ean", "ean13", "upc", "barcode", "variantbarcode"];

/// The most attributes that a SKU may have.
const ATTRIBUTES_MAX: usize = 50;
/// The longest name of an attribute, in bytes.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// The longest value of an attribute, in bytes.
const ATTRIBUTE_VALUE_BYTES_MAX: usize = 500;

/// Rows that are looked at.
const ROWS_SAMPLED: usize = 5_000;

/// How a file of products reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogColumns {
    /// The column with the SKU's code.
    pub code: String,
    /// The column with its name.
    pub name: Option<String>,
    /// The column with its GTIN.
    pub gtin: Option<String>,
    /// The others that can be kept as attributes.
    pub attributes: Vec<String>,
}

/// How a stock file reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockColumns {
    /// The column with the vendor's code.
    pub key: String,
    /// The column with the quantity.
    pub quantity: String,
    /// What the numbers seem to mean.
    pub meaning: Meaning,
}

/// The columns of a file of offers, as far as they were named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfferColumns {
    /// The column with the vendor's code.
    pub vendor_sku: Option<String>,
    /// The column with the SKU.
    pub sku: Option<String>,
    /// The column with the pack size.
    pub pack_size: Option<String>,
}

/// Where the columns of a file of offers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferPositions {
    /// The column with the vendor's code.
    pub vendor_sku: usize,
    /// The column with the SKU.
    pub sku: usize,
    /// The column with the pack size, if there is one.
    pub pack_size: Option<usize>,
}

/// What a vendor's numbers seem to mean, by what the column is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Everything on the shelf.
    OnHand,
    /// Without the orders that the vendor has booked.
    Available,
}

impl CsvFile {
    /// Finds the columns of a file of products.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code.
    pub fn catalog_columns(&self) -> Result<CatalogColumns, FileError> {
        let sample = Sample::of(self);
        let code = sample.code(&[CODES]).ok_or_else(|| self.no_column("a SKU's code", "--code-column"))?;
        let name = sample.named(NAMES).find(|column| *column != code && sample.filled(*column) > 0);
        let gtin = sample.named(GTINS).find(|column| *column != code && sample.all(*column, is_gtin));
        let attributes = (0..self.header.len())
            .filter(|column| ![Some(code), name, gtin].contains(&Some(*column)) && sample.can_be_attribute(*column))
            .take(ATTRIBUTES_MAX)
            .map(|column| self.header[column].clone())
            .collect();
        let title = |column: usize| self.header[column].clone();
        Ok(CatalogColumns { code: title(code), name: name.map(title), gtin: gtin.map(title), attributes })
    }

    /// Finds the columns of a stock file.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code, or none the quantity.
    pub fn stock_columns(&self) -> Result<StockColumns, FileError> {
        let sample = Sample::of(self);
        let key = sample.code(&[VENDOR_CODES, CODES]).ok_or_else(|| self.no_column("a code", "--key-column"))?;
        let quantity = sample
            .named(QUANTITIES)
            .find(|column| *column != key && sample.mostly(*column, is_number))
            .ok_or_else(|| self.no_column("a quantity", "--quantity-column"))?;
        let meaning =
            if plain(&self.header[quantity]).contains("avail") { Meaning::Available } else { Meaning::OnHand };
        Ok(StockColumns { key: self.header[key].clone(), quantity: self.header[quantity].clone(), meaning })
    }

    /// Finds the columns of a file of offers, taking those that were named.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if a named column is not there, or none can be the vendor's code, or none the SKU.
    pub fn offer_columns(&self, named: &OfferColumns) -> Result<OfferPositions, FileError> {
        let sample = Sample::of(self);
        let place = |column: &Option<String>, names: &[&str], wanted, flag| match column {
            Some(column) => self.position(column).map(Some).ok_or_else(|| self.no_column(wanted, flag)),
            None => Ok(sample.named(names).next()),
        };
        let vendor_sku = place(&named.vendor_sku, VENDOR_CODES, "the vendor's code", "--vendor-sku-column")?;
        let sku = place(&named.sku, CODES, "the SKU", "--sku-column")?;
        let pack_size = place(&named.pack_size, PACK_SIZES, "the pack size", "--pack-size-column")?;
        Ok(OfferPositions {
            vendor_sku: vendor_sku.ok_or_else(|| self.no_column("the vendor's code", "--vendor-sku-column"))?,
            sku: sku.ok_or_else(|| self.no_column("the SKU", "--sku-column"))?,
            pack_size,
        })
    }

    fn no_column(&self, wanted: &'static str, flag: &'static str) -> FileError {
        FileError::NoColumn { name: self.name.clone(), wanted, columns: self.header.join(", "), flag }
    }
}

/// The first rows of a file, to see what stands in its columns.
struct Sample<'a> {
    header: &'a [String],
    rows: Vec<super::Row>,
}

impl<'a> Sample<'a> {
    fn of(file: &'a CsvFile) -> Self {
        Self { header: &file.header, rows: file.rows().take(ROWS_SAMPLED).collect() }
    }

    /// The column with the code: the best named one that is filled and tells rows apart; else the best named one that is filled. A file without rows is
    /// judged by its header.
    fn code(&self, names: &[&[&str]]) -> Option<usize> {
        let named = || names.iter().flat_map(|names| self.named(names)).chain(self.containing("sku"));
        let filled = |column: &usize| self.filled(*column) * 10 >= self.rows.len() * 9;
        let distinct = |column: &usize| self.distinct(*column) * 10 >= self.rows.len() * 9;
        named().find(|column| filled(column) && distinct(column)).or_else(|| named().find(filled))
    }

    /// Columns that are called one of these names, and are the only ones called so, the best name first.
    fn named(&self, names: &[&str]) -> impl Iterator<Item = usize> {
        names
            .iter()
            .flat_map(move |name| (0..self.header.len()).filter(move |column| plain(&self.header[*column]) == **name))
            .filter(|column| self.is_only(*column))
    }

    fn containing(&self, part: &str) -> impl Iterator<Item = usize> {
        (0..self.header.len())
            .filter(move |column| plain(&self.header[*column]).contains(part))
            .filter(|column| self.is_only(*column))
    }

    fn is_only(&self, column: usize) -> bool {
        self.header.iter().filter(|name| **name == self.header[column]).count() == 1
    }

    fn values(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().map(move |row| row.cell(column)).filter(|value| !value.is_empty())
    }

    fn filled(&self, column: usize) -> usize {
        self.values(column).count()
    }

    fn distinct(&self, column: usize) -> usize {
        self.values(column).collect::<HashSet<_>>().len()
    }

    fn all(&self, column: usize, is: fn(&str) -> bool) -> bool {
        self.filled(column) > 0 && self.values(column).all(is)
    }

    fn mostly(&self, column: usize, is: fn(&str) -> bool) -> bool {
        self.rows.is_empty() || self.values(column).filter(|value| is(value)).count() * 2 > self.filled(column)
    }

    fn can_be_attribute(&self, column: usize) -> bool {
        let name = &self.header[column];
        (1..=ATTRIBUTE_NAME_BYTES_MAX).contains(&name.len())
            && name.trim() == name
            && self.is_only(column)
            && self.filled(column) > 0
            && self.values(column).all(|value| value.len() <= ATTRIBUTE_VALUE_BYTES_MAX)
    }
}

/// A column's name without case, spaces and punctuation: "Variant SKU" and "variant_sku" are one name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_number(value: &str) -> bool {
    value.parse::<f64>().is_ok_and(f64::is_finite)
}

/// True for 8, 12, 13 or 14 digits with a correct check digit.
fn is_gtin(value: &str) -> bool {
    if !matches!(value.len(), 8 | 12 | 13 | 14) || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    // From the right, the check digit included, digits weigh 1, 3, 1, 3 …
    let sum: u32 = value
        .bytes()
        .rev()
        .zip([1, 3].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> CsvFile {
        CsvFile::from_bytes("x.csv", text.to_owned()).unwrap()
    }

    #[test]
    fn usual_names_are_recognised_in_any_spelling() {
        for (header, key, quantity) in [
            ("product_code,price_gross,stock,name", "product_code", "stock"),
            ("SupplierSKU,MerchantSKU,UPC,Quantity", "SupplierSKU", "Quantity"),
            ("Handle,Title,Variant SKU,Variant Inventory Qty", "Variant SKU", "Variant Inventory Qty"),
            ("report_id,sku,on_hand,available", "sku", "on_hand"),
            ("Artikel,Article No.,QTY", "Article No.", "QTY"),
            ("Our SKU no.,Units", "Our SKU no.", "Units"),
        ] {
            let columns = file(&format!("{header}\n")).stock_columns().unwrap();
            assert_eq!((columns.key.as_str(), columns.quantity.as_str()), (key, quantity), "{header}");
        }
    }

    #[test]
    fn a_column_that_is_empty_is_not_the_code_whatever_it_is_called() {
        let columns = file("Handle,Variant SKU,Variant Inventory Qty\nshirt,,1\ncap,,2\n").stock_columns().unwrap();
        assert_eq!(columns.key, "Handle");
    }

    #[test]
    fn a_column_that_repeats_itself_gives_way_to_one_that_tells_rows_apart() {
        let columns = file("code,id,stock\nA,1,5\nA,2,5\nA,3,5\n").stock_columns().unwrap();
        assert_eq!(columns.key, "id");
    }

    #[test]
    fn words_are_no_quantity() {
        let columns = file("sku,availability,stock\nA,in stock,3\nB,in stock,4\n").stock_columns().unwrap();
        assert_eq!((columns.quantity.as_str(), columns.meaning), ("stock", Meaning::OnHand));
        let columns = file("sku,available\nA,3\n").stock_columns().unwrap();
        assert_eq!(columns.meaning, Meaning::Available);
    }

    #[test]
    fn a_header_without_a_code_is_refused_with_its_columns_named() {
        let error = file("colour,size\nred,M\n").catalog_columns().unwrap_err();
        assert!(error.to_string().contains("colour, size") && error.to_string().contains("--code-column"), "{error}");
    }

    #[test]
    fn a_catalog_keeps_its_other_columns_as_attributes() {
        let columns = file("sku,name,barcode,colour,empty\nA,one,4006381333931,red,\n").catalog_columns().unwrap();
        assert_eq!(columns.name.as_deref(), Some("name"));
        assert_eq!(columns.gtin.as_deref(), Some("barcode"));
        assert_eq!(columns.attributes, ["colour"]);
    }

    #[test]
    fn barcodes_with_a_wrong_check_digit_are_an_attribute_and_no_gtin() {
        let columns = file("sku,barcode\nA,4006381333932\n").catalog_columns().unwrap();
        assert_eq!((columns.gtin, columns.attributes), (None, vec!["barcode".to_owned()]));
    }

    #[test]
    fn real_files_are_understood() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        if !data.is_dir() {
            eprintln!("skipped: the folder with real files is not there");
            return;
        }
        let catalog = CsvFile::open(&data.join("catalog/styles_44446_skus.csv.gz")).unwrap();
        assert_eq!(catalog.catalog_columns().unwrap().code, "id");
        assert_eq!(catalog.rows().count(), 44_446);
        for entry in std::fs::read_dir(data.join("csv_marketplace")).unwrap() {
            let file = CsvFile::open(&entry.unwrap().path()).unwrap();
            let columns = file.stock_columns().unwrap();
            assert_eq!((columns.key.as_str(), columns.quantity.as_str()), ("product_code", "stock"), "{}", file.name());
        }
        let shopify = CsvFile::open(&data.join("csv_shopify/apparel.csv")).unwrap().stock_columns().unwrap();
        assert_eq!((shopify.key.as_str(), shopify.quantity.as_str()), ("Handle", "Variant Inventory Qty"));
        let report = CsvFile::open(&data.join("misc/inventory_report.csv")).unwrap().stock_columns().unwrap();
        assert_eq!((report.key.as_str(), report.quantity.as_str()), ("sku", "on_hand"));
        let tabs = CsvFile::open(&data.join("misc/merchant_sku_inventory_restock_valid_invalid_combos.tsv")).unwrap();
        assert_eq!((tabs.delimiter(), tabs.stock_columns().unwrap().key.as_str()), ('\t', "Merchant SKU"));
    }
}
