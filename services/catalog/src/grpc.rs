//! The RPCs: each decodes, calls, encodes.

mod upload;
mod watching;

use std::sync::Arc;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::catalog_service_server::CatalogService;
use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::page::Token;
use holdfast_kit::{CancellationToken, Problem, Saturation, Violations};
use prost::Message;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::changes::Bell;
use crate::config::Config;
use crate::convert::{self, Keyed};
use crate::import::Importer;
use crate::metrics::Metrics;
use crate::problem::not_found;
use crate::store::{Found, OfferCursor, OfferFilter, SearchCursor, SkuFilter, Store};

/// A handler's result.
type Answer<T> = Result<Response<T>, Status>;

/// Serves the catalog over gRPC.
#[derive(Debug)]
pub struct Grpc {
    store: Store,
    importer: Importer,
    config: Config,
    metrics: Arc<Metrics>,
    mutations: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    /// Rung after each change, so that watchers and relays look at once.
    bell: Arc<Bell>,
    /// Ends watches.
    shutdown: CancellationToken,
    /// Mutations and imports go on here when their callers have gone: a cancelled request is not a rolled-back one.
    tasks: TaskTracker,
}

impl Grpc {
    /// Serves what is in a store, and rings when it has changed something. `tasks` has what goes on after an answer; `shutdown` ends watches.
    #[must_use]
    pub fn new(
        store: Store,
        config: Config,
        metrics: &Arc<Metrics>,
        bell: Arc<Bell>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            importer: Importer::new(store.clone(), config.import.limits(), Arc::clone(metrics), tasks.clone()),
            mutations: Arc::new(Semaphore::new(config.limits.mutations_in_flight_max)),
            searches: Arc::new(Semaphore::new(config.limits.searches_in_flight_max)),
            imports: Arc::new(Semaphore::new(config.import.concurrent_max)),
            watchers: Arc::new(Semaphore::new(config.watch.watchers_max)),
            metrics: Arc::clone(metrics),
            store,
            config,
            bell,
            tasks,
            shutdown,
        }
    }

    /// Lets the places count for how full the process is.
    pub fn watch_by(&self, saturation: &Saturation) {
        for (part, places, limit) in [
            ("mutations", &self.mutations, self.config.limits.mutations_in_flight_max),
            ("searches", &self.searches, self.config.limits.searches_in_flight_max),
            ("imports", &self.imports, self.config.import.concurrent_max),
            ("watchers", &self.watchers, self.config.watch.watchers_max),
        ] {
            saturation.watch_permits(part, places, limit);
        }
    }

    /// Says what a change would do, and changes nothing. The etag is left out, because nothing will ever have it.
    async fn rehearse(&self, keyed: Result<Keyed, Problem>) -> Answer<wire::UpdateSkuResponse> {
        let (_request_id, mutation) = keyed?;
        let Ok(place) = Arc::clone(&self.mutations).try_acquire_owned() else {
            return Err(Problem::new(ErrorReason::Overloaded, "too many changes at once; nothing was done").into());
        };
        let store = self.store.clone();
        let rehearsal = async move {
            let _place = place;
            store.rehearse(&mutation).await
        };
        let outcome = self.tasks.spawn(rehearsal.in_current_span()).await.map_err(Problem::defect)?;
        let mut answer: wire::UpdateSkuResponse =
            decoded(&convert::answer(&outcome.map_err(Problem::from)?))?.into_inner();
        if let Some(sku) = &mut answer.sku {
            sku.etag.clear();
        }
        Ok(Response::new(answer))
    }

    /// Makes a change once, in a task of its own, and decodes its answer, which for a replay is the first one.
    async fn mutate<T: Message + Default>(&self, keyed: Result<Keyed, Problem>) -> Answer<T> {
        let (request_id, mutation) = keyed?;
        let Ok(place) = Arc::clone(&self.mutations).try_acquire_owned() else {
            return Err(Problem::new(ErrorReason::Overloaded, "too many changes at once; nothing was done").into());
        };
        let (store, bell) = (self.store.clone(), Arc::clone(&self.bell));
        let change = async move {
            let _place = place;
            let answer = store.mutate(&mutation.key(request_id), &mutation, convert::answer).await;
            bell.ring();
            answer
        };
        let answer = self.tasks.spawn(change.in_current_span()).await.map_err(Problem::defect)?;
        decoded(&answer.map_err(Problem::from)?)
    }
}

/// An answer that was kept.
fn decoded<T: Message + Default>(answer: &[u8]) -> Answer<T> {
    Ok(Response::new(T::decode(answer).map_err(Problem::defect)?))
}

#[tonic::async_trait]
impl CatalogService for Grpc {
    async fn create_sku(&self, request: Request<wire::CreateSkuRequest>) -> Answer<wire::CreateSkuResponse> {
        self.mutate(convert::create_sku(request.into_inner())).await
    }

    async fn get_sku(&self, request: Request<wire::GetSkuRequest>) -> Answer<wire::GetSkuResponse> {
        let code = convert::sku_code(request.into_inner().code)?;
        let found = self.store.skus(std::slice::from_ref(&code), usize::MAX).await.map_err(Problem::from)?;
        let sku = found.into_iter().next().ok_or_else(|| not_found("sku", &code))?;
        Ok(Response::new(wire::GetSkuResponse { sku: Some(convert::sku(sku)) }))
    }

    async fn batch_get_skus(&self, request: Request<wire::BatchGetSkusRequest>) -> Answer<wire::BatchGetSkusResponse> {
        let codes = convert::batch_get_skus(request.into_inner())?;
        let found = self.store.skus(&codes, self.config.limits.response_bytes_max).await.map_err(Problem::from)?;
        let missing_codes = missing(codes, found.iter().map(|sku| sku.content.code.as_str()));
        Ok(Response::new(wire::BatchGetSkusResponse {
            skus: found.into_iter().map(convert::sku).collect(),
            missing_codes,
        }))
    }

    async fn list_skus(&self, request: Request<wire::ListSkusRequest>) -> Answer<wire::ListSkusResponse> {
        let wire::ListSkusRequest { page_size, page_token, code_prefix, filter } = request.into_inner();
        let mut wanted = SkuFilter::default();
        let size = convert::page_size(page_size, |violations| {
            wanted = convert::sku_filter(violations, code_prefix, filter);
        })?;
        // Its attributes are in one order, so that equal filters look equal.
        let bound = format!("{wanted:?}");
        let filters = ["ListSkus", &bound];
        let after: String = Token::decode(&page_token, &filters)?.unwrap_or_default();
        let page = self
            .store
            .list_skus(&after, &wanted, size, self.config.limits.response_bytes_max)
            .await
            .map_err(Problem::from)?;
        let next = page.items.last().filter(|_| page.more).map(|last| Token::encode(&filters, &last.content.code));
        Ok(Response::new(wire::ListSkusResponse {
            skus: page.items.into_iter().map(convert::sku).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn import_skus(
        &self,
        request: Request<Streaming<wire::ImportSkusRequest>>,
    ) -> Answer<wire::ImportSkusResponse> {
        decoded(&self.import(request.into_inner()).await?)
    }

    async fn update_sku(&self, request: Request<wire::UpdateSkuRequest>) -> Answer<wire::UpdateSkuResponse> {
        let request = request.into_inner();
        let validate_only = request.validate_only;
        let keyed = convert::update_sku(request);
        if validate_only { self.rehearse(keyed).await } else { self.mutate(keyed).await }
    }

    async fn archive_sku(&self, request: Request<wire::ArchiveSkuRequest>) -> Answer<wire::ArchiveSkuResponse> {
        self.mutate(convert::archive_sku(request.into_inner())).await
    }

    async fn restore_sku(&self, request: Request<wire::RestoreSkuRequest>) -> Answer<wire::RestoreSkuResponse> {
        self.mutate(convert::restore_sku(request.into_inner())).await
    }

    async fn search_skus(&self, request: Request<wire::SearchSkusRequest>) -> Answer<wire::SearchSkusResponse> {
        let wire::SearchSkusRequest { query, page_size, page_token, show } = request.into_inner();
        let mut violations = Violations::new();
        let size = convert::search_page_size(&mut violations, page_size);
        let search = convert::search(&mut violations, &query, show);
        violations.into_result()?;
        let bound = format!("{search:?}");
        let filters = ["SearchSkus", &bound];
        let after: Option<SearchCursor> = Token::decode(&page_token, &filters)?;
        let Ok(_place) = self.searches.try_acquire() else {
            return Err(Problem::new(ErrorReason::Overloaded, "too many searches at once").into());
        };
        let bytes_max = self.config.limits.response_bytes_max;
        let page = self.store.search_skus(after.as_ref(), &search, size, bytes_max).await.map_err(Problem::from)?;
        let cursor = |last: &Found| SearchCursor(last.score, last.sku.content.code.clone());
        let next = page.items.last().filter(|_| page.more).map(|last| Token::encode(&filters, &cursor(last)));
        Ok(Response::new(wire::SearchSkusResponse {
            matches: page.items.into_iter().map(convert::sku_match).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    type WatchSkusStream = watching::WatchStream;

    async fn watch_skus(&self, request: Request<wire::WatchSkusRequest>) -> Answer<Self::WatchSkusStream> {
        Ok(Response::new(self.watch(request.into_inner()).await?))
    }

    async fn update_vendor(&self, request: Request<wire::UpdateVendorRequest>) -> Answer<wire::UpdateVendorResponse> {
        self.mutate(convert::update_vendor(request.into_inner())).await
    }

    async fn update_location(
        &self,
        request: Request<wire::UpdateLocationRequest>,
    ) -> Answer<wire::UpdateLocationResponse> {
        self.mutate(convert::update_location(request.into_inner())).await
    }

    async fn batch_delete_offers(
        &self,
        request: Request<wire::BatchDeleteOffersRequest>,
    ) -> Answer<wire::BatchDeleteOffersResponse> {
        self.mutate(convert::delete_offers(request.into_inner())).await
    }

    async fn create_vendor(&self, request: Request<wire::CreateVendorRequest>) -> Answer<wire::CreateVendorResponse> {
        self.mutate(convert::create_vendor(request.into_inner())).await
    }

    async fn get_vendor(&self, request: Request<wire::GetVendorRequest>) -> Answer<wire::GetVendorResponse> {
        let code = convert::code(request.into_inner().code)?;
        let found = self.store.vendor(&code).await.map_err(Problem::from)?.ok_or_else(|| not_found("vendor", &code))?;
        Ok(Response::new(wire::GetVendorResponse { vendor: Some(convert::vendor(found)) }))
    }

    async fn list_vendors(&self, request: Request<wire::ListVendorsRequest>) -> Answer<wire::ListVendorsResponse> {
        let wire::ListVendorsRequest { page_size, page_token } = request.into_inner();
        let size = convert::page_size(page_size, |_| {})?;
        let after: String = Token::decode(&page_token, &["ListVendors"])?.unwrap_or_default();
        let page = self.store.list_vendors(&after, size).await.map_err(Problem::from)?;
        let next =
            page.items.last().filter(|_| page.more).map(|last| Token::encode(&["ListVendors"], &last.content.code));
        Ok(Response::new(wire::ListVendorsResponse {
            vendors: page.items.into_iter().map(convert::vendor).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn create_location(
        &self,
        request: Request<wire::CreateLocationRequest>,
    ) -> Answer<wire::CreateLocationResponse> {
        self.mutate(convert::create_location(request.into_inner())).await
    }

    async fn get_location(&self, request: Request<wire::GetLocationRequest>) -> Answer<wire::GetLocationResponse> {
        let code = convert::code(request.into_inner().code)?;
        let found =
            self.store.location(&code).await.map_err(Problem::from)?.ok_or_else(|| not_found("location", &code))?;
        Ok(Response::new(wire::GetLocationResponse { location: Some(convert::location(found)) }))
    }

    async fn list_locations(
        &self,
        request: Request<wire::ListLocationsRequest>,
    ) -> Answer<wire::ListLocationsResponse> {
        let wire::ListLocationsRequest { page_size, page_token } = request.into_inner();
        let size = convert::page_size(page_size, |_| {})?;
        let after: String = Token::decode(&page_token, &["ListLocations"])?.unwrap_or_default();
        let page = self.store.list_locations(&after, size).await.map_err(Problem::from)?;
        let next =
            page.items.last().filter(|_| page.more).map(|last| Token::encode(&["ListLocations"], &last.content.code));
        Ok(Response::new(wire::ListLocationsResponse {
            locations: page.items.into_iter().map(convert::location).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn batch_create_offers(
        &self,
        request: Request<wire::BatchCreateOffersRequest>,
    ) -> Answer<wire::BatchCreateOffersResponse> {
        self.mutate(convert::create_offers(request.into_inner())).await
    }

    async fn batch_get_offers(
        &self,
        request: Request<wire::BatchGetOffersRequest>,
    ) -> Answer<wire::BatchGetOffersResponse> {
        let (vendor, location, vendor_skus) = convert::batch_get_offers(request.into_inner())?;
        let found = self.store.offers(&vendor, &location, &vendor_skus).await.map_err(Problem::from)?;
        let missing_vendor_skus = missing(vendor_skus, found.iter().map(|offer| offer.key.vendor_sku.as_str()));
        Ok(Response::new(wire::BatchGetOffersResponse {
            offers: found.into_iter().map(convert::offer).collect(),
            missing_vendor_skus,
        }))
    }

    async fn list_offers(&self, request: Request<wire::ListOffersRequest>) -> Answer<wire::ListOffersResponse> {
        let wire::ListOffersRequest { page_size, page_token, vendor, sku } = request.into_inner();
        let size = convert::page_size(page_size, |violations| {
            convert::check_optional_code(violations, "vendor", &vendor);
            convert::check_optional_sku(violations, "sku", &sku);
        })?;
        let filters = ["ListOffers", &vendor, &sku];
        let after: OfferCursor = Token::decode(&page_token, &filters)?.unwrap_or_default();
        let filter = OfferFilter { vendor: convert::non_empty(vendor.clone()), sku: convert::non_empty(sku.clone()) };
        let page = self.store.list_offers(&after, &filter, size).await.map_err(Problem::from)?;
        let next =
            page.items.last().filter(|_| page.more).map(|last| Token::encode(&filters, &OfferCursor::from(&last.key)));
        Ok(Response::new(wire::ListOffersResponse {
            offers: page.items.into_iter().map(convert::offer).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

/// Those asked for that were not found; both are in the same order.
fn missing<'a>(asked: Vec<String>, found: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found = found.peekable();
    asked.into_iter().filter(|code| found.next_if_eq(&code.as_str()).is_none()).collect()
}
