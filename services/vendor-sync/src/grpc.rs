//! The RPCs: each decodes, calls, encodes.

mod connections;
mod house;
mod offers;
mod quarantine;
mod runs;
mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::vendor_sync_service_server::VendorSyncService;
use holdfast_kit::page::Token;
use holdfast_kit::{Problem, Saturation};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::config::{Config, UploadsConfig};
use crate::convert::{self, Fetchable};
use crate::fetch::Fetcher;
use crate::peers::{PeerError, Peers};
use crate::runs::Runs;
use crate::store::{RunCursor, Store, StoreError};

/// What a caller is told to wait when something is full.
const RETRY: Duration = Duration::from_secs(2);
/// How long before a caller's deadline it gets its answer, as a part of what is left of it.
const MARGIN: u32 = 10;
/// … at most.
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// A handler's result.
type Answer<T> = Result<Response<T>, Status>;

/// Default and most items of a page: connections.
const CONNECTIONS: (i32, i32) = (100, 1000);
/// Runs.
const RUNS: (i32, i32) = (50, 500);
/// Rows.
const ROWS: (i32, i32) = (100, 1000);

/// Serves vendor-sync over gRPC.
#[derive(Debug)]
pub struct Grpc {
    store: Store,
    peers: Peers,
    runs: Runs,
    fetcher: Fetcher,
    uploads: UploadsConfig,
    places: Arc<Semaphore>,
    fetchable: Fetchable,
    /// What changes the record goes on here when its caller has gone: a cancelled request is not a rolled-back one.
    tasks: TaskTracker,
}

impl Grpc {
    /// Serves what is in a store. `tasks` has what goes on after an answer.
    #[must_use]
    pub fn new(store: Store, peers: Peers, runs: Runs, fetcher: Fetcher, config: &Config, tasks: TaskTracker) -> Self {
        let uploads = config.uploads.clone();
        let places = Arc::new(Semaphore::new(uploads.at_once_max));
        Self { store, peers, runs, fetcher, uploads, places, fetchable: config.fetchable(), tasks }
    }

    /// Lets the places count for how full the process is.
    pub fn watch_by(&self, saturation: &Saturation) {
        saturation.watch_permits("uploads", &self.places, self.uploads.at_once_max);
    }
}

impl Grpc {
    /// Until when a caller with so much time left waits for a run.
    fn until(&self, remaining: Duration) -> Instant {
        let margin = (remaining / MARGIN).min(MARGIN_MAX);
        let patience = Duration::from_millis(self.uploads.answer_wait_ms_max);
        Instant::now() + remaining.saturating_sub(margin).min(patience)
    }
}

#[tonic::async_trait]
impl VendorSyncService for Grpc {
    async fn create_connection(
        &self,
        request: Request<wire::CreateConnectionRequest>,
    ) -> Answer<wire::CreateConnectionResponse> {
        self.create(request.into_inner()).await
    }

    async fn get_connection(
        &self,
        request: Request<wire::GetConnectionRequest>,
    ) -> Answer<wire::GetConnectionResponse> {
        let code = convert::code(request.into_inner().code)?;
        let found = self.store.connection(&code).await.map_err(Problem::from)?;
        let found = found.ok_or_else(|| convert::no_connection(&code))?;
        Ok(Response::new(wire::GetConnectionResponse { connection: Some(convert::connection(found.connection)) }))
    }

    async fn update_connection(
        &self,
        request: Request<wire::UpdateConnectionRequest>,
    ) -> Answer<wire::UpdateConnectionResponse> {
        self.update(request.into_inner()).await
    }

    async fn pause_connection(
        &self,
        request: Request<wire::PauseConnectionRequest>,
    ) -> Answer<wire::PauseConnectionResponse> {
        self.pause(request.into_inner()).await
    }

    async fn resume_connection(
        &self,
        request: Request<wire::ResumeConnectionRequest>,
    ) -> Answer<wire::ResumeConnectionResponse> {
        self.resume(request.into_inner()).await
    }

    async fn fetch_now(&self, request: Request<wire::FetchNowRequest>) -> Answer<wire::FetchNowResponse> {
        self.fetch(request).await
    }

    async fn list_connections(
        &self,
        request: Request<wire::ListConnectionsRequest>,
    ) -> Answer<wire::ListConnectionsResponse> {
        const FILTERS: &[&str] = &["ListConnections"];
        let wire::ListConnectionsRequest { page_size, page_token } = request.into_inner();
        let size = convert::page_size(page_size, CONNECTIONS, |_| {})?;
        let after: String = Token::decode(&page_token, FILTERS)?.unwrap_or_default();
        let page = self.store.list_connections(&after, size).await.map_err(Problem::from)?;
        let next = page.items.last().filter(|_| page.more).map(|last| Token::encode(FILTERS, &last.content.code));
        Ok(Response::new(wire::ListConnectionsResponse {
            connections: page.items.into_iter().map(convert::connection).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn upload_feed(
        &self,
        request: Request<Streaming<wire::UploadFeedRequest>>,
    ) -> Answer<wire::UploadFeedResponse> {
        self.upload(request).await
    }

    async fn get_run(&self, request: Request<wire::GetRunRequest>) -> Answer<wire::GetRunResponse> {
        let run_id = convert::run_id(&request.into_inner().run_id)?;
        let run = self.store.run(run_id).await.map_err(Problem::from)?.ok_or_else(|| convert::no_run(run_id))?;
        Ok(Response::new(wire::GetRunResponse { run: Some(convert::run(run)) }))
    }

    async fn list_runs(&self, request: Request<wire::ListRunsRequest>) -> Answer<wire::ListRunsResponse> {
        let wire::ListRunsRequest { page_size, page_token, connection, state } = request.into_inner();
        let mut wanted = None;
        let size = convert::page_size(page_size, RUNS, |violations| {
            if !connection.is_empty() {
                violations.check_code("connection", &connection);
            }
            wanted = convert::run_state(violations, state);
        })?;
        let filters = ["ListRuns", &connection, &state.to_string()];
        let after: Option<RunCursor> = Token::decode(&page_token, &filters)?;
        let filter = Some(connection.as_str()).filter(|connection| !connection.is_empty());
        let page = self.store.list_runs(after.as_ref(), filter, wanted, size).await.map_err(Problem::from)?;
        let next = page.items.last().filter(|_| page.more).map(|last| Token::encode(&filters, &RunCursor::from(last)));
        Ok(Response::new(wire::ListRunsResponse {
            runs: page.items.into_iter().map(convert::run).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn list_run_rows(&self, request: Request<wire::ListRunRowsRequest>) -> Answer<wire::ListRunRowsResponse> {
        let wire::ListRunRowsRequest { run_id, page_size, page_token, outcome } = request.into_inner();
        let (mut run, mut filter) = (Uuid::nil(), None);
        let size = convert::page_size(page_size, ROWS, |violations| {
            run = violations.check_uuid("run_id", &run_id).unwrap_or_default();
            filter = convert::outcome(violations, outcome);
        })?;
        let filters = ["ListRunRows", &run.to_string(), &outcome.to_string()];
        let after: i64 = Token::decode(&page_token, &filters)?.unwrap_or(-1);
        if self.store.run(run).await.map_err(Problem::from)?.is_none() {
            return Err(convert::no_run(run).into());
        }
        let page = self.store.list_rows(run, after, filter, size).await.map_err(Problem::from)?;
        let next = page.items.last().filter(|_| page.more).map(|last| Token::encode(&filters, &last.ordinal));
        Ok(Response::new(wire::ListRunRowsResponse {
            rows: page.items.into_iter().map(convert::row).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn approve_run(&self, request: Request<wire::ApproveRunRequest>) -> Answer<wire::ApproveRunResponse> {
        self.approve(request).await
    }

    async fn reject_run(&self, request: Request<wire::RejectRunRequest>) -> Answer<wire::RejectRunResponse> {
        self.reject(request.into_inner()).await
    }

    async fn apply_offers(&self, request: Request<wire::ApplyOffersRequest>) -> Answer<wire::ApplyOffersResponse> {
        self.take_offers(request.into_inner()).await
    }
}

/// The record failed after a decision was kept.
fn decided_anyway(error: StoreError) -> Problem {
    let message = "the decision is kept, and what came of it cannot be read now; send it again to learn of it";
    Problem::new(ErrorReason::StoreUnavailable, message).because(error)
}

/// Catalog was needed for an answer and did not give its own.
fn unreachable(error: PeerError) -> Problem {
    Problem::new(ErrorReason::StoreUnavailable, "catalog did not answer; nothing was done, try again").because(error)
}
