//! What a script can rely on: exit codes, the result on standard output and everything else on standard error.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::process::{Output, Stdio};

use holdfast_client::ReservationKey;
use holdfast_client::api::reservation::v1::reservation_service_server::{ReservationService, ReservationServiceServer};
use holdfast_client::api::reservation::v1::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Runs holdctl in a folder of its own, so that no stack that happens to run here is found.
async fn holdctl(endpoint: &str, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_holdctl"))
        .current_dir(dir.path())
        .env_clear()
        .env("HOLDFAST_RESERVATION_ENDPOINT", endpoint)
        .args(arguments)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A service that holds everything, except for owners whose names say what shall happen to them.
struct Scripted;

fn fail<T>(code: Code, reason: &str) -> Result<T, Status> {
    let mut details = ErrorDetails::with_error_info(reason, "holdfast", []);
    if reason == "INSUFFICIENT_STOCK" {
        details.add_precondition_failure_violation("STOCK", "sku/CHAIR", "requested 2, available 1");
    }
    Err(Status::with_error_details(code, "as scripted", details))
}

#[tonic::async_trait]
impl ReservationService for Scripted {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        let request = request.into_inner();
        match request.owner.as_str() {
            "short" => return fail(Code::FailedPrecondition, "INSUFFICIENT_STOCK"),
            "lost" => return fail(Code::Internal, "INTERNAL"),
            _ => {}
        }
        let reservation = Reservation {
            reservation_id: request.reservation_id,
            owner: request.owner,
            state: ReservationState::Held.into(),
            ..Reservation::default()
        };
        let current_state = ReservationState::Held.into();
        Ok(Response::new(ReserveResponse { reservation: Some(reservation), current_state, ..Default::default() }))
    }

    async fn confirm(&self, _: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        fail(Code::Internal, "INTERNAL")
    }

    async fn batch_reserve(&self, _: Request<BatchReserveRequest>) -> Result<Response<BatchReserveResponse>, Status> {
        fail(Code::InvalidArgument, "INVALID_FIELD")
    }

    async fn replace(&self, request: Request<ReplaceRequest>) -> Result<Response<ReplaceResponse>, Status> {
        if request.into_inner().reservation.unwrap_or_default().owner == "lost" {
            return fail(Code::Internal, "INTERNAL");
        }
        fail(Code::FailedPrecondition, "OWNER_MISMATCH")
    }

    async fn fulfil(&self, _: Request<FulfilRequest>) -> Result<Response<FulfilResponse>, Status> {
        fail(Code::FailedPrecondition, "QUANTITY_EXCEEDED")
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        fail(Code::FailedPrecondition, "RESERVATION_FULFILLED")
    }

    async fn r#return(&self, _: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        fail(Code::FailedPrecondition, "RESERVATION_NOT_CONFIRMED")
    }

    async fn record_evidence(
        &self,
        _: Request<RecordEvidenceRequest>,
    ) -> Result<Response<RecordEvidenceResponse>, Status> {
        fail(Code::Internal, "INTERNAL")
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        fail(Code::FailedPrecondition, "RESERVATION_CONFIRMED")
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        fail(Code::FailedPrecondition, "HOLD_TOO_LONG")
    }

    async fn get_reservation(
        &self,
        _: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        fail(Code::NotFound, "NOT_FOUND")
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
        request: Request<WatchReservationsRequest>,
    ) -> Result<Response<Self::WatchReservationsStream>, Status> {
        let event = ReservationEvent { kind: ReservationEventKind::Released.into(), ..ReservationEvent::default() };
        let change = Some(watch_reservations_response::Event::Change(event));
        let one = tokio_stream::once(Ok(WatchReservationsResponse { event: change, resume_token: "t1".to_owned() }));
        let end = match request.into_inner().owner.as_str() {
            "stale" => fail(Code::OutOfRange, "RESUME_TOKEN_EXPIRED"),
            "forbidden" => fail(Code::PermissionDenied, "METHOD_NOT_ALLOWED"),
            _ => return Ok(Response::new(Box::pin(one.chain(tokio_stream::pending())))),
        };
        Ok(Response::new(Box::pin(one.chain(tokio_stream::once(end)))))
    }

    async fn list_at_risk(&self, _: Request<ListAtRiskRequest>) -> Result<Response<ListAtRiskResponse>, Status> {
        Err(Status::unimplemented("not played here"))
    }
}

async fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tonic::transport::Server::builder().add_service(ReservationServiceServer::new(Scripted));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    endpoint
}

#[tokio::test]
async fn a_hold_is_code_0_with_json_alone_on_standard_output() {
    let output = holdctl(&service().await, &["reserve", "--owner", "cart-1", "CHAIR=2", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["current_state"], "HELD");
    let id = value["reservation_id"].as_str().unwrap();
    assert!(text(&output.stderr).contains(id), "the id is told before anything is sent");
}

#[tokio::test]
async fn a_refusal_is_code_1_with_the_reason_the_short_line_and_a_next_step() {
    let output = holdctl(&service().await, &["reserve", "--owner", "short", "CHAIR=2"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["INSUFFICIENT_STOCK", "sku/CHAIR: requested 2, available 1", "Next:"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn an_unknown_outcome_is_code_3_and_shows_the_key_to_repeat_with() {
    let endpoint = service().await;
    let output = holdctl(&endpoint, &["reserve", "--owner", "lost", "CHAIR=2"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let id = said.lines().next().unwrap().strip_prefix("reservation ").unwrap();
    assert!(said.contains(&format!("holdctl release {id}")), "{said}");
    // Marked as a retry: a no to it closes the key, so that the first one cannot land later.
    let again = format!("  holdctl reserve --owner lost CHAIR=2 --key {id} --attempt 2\n");
    assert!(said.contains(&again) && said.matches("holdctl reserve").count() == 1, "{said}");
    let output = holdctl(&endpoint, &["reserve", "--owner", "lost", "CHAIR=2", "--key", id, "--attempt", "2"]).await;
    let again = format!("  holdctl reserve --owner lost CHAIR=2 --key {id} --attempt 3\n");
    assert!(text(&output.stderr).contains(&again), "{}", text(&output.stderr));
    let output = holdctl(&endpoint, &["reservation", "replace", id, "--owner", "lost", "CHAIR=2"]).await;
    let said = text(&output.stderr);
    let new = said.lines().next().unwrap().strip_prefix("reservation ").unwrap();
    let again = format!("  holdctl reservation replace {id} --owner lost CHAIR=2 --key {new} --attempt 2\n");
    assert!(said.contains(&again) && said.contains(&format!("holdctl release {new}")), "{said}");

    let key = ReservationKey::new().to_string();
    let output = holdctl(&endpoint, &["confirm", &key]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains(&format!("holdctl confirm {key} --key ")));
}

#[tokio::test]
async fn what_follows_a_sale_says_why_not_and_what_to_do_next() {
    let endpoint = service().await;
    let id = ReservationKey::new().to_string();
    for (arguments, reason, next) in [
        (&["replace", &id, "--owner", "x", "CHAIR=1"][..], "OWNER_MISMATCH", "same owner"),
        (&["fulfil", &id, "--line", "CHAIR=9@HALL"], "QUANTITY_EXCEEDED", "holdctl reservation get"),
        (&["cancel", &id, "--lost"], "RESERVATION_FULFILLED", "holdctl reservation return"),
        (
            &["return", &id, "--line", "CHAIR=1", "--condition", "damaged"],
            "RESERVATION_NOT_CONFIRMED",
            "confirm it first",
        ),
    ] {
        let output = holdctl(&endpoint, &[&["reservation"], arguments].concat()).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason) && said.contains(next), "{reason}: {said}");
    }
    let output = holdctl(&endpoint, &["reservation", "evidence", &id, "booked"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("holdctl reservation evidence {id} booked --key ")), "{said}");
}

#[tokio::test]
async fn a_read_that_fails_is_code_1() {
    let output = holdctl(&service().await, &["reservation", "get", &ReservationKey::new().to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("NOT_FOUND"));
}

#[tokio::test]
async fn a_watch_that_cannot_go_on_says_from_where_another_one_can() {
    let endpoint = service().await;
    for format in ["table", "json"] {
        let watch = ["reservation", "watch", "--owner", "forbidden", "-o", format];
        let output = holdctl(&endpoint, &watch).await;
        let said = text(&output.stderr);
        assert!(text(&output.stdout).contains("RELEASED"), "{said}");
        assert!(output.status.code() == Some(1) && said.contains("METHOD_NOT_ALLOWED"), "{said}");
        assert!(said.contains("Go on with the same command and --resume t1\n"), "{said}");
    }
    // The token is what is wrong: nobody is told to use it.
    let output = holdctl(&endpoint, &["reservation", "watch", "--owner", "stale"]).await;
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("leave --resume away"), "{said}");
    assert!(!said.contains("--resume t1"), "{said}");
}

#[tokio::test]
async fn a_watch_that_is_asked_to_end_says_from_where_to_go_on() {
    let endpoint = service().await;
    for signal in ["TERM", "INT"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdctl"))
            .env_clear()
            .env("HOLDFAST_RESERVATION_ENDPOINT", &endpoint)
            .args(["reservation", "watch"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(told.next_line().await.unwrap().unwrap().contains("RELEASED"));
        let kill = Command::new("sh").args(["-c", "kill -s $0 $1", signal, &child.id().unwrap().to_string()]).status();
        assert!(kill.await.unwrap().success());
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal}: {}", output.status);
        assert!(text(&output.stderr).contains("--resume t1"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_code_1_and_says_how_to_start_it() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = holdctl(&format!("http://{gone}"), &["reserve", "--owner", "cart-1", "CHAIR=2"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("./dev up"), "{said}");
}

#[tokio::test]
async fn wrong_usage_is_code_2_and_nothing_is_sent() {
    for arguments in [
        &["reserve", "--owner", "cart-1", "CHAIR"][..],
        &["reserve", "CHAIR=1"],
        &["confirm", "not-a-key"],
        &["confirm", "2f1c9f0e-5f1b-4a57-9d0e-0b8a4e6f2c11"],
        &["sku", "list"],
        &["sku", "import", "no-such-file.csv"],
        &["feed", "upload", "x.csv", "--connection", "c", "--as-of", "yesterday"],
        &["stock", "adjust", "CHAIR", "HALL", "5"],
        &["stock", "count", "HALL", "CHAIR=1.5", "--overwrite"],
        &["stock", "count", "HALL", "CHAIR=1"],
        &["stock", "count", "HALL", "CHAIR=1", "--overwrite", "--expected", "2"],
        &["quarantine", "approve", "0190a0a0-0000-7000-8000-000000000000"],
        &["run", "reject", "0190a0a0-0000-7000-8000-000000000000", "--reason", " "],
        &["feed", "upload", "x.csv", "--connection", "house", "--as-of", "now"],
        &["extend", "0190a0a0-0000-7000-8000-000000000000", "--hold", "0s"],
        &["reservation", "replace", "0190a0a0-0000-7000-8000-000000000000", "CHAIR=1"],
        &["reservation", "return", "0190a0a0-0000-7000-8000-000000000000", "--line", "CHAIR=1"],
        &["reservation", "evidence", "0190a0a0-0000-7000-8000-000000000000", "shipped"],
        &["confirm", "0190a0a0-0000-7000-8000-000000000000", "--line", "CHAIR"],
        &[
            "confirm",
            "0190a0a0-0000-7000-8000-000000000000",
            "--reacquire",
            "--key",
            "2f1c9f0e-5f1b-4a57-9d0e-0b8a4e6f2c11",
        ],
        &["stock", "pause", "CHAIR"],
        &["stock", "move", "CHAIR", "2", "--from", "HALL"],
        &["nonsense"],
    ] {
        let output = holdctl("http://127.0.0.1:1", arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn an_empty_list_says_so_in_a_table_and_is_an_empty_array_in_json() {
    let endpoint = service().await;
    let table = holdctl(&endpoint, &["reservation", "list"]).await;
    assert_eq!(text(&table.stdout), "Nothing found.\n");
    let json = holdctl(&endpoint, &["reservation", "list", "-o", "json"]).await;
    assert_eq!(text(&json.stdout), "[]\n");
}
