//! The catalog of these tests.

use std::sync::atomic::Ordering;

use holdfast_api::catalog::v1 as catalog;
use holdfast_api::catalog::v1::catalog_service_server::CatalogService;
use holdfast_kit::{ErrorReason, Problem, Violations};
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Peers, uncalled};

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

    async fn batch_get_skus(
        &self,
        request: Request<catalog::BatchGetSkusRequest>,
    ) -> Answer<catalog::BatchGetSkusResponse> {
        self.catalog_answers()?;
        let codes = request.into_inner().codes;
        let mut violations = Violations::new();
        if !(1..=1000).contains(&codes.len()) {
            violations.add("codes", "must have 1 to 1000 entries");
        }
        violations.into_result()?;
        let (known, missing_codes): (Vec<_>, Vec<_>) = codes.into_iter().partition(|code| !code.starts_with("unknown"));
        let skus = known.into_iter().map(|code| catalog::Sku { code, ..Default::default() }).collect();
        Ok(Response::new(catalog::BatchGetSkusResponse { skus, missing_codes }))
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

    async fn update_sku(&self, _: Request<catalog::UpdateSkuRequest>) -> Answer<catalog::UpdateSkuResponse> {
        Err(uncalled())
    }

    async fn archive_sku(&self, _: Request<catalog::ArchiveSkuRequest>) -> Answer<catalog::ArchiveSkuResponse> {
        Err(uncalled())
    }

    async fn restore_sku(&self, _: Request<catalog::RestoreSkuRequest>) -> Answer<catalog::RestoreSkuResponse> {
        Err(uncalled())
    }

    async fn search_skus(&self, _: Request<catalog::SearchSkusRequest>) -> Answer<catalog::SearchSkusResponse> {
        Err(uncalled())
    }

    async fn update_vendor(&self, _: Request<catalog::UpdateVendorRequest>) -> Answer<catalog::UpdateVendorResponse> {
        Err(uncalled())
    }

    async fn update_location(
        &self,
        _: Request<catalog::UpdateLocationRequest>,
    ) -> Answer<catalog::UpdateLocationResponse> {
        Err(uncalled())
    }

    async fn batch_delete_offers(
        &self,
        _: Request<catalog::BatchDeleteOffersRequest>,
    ) -> Answer<catalog::BatchDeleteOffersResponse> {
        Err(uncalled())
    }

    type WatchSkusStream = tokio_stream::Empty<Result<catalog::WatchSkusResponse, Status>>;

    async fn watch_skus(&self, _: Request<catalog::WatchSkusRequest>) -> Answer<Self::WatchSkusStream> {
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
