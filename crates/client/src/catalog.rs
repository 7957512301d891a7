//! What the shop sells and who supplies it: SKUs, vendors, locations, offers.

use std::time::Duration;

use bytes::Bytes;
use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_api::catalog::v1::import_skus_request::Part;
use holdfast_api::catalog::v1::{
    ArchiveSkuRequest, ArchiveSkuResponse, BatchCreateOffersRequest, BatchCreateOffersResponse,
    BatchDeleteOffersRequest, BatchDeleteOffersResponse, BatchGetOffersRequest, BatchGetOffersResponse,
    BatchGetSkusRequest, BatchGetSkusResponse, CreateLocationRequest, CreateLocationResponse, CreateSkuRequest,
    CreateSkuResponse, CreateVendorRequest, CreateVendorResponse, GetLocationRequest, GetLocationResponse,
    GetSkuRequest, GetSkuResponse, GetVendorRequest, GetVendorResponse, ImportSkusRequest, ImportSkusResponse,
    ImportSkusSpec, ListLocationsRequest, ListLocationsResponse, ListOffersRequest, ListOffersResponse,
    ListSkusRequest, ListSkusResponse, ListVendorsRequest, ListVendorsResponse, Location, Offer, RestoreSkuRequest,
    RestoreSkuResponse, SearchSkusRequest, SearchSkusResponse, Sku, UpdateLocationRequest, UpdateLocationResponse,
    UpdateSkuRequest, UpdateSkuResponse, UpdateVendorRequest, UpdateVendorResponse, Vendor,
};
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, mask, unary};
use crate::error::Error;
use crate::keys::RequestKey;
use crate::retry::RetryPolicy;
use crate::upload::{Progress, parts};
use crate::watch::SkuWatch;

/// Keeps SKUs, vendors, locations and offers.
#[derive(Debug, Clone)]
pub struct CatalogClient {
    connection: Connection,
    grpc: CatalogServiceClient<Channel>,
}

impl CatalogClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc = CatalogServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { connection: connection.clone(), grpc }
    }

    /// The same handle, with calls that may take `deadline` in all.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { connection: self.connection.with_deadline(deadline), grpc: self.grpc.clone() }
    }

    /// The same handle, with another retry policy.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self { connection: self.connection.with_retry(retry), grpc: self.grpc.clone() }
    }

    /// Creates a SKU.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::AlreadyExists`], [`Error::KeyReused`]: nothing was created. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn create_sku(&self, key: RequestKey, sku: Sku) -> Result<CreateSkuResponse, Error> {
        unary!(self, create_sku, CreateSkuRequest { request_id: key.to_string(), sku: Some(sku.clone()) })
    }

    /// Reads a SKU by its code.
    ///
    /// # Errors
    /// [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn get_sku(&self, code: &str) -> Result<GetSkuResponse, Error> {
        unary!(self, get_sku, GetSkuRequest { code: code.to_owned() })
    }

    /// Reads 1 to 1,000 SKUs; those that do not exist are named.
    ///
    /// # Errors
    /// [`Error::Invalid`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn batch_get_skus(&self, codes: Vec<String>) -> Result<BatchGetSkusResponse, Error> {
        unary!(self, batch_get_skus, BatchGetSkusRequest { codes: codes.clone() })
    }

    /// Reads a page of SKUs, in the order of their codes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_skus(&self, request: ListSkusRequest) -> Result<ListSkusResponse, Error> {
        unary!(self, list_skus, request.clone())
    }

    /// Changes the fields of a SKU that `fields` names (`name`, `gtin`, `attributes`, `attributes.KEY`, `policy`, `policy.FIELD`), if it still has
    /// `sku.etag`, or anyway if that is empty. With `validate_only` nothing is changed: the answer says what the SKU would be.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::UnknownReference`] (a location of the policy),
    /// [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn update_sku(
        &self,
        key: RequestKey,
        sku: Sku,
        fields: &[&str],
        validate_only: bool,
    ) -> Result<UpdateSkuResponse, Error> {
        unary!(
            self,
            update_sku,
            UpdateSkuRequest {
                request_id: key.to_string(),
                sku: Some(sku.clone()),
                update_mask: mask(fields),
                validate_only,
            }
        )
    }

    /// Ends the selling of a SKU, if it still has `etag`, or anyway if that is empty. One that is archived stays as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn archive_sku(&self, key: RequestKey, code: &str, etag: &str) -> Result<ArchiveSkuResponse, Error> {
        unary!(
            self,
            archive_sku,
            ArchiveSkuRequest { request_id: key.to_string(), code: code.to_owned(), etag: etag.to_owned() }
        )
    }

    /// Takes the selling of an archived SKU up again, if it still has `etag`, or anyway if that is empty. One that is sold stays as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn restore_sku(&self, key: RequestKey, code: &str, etag: &str) -> Result<RestoreSkuResponse, Error> {
        unary!(
            self,
            restore_sku,
            RestoreSkuRequest { request_id: key.to_string(), code: code.to_owned(), etag: etag.to_owned() }
        )
    }

    /// Finds a page of SKUs by what a person remembers of them, best first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn search_skus(&self, request: SearchSkusRequest) -> Result<SearchSkusResponse, Error> {
        unary!(self, search_skus, request.clone())
    }

    /// Watches the catalog: everything that it has and then every change, or every change after `resume_token` if that is not empty. Nothing is sent before
    /// the first [`SkuWatch::next`].
    pub fn watch_skus(&self, resume_token: &str) -> SkuWatch {
        SkuWatch::new(self.connection.clone(), self.grpc.clone(), resume_token)
    }

    /// Imports SKUs from a CSV or JSON Lines file. `spec.request_id` and `spec.size_bytes` are filled in; `progress` hears of the bytes that went out. An attempt may take
    /// all of the deadline.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::FileRefused`]: nothing was imported. [`Error::Unknown`]: all or a part may be; import again with the same key.
    pub async fn import_skus(
        &self,
        key: RequestKey,
        spec: ImportSkusSpec,
        file: Bytes,
        progress: Progress,
    ) -> Result<ImportSkusResponse, Error> {
        let size_bytes = i64::try_from(file.len()).unwrap_or(0);
        let first = Part::Spec(ImportSkusSpec { request_id: key.to_string(), size_bytes, ..spec });
        let message = move |part| ImportSkusRequest { part: Some(part) };
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.import_skus(request).await }
        };
        self.connection
            .in_one_attempt()
            .call(
                |_open| parts(message(first.clone()), &file, &progress, move |c| message(Part::Chunk(c.to_vec()))),
                send,
            )
            .await
    }

    /// Creates a vendor.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::AlreadyExists`], [`Error::KeyReused`]: nothing was created. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn create_vendor(&self, key: RequestKey, vendor: Vendor) -> Result<CreateVendorResponse, Error> {
        unary!(self, create_vendor, CreateVendorRequest { request_id: key.to_string(), vendor: Some(vendor.clone()) })
    }

    /// Reads a vendor by its code.
    ///
    /// # Errors
    /// [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn get_vendor(&self, code: &str) -> Result<GetVendorResponse, Error> {
        unary!(self, get_vendor, GetVendorRequest { code: code.to_owned() })
    }

    /// Changes a vendor's name, if it still has `vendor.etag`, or anyway if that is empty.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn update_vendor(&self, key: RequestKey, vendor: Vendor) -> Result<UpdateVendorResponse, Error> {
        unary!(
            self,
            update_vendor,
            UpdateVendorRequest {
                request_id: key.to_string(),
                vendor: Some(vendor.clone()),
                update_mask: mask(&["name"]),
            }
        )
    }

    /// Reads a page of vendors, in the order of their codes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_vendors(&self, request: ListVendorsRequest) -> Result<ListVendorsResponse, Error> {
        unary!(self, list_vendors, request.clone())
    }

    /// Creates a location.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::AlreadyExists`], [`Error::UnknownReference`] (the vendor), [`Error::KeyReused`]: nothing was created. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn create_location(&self, key: RequestKey, location: Location) -> Result<CreateLocationResponse, Error> {
        unary!(
            self,
            create_location,
            CreateLocationRequest { request_id: key.to_string(), location: Some(location.clone()) }
        )
    }

    /// Reads a location by its code.
    ///
    /// # Errors
    /// [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn get_location(&self, code: &str) -> Result<GetLocationResponse, Error> {
        unary!(self, get_location, GetLocationRequest { code: code.to_owned() })
    }

    /// Changes a location's name, if it still has `location.etag`, or anyway if that is empty.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn update_location(&self, key: RequestKey, location: Location) -> Result<UpdateLocationResponse, Error> {
        unary!(
            self,
            update_location,
            UpdateLocationRequest {
                request_id: key.to_string(),
                location: Some(location.clone()),
                update_mask: mask(&["name"]),
            }
        )
    }

    /// Reads a page of locations, in the order of their codes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_locations(&self, request: ListLocationsRequest) -> Result<ListLocationsResponse, Error> {
        unary!(self, list_locations, request.clone())
    }

    /// Creates 1 to 1,000 offers, all or none. An offer that exists with the same content is left as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::AlreadyExists`] (with other content), [`Error::UnknownReference`], [`Error::KeyReused`]: nothing was
    /// created. As any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn batch_create_offers(
        &self,
        key: RequestKey,
        offers: Vec<Offer>,
    ) -> Result<BatchCreateOffersResponse, Error> {
        unary!(
            self,
            batch_create_offers,
            BatchCreateOffersRequest { request_id: key.to_string(), offers: offers.clone() }
        )
    }

    /// Removes 1 to 1,000 offers, all or none; those that are not there are counted. Only vendor, location and vendor code are looked at.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::KeyReused`]: nothing was removed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn batch_delete_offers(
        &self,
        key: RequestKey,
        offers: Vec<Offer>,
    ) -> Result<BatchDeleteOffersResponse, Error> {
        unary!(
            self,
            batch_delete_offers,
            BatchDeleteOffersRequest { request_id: key.to_string(), offers: offers.clone() }
        )
    }

    /// Reads a vendor's offers at a location for 1 to 1,000 of its codes; those without an offer are named.
    ///
    /// # Errors
    /// [`Error::Invalid`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn batch_get_offers(&self, request: BatchGetOffersRequest) -> Result<BatchGetOffersResponse, Error> {
        unary!(self, batch_get_offers, request.clone())
    }

    /// Reads a page of offers, in the order of vendor, location and vendor code.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_offers(&self, request: ListOffersRequest) -> Result<ListOffersResponse, Error> {
        unary!(self, list_offers, request.clone())
    }
}
