//! Stock itself: availability, levels, feeds, the ledger, moves and pauses in selling; and what only the other services write: counts, adjustments, policies.

use std::time::Duration;

use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_api::reservation::v1::{
    AdjustStockRequest, AdjustStockResponse, Adjustment, ApplyCountsRequest, ApplyCountsResponse, ApplyPoliciesRequest,
    ApplyPoliciesResponse, BatchGetAvailabilityRequest, BatchGetAvailabilityResponse, BatchGetStockRequest,
    BatchGetStockResponse, CompleteRunRequest, CompleteRunResponse, GetStockAsOfRequest, GetStockAsOfResponse,
    GetStockRequest, GetStockResponse, ListFeedsRequest, ListFeedsResponse, ListLedgerEntriesRequest,
    ListLedgerEntriesResponse, ListPausedSkusRequest, ListPausedSkusResponse, ListStockRequest, ListStockResponse,
    MoveStockRequest, MoveStockResponse, PauseSellingRequest, PauseSellingResponse, ReadSource, ResumeSellingRequest,
    ResumeSellingResponse, SkuPolicy,
};
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, unary};
use crate::error::Error;
use crate::keys::RequestKey;
use crate::retry::RetryPolicy;
use crate::watch::AvailabilityWatch;

/// Reads stock and changes it. The connection is the same as the reservations'.
#[derive(Debug, Clone)]
pub struct StockClient {
    connection: Connection,
    grpc: StockServiceClient<Channel>,
}

impl StockClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc = StockServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
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

    /// Says what could be reserved now, for 1 to 1,000 SKUs, in their order. Only a Reserve decides.
    ///
    /// # Errors
    /// [`Error::Invalid`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn batch_get_availability(
        &self,
        skus: Vec<String>,
        source: ReadSource,
    ) -> Result<BatchGetAvailabilityResponse, Error> {
        unary!(self, batch_get_availability, BatchGetAvailabilityRequest { skus: skus.clone(), source: source.into() })
    }

    /// Reads a SKU's stock at every location from Postgres.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who
    /// may call. Reading changes nothing.
    pub async fn get_stock(&self, sku: &str) -> Result<GetStockResponse, Error> {
        unary!(self, get_stock, GetStockRequest { sku: sku.to_owned() })
    }

    /// Reads a page of stock rows, in the order of SKU and location.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_stock(&self, request: ListStockRequest) -> Result<ListStockResponse, Error> {
        unary!(self, list_stock, request.clone())
    }

    /// Reads 1 to 1,000 SKUs' stock at one location from Postgres; SKUs without a row there are left out.
    ///
    /// # Errors
    /// [`Error::Invalid`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn batch_get_stock(&self, location: &str, skus: Vec<String>) -> Result<BatchGetStockResponse, Error> {
        let request = BatchGetStockRequest { location: location.to_owned(), skus, ..BatchGetStockRequest::default() };
        unary!(self, batch_get_stock, request.clone())
    }

    /// The same, and how many committed units a count as of `request.reflect_as_of_time` would reflect.
    ///
    /// # Errors
    /// Those of [`batch_get_stock`](Self::batch_get_stock).
    pub async fn batch_get_reflectable(&self, request: BatchGetStockRequest) -> Result<BatchGetStockResponse, Error> {
        unary!(self, batch_get_stock, request.clone())
    }

    /// Reads a page of feeds and how fresh they are, in the order of their connections' codes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_feeds(&self, request: ListFeedsRequest) -> Result<ListFeedsResponse, Error> {
        unary!(self, list_feeds, request.clone())
    }

    /// Says that a connection's run was applied whole. For vendor-sync only. Harmless when repeated, so it needs no key.
    ///
    /// # Errors
    /// [`Error::Invalid`]: nothing was changed. As any call, [`Error::Unknown`] among them: then it may have been; call again.
    pub async fn complete_run(&self, request: CompleteRunRequest) -> Result<CompleteRunResponse, Error> {
        unary!(self, complete_run, request.clone())
    }

    /// Tells 1 to 1,000 SKUs' selling policies. For catalog only. Harmless when repeated, so it needs no key.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Overloaded`]: nothing was applied. As any call, [`Error::Unknown`] among them: then some or all may be; call again.
    pub async fn apply_policies(&self, policies: Vec<SkuPolicy>) -> Result<ApplyPoliciesResponse, Error> {
        unary!(self, apply_policies, ApplyPoliciesRequest { policies: policies.clone() })
    }

    /// Sets what a vendor counted. For vendor-sync only. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::KeyReused`], [`Error::Overloaded`]: nothing was applied. As any call, [`Error::Unknown`] among them: then
    /// the effect may have happened, call again with the same key.
    pub async fn apply_counts(
        &self,
        key: RequestKey,
        request: ApplyCountsRequest,
    ) -> Result<ApplyCountsResponse, Error> {
        unary!(self, apply_counts, ApplyCountsRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Adds or removes units for a stated reason; all adjustments, or none. For vendor-sync only: people use [`crate::HouseClient`], whose guards look at it.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownSku`], [`Error::StockWouldBeNegative`], [`Error::KeyReused`]: nothing was changed. As any call,
    /// [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn adjust_stock(
        &self,
        key: RequestKey,
        adjustments: Vec<Adjustment>,
        actor: &str,
        note: &str,
    ) -> Result<AdjustStockResponse, Error> {
        unary!(
            self,
            adjust_stock,
            AdjustStockRequest {
                request_id: key.to_string(),
                adjustments: adjustments.clone(),
                actor: actor.to_owned(),
                note: note.to_owned(),
            }
        )
    }

    /// Moves units between conditions, locations, or both; all moves, or none. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownSku`], [`Error::StockWouldBeNegative`], [`Error::KeyReused`]: nothing was changed. As any call,
    /// [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn move_stock(&self, key: RequestKey, request: MoveStockRequest) -> Result<MoveStockResponse, Error> {
        unary!(self, move_stock, MoveStockRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Stops the selling of 1 to 100 SKUs at once, everywhere; holds and sales that exist are not touched.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownSku`], [`Error::KeyReused`]: nothing was changed. As any call, [`Error::Unknown`] among them: then the
    /// effect may have happened, call again with the same key.
    pub async fn pause_selling(
        &self,
        key: RequestKey,
        skus: Vec<String>,
        actor: &str,
        note: &str,
    ) -> Result<PauseSellingResponse, Error> {
        unary!(
            self,
            pause_selling,
            PauseSellingRequest {
                request_id: key.to_string(),
                skus: skus.clone(),
                actor: actor.to_owned(),
                note: note.to_owned(),
            }
        )
    }

    /// Lets 1 to 100 SKUs be sold again that somebody, or too fast a sale, had paused.
    ///
    /// # Errors
    /// Those of [`pause_selling`](Self::pause_selling).
    pub async fn resume_selling(
        &self,
        key: RequestKey,
        skus: Vec<String>,
        actor: &str,
        note: &str,
    ) -> Result<ResumeSellingResponse, Error> {
        unary!(
            self,
            resume_selling,
            ResumeSellingRequest {
                request_id: key.to_string(),
                skus: skus.clone(),
                actor: actor.to_owned(),
                note: note.to_owned(),
            }
        )
    }

    /// Reads a page of SKUs whose selling is paused, in the order of their codes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_paused_skus(&self, request: ListPausedSkusRequest) -> Result<ListPausedSkusResponse, Error> {
        unary!(self, list_paused_skus, request.clone())
    }

    /// Reads a page of a SKU's ledger, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_ledger_entries(
        &self,
        request: ListLedgerEntriesRequest,
    ) -> Result<ListLedgerEntriesResponse, Error> {
        unary!(self, list_ledger_entries, request.clone())
    }

    /// Says what a SKU's stock was at an instant that has passed, and the last changes that led to it.
    ///
    /// # Errors
    /// [`Error::Invalid`] (an instant in the future, too), [`Error::NotFound`], [`Error::BeforeRecord`]. As any call: [`Error::Overloaded`],
    /// [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading changes nothing.
    pub async fn get_stock_as_of(&self, request: GetStockAsOfRequest) -> Result<GetStockAsOfResponse, Error> {
        unary!(self, get_stock_as_of, request.clone())
    }

    /// Watches what can be reserved of at most 1,000 SKUs, or of all if there are none: everything and then every change, or every change after
    /// `resume_token` if that is not empty. Nothing is sent before the first [`AvailabilityWatch::next`].
    pub fn watch_availability(&self, skus: Vec<String>, resume_token: &str) -> AvailabilityWatch {
        AvailabilityWatch::new(self.connection.clone(), self.grpc.clone(), skus, resume_token)
    }
}
