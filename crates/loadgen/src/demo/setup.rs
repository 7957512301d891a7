//! Bringing the goods in, as an operator would: catalog, vendor, location, offers; and looking at what is for sale.

use std::collections::HashMap;

use anyhow::Context as _;
use holdfast_client::api::catalog::v1::{ImportErrorMode, ImportSkusSpec, Location, Offer, PolicyColumns, Vendor};
use holdfast_client::api::reservation::v1::{ListStockRequest, ReadSource, StockLevel};
use holdfast_client::{Error, RequestKey};
use holdfast_ctl::files::{CatalogColumns, CsvFile};

use super::Services;
use super::feed::FILE_TIMEOUT;
use super::goods::Goods;
use super::say::{Say, count};

/// Offers in a request, and stock rows on a page: the most that is taken.
const BATCH: usize = 1_000;

/// What is for sale after setting up.
#[derive(Debug)]
pub(super) struct Shelf {
    /// The SKU that everybody will want.
    pub(super) wanted: String,
    /// Set if it lies elsewhere too (from an earlier demo): then buyers take it from here only.
    pub(super) only_here: Option<String>,
    /// The other SKUs of which there is something.
    pub(super) others: Vec<String>,
    /// Where it lies.
    pub(super) location: String,
}

/// Whose stock it is and where it lies: codes that no other files' demo has.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) vendor: String,
    pub(super) location: String,
    pub(super) connection: String,
}

impl Place {
    pub(super) fn of(goods: &Goods) -> Self {
        let code = |what: &str| format!("DEMO-{what}-{}", goods.fingerprint);
        Self { vendor: code("VENDOR"), location: code("HALL"), connection: code("FEED") }
    }
}

/// Brings the catalog in, the vendor, the location and the offers. What is there from an earlier demo with the same files is left as it is.
///
/// # Errors
/// A service refuses or does not answer. What was brought in before stays; the demo can be repeated.
pub(super) async fn bring_in(services: &Services, goods: &Goods, place: &Place, say: &Say) -> anyhow::Result<()> {
    import(services, &goods.catalog.file, &goods.catalog_columns, say).await?;
    if let Some(added) = &goods.added {
        import(services, &added.file, &added.file.catalog_columns()?, say).await?;
    }
    create_partner(services, &place.vendor, &place.location).await?;
    offer(services, goods, &place.vendor, &place.location, say).await
}

/// What is for sale at a place now.
///
/// # Errors
/// Reservation cannot be reached.
pub(super) async fn shelf(services: &Services, goods: &Goods, place: &Place, say: &Say) -> anyhow::Result<Shelf> {
    let levels = services.stock.get_stock(&goods.wanted).await.context("the wanted SKU's stock cannot be read")?.levels;
    let elsewhere = levels.iter().any(|level| level.location != place.location && level.available > 0);
    let others = check_availability(services, &place.location, &goods.wanted, say).await?;
    Ok(Shelf {
        wanted: goods.wanted.clone(),
        only_here: elsewhere.then(|| place.location.clone()),
        others,
        location: place.location.clone(),
    })
}

async fn import(services: &Services, file: &CsvFile, columns: &CatalogColumns, say: &Say) -> anyhow::Result<()> {
    let step = say.counted(&format!("Importing {}", file.name()), file.bytes().len());
    let spec = ImportSkusSpec {
        code_column: columns.code.clone(),
        name_column: columns.name.clone().unwrap_or_default(),
        gtin_column: columns.gtin.clone().unwrap_or_default(),
        attribute_columns: columns.attributes.clone(),
        policy_columns: (columns.policy != PolicyColumns::default()).then(|| columns.policy.clone()),
        delimiter: file.delimiter().to_string(),
        error_mode: ImportErrorMode::SkipBadRows.into(),
        ..ImportSkusSpec::default()
    };
    let catalog = services.catalog.with_deadline(FILE_TIMEOUT);
    let answer = catalog.import_skus(RequestKey::new(), spec, file.bytes(), step.bytes()).await;
    let answer = answer.with_context(|| format!("{} could not be imported", file.name()))?;
    step.done(&format!(
        "{} SKUs: {} new, {} changed, {} as they were, {} bad rows",
        count(answer.rows),
        count(answer.created),
        count(answer.updated),
        count(answer.unchanged),
        count(answer.failed)
    ));
    for problem in answer.problems.iter().take(3) {
        say.line(&format!("    line {}: {}", problem.line, problem.description));
    }
    Ok(())
}

async fn create_partner(services: &Services, vendor: &str, location: &str) -> anyhow::Result<()> {
    let wholesaler = Vendor { code: vendor.to_owned(), name: "Northwind Wholesale".to_owned(), ..Vendor::default() };
    is_there(services.catalog.create_vendor(RequestKey::new(), wholesaler).await)
        .context("no vendor could be created")?;
    let hall = Location {
        code: location.to_owned(),
        name: "Northwind's hall".to_owned(),
        vendor: vendor.to_owned(),
        ..Location::default()
    };
    is_there(services.catalog.create_location(RequestKey::new(), hall).await).context("no location could be created")
}

/// What an earlier demo with the same files created is as good.
pub(super) fn is_there<T>(created: Result<T, Error>) -> Result<(), Error> {
    match created {
        Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn offer(services: &Services, goods: &Goods, vendor: &str, location: &str, say: &Say) -> anyhow::Result<()> {
    let step = say.counted("Offering what the vendor has", goods.offers.len());
    let offers: Vec<Offer> = goods
        .offers
        .iter()
        .map(|(vendor_sku, sku)| Offer {
            vendor: vendor.to_owned(),
            vendor_sku: vendor_sku.clone(),
            location: location.to_owned(),
            sku: sku.clone(),
            pack_size: 1,
            create_time: None,
        })
        .collect();
    let (mut created, mut unchanged) = (0, 0);
    for batch in offers.chunks(BATCH) {
        let answer = services.catalog.batch_create_offers(RequestKey::new(), batch.to_vec()).await;
        let answer = answer.context("the vendor's codes could not be mapped to SKUs")?;
        created += answer.created;
        unchanged += answer.unchanged;
        step.advance(batch.len());
    }
    step.done(&format!("{} of the vendor's codes are mapped, {} as they were", count(created), count(unchanged)));
    Ok(())
}

/// Reads what is there now, compares what the counters say with what Postgres says, and answers with the other SKUs that can be sold.
async fn check_availability(
    services: &Services,
    location: &str,
    wanted: &str,
    say: &Say,
) -> anyhow::Result<Vec<String>> {
    let step = say.step("Reading what is there");
    let levels = list_stock(services, location).await?;
    let units: i64 = levels.iter().map(|level| level.available).sum();
    let others: Vec<String> = levels
        .iter()
        .filter(|level| level.available > 0 && level.sku != wanted)
        .map(|level| level.sku.clone())
        .collect();
    let mut asked: Vec<String> = others.iter().take(BATCH - 1).cloned().collect();
    asked.push(wanted.to_owned());
    let read = async |source| -> anyhow::Result<HashMap<String, i64>> {
        let answer = services.stock.batch_get_availability(asked.clone(), source).await;
        let answer = answer.context("availability cannot be read")?;
        Ok(answer.results.into_iter().map(|result| (result.sku, result.available)).collect())
    };
    let (cache, record) = (read(ReadSource::Cache).await?, read(ReadSource::Record).await?);
    let agree = record.iter().filter(|(sku, units)| cache.get(*sku) == Some(units)).count();
    step.done(&format!(
        "{} units of {} SKUs can be sold; of {} asked for, {} agree between counters and Postgres",
        count(units),
        count(levels.iter().filter(|level| level.available > 0).count()),
        count(record.len()),
        count(agree)
    ));
    Ok(others)
}

/// All rows of a location.
pub(super) async fn list_stock(services: &Services, location: &str) -> anyhow::Result<Vec<StockLevel>> {
    let (mut levels, mut page_token) = (Vec::new(), String::new());
    loop {
        let page_size = i32::try_from(BATCH).expect("1,000 is an i32");
        let request = ListStockRequest { page_size, page_token, location: location.to_owned() };
        let page = services.stock.list_stock(request).await.context("stock cannot be listed")?;
        levels.extend(page.levels);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(levels);
        }
    }
}
