//! A shop with a vendor, brought in as its people do: SKUs from a file, offers, a connection, and the vendor's stock files.

use std::time::SystemTime;

use bytes::Bytes;
use holdfast_client::api::catalog::v1::{ImportErrorMode, ImportSkusSpec, Location, Offer, Vendor};
use holdfast_client::api::vendorsync::v1::{
    Connection, CsvSchema, FeedMode, ListRunRowsRequest, ListRunsRequest, QuantityMeaning, Run, RunRow, RunState,
    UploadFeedSpec,
};
use holdfast_client::{Progress, RequestKey};
use holdfast_testkit::eventually;

use crate::world::Cluster;

pub(crate) const FEED: &str = "acme-berlin";
const HEADER: &str = "code;name;stock";

/// A SKU of the shop's by its number.
pub(crate) fn sku(number: usize) -> String {
    format!("CHAIR-{number:05}")
}

/// What the vendor has of it: every number its own, none of them 0.
pub(crate) fn units(number: usize) -> i64 {
    i64::try_from(number).expect("small") % 97 + 1
}

/// The vendor's stock file for so many SKUs, of which it has `more` than usual.
pub(crate) fn file(skus: usize, more: i64) -> Bytes {
    let row = |number| format!("A-{number};A chair, \"no. {number}\";{}\n", units(number) + more);
    Bytes::from(format!("{HEADER}\n{}", (0..skus).map(row).collect::<String>()))
}

/// The vendor's stock file with these SKUs and quantities.
pub(crate) fn file_of(rows: impl Iterator<Item = (usize, String)>) -> Bytes {
    let row = |(number, quantity)| format!("A-{number};A chair, \"no. {number}\";{quantity}\n");
    Bytes::from(format!("{HEADER}\n{}", rows.map(row).collect::<String>()))
}

/// What the vendor's file is, counted now.
pub(crate) fn spec() -> UploadFeedSpec {
    UploadFeedSpec {
        connection: FEED.to_owned(),
        as_of_time: Some(SystemTime::now().into()),
        file_name: "stock.csv".to_owned(),
        ..Default::default()
    }
}

/// SKUs imported from a CSV, their vendor, its location and offers, and its connection.
pub(crate) async fn open(cluster: &Cluster, skus: usize) {
    let catalog = cluster.catalog();
    let rows = (0..skus).map(|number| format!("{},Chair no. {number}\n", sku(number)));
    let import = ImportSkusSpec {
        code_column: "sku".to_owned(),
        name_column: "name".to_owned(),
        error_mode: ImportErrorMode::AllOrNothing.into(),
        ..Default::default()
    };
    let csv = Bytes::from(format!("sku,name\n{}", rows.collect::<String>()));
    let imported = catalog.import_skus(RequestKey::new(), import, csv, Progress::NONE).await.expect("the import");
    assert_eq!((imported.created, imported.failed), (i64::try_from(skus).expect("small"), 0));

    let vendor = Vendor { code: "acme".to_owned(), ..Default::default() };
    catalog.create_vendor(RequestKey::new(), vendor).await.expect("a vendor");
    let location = Location { code: "berlin".to_owned(), vendor: "acme".to_owned(), ..Default::default() };
    catalog.create_location(RequestKey::new(), location).await.expect("a location");
    let offer = |number: &usize| Offer {
        vendor: "acme".to_owned(),
        vendor_sku: format!("A-{number}"),
        location: "berlin".to_owned(),
        sku: sku(*number),
        ..Default::default()
    };
    for numbers in (0..skus).collect::<Vec<_>>().chunks(1000) {
        let offers = numbers.iter().map(offer).collect();
        catalog.batch_create_offers(RequestKey::new(), offers).await.expect("offers");
    }
    cluster.vendor_sync().create_connection(RequestKey::new(), connection()).await.expect("a connection");
}

fn connection() -> Connection {
    Connection {
        code: FEED.to_owned(),
        vendor: "acme".to_owned(),
        location: "berlin".to_owned(),
        mode: FeedMode::Full.into(),
        meaning: QuantityMeaning::OnHand.into(),
        csv_schema: Some(CsvSchema {
            delimiter: ";".to_owned(),
            header: HEADER.split(';').map(str::to_owned).collect(),
            key_column: "code".to_owned(),
            quantity_column: "stock".to_owned(),
        }),
        // Nobody looks at the first file here.
        apply_first_file: true,
        ..Default::default()
    }
}

impl Cluster {
    /// Uploads a file, and waits for its run if the answer came before its end.
    pub(crate) async fn upload(&self, spec: UploadFeedSpec, file: Bytes) -> Run {
        let client = self.vendor_sync();
        let answer = client.upload_feed(RequestKey::new(), spec, file, Progress::NONE).await.expect("an upload");
        let run = answer.run.expect("a run");
        if run.state() == RunState::Applying { self.finished_run().await } else { run }
    }

    /// The newest run, once each of its rows has its outcome.
    pub(crate) async fn finished_run(&self) -> Run {
        let client = self.vendor_sync();
        eventually("the run is finished", std::time::Duration::from_secs(60), || async {
            let run =
                client.list_runs(ListRunsRequest { page_size: 1, ..Default::default() }).await.ok()?.runs.pop()?;
            (run.state() != RunState::Applying).then_some(run)
        })
        .await
    }

    /// A run's whole report.
    pub(crate) async fn report(&self, run: &Run) -> Vec<RunRow> {
        let client = self.vendor_sync();
        let mut request = ListRunRowsRequest { run_id: run.run_id.clone(), page_size: 1000, ..Default::default() };
        let mut rows = Vec::new();
        loop {
            let page = client.list_run_rows(request.clone()).await.expect("a page of the report");
            rows.extend(page.rows);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return rows;
            }
        }
    }
}
