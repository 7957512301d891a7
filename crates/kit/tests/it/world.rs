//! A server with a service that does as the tests tell it by the owner of a reservation, and a client of it.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::reservation_service_server::{
    ReservationService, ReservationServiceServer, SERVICE_NAME,
};
use holdfast_api::reservation::v1::{
    BatchReserveRequest, BatchReserveResponse, CancelRequest, CancelResponse, ConfirmRequest, ConfirmResponse,
    ExtendRequest, ExtendResponse, FulfilRequest, FulfilResponse, GetReservationRequest, GetReservationResponse,
    ListAtRiskRequest, ListAtRiskResponse, ListReservationsRequest, ListReservationsResponse, RecordEvidenceRequest,
    RecordEvidenceResponse, ReleaseRequest, ReleaseResponse, ReplaceRequest, ReplaceResponse, Reservation,
    ReserveRequest, ReserveResponse, ReturnRequest, ReturnResponse, WatchReservationsRequest,
    WatchReservationsResponse,
};
use holdfast_kit::config::Common;
use holdfast_kit::server::ServeError;
use holdfast_kit::{
    CancellationToken, ErrorReason, Listeners, Method, MethodTable, Metrics, Priority, Problem, Readiness, Role,
    Server, propagate, reason_of,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

const PATH: &str = "/holdfast.reservation.v1.ReservationService";
const _: () = assert!(PATH.len() == SERVICE_NAME.len() + 1);

static METHODS: MethodTable = MethodTable::new(
    &[SERVICE_NAME],
    &[
        Method::new("/holdfast.reservation.v1.ReservationService/Reserve", Priority::Begin, &[Role::Checkout]),
        Method::new("/holdfast.reservation.v1.ReservationService/BatchReserve", Priority::Begin, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/Replace", Priority::Begin, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/Confirm", Priority::Finish, &[Role::Checkout]),
        Method::new("/holdfast.reservation.v1.ReservationService/Fulfil", Priority::Finish, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/Cancel", Priority::Finish, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/Return", Priority::Undo, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/RecordEvidence", Priority::Undo, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/Release", Priority::Undo, &[Role::Checkout]),
        Method::new("/holdfast.reservation.v1.ReservationService/Extend", Priority::Begin, &[]),
        Method::new("/holdfast.reservation.v1.ReservationService/GetReservation", Priority::Read, Role::ALL),
        Method::new("/holdfast.reservation.v1.ReservationService/ListReservations", Priority::Read, Role::ALL),
        Method::new("/holdfast.reservation.v1.ReservationService/WatchReservations", Priority::Read, &[Role::Checkout]),
        Method::new("/holdfast.reservation.v1.ReservationService/ListAtRisk", Priority::Read, &[Role::Checkout]),
    ],
);

/// The tokens of the callers that every world has.
pub(crate) const CHECKOUT: &str = "checkout-token-0123456789";
pub(crate) const MONITOR: &str = "monitor-token-0123456789";

/// A running server.
pub(crate) struct World {
    pub(crate) channel: Channel,
    /// Where it serves gRPC.
    pub(crate) address: String,
    pub(crate) admin: std::net::SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
    /// Lets as many waiting handlers answer as permits are added.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
}

/// A server with the defaults.
pub(crate) async fn world() -> World {
    world_with(|_| {}).await
}

/// A server with defaults that `change` changes. Anybody may do what a checkout may.
pub(crate) async fn world_with(change: impl FnOnce(&mut Common)) -> World {
    let callers = toml::from_str(&format!(
        r#"
        unauthenticated_roles = ["checkout"]
        list = [
            {{ name = "shop", roles = ["checkout"], token = "{CHECKOUT}" }},
            {{ name = "watcher", roles = ["monitor"], token = "{MONITOR}" }},
        ]
        "#
    ))
    .unwrap();
    let mut common = Common { callers, ..Common::default() };
    change(&mut common);
    let listeners = Listeners::local().await.unwrap();
    let admin = listeners.admin_address().unwrap();
    let url = format!("http://{}", listeners.grpc_address().unwrap());
    let channel = Endpoint::from_shared(url.clone()).unwrap().connect_lazy();
    let (metrics, shutdown, gate) = (Metrics::new(), CancellationToken::new(), Arc::new(Semaphore::new(0)));
    let service = Obedient { gate: Arc::clone(&gate), channel: channel.clone() };
    let server = Server::new(&common, "holdfast-obedient", &METHODS, &metrics)
        .add_service(ReservationServiceServer::new(service));
    let served = tokio::spawn(server.serve(listeners, || Readiness::Ready, shutdown.clone()));
    World { channel, address: url, admin, metrics, shutdown, gate, served }
}

impl World {
    pub(crate) fn client(&self) -> ReservationServiceClient<Channel> {
        ReservationServiceClient::new(self.channel.clone())
    }

    /// Reserves as `owner`, who says what the handler does.
    pub(crate) async fn reserve(&self, owner: &str) -> Result<String, Status> {
        self.reserve_with(Request::new(wish(owner))).await
    }

    pub(crate) async fn reserve_with(&self, request: Request<ReserveRequest>) -> Result<String, Status> {
        let mut client = self.client();
        let answer = tokio::time::timeout(Duration::from_secs(20), client.reserve(request));
        let response = answer.await.expect("an answer within 20 s")?;
        Ok(response.into_inner().reservation.unwrap_or_default().owner)
    }

    /// One path of the admin port: its status line and its body.
    pub(crate) async fn admin(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Waits until so many requests have a place.
    pub(crate) async fn in_flight(&self, count: usize) {
        let line = format!("holdfast_rpc_server_in_flight {count}\n");
        tokio::time::timeout(Duration::from_secs(10), async {
            while !self.metrics.encode().contains(&line) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("never {count} in flight"));
    }
}

pub(crate) fn wish(owner: &str) -> ReserveRequest {
    ReserveRequest { owner: owner.to_owned(), ..ReserveRequest::default() }
}

/// A request with a token.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Fails unless the status has this reason, its code, and exactly one `ErrorInfo`.
#[track_caller]
pub(crate) fn assert_reason(status: &Status, reason: ErrorReason) {
    assert_eq!(reason_of(status), Some(reason), "{status:?}");
    assert_eq!(status.code(), holdfast_kit::code(reason), "{status:?}");
}

/// Does what the owner says.
struct Obedient {
    gate: Arc<Semaphore>,
    channel: Channel,
}

impl Obedient {
    async fn obey(&self, request: &Request<ReserveRequest>) -> Result<String, Status> {
        match request.get_ref().owner.as_str() {
            "wait for ever" => std::future::pending().await,
            "wait at the gate" => {
                self.gate.acquire().await.unwrap().forget();
                Ok(String::from("through"))
            }
            "panic" => panic!("told to"),
            "leak" => Err(Status::internal("password=hunter2 at 10.0.0.1")),
            "leak unavailable" => Err(Status::unavailable("password=hunter2 at 10.0.0.1")),
            "sold out" => Err(Problem::new(ErrorReason::InsufficientStock, "1 line is short")
                .precondition("STOCK", "sku/A", "requested 2, available 1")
                .into()),
            "who" => {
                let caller = holdfast_kit::caller(request);
                Ok(format!("{} {:?}", caller.name, caller.roles))
            }
            "deadline" => Ok(holdfast_kit::deadline(request).remaining().as_millis().to_string()),
            "attempt" => Ok(holdfast_kit::attempt(request).0.to_string()),
            "trace" => {
                // The next hop says which context it got.
                let mut client = ReservationServiceClient::with_interceptor(self.channel.clone(), propagate);
                let answer = client.get_reservation(GetReservationRequest::default()).await?;
                Ok(answer.into_inner().reservation.unwrap_or_default().owner)
            }
            other => Ok(other.to_owned()),
        }
    }
}

fn reservation(owner: String) -> Option<Reservation> {
    Some(Reservation { owner, ..Reservation::default() })
}

#[tonic::async_trait]
impl ReservationService for Obedient {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let owner = self.obey(&request).await?;
        Ok(Response::new(ReserveResponse { reservation: reservation(owner), ..ReserveResponse::default() }))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        let seen = request.metadata().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        Ok(Response::new(GetReservationResponse { reservation: reservation(seen.unwrap_or_default()) }))
    }

    async fn confirm(&self, _: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        Ok(Response::new(ConfirmResponse::default()))
    }

    async fn batch_reserve(&self, _: Request<BatchReserveRequest>) -> Result<Response<BatchReserveResponse>, Status> {
        Ok(Response::new(BatchReserveResponse::default()))
    }

    async fn replace(&self, _: Request<ReplaceRequest>) -> Result<Response<ReplaceResponse>, Status> {
        Ok(Response::new(ReplaceResponse::default()))
    }

    async fn fulfil(&self, _: Request<FulfilRequest>) -> Result<Response<FulfilResponse>, Status> {
        Ok(Response::new(FulfilResponse::default()))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        Ok(Response::new(CancelResponse::default()))
    }

    async fn r#return(&self, _: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        Ok(Response::new(ReturnResponse::default()))
    }

    async fn record_evidence(
        &self,
        _: Request<RecordEvidenceRequest>,
    ) -> Result<Response<RecordEvidenceResponse>, Status> {
        Ok(Response::new(RecordEvidenceResponse::default()))
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        Ok(Response::new(ReleaseResponse::default()))
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        Ok(Response::new(ExtendResponse::default()))
    }

    async fn list_reservations(
        &self,
        _: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        Ok(Response::new(ListReservationsResponse::default()))
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
