//! A real gRPC server that answers as it is told to, call by call, and remembers what it was sent; behind a proxy that can cut its connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_client::api::reservation::v1::reservation_service_server::{ReservationService, ReservationServiceServer};
use holdfast_client::api::reservation::v1::*;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What the server does with the next call.
pub(crate) enum Step {
    /// Answers well.
    Answer,
    /// Fails.
    Fail(Status),
    /// Never answers.
    Hang,
    /// Cuts all connections while the call is being worked on.
    Cut,
}

/// A call that the server was sent.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) metadata: MetadataMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A holdfast error as a service would send it.
pub(crate) fn holdfast(code: Code, reason: &str, retry_after: Option<Duration>) -> Step {
    let mut details = ErrorDetails::with_error_info(reason, "holdfast", []);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Step::Fail(Status::with_error_details(code, "as scripted", details))
}

/// The server. It lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    cut: Arc<Notify>,
}

impl Server {
    /// Listens and follows `steps`; after them it answers well.
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = inner.local_addr().unwrap();
        let server = Self {
            address: outer.local_addr().unwrap(),
            steps: Arc::new(Mutex::new(steps.into_iter().collect())),
            seen: Arc::default(),
            cut: Arc::default(),
        };
        let service = ReservationServiceServer::new(server.clone());
        let serving = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(inner)));
        tokio::spawn(proxy(outer, behind, server.cut.clone()));
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call that arrived, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn follow<M, R: Default>(
        &self,
        request: Request<M>,
        id: impl Fn(&M) -> (String, u32),
    ) -> Result<Response<R>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (id, attempt) = id(&message);
        self.seen.lock().unwrap().push(Seen { id, attempt, metadata });
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Step::Answer);
        match step {
            Step::Answer => Ok(Response::new(R::default())),
            Step::Fail(status) => Err(status),
            Step::Hang => std::future::pending().await,
            Step::Cut => {
                self.cut.notify_one();
                std::future::pending().await
            }
        }
    }
}

/// Carries bytes both ways until it is told to cut, which drops every connection; new ones are taken again.
async fn proxy(listener: TcpListener, behind: SocketAddr, cut: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut client, _) = accepted.unwrap();
                connections.spawn(async move {
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
            () = cut.notified() => connections.shutdown().await,
        }
    }
}

#[tonic::async_trait]
impl ReservationService for Server {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        self.follow(request, |message| (message.reservation_id.clone(), message.attempt)).await
    }

    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn batch_reserve(
        &self,
        request: Request<BatchReserveRequest>,
    ) -> Result<Response<BatchReserveResponse>, Status> {
        self.follow(request, |message| (message.requests[0].reservation_id.clone(), message.requests[0].attempt)).await
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Result<Response<ReplaceResponse>, Status> {
        let new = |message: &ReplaceRequest| message.reservation.clone().unwrap();
        self.follow(request, |message| (new(message).reservation_id, new(message).attempt)).await
    }

    async fn fulfil(&self, request: Request<FulfilRequest>) -> Result<Response<FulfilResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn r#return(&self, request: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn record_evidence(
        &self,
        request: Request<RecordEvidenceRequest>,
    ) -> Result<Response<RecordEvidenceResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        self.follow(request, |message| (message.request_id.clone(), 0)).await
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        self.follow(request, |message| (message.reservation_id.clone(), 0)).await
    }

    async fn list_reservations(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        self.follow(request, |message| (message.page_token.clone(), 0)).await
    }

    type WatchReservationsStream = tonic::codegen::BoxStream<WatchReservationsResponse>;

    async fn watch_reservations(
        &self,
        _: Request<WatchReservationsRequest>,
    ) -> Result<Response<Self::WatchReservationsStream>, Status> {
        Err(Status::unimplemented("not played here"))
    }

    async fn list_at_risk(&self, _: Request<ListAtRiskRequest>) -> Result<Response<ListAtRiskResponse>, Status> {
        Err(Status::unimplemented("not played here"))
    }
}
