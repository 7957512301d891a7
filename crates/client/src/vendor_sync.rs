//! Vendors' feeds: connections, uploads, runs and their rows.

use std::time::Duration;

use bytes::Bytes;
use holdfast_api::vendorsync::v1::upload_feed_request::Part;
use holdfast_api::vendorsync::v1::vendor_sync_service_client::VendorSyncServiceClient;
use holdfast_api::vendorsync::v1::{
    ApplyOffersRequest, ApplyOffersResponse, ApproveRunRequest, ApproveRunResponse, Connection as Feed,
    CreateConnectionRequest, CreateConnectionResponse, FetchNowRequest, FetchNowResponse, GetConnectionRequest,
    GetConnectionResponse, GetRunRequest, GetRunResponse, ListConnectionsRequest, ListConnectionsResponse,
    ListRunRowsRequest, ListRunRowsResponse, ListRunsRequest, ListRunsResponse, PauseConnectionRequest,
    PauseConnectionResponse, RejectRunRequest, RejectRunResponse, ResumeConnectionRequest, ResumeConnectionResponse,
    SkuOffers, UpdateConnectionRequest, UpdateConnectionResponse, UploadFeedRequest, UploadFeedResponse,
    UploadFeedSpec,
};
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, mask, unary};
use crate::error::Error;
use crate::keys::RequestKey;
use crate::retry::RetryPolicy;
use crate::upload::{Progress, parts};

/// Who decides something, and why: kept with what was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who: 1 to 128 bytes.
    pub actor: String,
    /// Why, in that person's words: 1 to 500 bytes.
    pub reason: String,
}

/// Registers feeds, uploads files and reads what became of them.
#[derive(Debug, Clone)]
pub struct VendorSyncClient {
    connection: Connection,
    grpc: VendorSyncServiceClient<Channel>,
}

impl VendorSyncClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc = VendorSyncServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
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

    /// Creates a connection (a vendor's feed).
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::AlreadyExists`], [`Error::UnknownReference`] (vendor or location), [`Error::KeyReused`]: nothing was
    /// created. As any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn create_connection(
        &self,
        key: RequestKey,
        connection: Feed,
    ) -> Result<CreateConnectionResponse, Error> {
        unary!(
            self,
            create_connection,
            CreateConnectionRequest { request_id: key.to_string(), connection: Some(connection.clone()) }
        )
    }

    /// Reads a connection by its code.
    ///
    /// # Errors
    /// [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn get_connection(&self, code: &str) -> Result<GetConnectionResponse, Error> {
        unary!(self, get_connection, GetConnectionRequest { code: code.to_owned() })
    }

    /// Reads a page of connections, in the order of their codes.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_connections(&self, request: ListConnectionsRequest) -> Result<ListConnectionsResponse, Error> {
        unary!(self, list_connections, request.clone())
    }

    /// Changes the fields of a connection that `fields` names (`mode`, `meaning`, `csv_schema`, `json_schema`, `cadence`, `drop_folder`, `http_pull`,
    /// `apply_first_file`), if it still has `connection.etag`, or anyway if that is empty.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::EtagMismatch`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn update_connection(
        &self,
        key: RequestKey,
        connection: Feed,
        fields: &[&str],
    ) -> Result<UpdateConnectionResponse, Error> {
        unary!(
            self,
            update_connection,
            UpdateConnectionRequest {
                request_id: key.to_string(),
                connection: Some(connection.clone()),
                update_mask: mask(fields),
            }
        )
    }

    /// Stops applying a connection's files: they are held from now on. One that is paused stays so.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn pause_connection(
        &self,
        key: RequestKey,
        code: &str,
        decision: &Decision,
    ) -> Result<PauseConnectionResponse, Error> {
        unary!(
            self,
            pause_connection,
            PauseConnectionRequest {
                request_id: key.to_string(),
                code: code.to_owned(),
                actor: decision.actor.clone(),
                reason: decision.reason.clone(),
            }
        )
    }

    /// Goes on applying a connection's files; those that are held stay held.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn resume_connection(
        &self,
        key: RequestKey,
        code: &str,
        decision: &Decision,
    ) -> Result<ResumeConnectionResponse, Error> {
        unary!(
            self,
            resume_connection,
            ResumeConnectionRequest {
                request_id: key.to_string(),
                code: code.to_owned(),
                actor: decision.actor.clone(),
                reason: decision.reason.clone(),
            }
        )
    }

    /// Looks at a connection's drop folder or address now. Harmless when repeated: a file that is known is not applied again. A look that fetches a long file
    /// needs a long deadline; an attempt may take all of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] (the connection has neither), [`Error::NotFound`]. As any call, [`Error::Unknown`] among them: then the look may have happened;
    /// call again.
    pub async fn fetch_now(&self, code: &str) -> Result<FetchNowResponse, Error> {
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.fetch_now(request).await }
        };
        self.connection.in_one_attempt().call(|_open| FetchNowRequest { code: code.to_owned() }, send).await
    }

    /// Takes a file to vendor-sync, which applies it; answers when every row has its outcome. The same content with the same `as_of_time` is one
    /// run, so an interrupted upload can be repeated, and goes on where it stopped. `spec.request_id` is replaced by `key`; `progress` hears of
    /// the bytes that went out. A file that is refused or held is no error: the run says so.
    ///
    /// A long file needs a long deadline: see [`VendorSyncClient::with_deadline`]. An attempt may take all of it.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownReference`] (the connection), [`Error::TooLarge`], [`Error::KeyReused`]: nothing was applied.
    /// [`Error::Unknown`]: all or a part may be; upload again.
    pub async fn upload_feed(
        &self,
        key: RequestKey,
        spec: UploadFeedSpec,
        file: Bytes,
        progress: Progress,
    ) -> Result<UploadFeedResponse, Error> {
        let size_bytes = i64::try_from(file.len()).unwrap_or(0);
        let first = Part::Spec(UploadFeedSpec { request_id: key.to_string(), size_bytes, ..spec });
        let message = move |part| UploadFeedRequest { part: Some(part) };
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.upload_feed(request).await }
        };
        self.connection
            .in_one_attempt()
            .call(
                |_open| parts(message(first.clone()), &file, &progress, move |c| message(Part::Chunk(c.to_vec()))),
                send,
            )
            .await
    }

    /// Reads a run.
    ///
    /// # Errors
    /// [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn get_run(&self, run_id: &str) -> Result<GetRunResponse, Error> {
        unary!(self, get_run, GetRunRequest { run_id: run_id.to_owned() })
    }

    /// Reads a page of runs, in the order of time, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_runs(&self, request: ListRunsRequest) -> Result<ListRunsResponse, Error> {
        unary!(self, list_runs, request.clone())
    }

    /// Reads a page of a run's rows, in the order of the file.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`],
    /// [`Error::Unknown`], and those of who may call. Reading changes nothing.
    pub async fn list_run_rows(&self, request: ListRunRowsRequest) -> Result<ListRunRowsResponse, Error> {
        unary!(self, list_run_rows, request.clone())
    }

    /// Believes a held file: it is applied, its rows still pass their guards. A long file needs a long deadline; an attempt may take all of it. If it takes
    /// longer than the service waits, the run is still `APPLYING`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::AlreadyDecided`], [`Error::KeyReused`]: nothing was applied by this call. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn approve_run(
        &self,
        key: RequestKey,
        run_id: &str,
        decision: &Decision,
    ) -> Result<ApproveRunResponse, Error> {
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.approve_run(request).await }
        };
        let message = |_open| ApproveRunRequest {
            request_id: key.to_string(),
            run_id: run_id.to_owned(),
            actor: decision.actor.clone(),
            reason: decision.reason.clone(),
        };
        self.connection.in_one_attempt().call(message, send).await
    }

    /// Does not believe a held file: nothing of it will be applied.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::AlreadyDecided`], [`Error::KeyReused`]: nothing was changed. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn reject_run(
        &self,
        key: RequestKey,
        run_id: &str,
        decision: &Decision,
    ) -> Result<RejectRunResponse, Error> {
        unary!(
            self,
            reject_run,
            RejectRunRequest {
                request_id: key.to_string(),
                run_id: run_id.to_owned(),
                actor: decision.actor.clone(),
                reason: decision.reason.clone(),
            }
        )
    }

    /// Tells 1 to 1,000 SKUs' offers. For catalog only. Harmless when repeated, so it needs no key.
    ///
    /// # Errors
    /// [`Error::Invalid`]: nothing was applied. As any call, [`Error::Unknown`] among them: then some or all may be; call again.
    pub async fn apply_offers(&self, skus: Vec<SkuOffers>) -> Result<ApplyOffersResponse, Error> {
        unary!(self, apply_offers, ApplyOffersRequest { skus: skus.clone() })
    }
}
