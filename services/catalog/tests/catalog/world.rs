//! A catalog of a test's own, in one line.

use std::ffi::OsString;
use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_api::catalog::v1::import_skus_request::Part;
use holdfast_api::error::v1::ErrorReason;
use holdfast_catalog::Catalog;
use holdfast_catalog::config::Config;
use holdfast_catalog::store::{MIGRATOR, Store};
use holdfast_kit::{CancellationToken, ConfigError, Listeners, Service as _, config, pg, reason_of};
use holdfast_testkit::{Database, database};
use prost_types::FieldMask;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// A running catalog with a database of its own.
pub(crate) struct World {
    pub(crate) client: CatalogServiceClient<Channel>,
    pub(crate) database: Database,
    pub(crate) config: Config,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With keys of the configuration set: `("IMPORT__ROWS_MAX", "3")`.
    pub(crate) async fn with(keys: &[(&str, &str)]) -> Self {
        Self::on(database("catalog", &MIGRATOR).await, keys).await
    }

    /// On a database that is there already.
    pub(crate) async fn on(database: Database, keys: &[(&str, &str)]) -> Self {
        let (url, owner_url) = (database.url(), database.owner_url());
        let mut all = vec![
            ("POSTGRES__URL", url.as_str()),
            ("POSTGRES__MIGRATE_URL", owner_url.as_str()),
            ("CALLERS__UNAUTHENTICATED_ROLES", r#"["merchandiser"]"#),
        ];
        all.extend(keys);
        let config = configuration(&all).expect("the test's configuration is right");
        pg::migrate(&config.common.postgres, &MIGRATOR, "holdfast-catalog").await.unwrap();

        let Replica { client, shutdown, served } = Replica::start(config.clone()).await;
        Self { client, database, config, shutdown, served }
    }

    /// Another replica on the same database, with keys of its own.
    pub(crate) async fn replica(&self, keys: &[(&str, &str)]) -> Replica {
        let url = self.database.url();
        let mut all = vec![("POSTGRES__URL", url.as_str()), ("CALLERS__UNAUTHENTICATED_ROLES", r#"["merchandiser"]"#)];
        all.extend(keys);
        Replica::start(configuration(&all).expect("the test's configuration is right")).await
    }

    /// Changes the fields of a SKU that the paths name.
    pub(crate) async fn update(&self, sku: wire::Sku, paths: &[&str]) -> Result<wire::Sku, Status> {
        let update_mask = Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
        let request = wire::UpdateSkuRequest { request_id: id(), sku: Some(sku), update_mask, validate_only: false };
        self.client.clone().update_sku(request).await.map(|updated| updated.into_inner().sku.unwrap())
    }

    /// Sets a SKU's safety stock.
    pub(crate) async fn keep_back(&self, code: &str, safety_stock: i64) -> wire::Sku {
        let policy = wire::SellingPolicy { safety_stock, ..Default::default() };
        let sku = wire::Sku { code: code.into(), policy: Some(policy), ..Default::default() };
        self.update(sku, &["policy.safety_stock"]).await.unwrap()
    }

    pub(crate) async fn archive(&self, code: &str) -> wire::Sku {
        let request = wire::ArchiveSkuRequest { request_id: id(), code: code.into(), etag: String::new() };
        self.client.clone().archive_sku(request).await.unwrap().into_inner().sku.unwrap()
    }

    pub(crate) async fn offers(&self, offers: Vec<wire::Offer>) -> Result<wire::BatchCreateOffersResponse, Status> {
        let request = wire::BatchCreateOffersRequest { request_id: id(), offers };
        self.client.clone().batch_create_offers(request).await.map(Response::into_inner)
    }

    pub(crate) async fn delete_offers(&self, offers: Vec<wire::Offer>) -> wire::BatchDeleteOffersResponse {
        let request = wire::BatchDeleteOffersRequest { request_id: id(), offers };
        self.client.clone().batch_delete_offers(request).await.unwrap().into_inner()
    }

    /// The service's store, beside the service.
    pub(crate) async fn store(&self) -> Store {
        Store::new(self.database.pool(2).await)
    }

    pub(crate) async fn sku(&self, code: &str) -> wire::Sku {
        let request = wire::GetSkuRequest { code: code.into() };
        self.client.clone().get_sku(request).await.unwrap().into_inner().sku.unwrap()
    }

    pub(crate) async fn create_sku(&self, sku: wire::Sku) -> Result<wire::Sku, Status> {
        let request = wire::CreateSkuRequest { request_id: id(), sku: Some(sku) };
        self.client.clone().create_sku(request).await.map(|created| created.into_inner().sku.unwrap())
    }

    /// Creates SKUs that have only a code.
    pub(crate) async fn skus(&self, codes: &[&str]) {
        for code in codes {
            self.create_sku(sku(code)).await.unwrap();
        }
    }

    pub(crate) async fn vendor(&self, code: &str) {
        let vendor = wire::Vendor { code: code.into(), ..Default::default() };
        let request = wire::CreateVendorRequest { request_id: id(), vendor: Some(vendor) };
        self.client.clone().create_vendor(request).await.unwrap();
    }

    pub(crate) async fn location(&self, code: &str) {
        let location = wire::Location { code: code.into(), ..Default::default() };
        let request = wire::CreateLocationRequest { request_id: id(), location: Some(location) };
        self.client.clone().create_location(request).await.unwrap();
    }

    /// Sends a file in pieces of 1,000 bytes.
    pub(crate) async fn import(
        &self,
        spec: wire::ImportSkusSpec,
        file: impl AsRef<[u8]>,
    ) -> Result<wire::ImportSkusResponse, Status> {
        self.import_in(spec, file, 1000).await
    }

    pub(crate) async fn import_in(
        &self,
        spec: wire::ImportSkusSpec,
        file: impl AsRef<[u8]>,
        piece: usize,
    ) -> Result<wire::ImportSkusResponse, Status> {
        let parts = std::iter::once(Part::Spec(spec))
            .chain(file.as_ref().chunks(piece).map(|bytes| Part::Chunk(bytes.to_vec())));
        self.import_parts(parts.map(Some).collect()).await
    }

    /// Sends what need not be a proper import.
    pub(crate) async fn import_parts(&self, parts: Vec<Option<Part>>) -> Result<wire::ImportSkusResponse, Status> {
        let requests = parts.into_iter().map(|part| wire::ImportSkusRequest { part });
        self.client
            .clone()
            .import_skus(tokio_stream::iter(requests.collect::<Vec<_>>()))
            .await
            .map(Response::into_inner)
    }

    /// All SKUs, page by page.
    pub(crate) async fn all_skus(&self) -> Vec<wire::Sku> {
        let mut skus = Vec::new();
        let mut request = wire::ListSkusRequest { page_size: 1000, ..Default::default() };
        loop {
            let page = self.client.clone().list_skus(request.clone()).await.unwrap().into_inner();
            skus.extend(page.skus);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return skus;
            }
        }
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

/// A running service; it is told to end when it is dropped.
pub(crate) struct Replica {
    pub(crate) client: CatalogServiceClient<Channel>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    async fn start(config: Config) -> Self {
        let listeners = Listeners::local().await.unwrap();
        let client = client(&format!("http://{}", listeners.grpc_address().unwrap()));
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(Catalog::run(config, listeners, shutdown.clone()));
        Self { client, shutdown, served }
    }
}

pub(crate) fn client(url: &str) -> CatalogServiceClient<Channel> {
    let channel = Endpoint::from_shared(url.to_owned()).unwrap().timeout(Duration::from_secs(120)).connect_lazy();
    CatalogServiceClient::new(channel)
}

/// An offer of the vendor `v` at the location `l`, with its own code for a SKU.
pub(crate) fn offer(vendor_sku: &str, sku: &str) -> wire::Offer {
    wire::Offer {
        vendor: "v".into(),
        location: "l".into(),
        vendor_sku: vendor_sku.into(),
        sku: sku.into(),
        ..Default::default()
    }
}

/// The configuration with some keys set.
pub(crate) fn configuration(keys: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables =
        keys.iter().map(|(key, value)| (OsString::from(format!("HOLDFAST_CATALOG__{key}")), OsString::from(*value)));
    config::load_with(None, variables.collect::<Vec<_>>())
}

/// A fresh request id.
pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

/// A SKU that has only a code.
pub(crate) fn sku(code: &str) -> wire::Sku {
    wire::Sku { code: code.into(), ..Default::default() }
}

/// How to read files with the columns `sku` and `name`, all or nothing.
pub(crate) fn spec() -> wire::ImportSkusSpec {
    wire::ImportSkusSpec {
        request_id: id(),
        code_column: "sku".into(),
        name_column: "name".into(),
        error_mode: wire::ImportErrorMode::AllOrNothing.into(),
        ..Default::default()
    }
}

/// The same, but bad rows are skipped.
pub(crate) fn skipping() -> wire::ImportSkusSpec {
    wire::ImportSkusSpec { error_mode: wire::ImportErrorMode::SkipBadRows.into(), ..spec() }
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
