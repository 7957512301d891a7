//! Bringing the goods in, as an operator would: catalog, vendor, location, offers, connection, the vendor's file.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use holdfast_client::api::catalog::v1::{ImportErrorMode, ImportSkusSpec, Location, Offer, Vendor};
use holdfast_client::api::reservation::v1::{ListStockRequest, ReadSource, StockLevel};
use holdfast_client::api::vendorsync::v1::{
    Connection, CsvSchema, FeedMode, QuantityMeaning, Run, RunState, UploadFeedSpec,
};
use holdfast_client::{Error, Progress, RequestKey};
use holdfast_ctl::files::{CatalogColumns, CsvFile, Meaning};
use prost_types::Timestamp;

use super::goods::Goods;
use super::say::{Say, count};
use super::{Options, Services};

/// How long a file may take, from the first byte to the last row's outcome.
const FILE_TIMEOUT: Duration = Duration::from_secs(600);

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

/// Brings everything in. What is there from an earlier demo with the same files is left as it is.
///
/// # Errors
/// A service refuses or does not answer. What was brought in before stays; the demo can be repeated.
pub(super) async fn stock(services: &Services, goods: &Goods, options: &Options, say: &Say) -> anyhow::Result<Shelf> {
    import(services, &goods.catalog.file, &goods.catalog_columns, say).await?;
    if let Some(added) = &goods.added {
        import(services, &added.file, &added.file.catalog_columns()?, say).await?;
    }
    let vendor = format!("DEMO-VENDOR-{}", goods.fingerprint);
    let location = format!("DEMO-HALL-{}", goods.fingerprint);
    create_partner(services, &vendor, &location).await?;
    offer(services, goods, &vendor, &location, say).await?;

    let feed = Feed { services, vendor: &vendor, location: &location, say };
    let connection = format!("DEMO-FEED-{}", goods.fingerprint);
    feed.register(&connection, &goods.feed.file, FeedMode::Full).await?;
    let run = feed.upload(&connection, &goods.feed.file).await?;
    if !matches!(run.state(), RunState::Applied) {
        say.line(&format!("  ! the file was not applied: {}", run.reason));
        say.line("  ! the sale goes on with the one SKU alone");
    }
    let only_here = feed.bring_to(goods, options.units).await?;
    let others = check_availability(services, &location, &goods.wanted, say).await?;
    Ok(Shelf { wanted: goods.wanted.clone(), only_here, others, location })
}

async fn import(services: &Services, file: &CsvFile, columns: &CatalogColumns, say: &Say) -> anyhow::Result<()> {
    let step = say.counted(&format!("Importing {}", file.name()), file.bytes().len());
    let spec = ImportSkusSpec {
        code_column: columns.code.clone(),
        name_column: columns.name.clone().unwrap_or_default(),
        gtin_column: columns.gtin.clone().unwrap_or_default(),
        attribute_columns: columns.attributes.clone(),
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
fn is_there<T>(created: Result<T, Error>) -> Result<(), Error> {
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

/// The vendor's side.
struct Feed<'a> {
    services: &'a Services,
    vendor: &'a str,
    location: &'a str,
    say: &'a Say,
}

impl Feed<'_> {
    /// Says how the connection's files look.
    async fn register(&self, connection: &str, like: &CsvFile, mode: FeedMode) -> anyhow::Result<()> {
        let columns = like.stock_columns()?;
        let meaning = match columns.meaning {
            Meaning::OnHand => QuantityMeaning::OnHand,
            Meaning::Available => QuantityMeaning::Available,
        };
        let schema = CsvSchema {
            delimiter: like.delimiter().to_string(),
            header: like.header().to_vec(),
            key_column: columns.key,
            quantity_column: columns.quantity,
        };
        let connection = Connection {
            code: connection.to_owned(),
            vendor: self.vendor.to_owned(),
            location: self.location.to_owned(),
            mode: mode.into(),
            meaning: meaning.into(),
            csv_schema: Some(schema),
            ..Connection::default()
        };
        let created = self.services.vendor_sync.create_connection(RequestKey::new(), connection).await;
        is_there(created).context("the vendor's feed could not be registered")
    }

    /// Uploads a file and waits until each row has its outcome.
    async fn upload(&self, connection: &str, file: &CsvFile) -> anyhow::Result<Run> {
        let step = self.say.counted(&format!("Uploading {}", file.name()), file.bytes().len());
        let mut run = self.send(connection, file, step.bytes()).await?;
        step.now("Applying it");
        let ends = std::time::Instant::now() + FILE_TIMEOUT;
        while run.state() == RunState::Applying {
            anyhow::ensure!(
                std::time::Instant::now() < ends,
                "run {} is still being applied: {}",
                run.run_id,
                run.reason
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
            run = self.services.vendor_sync.get_run(&run.run_id).await?.run.unwrap_or_default();
        }
        let totals = run.totals.unwrap_or_default();
        step.done(&format!(
            "{} rows: {} applied, {} as they were, {} stale, {} unmapped, {} rejected",
            count(totals.rows),
            count(totals.applied),
            count(totals.unchanged),
            count(totals.stale),
            count(totals.unmapped),
            count(totals.rejected)
        ));
        Ok(run)
    }

    async fn send(&self, connection: &str, file: &CsvFile, progress: Progress) -> anyhow::Result<Run> {
        let spec = UploadFeedSpec {
            request_id: String::new(),
            connection: connection.to_owned(),
            as_of_time: Some(Timestamp::from(SystemTime::now())),
            file_name: file.name().to_owned(),
            ..UploadFeedSpec::default()
        };
        let bytes: Bytes = file.bytes();
        let vendor_sync = self.services.vendor_sync.with_deadline(FILE_TIMEOUT);
        let answer = vendor_sync.upload_feed(RequestKey::new(), spec, bytes, progress).await;
        answer.with_context(|| format!("{} could not be uploaded", file.name()))?.run.context("the answer has no run")
    }

    /// Sees to it that exactly so many units of the wanted SKU can be reserved here, by a second, partial file if need be. Answers with the location if the
    /// SKU lies elsewhere too.
    async fn bring_to(&self, goods: &Goods, units: i64) -> anyhow::Result<Option<String>> {
        let levels = match self.services.stock.get_stock(&goods.wanted).await {
            Ok(answer) => answer.levels,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error).context("the wanted SKU's stock cannot be read"),
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) = levels.into_iter().partition(|level| level.location == self.location);
        let only_here = elsewhere.iter().any(|level| level.available > 0).then(|| self.location.to_owned());
        let here = here.into_iter().next().unwrap_or_default();
        if here.available == units {
            self.say.line(&format!("  ✓ {} has {units} units, as the file says", goods.wanted));
            return Ok(only_here);
        }
        // What the shelf must hold, so that after holds and unshipped sales (of an earlier demo) so many are left.
        let counted = units + here.held + here.committed + here.safety_stock - here.backorder_limit;
        let connection = format!("DEMO-RECOUNT-{}", goods.fingerprint);
        let file = CsvFile::from_bytes(
            "recount.csv",
            format!("vendor_sku,on_hand\n{},{counted}\n", quoted(&goods.wanted_vendor_sku)),
        )?;
        self.register(&connection, &file, FeedMode::Partial).await?;
        let run = self.upload(&connection, &file).await?;
        if run.state() != RunState::Applied {
            bail!("the recount of {} was not applied: {}", goods.wanted, run.reason);
        }
        let levels = self.services.stock.get_stock(&goods.wanted).await?.levels;
        let available = levels.iter().find(|level| level.location == self.location).map_or(0, |level| level.available);
        anyhow::ensure!(
            available == units,
            "{} has {available} units instead of {units} after a recount",
            goods.wanted
        );
        self.say
            .line(&format!("  ✓ {} recounted: {units} units can be sold (it had {})", goods.wanted, here.available));
        Ok(only_here)
    }
}

fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
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

async fn list_stock(services: &Services, location: &str) -> anyhow::Result<Vec<StockLevel>> {
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
