//! What a canary makes of answers that no service should give, of answers that come too late, and of none. The real services are asked in `crates/holdfast`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_client::api::reservation::v1::*;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that gives every unit to whoever asks.
#[derive(Clone)]
struct Script {
    /// What can be had, look by look; the last one again and again.
    looks: &'static [i64],
    /// Where a reservation stands when its first answer comes.
    at_first: ReservationState,
    /// Where it stands when it is looked at.
    looked_at: Result<ReservationState, (Code, &'static str)>,
    /// What becomes of a look at what can be had, instead.
    instead: Option<Instead>,
}

#[derive(Clone, Copy)]
enum Instead {
    Fail(Code, &'static str),
    NoAnswer,
}

const OVERSELLING: Script =
    Script { looks: &[1, 0], at_first: ReservationState::Held, looked_at: Ok(ReservationState::Held), instead: None };

fn fail<T>(code: Code, reason: &str) -> Result<T, Status> {
    Err(Status::with_error_details(code, "as scripted", ErrorDetails::with_error_info(reason, "holdfast", [])))
}

/// What the service has heard.
#[derive(Default)]
struct Heard {
    looks: usize,
    holds: Vec<Duration>,
    released: Vec<String>,
}

#[derive(Clone)]
struct World {
    script: Script,
    heard: Arc<Mutex<Heard>>,
    looked: Arc<Notify>,
}

/// The services that a canary needs while its unit is there: stock, or reservations.
#[derive(Clone)]
struct Serving<const STOCK: bool>(World);

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl UnaryService<BatchGetAvailabilityRequest> for World {
    type Response = BatchGetAvailabilityResponse;
    type Future = Answer<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<BatchGetAvailabilityRequest>) -> Self::Future {
        let World { script, heard, looked } = self.clone();
        Box::pin(async move {
            looked.notify_one();
            match script.instead {
                Some(Instead::Fail(code, reason)) => return fail(code, reason),
                Some(Instead::NoAnswer) => std::future::pending().await,
                None => {}
            }
            let mut heard = heard.lock().unwrap();
            let available = script.looks[heard.looks.min(script.looks.len() - 1)];
            heard.looks += 1;
            let sku = request.into_inner().skus.remove(0);
            let results = vec![Availability { sku, known: true, available, ..Availability::default() }];
            Ok(Response::new(BatchGetAvailabilityResponse { results }))
        })
    }
}

impl UnaryService<ReserveRequest> for World {
    type Response = ReserveResponse;
    type Future = Answer<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<ReserveRequest>) -> Self::Future {
        let request = request.into_inner();
        self.heard.lock().unwrap().holds.push(request.hold_duration.unwrap().try_into().unwrap());
        let current_state = self.script.at_first.into();
        Box::pin(async move { Ok(Response::new(ReserveResponse { current_state, ..ReserveResponse::default() })) })
    }
}

impl UnaryService<GetReservationRequest> for World {
    type Response = GetReservationResponse;
    type Future = Answer<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, _: Request<GetReservationRequest>) -> Self::Future {
        let looked_at = self.script.looked_at;
        Box::pin(async move {
            let state = looked_at.or_else(|(code, reason)| fail(code, reason))?.into();
            let reservation = Some(Reservation { state, ..Reservation::default() });
            Ok(Response::new(GetReservationResponse { reservation }))
        })
    }
}

impl UnaryService<ReleaseRequest> for World {
    type Response = ReleaseResponse;
    type Future = Answer<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<ReleaseRequest>) -> Self::Future {
        self.heard.lock().unwrap().released.push(request.into_inner().reservation_id);
        Box::pin(async move { Ok(Response::new(ReleaseResponse::default())) })
    }
}

impl NamedService for Serving<true> {
    const NAME: &'static str = "holdfast.reservation.v1.StockService";
}

impl NamedService for Serving<false> {
    const NAME: &'static str = "holdfast.reservation.v1.ReservationService";
}

impl<const STOCK: bool> Service<http::Request<Body>> for Serving<STOCK> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        /// Serves the method that the request names.
        macro_rules! serve {
            ($world:expr, $request:expr, $($method:literal => $message:ty),+) => {
                match $request.uri().path().rsplit('/').next().unwrap() {
                    $($method => {
                        let codec = tonic_prost::ProstCodec::<<World as UnaryService<$message>>::Response, $message>::default();
                        Grpc::new(codec).unary($world, $request).await
                    })+
                    other => panic!("a canary does not call {other}"),
                }
            };
        }
        let world = self.0.clone();
        Box::pin(async move {
            Ok(serve!(
                world, request,
                "BatchGetAvailability" => BatchGetAvailabilityRequest, "Reserve" => ReserveRequest,
                "GetReservation" => GetReservationRequest, "Release" => ReleaseRequest
            ))
        })
    }
}

/// Serves it; the world, and a canary that is about to ask.
async fn canary(script: Script, arguments: &[&str]) -> (World, Command) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let world = World { script, heard: Arc::default(), looked: Arc::default() };
    let serving = tonic::transport::Server::builder()
        .add_service(Serving::<true>(world.clone()))
        .add_service(Serving::<false>(world.clone()));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdctl"));
    command.env_clear().env("HOLDFAST_RESERVATION_ENDPOINT", endpoint).arg("canary").args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    (world, command)
}

async fn ends(command: &mut Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap()
}

/// How a canary ends to which that happens, and what the service has heard of it.
async fn ended(script: Script, code: i32, says: &str) -> Arc<Mutex<Heard>> {
    let (world, mut command) = canary(script, &[]).await;
    let output = ends(&mut command).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(says), "{says}: {said}");
    world.heard
}

#[tokio::test]
async fn two_holds_of_one_unit_are_oversold_if_both_stand() {
    let heard = ended(OVERSELLING, 1, "OVERSOLD").await;
    assert_eq!(heard.lock().unwrap().released.len(), 2, "both are given back");
    ended(Script { looks: &[1, 1], ..OVERSELLING }, 1, "is held, and Some(1) can be had").await;
}

#[tokio::test]
async fn nobody_is_accused_because_of_a_hold_that_has_ended() {
    for looks in [&[1, 0][..], &[1, 1]] {
        let over = Script { looks, looked_at: Ok(ReservationState::Released), ..OVERSELLING };
        let heard = ended(over, 3, "too slow to tell").await;
        assert!(!heard.lock().unwrap().released.is_empty(), "what it holds is given back");
    }
    let late = Script { at_first: ReservationState::Released, ..OVERSELLING };
    ended(late, 3, "it is RELEASED").await;
    // Whether the hold stands is not told either.
    let unknown = Script { looked_at: Err((Code::Internal, "INTERNAL")), ..OVERSELLING };
    ended(unknown, 3, "OVERSOLD: two reservations hold the only unit of HOLDFAST-CANARY; unless the hold was over")
        .await;
}

#[tokio::test]
async fn a_hold_that_is_lost_or_ends_before_its_time_is_wrong() {
    let lost = Script { looked_at: Err((Code::NotFound, "NOT_FOUND")), ..OVERSELLING };
    ended(lost, 1, "was acknowledged, and is not there").await;
    let cut = Script { looked_at: Ok(ReservationState::Expired), ..OVERSELLING };
    ended(cut, 1, "was for 60 s, and is over after").await;
}

#[tokio::test]
async fn a_hold_lasts_as_long_as_the_calls_may_take() {
    for (timeout, hold) in [("1s", 30), ("10s", 60), ("20s", 110), ("1h", 300)] {
        let (world, mut command) = canary(OVERSELLING, &["--timeout", timeout]).await;
        ends(&mut command).await;
        assert_eq!(world.heard.lock().unwrap().holds, [Duration::from_secs(hold); 2], "{timeout}");
    }
}

#[tokio::test]
async fn no_answer_is_code_3_and_a_refusal_is_code_1() {
    for (instead, code, says) in [
        (Instead::Fail(Code::Internal, "INTERNAL"), 3, "Nothing can be told"),
        (Instead::Fail(Code::ResourceExhausted, "OVERLOADED"), 3, "Nothing can be told"),
        (Instead::Fail(Code::PermissionDenied, "METHOD_NOT_ALLOWED"), 1, "METHOD_NOT_ALLOWED"),
    ] {
        ended(Script { instead: Some(instead), ..OVERSELLING }, code, says).await;
    }
    let (_world, mut command) =
        canary(Script { instead: Some(Instead::NoAnswer), ..OVERSELLING }, &["--timeout", "200ms"]).await;
    assert_eq!(ends(&mut command).await.status.code(), Some(3));
}

#[tokio::test]
async fn a_canary_that_is_asked_to_end_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let (world, mut command) =
            canary(Script { instead: Some(Instead::NoAnswer), ..OVERSELLING }, &["--timeout", "1h"]).await;
        let child = command.spawn().unwrap();
        tokio::time::timeout(PATIENCE, world.looked.notified()).await.expect("it asks");
        let kill = Command::new("sh").args(["-c", "kill -s $0 $1", signal, &child.id().unwrap().to_string()]).status();
        assert!(kill.await.unwrap().success());
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(3), "{signal}: {}", output.status);
        assert!(String::from_utf8(output.stderr).unwrap().contains("asked to end"));
    }
}
