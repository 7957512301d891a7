//! Real vendors' CSV files, where they are at hand: they are not part of the project.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{collections::HashMap, fs, path::PathBuf};

use holdfast_feeds::{
    formats::{ParsedFile, csv::CsvSchema},
    guards::{
        file::{self, FileHistory, FileLimits},
        jump::RowLimits,
    },
    observation::Mode,
    plan::{Beside, Fate, KnownKey, Offer, Plan, facts},
};

/// The folder beside the project in which real files may lie.
fn folder(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !folder.is_dir() {
        eprintln!("skipped: ../shared/data/{name} is not at hand");
        return None;
    }
    Some(folder)
}

fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let Some(folder) = folder(name) else { return Vec::new() };
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn schema(delimiter: &str, header: &str, key: &str, quantity: &str) -> CsvSchema {
    let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
    CsvSchema::new(delimiter, &columns, key, quantity).unwrap()
}

const MARKETPLACE: &str = "product_code,price_gross,vat,currency,stock,name";

#[test]
fn five_marketplace_imports_pass_until_the_delimiter_changes_overnight() {
    let registered = schema(",", MARKETPLACE, "product_code", "stock");
    let changed = schema(";", MARKETPLACE, "product_code", "stock");
    let mut known: Vec<KnownKey> = Vec::new();
    for (at, (name, bytes)) in files("csv_marketplace").into_iter().enumerate() {
        let file = match registered.parse(&bytes, 10_000) {
            Ok(file) => file,
            Err(refusal) => {
                assert!(at >= 3, "{name}: {refusal}");
                assert!(refusal.to_string().contains("the delimiter is `;` instead of `,`"), "{name}: {refusal}");
                changed.parse(&bytes, 10_000).unwrap()
            }
        };
        let facts = facts(&file, &known, &RowLimits::default());
        assert_eq!(gate(&file, &known).held, [], "{name}");
        let offers = every_code(&file);
        let plan = plan(Mode::Full, &file, &offers, &known);
        assert!(plan.rows.iter().all(|row| row.fate == Fate::Counted), "{name}");
        assert_eq!(plan.counts.len() as u64, facts.rows + facts.keys_gone, "{name}");
        known = offers
            .into_iter()
            .map(|(vendor_sku, offer)| KnownKey {
                vendor_sku,
                sku: Some(offer.sku),
                units: None,
                quantity: None,
                waiting: None,
            })
            .collect();
    }
}

#[test]
fn a_marketplace_import_cut_off_in_the_middle_is_held() {
    let registered = schema(",", MARKETPLACE, "product_code", "stock");
    let Some((_, bytes)) = files("csv_marketplace").into_iter().next() else { return };
    let whole = registered.parse(&bytes, 10_000).unwrap();
    let known: Vec<KnownKey> = every_code(&whole)
        .into_iter()
        .map(|(vendor_sku, offer)| KnownKey {
            vendor_sku,
            sku: Some(offer.sku),
            units: None,
            quantity: None,
            waiting: None,
        })
        .collect();
    let cut = registered.parse(&bytes[..bytes.len() / 2], 10_000).unwrap();
    assert_eq!(gate(&cut, &known).held.len(), 1);
}

#[test]
fn a_shops_product_export_is_read_row_by_row() {
    for (name, bytes) in files("csv_shopify") {
        let first = String::from_utf8(bytes.clone()).unwrap();
        let header = first.lines().next().unwrap().to_owned();
        let schema = schema(",", &header, "Variant SKU", "Variant Inventory Qty");
        let file = schema.parse(&bytes, 10_000).unwrap();
        let records = csv::Reader::from_reader(bytes.as_slice()).records().count() as u64;
        assert_eq!(file.rows(), records, "{name}: as many rows as another reader finds");
    }
}

#[test]
fn an_export_with_blank_and_negative_quantities_says_row_by_row_what_it_is() {
    let Some(folder) = folder("misc") else { return };
    let bytes = fs::read(folder.join("merchant_sku_inventory_restock_valid_invalid_combos.tsv")).unwrap();
    let schema = schema("\t", "Merchant SKU,Inventory,Restock Date,note", "Merchant SKU", "Inventory");
    let file = schema.parse(&bytes, 100).unwrap();
    let plan = plan(Mode::Partial, &file, &every_code(&file), &[]);
    for row in &plan.rows {
        let (fate, units) = match row.raw_quantity.as_str() {
            "" => (Fate::Rejected, None),
            "-999" => (Fate::Counted, Some(0)),
            "999" => (Fate::Quarantined, Some(999)),
            number => (Fate::Counted, Some(number.parse().unwrap())),
        };
        assert_eq!((row.fate, row.units), (fate, units), "{row:?}");
    }
}

fn gate(file: &ParsedFile, known: &[KnownKey]) -> file::Findings {
    let facts = facts(file, known, &RowLimits::default());
    file::check(&FileLimits::default(), Mode::Full, &facts, &FileHistory::default())
}

/// Plans a first file.
fn plan(mode: Mode, file: &ParsedFile, offers: &HashMap<String, Offer>, known: &[KnownKey]) -> Plan {
    let (on_hand, limits) = (HashMap::new(), RowLimits::default());
    let beside =
        Beside { mode, offers, known, on_hand: &on_hand, reflectable: &on_hand, limits: &limits, is_first: true };
    holdfast_feeds::plan::plan(file, &beside)
}

/// An offer for each code, the SKU called by the code.
fn every_code(file: &ParsedFile) -> HashMap<String, Offer> {
    let codes = file.observations.iter().map(|row| row.key.value().to_owned());
    codes.map(|code| (code.clone(), Offer { sku: format!("SKU-{code}"), pack_size: 1 })).collect()
}

/// The codes and quantities of a wholesaler's file, in no matter what encoding its words are.
fn offers_in(bytes: &[u8]) -> Vec<(String, u64)> {
    let text = String::from_utf8_lossy(bytes);
    let between = |text: &str, from: &str, to: &str| Some(text.split_once(from)?.1.split_once(to)?.0.to_owned());
    let offer = |offer: &str| {
        let code = offer.split_once('"')?.0.to_owned();
        let quantity = between(offer, "<quantity_in_stock>", "</quantity_in_stock>")?;
        Some((code, quantity.trim().parse().ok()?))
    };
    text.split("<offer id=\"").skip(1).filter_map(offer).collect()
}

#[test]
fn a_wholesalers_files_of_a_month_are_quiet() {
    let series: Vec<(String, Vec<(String, u64)>)> = files("yml_series")
        .into_iter()
        .map(|(name, bytes)| {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut text).unwrap();
            (name, offers_in(&text))
        })
        .filter(|(_, offers)| !offers.is_empty())
        .collect();
    let schema = schema(",", "code,stock", "code", "stock");
    let (limits, on_hand) = (RowLimits::default(), HashMap::new());
    let (mut known, mut history): (Vec<KnownKey>, Vec<(u64, u32)>) = (Vec::new(), Vec::new());
    let (mut rows, mut changes, mut stopped, mut held, mut warned) = (0, 0, 0, 0, 0);
    for (name, offers) in &series {
        let text: String = offers.iter().map(|(code, quantity)| format!("{code},{quantity}\n")).collect();
        let file = schema.parse(format!("code,stock\n{text}").as_bytes(), 100_000).unwrap();
        let last: Vec<(u64, u32)> = history.iter().rev().take(5).copied().collect();
        let beside_files = FileHistory::new(last.iter().map(|(rows, _)| *rows).collect(), last.first().map(|of| of.1));
        let facts = facts(&file, &known, &limits);
        let findings = file::check(&FileLimits::default(), Mode::Full, &facts, &beside_files);
        for suspicion in findings.held.iter().chain(&findings.warned) {
            println!("{name}: {suspicion}");
        }
        held += usize::from(!findings.held.is_empty());
        warned += usize::from(!findings.warned.is_empty());
        let map = every_code(&file);
        let beside = Beside {
            mode: Mode::Full,
            offers: &map,
            known: &known,
            on_hand: &on_hand,
            reflectable: &on_hand,
            limits: &limits,
            is_first: known.is_empty(),
        };
        let plan = holdfast_feeds::plan::plan(&file, &beside);
        for row in &plan.stopped {
            println!("{name}: {} {:?} → {:?} {:?}", row.vendor_sku, row.old, row.new, row.rules);
        }
        rows += facts.rows;
        changes += facts.keys_changed;
        stopped += plan.stopped.len();
        history.push((facts.rows, facts.top_value_permille()));
        known = offers
            .iter()
            .map(|(code, quantity)| KnownKey {
                vendor_sku: code.clone(),
                sku: Some(format!("SKU-{code}")),
                units: Some(*quantity),
                quantity: Some(*quantity),
                waiting: None,
            })
            .collect();
    }
    println!(
        "{} files, {rows} rows, {changes} changes: {stopped} stopped, {held} held, {warned} warned of",
        series.len()
    );
    assert!(series.is_empty() || stopped as u64 * 400 <= rows, "about 0.25 % of rows at most: {stopped} of {rows}");
    assert!(held * 10 <= series.len(), "{held} of {} files held", series.len());
}
