//! The services that vendor-sync calls, as far as it calls them. [`crate::apply_counts`] holds the stock service against its contract.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_api::catalog::v1 as catalog;
use holdfast_api::catalog::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::stock_service_server::{StockService, StockServiceServer};
use holdfast_kit::{ErrorReason, Problem, Violations};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

/// A catalog and a reservation on one port.
#[derive(Clone, Default)]
pub(crate) struct Peers {
    pub(crate) offers: Arc<Mutex<HashMap<String, (String, i64)>>>,
    pub(crate) catalog_is_down: Arc<AtomicBool>,
    pub(crate) catalog_calls: Arc<AtomicUsize>,
    pub(crate) stock: Arc<Mutex<Stock>>,
    pub(crate) faults: Arc<Faults>,
}

/// What reservation has.
#[derive(Default)]
pub(crate) struct Stock {
    pub(crate) rows: BTreeMap<(String, String), Row>,
    /// What landed, by key: the request and its answer.
    operations: HashMap<String, (pb::ApplyCountsRequest, Vec<pb::CountResult>)>,
    /// Requests in the order in which they landed.
    pub(crate) landed: Vec<pb::ApplyCountsRequest>,
    /// Calls, the repeated and the refused ones too.
    pub(crate) calls: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) on_hand: i64,
    pub(crate) as_of: (i64, i32),
    pub(crate) sequence: i64,
    /// How often a count was taken.
    pub(crate) taken: usize,
}

/// What reservation is told to do wrong.
pub(crate) struct Faults {
    /// Says UNAVAILABLE and does nothing.
    pub(crate) down: AtomicBool,
    /// So many times: does it, and says UNAVAILABLE.
    pub(crate) lost_answers: AtomicUsize,
    /// Each call takes one; without one it waits.
    pub(crate) calls: Semaphore,
    /// How many calls wait.
    pub(crate) waiting: Semaphore,
    /// Says INVALID_FIELD of counts of SKUs that begin with this.
    pub(crate) refused_prefix: Mutex<Option<String>>,
    /// Says INVALID_FIELD of the as_of_time, so many times.
    pub(crate) refused_requests: AtomicUsize,
}

/// More calls than these tests make at once.
const WAITERS_MAX: usize = 1000;

impl Default for Faults {
    fn default() -> Self {
        Self {
            down: AtomicBool::default(),
            lost_answers: AtomicUsize::default(),
            calls: Semaphore::new(Semaphore::MAX_PERMITS),
            waiting: Semaphore::new(WAITERS_MAX),
            refused_prefix: Mutex::default(),
            refused_requests: AtomicUsize::default(),
        }
    }
}

/// Takes one of a number, if it is not zero.
fn take(number: &AtomicUsize) -> bool {
    number.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Peers {
    /// Serves on a free port until the runtime ends.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(CatalogServiceServer::new(self.clone()))
            .add_service(StockServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }

    /// Lets so many calls of ApplyCounts through; the next ones wait.
    pub(crate) fn let_through(&self, calls: usize) {
        self.faults.calls.forget_permits(usize::MAX);
        self.faults.calls.add_permits(calls);
    }

    pub(crate) fn on_hand(&self, sku: &str, location: &str) -> Option<i64> {
        self.stock.lock().unwrap().rows.get(&(sku.to_owned(), location.to_owned())).map(|row| row.on_hand)
    }

    /// How many calls of ApplyCounts wait to be let through.
    pub(crate) fn waiting(&self) -> usize {
        WAITERS_MAX - self.faults.waiting.available_permits()
    }

    pub(crate) fn landed(&self) -> usize {
        self.stock.lock().unwrap().landed.len()
    }
}

impl Stock {
    /// One key, one effect; rows decide independently.
    fn apply(&mut self, request: pb::ApplyCountsRequest) -> Result<pb::ApplyCountsResponse, Problem> {
        if let Some((first, results)) = self.operations.get(&request.request_id) {
            if *first != request {
                return Err(Problem::new(ErrorReason::KeyReused, "the request_id was used before"));
            }
            return Ok(pb::ApplyCountsResponse { results: results.clone(), replayed: true });
        }
        check(&request).into_result()?;
        let as_of = request.as_of_time.map(|time| (time.seconds, time.nanos)).unwrap_or_default();
        let results: Vec<_> = request.counts.iter().map(|count| self.count(count, as_of, request.sequence)).collect();
        self.operations.insert(request.request_id.clone(), (request.clone(), results.clone()));
        self.landed.push(request);
        Ok(pb::ApplyCountsResponse { results, replayed: false })
    }

    fn count(&mut self, count: &pb::Count, as_of: (i64, i32), sequence: i64) -> pb::CountResult {
        let key = (count.sku.clone(), count.location.clone());
        let is_new = !self.rows.contains_key(&key);
        let row = self.rows.entry(key).or_default();
        let previous_on_hand = row.on_hand;
        let outcome = if !is_new && (row.as_of, row.sequence) >= (as_of, sequence) {
            pb::CountOutcome::Stale
        } else {
            let unchanged = !is_new && previous_on_hand == count.quantity;
            *row = Row { on_hand: count.quantity, as_of, sequence, taken: row.taken + 1 };
            if unchanged { pb::CountOutcome::Unchanged } else { pb::CountOutcome::Applied }
        };
        let (sku, location) = (count.sku.clone(), count.location.clone());
        let on_hand = row.on_hand;
        pb::CountResult { sku, location, outcome: outcome.into(), previous_on_hand, on_hand, shortfall: 0 }
    }
}

fn check(request: &pb::ApplyCountsRequest) -> Violations {
    let mut violations = Violations::new();
    violations.check_uuid("request_id", &request.request_id);
    violations.check_text("connection", &request.connection, 1..=128);
    violations.check_text("run", &request.run, 1..=128);
    violations.check_range("sequence", request.sequence, 0..=i64::MAX);
    if request.as_of_time.is_none() {
        violations.add("as_of_time", "is required");
    }
    if request.meaning() == pb::CountMeaning::Unspecified {
        violations.add("meaning", "is required");
    }
    if !(1..=1000).contains(&request.counts.len()) {
        violations.add("counts", "must have 1 to 1000 entries");
    }
    let mut seen = std::collections::HashSet::new();
    for (index, count) in request.counts.iter().enumerate() {
        violations.check_sku(format_args!("counts[{index}].sku"), &count.sku);
        violations.check_code(format_args!("counts[{index}].location"), &count.location);
        violations.check_range(format_args!("counts[{index}].quantity"), count.quantity, 0..=1_000_000_000);
        if !seen.insert((&count.sku, &count.location)) {
            violations.add(format_args!("counts[{index}]"), "stands in the request before");
        }
    }
    violations
}

#[tonic::async_trait]
impl StockService for Peers {
    async fn apply_counts(&self, request: Request<pb::ApplyCountsRequest>) -> Answer<pb::ApplyCountsResponse> {
        let faults = &self.faults;
        let waiting = faults.waiting.acquire().await.unwrap();
        faults.calls.acquire().await.unwrap().forget();
        drop(waiting);
        self.stock.lock().unwrap().calls += 1;
        let request = request.into_inner();
        if faults.down.load(Ordering::SeqCst) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "down").into());
        }
        if take(&faults.refused_requests) {
            let mut violations = Violations::new();
            violations.add("as_of_time", "is too far ahead");
            return Err(violations.into_problem().into());
        }
        let prefix = faults.refused_prefix.lock().unwrap().clone();
        if let Some(prefix) = prefix {
            let mut violations = Violations::new();
            for (index, count) in request.counts.iter().enumerate().filter(|(_, count)| count.sku.starts_with(&prefix))
            {
                violations.add(format_args!("counts[{index}].sku"), format_args!("{:?} is odd", count.sku));
            }
            violations.into_result()?;
        }
        let answer = self.stock.lock().unwrap().apply(request)?;
        if take(&faults.lost_answers) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "the answer is lost").into());
        }
        Ok(Response::new(answer))
    }

    async fn get_stock(&self, request: Request<pb::GetStockRequest>) -> Answer<pb::GetStockResponse> {
        let sku = request.into_inner().sku;
        let stock = self.stock.lock().unwrap();
        let level = |((sku, location), row): (&(String, String), &Row)| pb::StockLevel {
            sku: sku.clone(),
            location: location.clone(),
            on_hand: row.on_hand,
            ..pb::StockLevel::default()
        };
        let levels: Vec<_> = stock.rows.iter().filter(|((of, _), _)| *of == sku).map(level).collect();
        if levels.is_empty() {
            return Err(Problem::new(ErrorReason::NotFound, "no stock is recorded for this SKU").into());
        }
        Ok(Response::new(pb::GetStockResponse { levels }))
    }

    async fn batch_get_availability(
        &self,
        _: Request<pb::BatchGetAvailabilityRequest>,
    ) -> Answer<pb::BatchGetAvailabilityResponse> {
        Err(uncalled())
    }

    async fn list_stock(&self, _: Request<pb::ListStockRequest>) -> Answer<pb::ListStockResponse> {
        Err(uncalled())
    }

    async fn adjust_stock(&self, _: Request<pb::AdjustStockRequest>) -> Answer<pb::AdjustStockResponse> {
        Err(uncalled())
    }

    async fn list_ledger_entries(
        &self,
        _: Request<pb::ListLedgerEntriesRequest>,
    ) -> Answer<pb::ListLedgerEntriesResponse> {
        Err(uncalled())
    }
}

/// What vendor-sync has no business to call.
fn uncalled() -> Status {
    Status::unimplemented("vendor-sync does not call this")
}

#[tonic::async_trait]
impl CatalogService for Peers {
    async fn get_vendor(&self, request: Request<catalog::GetVendorRequest>) -> Answer<catalog::GetVendorResponse> {
        self.catalog_answers()?;
        let code = known("vendor", request.into_inner().code)?;
        Ok(Response::new(catalog::GetVendorResponse { vendor: Some(catalog::Vendor { code, ..Default::default() }) }))
    }

    async fn get_location(
        &self,
        request: Request<catalog::GetLocationRequest>,
    ) -> Answer<catalog::GetLocationResponse> {
        self.catalog_answers()?;
        let code = known("location", request.into_inner().code)?;
        let location = Some(catalog::Location { code, ..Default::default() });
        Ok(Response::new(catalog::GetLocationResponse { location }))
    }

    async fn batch_get_offers(
        &self,
        request: Request<catalog::BatchGetOffersRequest>,
    ) -> Answer<catalog::BatchGetOffersResponse> {
        self.catalog_answers()?;
        let catalog::BatchGetOffersRequest { vendor, location, vendor_skus } = request.into_inner();
        let mut violations = Violations::new();
        if !(1..=1000).contains(&vendor_skus.len()) {
            violations.add("vendor_skus", "must have 1 to 1000 entries");
        }
        for (index, code) in vendor_skus.iter().enumerate() {
            violations.check_sku(format_args!("vendor_skus[{index}]"), code);
        }
        violations.into_result()?;
        let mut answer = catalog::BatchGetOffersResponse::default();
        let offers = self.offers.lock().unwrap();
        for vendor_sku in vendor_skus {
            match offers.get(&vendor_sku) {
                Some((sku, pack_size)) => answer.offers.push(catalog::Offer {
                    vendor: vendor.clone(),
                    location: location.clone(),
                    vendor_sku,
                    sku: sku.clone(),
                    pack_size: *pack_size,
                    create_time: None,
                }),
                None => answer.missing_vendor_skus.push(vendor_sku),
            }
        }
        Ok(Response::new(answer))
    }

    async fn create_sku(&self, _: Request<catalog::CreateSkuRequest>) -> Answer<catalog::CreateSkuResponse> {
        Err(uncalled())
    }

    async fn get_sku(&self, _: Request<catalog::GetSkuRequest>) -> Answer<catalog::GetSkuResponse> {
        Err(uncalled())
    }

    async fn batch_get_skus(&self, _: Request<catalog::BatchGetSkusRequest>) -> Answer<catalog::BatchGetSkusResponse> {
        Err(uncalled())
    }

    async fn list_skus(&self, _: Request<catalog::ListSkusRequest>) -> Answer<catalog::ListSkusResponse> {
        Err(uncalled())
    }

    async fn import_skus(
        &self,
        _: Request<Streaming<catalog::ImportSkusRequest>>,
    ) -> Answer<catalog::ImportSkusResponse> {
        Err(uncalled())
    }

    async fn create_vendor(&self, _: Request<catalog::CreateVendorRequest>) -> Answer<catalog::CreateVendorResponse> {
        Err(uncalled())
    }

    async fn list_vendors(&self, _: Request<catalog::ListVendorsRequest>) -> Answer<catalog::ListVendorsResponse> {
        Err(uncalled())
    }

    async fn create_location(
        &self,
        _: Request<catalog::CreateLocationRequest>,
    ) -> Answer<catalog::CreateLocationResponse> {
        Err(uncalled())
    }

    async fn list_locations(
        &self,
        _: Request<catalog::ListLocationsRequest>,
    ) -> Answer<catalog::ListLocationsResponse> {
        Err(uncalled())
    }

    async fn batch_create_offers(
        &self,
        _: Request<catalog::BatchCreateOffersRequest>,
    ) -> Answer<catalog::BatchCreateOffersResponse> {
        Err(uncalled())
    }

    async fn list_offers(&self, _: Request<catalog::ListOffersRequest>) -> Answer<catalog::ListOffersResponse> {
        Err(uncalled())
    }
}

impl Peers {
    fn catalog_answers(&self) -> Result<(), Problem> {
        self.catalog_calls.fetch_add(1, Ordering::SeqCst);
        if self.catalog_is_down.load(Ordering::SeqCst) {
            return Err(Problem::new(ErrorReason::StoreUnavailable, "down"));
        }
        Ok(())
    }
}

/// Every code is known that does not say otherwise.
fn known(kind: &str, code: String) -> Result<String, Problem> {
    if code.starts_with("unknown") {
        return Err(Problem::new(ErrorReason::NotFound, format!("no {kind} has the code {code:?}")));
    }
    Ok(code)
}
