//! A vendor-sync of a test's own, in one line.

use std::ffi::OsString;
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::house_service_client::HouseServiceClient;
use holdfast_api::vendorsync::v1::quarantine_service_client::QuarantineServiceClient;
use holdfast_api::vendorsync::v1::upload_feed_request::Part;
use holdfast_api::vendorsync::v1::vendor_sync_service_client::VendorSyncServiceClient;
use holdfast_kit::{CancellationToken, ConfigError, Listeners, Service as _, config, reason_of};
use holdfast_testkit::{Database, database, eventually};
use holdfast_vendor_sync::VendorSync;
use holdfast_vendor_sync::config::Config;
use holdfast_vendor_sync::store::MIGRATOR;
use prost_types::Timestamp;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::peers::Peers;

/// The location of every test's connection.
pub(crate) const BERLIN: &str = "berlin";
/// The connection of every test.
pub(crate) const FEED: &str = "acme-berlin";
/// A moment long past; tests count minutes from it.
const NOON: i64 = 1_767_268_800;

/// A running vendor-sync with a database and peers of its own.
pub(crate) struct World {
    pub(crate) client: VendorSyncServiceClient<Channel>,
    pub(crate) peers: Peers,
    pub(crate) database: Database,
    pub(crate) config: Config,
    pub(crate) address: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<anyhow::Result<()>>,
    keys: Vec<(&'static str, String)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With keys of the configuration set: `("RUNS__ROWS_MAX", "3")`.
    pub(crate) async fn with(keys: &[(&'static str, &str)]) -> Self {
        Self::on(database("vendor_sync", &MIGRATOR).await, keys).await
    }

    /// On a database that is there.
    pub(crate) async fn on(database: Database, keys: &[(&'static str, &str)]) -> Self {
        let peers = Peers::default();
        let peers_url = format!("http://{}", peers.serve().await);
        let mut all = vec![
            ("POSTGRES__URL", database.url()),
            ("CATALOG__ENDPOINT", peers_url.clone()),
            ("RESERVATION__ENDPOINT", peers_url),
            ("CALLERS__UNAUTHENTICATED_ROLES", r#"["merchandiser"]"#.to_owned()),
            // Tests that break something should not have to wait for minutes until it is taken up again.
            ("RUNS__POLL_MS", "50".to_owned()),
            ("RUNS__LEASE_MS", "500".to_owned()),
            ("RUNS__PAUSE_MS_MIN", "20".to_owned()),
            ("RUNS__PAUSE_MS_MAX", "200".to_owned()),
            ("CATALOG__CALL_TIMEOUT_MS", "2000".to_owned()),
            ("RESERVATION__CALL_TIMEOUT_MS", "2000".to_owned()),
            ("SERVER__DRAIN_SECONDS_MAX", "5".to_owned()),
        ];
        all.extend(keys.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = configuration(&all).expect("the test's configuration is right");
        let (address, shutdown, served) = start(&config).await;
        Self { client: client(&address), peers, database, config, address, shutdown, served, keys: all }
    }

    /// With the connection of every test, and an offer for each code, such as `"a:CHAIR b:CUP*12"`.
    pub(crate) async fn feed(mode: wire::FeedMode, offers: &str) -> Self {
        Self::feed_with(mode, offers, &[]).await
    }

    pub(crate) async fn feed_with(mode: wire::FeedMode, offers: &str, keys: &[(&'static str, &str)]) -> Self {
        let world = Self::with(keys).await;
        world.offers(offers);
        world.create(connection(mode)).await.unwrap();
        world
    }

    /// Adds offers.
    pub(crate) fn offers(&self, offers: &str) {
        let mut all = self.peers.offers.lock().unwrap();
        for offer in offers.split_whitespace() {
            let (code, sku) = offer.split_once(':').unwrap();
            let (sku, pack) = sku.split_once('*').unwrap_or((sku, "1"));
            all.insert(code.to_owned(), (sku.to_owned(), pack.parse().unwrap()));
        }
    }

    pub(crate) async fn create(&self, connection: wire::Connection) -> Result<wire::Connection, Status> {
        let request = wire::CreateConnectionRequest { request_id: id(), connection: Some(connection) };
        self.client.clone().create_connection(request).await.map(|created| created.into_inner().connection.unwrap())
    }

    /// Uploads rows such as `"a=3 b=5"` under the registered header, counted so many minutes after noon; answers the run.
    pub(crate) async fn upload(&self, minutes: i64, rows: &str) -> wire::Run {
        self.upload_file(minutes, &file(rows)).await.unwrap().run.unwrap()
    }

    pub(crate) async fn upload_file(
        &self,
        minutes: i64,
        file: impl AsRef<[u8]>,
    ) -> Result<wire::UploadFeedResponse, Status> {
        self.upload_as(spec(minutes), file).await
    }

    /// Sends a file in pieces of 1,000 bytes.
    pub(crate) async fn upload_as(
        &self,
        spec: wire::UploadFeedSpec,
        file: impl AsRef<[u8]>,
    ) -> Result<wire::UploadFeedResponse, Status> {
        let chunks = file.as_ref().chunks(1000).map(|bytes| Part::Chunk(bytes.to_vec()));
        self.upload_parts(std::iter::once(Part::Spec(spec)).chain(chunks).map(Some).collect()).await
    }

    /// Sends what need not be a proper upload.
    pub(crate) async fn upload_parts(&self, parts: Vec<Option<Part>>) -> Result<wire::UploadFeedResponse, Status> {
        let requests: Vec<_> = parts.into_iter().map(|part| wire::UploadFeedRequest { part }).collect();
        self.client.clone().upload_feed(tokio_stream::iter(requests)).await.map(Response::into_inner)
    }

    /// Waits until a run is finished.
    pub(crate) async fn finished(&self, run_id: &str) -> wire::Run {
        eventually("the run is finished", Duration::from_secs(60), || async {
            let request = wire::GetRunRequest { run_id: run_id.to_owned() };
            let run = self.client.clone().get_run(request).await.ok()?.into_inner().run?;
            (run.state() != wire::RunState::Applying).then_some(run)
        })
        .await
    }

    /// All rows of a run's report, page by page.
    pub(crate) async fn rows(&self, run: &wire::Run) -> Vec<wire::RunRow> {
        let mut request =
            wire::ListRunRowsRequest { run_id: run.run_id.clone(), page_size: 1000, ..Default::default() };
        let mut rows = Vec::new();
        loop {
            let page = self.client.clone().list_run_rows(request.clone()).await.unwrap().into_inner();
            rows.extend(page.rows);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return rows;
            }
        }
    }

    /// A run's report in short: `2:a:Applied 3:b:Unmapped`.
    pub(crate) async fn report(&self, run: &wire::Run) -> String {
        let show = |row: &wire::RunRow| format!("{}:{}:{:?}", row.line, row.vendor_sku, row.outcome());
        self.rows(run).await.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    /// What reservation has on hand, in short: `CHAIR=3 CUP=24`.
    pub(crate) fn stock(&self) -> String {
        let stock = self.peers.stock.lock().unwrap();
        stock.rows.iter().map(|((sku, _), row)| format!("{sku}={}", row.on_hand)).collect::<Vec<_>>().join(" ")
    }

    /// Quarantined numbers in a state, newest first.
    pub(crate) async fn quarantined(&self, state: wire::QuarantineState) -> Vec<wire::QuarantinedRow> {
        let request = wire::ListQuarantinedRowsRequest { state: state.into(), ..Default::default() };
        self.quarantine().list_quarantined_rows(request).await.unwrap().into_inner().rows
    }

    /// The only number that waits.
    pub(crate) async fn waiting(&self) -> wire::QuarantinedRow {
        let mut rows = self.quarantined(wire::QuarantineState::Pending).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    pub(crate) async fn approve_row(&self, id: &str, quantity: Option<i64>) -> Result<wire::QuarantinedRow, Status> {
        let request = wire::ApproveQuarantinedRowRequest {
            request_id: self::id(),
            quarantine_id: id.to_owned(),
            actor: "eva".to_owned(),
            reason: "a delivery came".to_owned(),
            quantity,
        };
        self.quarantine().approve_quarantined_row(request).await.map(|answer| answer.into_inner().row.unwrap())
    }

    pub(crate) async fn reject_row(&self, id: &str) -> Result<wire::QuarantinedRow, Status> {
        let request = wire::RejectQuarantinedRowRequest {
            request_id: self::id(),
            quarantine_id: id.to_owned(),
            actor: "eva".to_owned(),
            reason: "a typing error".to_owned(),
        };
        self.quarantine().reject_quarantined_row(request).await.map(|answer| answer.into_inner().row.unwrap())
    }

    pub(crate) async fn approve_run(&self, run: &wire::Run) -> Result<wire::Run, Status> {
        let request = wire::ApproveRunRequest {
            request_id: id(),
            run_id: run.run_id.clone(),
            actor: "eva".to_owned(),
            reason: "looked at".to_owned(),
        };
        self.client.clone().approve_run(request).await.map(|answer| answer.into_inner().run.unwrap())
    }

    pub(crate) async fn reject_run(&self, run: &wire::Run) -> Result<wire::Run, Status> {
        let request = wire::RejectRunRequest {
            request_id: id(),
            run_id: run.run_id.clone(),
            actor: "eva".to_owned(),
            reason: "nonsense".to_owned(),
        };
        self.client.clone().reject_run(request).await.map(|answer| answer.into_inner().run.unwrap())
    }

    pub(crate) fn quarantine(&self) -> QuarantineServiceClient<Channel> {
        QuarantineServiceClient::new(channel(&self.address))
    }

    pub(crate) fn house(&self) -> HouseServiceClient<Channel> {
        HouseServiceClient::new(channel(&self.address))
    }

    /// Starts a service over the record of one that has ended.
    pub(crate) async fn start_again(&mut self) {
        (self.address, self.shutdown, self.served) = start(&self.config).await;
        self.client = client(&self.address);
    }

    /// The environment that configures a process like this service.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut keys = self.keys.clone();
        keys.push(("SERVER__GRPC_LISTEN", "127.0.0.1:0".to_owned()));
        keys.push(("SERVER__ADMIN_LISTEN", "127.0.0.1:0".to_owned()));
        keys.into_iter().map(|(key, value)| (format!("HOLDFAST_VENDOR_SYNC__{key}"), value)).collect()
    }

    /// A single number out of the database, as the superuser sees it.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.database.admin_pool().await).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn start(config: &Config) -> (String, CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let listeners = Listeners::local().await.unwrap();
    let address = format!("http://{}", listeners.grpc_address().unwrap());
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(VendorSync::run(config.clone(), listeners, shutdown.clone()));
    (address, shutdown, served)
}

/// A client of the service at an address.
pub(crate) fn client(address: &str) -> VendorSyncServiceClient<Channel> {
    VendorSyncServiceClient::new(channel(address))
}

pub(crate) fn channel(address: &str) -> Channel {
    Endpoint::from_shared(address.to_owned()).unwrap().timeout(Duration::from_secs(120)).connect_lazy()
}

/// The configuration with some keys set.
pub(crate) fn configuration(keys: &[(&'static str, String)]) -> Result<Config, ConfigError> {
    let variable =
        |(key, value): &(&str, String)| (OsString::from(format!("HOLDFAST_VENDOR_SYNC__{key}")), value.into());
    config::load_with(None, keys.iter().map(variable).collect::<Vec<_>>())
}

/// A fresh request id.
pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

/// The connection of every test: `code,stock,name` with the vendor's shelf counted.
pub(crate) fn connection(mode: wire::FeedMode) -> wire::Connection {
    wire::Connection {
        code: FEED.to_owned(),
        vendor: "acme".to_owned(),
        location: BERLIN.to_owned(),
        mode: mode.into(),
        meaning: wire::QuantityMeaning::OnHand.into(),
        csv_schema: Some(wire::CsvSchema {
            delimiter: String::new(),
            header: ["code", "stock", "name"].map(str::to_owned).to_vec(),
            key_column: "code".to_owned(),
            quantity_column: "stock".to_owned(),
        }),
        apply_first_file: true,
        ..wire::Connection::default()
    }
}

/// A file of rows such as `"a=3 b=5"`.
pub(crate) fn file(rows: &str) -> String {
    let row = |row: &str| {
        let (code, quantity) = row.split_once('=').unwrap();
        format!("{code},{quantity},thing\n")
    };
    format!("code,stock,name\n{}", rows.split_whitespace().map(row).collect::<String>())
}

/// So many rows of which each says its number: `c0=0 c1=1 …`, with offers for SKUs `S0 S1 …`.
pub(crate) fn many(rows: usize) -> (String, String) {
    let file = (0..rows).map(|n| format!("c{n}={n}")).collect::<Vec<_>>().join(" ");
    let offers = (0..rows).map(|n| format!("c{n}:S{n:05}")).collect::<Vec<_>>().join(" ");
    (file, offers)
}

/// What an uploaded file is, counted so many minutes after noon.
pub(crate) fn spec(minutes: i64) -> wire::UploadFeedSpec {
    wire::UploadFeedSpec {
        request_id: id(),
        connection: FEED.to_owned(),
        as_of_time: Some(Timestamp { seconds: NOON + minutes * 60, nanos: 0 }),
        file_name: "stock.csv".to_owned(),
        ..wire::UploadFeedSpec::default()
    }
}

/// A run's totals: rows, applied, unchanged, stale, unmapped, rejected.
pub(crate) fn totals(run: &wire::Run) -> [i64; 6] {
    let wire::RunTotals { rows, applied, unchanged, stale, unmapped, rejected, .. } = run.totals.unwrap();
    [rows, applied, unchanged, stale, unmapped, rejected]
}

/// Why a call failed.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> ErrorReason {
    let status = result.expect_err("the call should fail");
    reason_of(&status).unwrap_or_else(|| panic!("an error without a reason: {status:?}"))
}

/// The fields that a call was refused for, and how many there were in all.
pub(crate) fn violations<T: std::fmt::Debug>(result: Result<T, Status>) -> (Vec<String>, usize) {
    let status = result.expect_err("the call should fail");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let total = details.error_info().unwrap().metadata["violations"].parse().unwrap();
    let fields = details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.clone());
    (fields.collect(), total)
}

/// The subjects of a failed precondition.
pub(crate) fn subjects(status: &Status) -> Vec<String> {
    let failure = status.get_details_precondition_failure().expect("a precondition failure");
    failure.violations.into_iter().map(|violation| violation.subject).collect()
}
