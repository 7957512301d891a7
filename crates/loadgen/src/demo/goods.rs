//! The two files of the demo, given or made: what the shop sells, what the vendor has, and which of the vendor's codes is which SKU.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_ctl::files::{CatalogColumns, CsvFile, StockColumns};

use super::Options;
use super::say::{Say, count};
use crate::rng::Rng;
use crate::shop::{self, Shop};

/// The longest code that Holdfast takes, in bytes.
const CODE_BYTES_MAX: usize = 128;

/// A CSV file on disk.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) path: PathBuf,
    pub(super) file: CsvFile,
}

impl OnDisk {
    fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { path: path.to_owned(), file: CsvFile::open(path)? })
    }

    fn write(dir: &Path, name: &str, text: String) -> anyhow::Result<Self> {
        let path = dir.join(name);
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: CsvFile::from_bytes(name, text)?, path })
    }
}

/// Everything that is brought in.
#[derive(Debug)]
pub(super) struct Goods {
    /// The catalog, and how it reads.
    pub(super) catalog: OnDisk,
    pub(super) catalog_columns: CatalogColumns,
    /// Products of the feed that the catalog lacks, as a second catalog.
    pub(super) added: Option<OnDisk>,
    /// The stock file.
    pub(super) feed: OnDisk,
    /// Vendor's code and SKU, each vendor's code once.
    pub(super) offers: Vec<(String, String)>,
    pub(super) offers_file: OnDisk,
    /// The SKU that everybody will want.
    pub(super) wanted: String,
    /// The vendor's code for it.
    pub(super) wanted_vendor_sku: String,
    /// Tells these goods from others, so that demos with other files do not get in each other's way.
    pub(super) fingerprint: String,
}

impl Goods {
    /// Reads the files that were given and makes those that were not.
    ///
    /// # Errors
    /// A file cannot be read or written, has no column that could be its code or quantity, or has nothing to sell.
    pub(super) fn prepare(options: &Options, say: &Say) -> anyhow::Result<Self> {
        let dir = &options.dir;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let made = match (&options.catalog, &options.feed) {
            (None, None) => Self::generated(options, say)?,
            (Some(catalog), None) => Self::with_made_feed(OnDisk::open(catalog)?, options, say)?,
            (None, Some(feed)) => Self::with_made_catalog(OnDisk::open(feed)?, dir, say)?,
            (Some(catalog), Some(feed)) => Self::given(OnDisk::open(catalog)?, OnDisk::open(feed)?, dir, say)?,
        };
        anyhow::ensure!(
            !made.offers.is_empty(),
            "nothing to sell: no code of {} is in the catalog",
            made.feed.file.name()
        );
        Ok(made)
    }

    fn generated(options: &Options, say: &Say) -> anyhow::Result<Self> {
        let shop = Shop::generate(options.seed, options.skus);
        let catalog = OnDisk::write(&options.dir, "catalog.csv", shop.catalog_csv())?;
        let feed = OnDisk::write(&options.dir, "stock.csv", shop.stock_csv())?;
        say.line(&format!(
            "  A shop of {} SKUs, made from seed {}: {}, {}",
            count(shop.products.len()),
            options.seed,
            catalog.path.display(),
            feed.path.display()
        ));
        let offers = shop.products.iter().map(|product| (product.vendor_sku.clone(), product.sku.clone())).collect();
        let wanted = &shop.products[shop.wanted];
        say.line(&format!("  Everybody will want {}: {}", wanted.sku, wanted.name));
        Self::assemble(catalog, None, feed, offers, Some(&wanted.sku), &options.dir)
    }

    /// The catalog is there, the vendor's file is made: codes of the vendor's own, quantities as in a warehouse.
    fn with_made_feed(catalog: OnDisk, options: &Options, say: &Say) -> anyhow::Result<Self> {
        let columns = catalog.file.catalog_columns()?;
        let skus = codes(&catalog.file, &columns.code);
        anyhow::ensure!(!skus.is_empty(), "{} has no products", catalog.file.name());
        let mut rng = Rng::new(options.seed);
        let wanted = skus.len() / 3;
        let mut csv = "article_no;stock\n".to_owned();
        let mut offers = Vec::with_capacity(skus.len());
        for (number, (sku, _)) in skus.into_iter().enumerate() {
            let vendor_sku = shop::vendor_code(options.seed, number);
            let units = if number == wanted { options.units } else { shop::units(&mut rng) };
            csv.push_str(&format!("{vendor_sku};{units}\n"));
            offers.push((vendor_sku, sku));
        }
        let feed = OnDisk::write(&options.dir, "stock.csv", csv)?;
        say.line(&format!(
            "  Catalog {}: {} SKUs, the code in column {:?}",
            catalog.file.name(),
            count(offers.len()),
            columns.code
        ));
        say.line(&format!("  No --feed: a vendor's stock file made for it: {}", feed.path.display()));
        let sku = offers[wanted].1.clone();
        Self::assemble(catalog, None, feed, offers, Some(&sku), &options.dir)
    }

    /// The vendor's file is there, the shop sells just what is in it.
    fn with_made_catalog(feed: OnDisk, dir: &Path, say: &Say) -> anyhow::Result<Self> {
        let products = products(&feed.file)?;
        let offers = products.iter().map(|(code, _)| (code.clone(), code.clone())).collect();
        let catalog = OnDisk::write(dir, "catalog.csv", catalog_csv(products.iter()))?;
        say_feed(&feed.file, say)?;
        say.line(&format!(
            "  No --catalog: one made of the feed's {} products: {}",
            count(products.len()),
            catalog.path.display()
        ));
        Self::assemble(catalog, None, feed, offers, None, dir)
    }

    /// Both are there. Products of the feed that the catalog lacks are added, so that what the vendor has can be sold.
    fn given(catalog: OnDisk, feed: OnDisk, dir: &Path, say: &Say) -> anyhow::Result<Self> {
        let columns = catalog.file.catalog_columns()?;
        let known: HashMap<String, String> = codes(&catalog.file, &columns.code).into_iter().collect();
        say.line(&format!(
            "  Catalog {}: {} SKUs, the code in column {:?}",
            catalog.file.name(),
            count(known.len()),
            columns.code
        ));
        let products = products(&feed.file)?;
        say_feed(&feed.file, say)?;
        let unmapped: Vec<_> = products.iter().filter(|(code, _)| !known.contains_key(code)).collect();
        let mut added = None;
        if !unmapped.is_empty() {
            say.line(&format!(
                "  {} of the feed's {} codes are not in the catalog (unmapped): they are added to it as SKUs of their own",
                count(unmapped.len()),
                count(products.len())
            ));
            added = Some(OnDisk::write(dir, "added.csv", catalog_csv(unmapped.into_iter()))?);
        }
        let offers = products.into_iter().map(|(code, _)| (code.clone(), code)).collect();
        Self::assemble(catalog, added, feed, offers, None, dir)
    }

    fn assemble(
        catalog: OnDisk,
        added: Option<OnDisk>,
        feed: OnDisk,
        offers: Vec<(String, String)>,
        wanted: Option<&str>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let catalog_columns = catalog.file.catalog_columns()?;
        let stock_columns = feed.file.stock_columns()?;
        let offers_file = OnDisk::write(
            dir,
            "offers.csv",
            csv_of(&["vendor_sku", "sku"], offers.iter().map(|(code, sku)| [code, sku])),
        )?;
        let wanted = match wanted {
            Some(sku) => offers.iter().find(|(_, offered)| offered == sku),
            None => most_units(&feed.file, &stock_columns, &offers),
        };
        let (wanted_vendor_sku, wanted) = wanted.cloned().unwrap_or_default();
        let fingerprint = fingerprint([&catalog.file.bytes()[..], &feed.file.bytes()[..]]);
        Ok(Self { catalog, catalog_columns, added, feed, offers, offers_file, wanted, wanted_vendor_sku, fingerprint })
    }
}

/// The products of a stock file: each usable code once, with a name where there is one.
fn products(feed: &CsvFile) -> anyhow::Result<Vec<(String, String)>> {
    let columns = feed.stock_columns()?;
    let products = codes(feed, &columns.key);
    anyhow::ensure!(!products.is_empty(), "{} has no products", feed.name());
    let name = feed.catalog_columns().ok().and_then(|columns| feed.position(&columns.name?));
    let key = feed.position(&columns.key);
    let (Some(name), Some(key)) = (name, key) else { return Ok(products) };
    let names: HashMap<String, String> = feed
        .rows()
        .map(|row| (row.cell(key).to_owned(), row.cell(name).to_owned()))
        .filter(|(_, name)| !name.is_empty())
        .collect();
    Ok(products.into_iter().map(|(code, _)| (code.clone(), names.get(&code).cloned().unwrap_or_default())).collect())
}

/// The usable codes of a column, each once, in the order of the file; with an empty name.
fn codes(file: &CsvFile, column: &str) -> Vec<(String, String)> {
    let Some(column) = file.position(column) else { return Vec::new() };
    let mut seen = std::collections::HashSet::new();
    let usable = |code: &str| !code.is_empty() && code.len() <= CODE_BYTES_MAX && !code.chars().any(char::is_control);
    file.rows()
        .map(|row| row.cell(column).to_owned())
        .filter(|code| usable(code) && seen.insert(code.clone()))
        .map(|code| (code, String::new()))
        .collect()
}

/// The offer of which the file has most units; the first of them.
fn most_units<'a>(
    feed: &CsvFile,
    columns: &StockColumns,
    offers: &'a [(String, String)],
) -> Option<&'a (String, String)> {
    let (key, quantity) = (feed.position(&columns.key)?, feed.position(&columns.quantity)?);
    let offered: HashMap<&str, &(String, String)> = offers.iter().map(|offer| (offer.0.as_str(), offer)).collect();
    let mut best: Option<(i64, &(String, String))> = None;
    for row in feed.rows() {
        let units = row.cell(quantity).parse::<i64>().ok().filter(|units| *units >= 0);
        if let (Some(units), Some(offer)) = (units, offered.get(row.cell(key)))
            && best.is_none_or(|(most, _)| units > most)
        {
            best = Some((units, offer));
        }
    }
    best.map(|(_, offer)| offer).or_else(|| offers.first())
}

fn say_feed(feed: &CsvFile, say: &Say) -> anyhow::Result<()> {
    let columns = feed.stock_columns()?;
    let delimiter = if feed.delimiter() == '\t' { "tab".to_owned() } else { format!("{:?}", feed.delimiter()) };
    say.line(&format!(
        "  Feed {}: {} rows, delimiter {delimiter}, the code in column {:?}, the quantity in {:?}",
        feed.name(),
        count(feed.rows().count()),
        columns.key,
        columns.quantity
    ));
    Ok(())
}

fn catalog_csv<'a>(products: impl Iterator<Item = &'a (String, String)>) -> String {
    csv_of(&["sku", "name"], products.map(|(sku, name)| [sku, name]))
}

fn csv_of<'a>(header: &[&str], rows: impl Iterator<Item = [&'a String; 2]>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written =
        writer.write_record(header).and_then(|()| rows.into_iter().try_for_each(|row| writer.write_record(row)));
    written.expect("a vector takes whatever is written");
    let bytes = writer.into_inner().expect("a vector takes whatever is written");
    String::from_utf8(bytes).expect("UTF-8 went in")
}

/// Eight hexadecimal digits of the files' content (FNV-1a): enough to tell a handful of demos apart.
fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:08x}", hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path) -> Options {
        Options { skus: 200, ..Options::new(dir) }
    }

    fn file(dir: &Path, name: &str, text: &str) -> Option<PathBuf> {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    }

    #[test]
    fn without_files_a_shop_is_made_with_codes_of_the_vendors_own() {
        let dir = tempfile::tempdir().unwrap();
        let goods = Goods::prepare(&options(dir.path()), &Say::silent()).unwrap();
        assert_eq!(goods.offers.len(), 200);
        assert!(goods.offers.iter().all(|(vendor_sku, sku)| vendor_sku != sku));
        assert!(goods.catalog.path.is_file() && goods.feed.path.is_file() && goods.offers_file.path.is_file());
    }

    #[test]
    fn a_feeds_products_that_the_catalog_lacks_are_added_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = file(dir.path(), "c.csv", "id,colour\nA,red\nB,blue\n");
        let feed = file(dir.path(), "f.csv", "product_code;stock;name\nB;5;Belt\nX;9;\"Axe, large\"\nX;9;again\n");
        let goods = Goods::prepare(&Options { catalog, feed, ..options(dir.path()) }, &Say::silent()).unwrap();
        assert_eq!(goods.offers, [("B".to_owned(), "B".to_owned()), ("X".to_owned(), "X".to_owned())]);
        let added: Vec<_> = goods.added.unwrap().file.rows().map(|row| row.cells).collect();
        assert_eq!(added, [["X", "again"]]);
        assert_eq!(goods.wanted, "X", "there is most of it");
    }

    #[test]
    fn a_feed_alone_is_its_own_catalog_and_a_catalog_alone_gets_a_feed() {
        let dir = tempfile::tempdir().unwrap();
        let feed = file(dir.path(), "f.csv", "sku,qty\nA,1\nB,2\n");
        let goods = Goods::prepare(&Options { feed, ..options(dir.path()) }, &Say::silent()).unwrap();
        assert_eq!(goods.catalog.file.rows().count(), 2);

        let catalog = file(dir.path(), "c.csv", "sku,name\nA,one\nB,two\nC,three\n");
        let goods = Goods::prepare(&Options { catalog, ..options(dir.path()) }, &Say::silent()).unwrap();
        assert_eq!((goods.feed.file.rows().count(), goods.wanted.as_str()), (3, "B"));
    }

    #[test]
    fn a_file_with_nothing_to_sell_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let feed = file(dir.path(), "f.csv", "sku,qty\n");
        let error = Goods::prepare(&Options { feed, ..options(dir.path()) }, &Say::silent()).unwrap_err();
        assert!(error.to_string().contains("has no products"), "{error}");
    }

    #[test]
    fn real_files_are_goods() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        if !data.is_dir() {
            eprintln!("skipped: the folder with real files is not there");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let catalog = Some(data.join("catalog/styles_44446_skus.csv.gz"));
        for (feed, products) in [
            ("csv_marketplace/refurbed_import_20260526T1324_50a9e07.csv", 592),
            ("misc/inventory_report.csv", 2),
            ("csv_shopify/apparel.csv", 20),
        ] {
            let feed = Some(data.join(feed));
            let goods = Goods::prepare(
                &Options { catalog: catalog.clone(), feed: feed.clone(), ..options(dir.path()) },
                &Say::silent(),
            );
            let goods = goods.unwrap();
            assert_eq!(goods.offers.len(), products, "{feed:?}");
            assert!(!goods.wanted.is_empty());
        }
    }
}
