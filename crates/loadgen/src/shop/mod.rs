//! A shop that does not exist, made to look like one that does: its catalog, and a vendor's stock file with the vendor's own codes.

mod words;

use std::fmt::Write as _;

use crate::rng::Rng;
use words::{BRANDS, COLOURS, Category, MATERIALS, STYLES, categories};

/// Units of the product that everybody will want.
pub(crate) const WANTED_UNITS: i64 = 150;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    /// The shop's code.
    pub(crate) sku: String,
    /// Its name.
    pub(crate) name: String,
    brand: &'static str,
    category: &'static str,
    colour: &'static str,
    size: &'static str,
    gtin: String,
    /// The vendor's code.
    pub(crate) vendor_sku: String,
    /// Units that the vendor has.
    pub(crate) units: i64,
}

/// The products of a shop, and which of them everybody will want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shop {
    pub(crate) products: Vec<Product>,
    pub(crate) wanted: usize,
    seed: u64,
}

impl Shop {
    /// A shop of so many SKUs, at least one. The same seed makes the same shop.
    pub(crate) fn generate(seed: u64, skus: usize) -> Self {
        let mut rng = Rng::new(seed);
        let categories = categories();
        let mut products = Vec::with_capacity(skus);
        let mut style_number = 1_000;
        while products.len() < skus.max(1) {
            style_number += rng.between(1, 7);
            let category = &categories[weighted(&mut rng, &categories)];
            let style = Style::invent(&mut rng, category, style_number);
            style.variants(&mut rng, skus.max(1) - products.len(), &mut products);
        }
        for (number, product) in products.iter_mut().enumerate() {
            product.gtin = gtin(number);
            product.vendor_sku = vendor_code(seed, number);
            product.units = units(&mut rng);
        }
        let wanted = products.len() / 3;
        products[wanted].units = WANTED_UNITS;
        Self { products, wanted, seed }
    }

    /// The catalog as CSV.
    pub(crate) fn catalog_csv(&self) -> String {
        let mut csv = "sku,name,brand,category,colour,size,gtin\n".to_owned();
        for product in &self.products {
            let Product { sku, name, brand, category, colour, size, gtin, .. } = product;
            writeln!(csv, "{sku},\"{name}\",{brand},{category},{colour},{size},{gtin}").expect("writing to a string");
        }
        csv
    }

    /// The vendor's stock file as CSV, in the vendor's own order and with the vendor's own habits: semicolons, a few articles that the shop does not
    /// sell, a few cells that are no number.
    pub(crate) fn stock_csv(&self) -> String {
        let mut rng = Rng::new(self.seed ^ 0x0057_04c9);
        let mut order: Vec<usize> = (0..self.products.len()).collect();
        rng.shuffle(&mut order);
        let mut csv = "article_no;ean;description;stock\n".to_owned();
        let line = |article: &str, ean: &str, description: &str, stock: &str, csv: &mut String| {
            writeln!(csv, "{article};{ean};\"{description}\";{stock}").expect("writing to a string");
        };
        for (place, number) in order.into_iter().enumerate() {
            let product = &self.products[number];
            // One in 5,000: the vendor's clerk wrote words. The wanted one is spared, or there would be no sale.
            let unreadable = place % 5_000 == 2_500 && number != self.wanted;
            let stock = if unreadable { "call us".to_owned() } else { product.units.to_string() };
            line(&product.vendor_sku, &product.gtin, &product.name.to_uppercase(), &stock, &mut csv);
            // One in 1,000: an article that the shop does not sell.
            if place % 1_000 == 500 {
                let other = self.products.len() + place;
                line(&vendor_code(self.seed, other), &gtin(other), "DISCONTINUED RANGE", "3", &mut csv);
            }
        }
        csv
    }
}

/// One style, sold in several colours and sizes.
struct Style<'a> {
    category: &'a Category,
    number: usize,
    brand: &'static str,
    title: String,
}

impl<'a> Style<'a> {
    fn invent(rng: &mut Rng, category: &'a Category, number: usize) -> Self {
        let brand = rng.pick(BRANDS);
        let (style, material, noun) = (rng.pick(STYLES), rng.pick(MATERIALS), rng.pick(category.nouns));
        let title = if rng.permille(600) {
            format!("{brand} {style} {noun}")
        } else {
            format!("{brand} {material} {style} {noun}")
        };
        Self { category, number, brand, title }
    }

    /// Adds the style's variants, at most `room` of them.
    fn variants(&self, rng: &mut Rng, room: usize, into: &mut Vec<Product>) {
        let end = into.len() + room;
        let first = rng.below(COLOURS.len());
        for colour in 0..rng.between(1, 4) {
            let (colour, short) = COLOURS[(first + colour * 5) % COLOURS.len()];
            for size in self.category.sizes {
                if into.len() == end {
                    return;
                }
                let code = format!("{}-{:05}-{short}", self.category.code, self.number);
                let (sku, name) = if size.is_empty() {
                    (code, format!("{}, {colour}", self.title))
                } else {
                    (format!("{code}-{}", size.replace([' ', '/'], "")), format!("{}, {colour}, {size}", self.title))
                };
                into.push(Product {
                    sku,
                    name,
                    brand: self.brand,
                    category: self.category.name,
                    colour,
                    size,
                    gtin: String::new(),
                    vendor_sku: String::new(),
                    units: 0,
                });
            }
        }
    }
}

fn weighted(rng: &mut Rng, categories: &[Category]) -> usize {
    let mut point = rng.below(categories.iter().map(|category| category.weight).sum());
    for (number, category) in categories.iter().enumerate() {
        match point.checked_sub(category.weight) {
            Some(rest) => point = rest,
            None => return number,
        }
    }
    0
}

/// A code as vendors have them: nothing of the SKU in it, and no two alike (an odd factor only reorders the numbers below 2^32).
pub(crate) fn vendor_code(seed: u64, number: usize) -> String {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b1).wrapping_add(seed) & 0xffff_ffff;
    format!("7{mixed:010}")
}

/// A GTIN-13 from the range for use within a shop (it begins with 2), so that it is nobody's real one.
fn gtin(number: usize) -> String {
    let digits = format!("2{:011}", number % 100_000_000_000);
    let sum: u32 = digits
        .bytes()
        .rev()
        .zip([3, 1].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// Units as warehouses have them: some of nothing, much of little, little of much.
pub(crate) fn units(rng: &mut Rng) -> i64 {
    let units = match rng.below(1_000) {
        0..130 => 0,
        130..430 => rng.between(1, 4),
        430..760 => rng.between(5, 24),
        760..950 => rng.between(25, 119),
        950..995 => rng.between(120, 600),
        _ => rng.between(601, 4_800),
    };
    i64::try_from(units).expect("4,800 is an i64")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use holdfast_ctl::files::CsvFile;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_files_and_another_seed_others() {
        let shop = Shop::generate(1, 500);
        assert_eq!(shop, Shop::generate(1, 500));
        assert_eq!(shop.stock_csv(), Shop::generate(1, 500).stock_csv());
        assert_ne!(shop.catalog_csv(), Shop::generate(2, 500).catalog_csv());
    }

    #[test]
    fn forty_thousand_products_have_codes_of_their_own() {
        let shop = Shop::generate(2026, 40_000);
        assert_eq!(shop.products.len(), 40_000);
        let distinct = |code: fn(&Product) -> &str| shop.products.iter().map(code).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|product| &product.sku), 40_000);
        assert_eq!(distinct(|product| &product.vendor_sku), 40_000);
        assert_eq!(distinct(|product| &product.gtin), 40_000);
        assert_eq!(shop.products[shop.wanted].units, 150);
        assert!(shop.products.iter().all(|product| product.sku != product.vendor_sku));
    }

    #[test]
    fn quantities_are_as_in_a_warehouse() {
        let shop = Shop::generate(2026, 40_000);
        let share =
            |of: fn(&Product) -> bool| shop.products.iter().filter(|product| of(product)).count() * 100 / 40_000;
        assert!((11..=15).contains(&share(|product| product.units == 0)));
        assert!(share(|product| product.units < 25) > 70);
        assert!((1..=8).contains(&share(|product| product.units >= 120)));
    }

    #[test]
    fn the_files_are_understood_by_their_headers() {
        let shop = Shop::generate(3, 3_000);
        let catalog = CsvFile::from_bytes("catalog.csv", shop.catalog_csv()).unwrap();
        let columns = catalog.catalog_columns().unwrap();
        assert_eq!((columns.code.as_str(), columns.name.as_deref()), ("sku", Some("name")));
        assert_eq!(columns.gtin.as_deref(), Some("gtin"), "the check digits are right");
        let stock = CsvFile::from_bytes("stock.csv", shop.stock_csv()).unwrap();
        let columns = stock.stock_columns().unwrap();
        assert_eq!((columns.key.as_str(), columns.quantity.as_str(), stock.delimiter()), ("article_no", "stock", ';'));
        assert_eq!(stock.rows().count(), 3_000 + 3, "three articles are not the shop's");
    }
}
