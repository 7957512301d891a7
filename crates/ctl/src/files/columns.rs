//! What a file's columns are, told from their names and, where names mislead, from what stands in them.

use std::collections::HashSet;

use holdfast_client::api::catalog::v1::PolicyColumns;

use super::{CsvFile, FileError, JsonFile, Row};

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
    "componentcode",
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
    "componentname",
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
    "stockcount",
    "stocknumber",
    "units",
    "count",
    "balance",
];

/// Names of a column with a pack size.
const PACK_SIZES: &[&str] = &["packsize", "pack", "packqty", "packquantity", "unitsperpack"];

/// Names of a column with a GTIN.
const GTINS: &[&str] = &["gtin", "ean", "ean13", "upc", "barcode", "variantbarcode"];

/// Names of the columns with a selling policy: all but the unmistakable ones have to be named by a person.
const POLICY: [&str; 10] = [
    "safetystock",
    "backorderlimit",
    "maxperreservation",
    "maxperowner",
    "defaultholdseconds",
    "preferredlocations",
    "maxperminute",
    "channelcaps",
    "promisetime",
    "promiseleadseconds",
];

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
    /// The columns with the selling policy; empty names where there is none.
    pub policy: PolicyColumns,
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
        Sample::of(self).catalog_columns().ok_or_else(|| self.no_column("a SKU's code", "--code-column"))
    }

    /// Finds the columns of a stock file.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code, or none the quantity.
    pub fn stock_columns(&self) -> Result<StockColumns, FileError> {
        self.stock_columns_with(None, None)
    }

    /// The same, with those columns that a person has named; they have to be there.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code, or none the quantity.
    pub fn stock_columns_with(&self, key: Option<&str>, quantity: Option<&str>) -> Result<StockColumns, FileError> {
        let found = Sample::of(self).stock_columns(key, quantity);
        found.map_err(|missing| self.no_column(missing.wanted, missing.flag))
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

impl JsonFile {
    /// Finds the keys of a file of products. Nested ones cannot be used.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code.
    pub fn catalog_columns(&self) -> Result<CatalogColumns, FileError> {
        let flat: Vec<usize> = (0..self.fields.len()).filter(|field| !self.fields[*field].contains('.')).collect();
        let rows = self.rows.iter().map(|row| flat.iter().map(|field| row.cell(*field).to_owned()));
        let header = flat.iter().map(|field| self.fields[*field].clone()).collect();
        let rows = (1..).zip(rows).map(|(line, cells)| Row { line, cells: cells.collect() }).collect();
        let sample = Sample::new(header, rows, plain);
        sample.catalog_columns().ok_or_else(|| self.no_field("a SKU's code", "--code-column"))
    }

    /// Finds the keys of a stock file.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code, or none the quantity.
    pub fn stock_columns(&self) -> Result<StockColumns, FileError> {
        self.stock_columns_with(None, None)
    }

    /// The same, with those keys that a person has named; they have to be there.
    ///
    /// # Errors
    /// [`FileError::NoColumn`] if none can be the code, or none the quantity.
    pub fn stock_columns_with(&self, key: Option<&str>, quantity: Option<&str>) -> Result<StockColumns, FileError> {
        let found = json_sample(&self.fields, &self.rows).stock_columns(key, quantity);
        found.map_err(|missing| self.no_field(missing.wanted, missing.flag))
    }

    fn no_field(&self, wanted: &'static str, flag: &'static str) -> FileError {
        FileError::NoColumn { name: self.name.clone(), wanted, columns: self.fields.join(", "), flag }
    }
}

/// A column that cannot be told.
struct Missing {
    wanted: &'static str,
    flag: &'static str,
}

/// True if these keys of these rows have a code and a quantity among them.
pub(super) fn is_stock(fields: &[String], rows: &[Row]) -> bool {
    json_sample(fields, rows).stock_columns(None, None).is_ok()
}

/// Of a nested key the last part is its name.
fn json_sample(fields: &[String], rows: &[Row]) -> Sample {
    let last = |path: &str| plain(path.rsplit('.').next().unwrap_or(path));
    Sample::new(fields.to_vec(), rows.to_vec(), last)
}

/// The first rows of a file, to see what stands in its columns.
struct Sample {
    header: Vec<String>,
    /// What the columns are called, without case and punctuation.
    names: Vec<String>,
    rows: Vec<Row>,
}

impl Sample {
    fn of(file: &CsvFile) -> Self {
        Self::new(file.header.clone(), file.rows().take(ROWS_SAMPLED).collect(), plain)
    }

    fn new(header: Vec<String>, rows: Vec<Row>, name: impl Fn(&str) -> String) -> Self {
        Self { names: header.iter().map(|title| name(title)).collect(), header, rows }
    }

    fn catalog_columns(&self) -> Option<CatalogColumns> {
        let code = self.code(&[CODES])?;
        let name = self.named(NAMES).find(|column| *column != code && self.filled(*column) > 0);
        let gtin = self.named(GTINS).find(|column| *column != code && self.all(*column, is_gtin));
        let policy = POLICY.map(|name| self.named(&[name]).next().filter(|column| *column != code));
        let taken =
            |column: &usize| [Some(code), name, gtin].contains(&Some(*column)) || policy.contains(&Some(*column));
        let attributes = (0..self.header.len())
            .filter(|column| !taken(column) && self.can_be_attribute(*column))
            .take(ATTRIBUTES_MAX)
            .map(|column| self.header[column].clone())
            .collect();
        let title = |column: usize| self.header[column].clone();
        let [
            safety_stock,
            backorder_limit,
            max_per_reservation,
            max_per_owner,
            default_hold_seconds,
            locations,
            max_per_minute,
            channel_caps,
            promise_time,
            promise_lead_seconds,
        ] = policy.map(|column| column.map(title).unwrap_or_default());
        Some(CatalogColumns {
            code: title(code),
            name: name.map(title),
            gtin: gtin.map(title),
            policy: PolicyColumns {
                safety_stock,
                backorder_limit,
                max_per_reservation,
                max_per_owner,
                default_hold_seconds,
                locations,
                max_per_minute,
                channel_caps,
                promise_time,
                promise_lead_seconds,
            },
            attributes,
        })
    }

    fn stock_columns(&self, key: Option<&str>, quantity: Option<&str>) -> Result<StockColumns, Missing> {
        let named = |name: &str| self.header.iter().position(|title| title == name);
        let no_key = Missing { wanted: "a code", flag: "--key-column" };
        let key = key.map_or_else(|| self.code(&[VENDOR_CODES, CODES]), named).ok_or(no_key)?;
        let told = || self.named(QUANTITIES).find(|column| *column != key && self.mostly(*column, is_number));
        let no_quantity = Missing { wanted: "a quantity", flag: "--quantity-column" };
        let quantity = quantity.map_or_else(told, named).ok_or(no_quantity)?;
        let meaning = if self.names[quantity].contains("avail") { Meaning::Available } else { Meaning::OnHand };
        Ok(StockColumns { key: self.header[key].clone(), quantity: self.header[quantity].clone(), meaning })
    }

    /// The column with the code: the best named one that is filled and tells rows apart; else the best named one that is filled; else the best named one that
    /// most rows fill. A file without rows is judged by its header.
    fn code(&self, names: &[&[&str]]) -> Option<usize> {
        let named = || names.iter().flat_map(|names| self.named(names)).chain(self.containing("sku"));
        let filled = |column: &usize| self.filled(*column) * 10 >= self.rows.len() * 9;
        let distinct = |column: &usize| self.distinct(*column) * 10 >= self.rows.len() * 9;
        let mostly_filled = |column: &usize| self.filled(*column) * 2 > self.rows.len();
        named()
            .find(|column| filled(column) && distinct(column))
            .or_else(|| named().find(filled))
            .or_else(|| named().find(mostly_filled))
    }

    /// Columns that are called one of these names, and are the only ones called so, the best name first.
    fn named(&self, names: &[&str]) -> impl Iterator<Item = usize> {
        names
            .iter()
            .flat_map(move |name| (0..self.header.len()).filter(move |column| self.names[*column] == **name))
            .filter(|column| self.is_only(*column))
    }

    fn containing(&self, part: &str) -> impl Iterator<Item = usize> {
        (0..self.header.len())
            .filter(move |column| self.names[*column].contains(part))
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
    fn a_row_without_a_code_does_not_hide_where_the_codes_are() {
        assert_eq!(file("name,sku\nx,A\ny,B\nz,\n").catalog_columns().unwrap().code, "sku");
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
    fn the_columns_of_a_policy_are_told_by_their_whole_names_and_are_no_attributes() {
        let text = "sku,safety_stock,Max per owner,preferred_locations,locations,channel_caps,max_per_minute\nA,2,3,HALL,shelf 7,web=1,9\n";
        let columns = file(text).catalog_columns().unwrap();
        assert_eq!(columns.policy.safety_stock, "safety_stock");
        assert_eq!(columns.policy.max_per_owner, "Max per owner");
        assert_eq!(columns.policy.locations, "preferred_locations");
        assert_eq!(
            (columns.policy.channel_caps, columns.policy.max_per_minute),
            ("channel_caps".to_owned(), "max_per_minute".to_owned())
        );
        assert_eq!(columns.policy.backorder_limit, "");
        assert_eq!(columns.attributes, ["locations"]);
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
