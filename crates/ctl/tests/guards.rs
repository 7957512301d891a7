//! What holdctl tells when a guard stops something: the exit code, what waits, and the exact commands that decide it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::process::Output;
use std::task::{Context, Poll};

use holdfast_client::api::vendorsync::v1::house_service_server::{HouseService, HouseServiceServer};
use holdfast_client::api::vendorsync::v1::quarantine_service_server::{QuarantineService, QuarantineServiceServer};
use holdfast_client::api::vendorsync::v1::*;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{ClientStreamingService, Grpc, NamedService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

const RUN: &str = "0190a0a0-0000-7000-8000-000000000001";
const STOPPED: &str = "0190a0a0-0000-7000-8000-000000000002";

/// A vendor-sync whose guards stop every 999 and hold every file that is called so.
#[derive(Clone)]
struct Guarded;

fn stopped() -> QuarantinedRow {
    QuarantinedRow {
        quarantine_id: STOPPED.to_owned(),
        state: QuarantineState::Pending.into(),
        sku: "CHAIR".to_owned(),
        location: "HALL".to_owned(),
        raw_quantity: "999".to_owned(),
        old_quantity: Some(150),
        new_quantity: Some(999),
        rules: vec!["R4".to_owned()],
        explanation: "999 often stands for many".to_owned(),
        ..QuarantinedRow::default()
    }
}

fn fail<T>(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Result<T, Status> {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let details =
        ErrorDetails::with_error_info(reason, "holdfast", metadata.collect::<std::collections::HashMap<_, _>>());
    Err(Status::with_error_details(code, "as scripted", details))
}

#[tonic::async_trait]
impl HouseService for Guarded {
    async fn submit_counts(
        &self,
        request: Request<SubmitCountsRequest>,
    ) -> Result<Response<SubmitCountsResponse>, Status> {
        let request = request.into_inner();
        let row = |count: &HouseCount| RunRow {
            sku: count.sku.clone(),
            raw_quantity: count.quantity.to_string(),
            quarantine_id: if count.quantity == 999 { STOPPED.to_owned() } else { String::new() },
            outcome: if count.expected_quantity == Some(7) { RowOutcome::Conflict } else { RowOutcome::Applied }.into(),
            ..RunRow::default()
        };
        let run = Run { run_id: RUN.to_owned(), state: RunState::Applied.into(), ..Run::default() };
        let rows = request.counts.iter().map(row).collect();
        Ok(Response::new(SubmitCountsResponse { run: Some(run), rows, replayed: false }))
    }

    async fn submit_adjustments(
        &self,
        request: Request<SubmitAdjustmentsRequest>,
    ) -> Result<Response<SubmitAdjustmentsResponse>, Status> {
        let request = request.into_inner();
        let [HouseAdjustment { sku, location, delta, .. }] = request.adjustments.as_slice() else {
            return fail(Code::InvalidArgument, "INVALID_FIELD", &[]);
        };
        let quarantined = (*delta == 999).then(stopped);
        let level =
            HouseLevel { sku: sku.clone(), location: location.clone(), on_hand: *delta, ..HouseLevel::default() };
        let levels = if quarantined.is_some() { Vec::new() } else { vec![level] };
        Ok(Response::new(SubmitAdjustmentsResponse { quarantined, levels, replayed: false }))
    }
}

#[tonic::async_trait]
impl QuarantineService for Guarded {
    async fn get_quarantined_row(
        &self,
        _: Request<GetQuarantinedRowRequest>,
    ) -> Result<Response<GetQuarantinedRowResponse>, Status> {
        Ok(Response::new(GetQuarantinedRowResponse { row: Some(stopped()) }))
    }

    async fn list_quarantined_rows(
        &self,
        _: Request<ListQuarantinedRowsRequest>,
    ) -> Result<Response<ListQuarantinedRowsResponse>, Status> {
        let rows = vec![stopped()];
        Ok(Response::new(ListQuarantinedRowsResponse { rows, next_page_token: String::new() }))
    }

    async fn approve_quarantined_row(
        &self,
        request: Request<ApproveQuarantinedRowRequest>,
    ) -> Result<Response<ApproveQuarantinedRowResponse>, Status> {
        let request = request.into_inner();
        if request.reason == "late" {
            return fail(Code::FailedPrecondition, "ALREADY_DECIDED", &[("state", "REJECTED")]);
        }
        let row = QuarantinedRow {
            state: QuarantineState::Approved.into(),
            decided_by: request.actor,
            decision_reason: request.reason,
            new_quantity: request.quantity.or(Some(999)),
            ..stopped()
        };
        Ok(Response::new(ApproveQuarantinedRowResponse { row: Some(row) }))
    }

    async fn reject_quarantined_row(
        &self,
        _: Request<RejectQuarantinedRowRequest>,
    ) -> Result<Response<RejectQuarantinedRowResponse>, Status> {
        fail(Code::Internal, "INTERNAL", &[])
    }
}

/// Of VendorSyncService only the upload.
#[derive(Clone)]
struct Uploads;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl ClientStreamingService<UploadFeedRequest> for Uploads {
    type Response = UploadFeedResponse;
    type Future = Answer<Result<Response<UploadFeedResponse>, Status>>;

    fn call(&mut self, request: Request<Streaming<UploadFeedRequest>>) -> Self::Future {
        Box::pin(async move {
            let mut parts = request.into_inner();
            let mut run = Run { run_id: RUN.to_owned(), state: RunState::Applied.into(), ..Run::default() };
            while let Some(part) = parts.next().await {
                if let Some(upload_feed_request::Part::Spec(spec)) = part?.part {
                    run.file_name = spec.file_name;
                    run.location = spec.location;
                    run.decided_by = spec.actor;
                }
            }
            match run.file_name.as_str() {
                "held.csv" => (run.state, run.reason) = (RunState::Held.into(), "half of it is gone.".to_owned()),
                "refused.csv" => (run.state, run.reason) = (RunState::Refused.into(), "another header".to_owned()),
                _ => run.totals = Some(RunTotals { rows: 3, applied: 2, quarantined: 1, ..RunTotals::default() }),
            }
            Ok(Response::new(UploadFeedResponse { run: Some(run), replayed: false }))
        })
    }
}

impl NamedService for Uploads {
    const NAME: &'static str = "holdfast.vendorsync.v1.VendorSyncService";
}

impl Service<http::Request<Body>> for Uploads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path(), "/holdfast.vendorsync.v1.VendorSyncService/UploadFeed");
            Ok(Grpc::new(tonic_prost::ProstCodec::default()).client_streaming(server, request).await)
        })
    }
}

/// Runs holdctl as somebody called ada, in a folder with three files.
async fn holdctl(arguments: &[&str]) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tonic::transport::Server::builder()
        .add_service(HouseServiceServer::new(Guarded))
        .add_service(QuarantineServiceServer::new(Guarded))
        .add_service(Uploads);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let dir = tempfile::tempdir().unwrap();
    for name in ["held.csv", "refused.csv", "good.csv"] {
        std::fs::write(dir.path().join(name), "sku,quantity\nCHAIR,1\n").unwrap();
    }
    tokio::process::Command::new(env!("CARGO_BIN_EXE_holdctl"))
        .current_dir(dir.path())
        .env_clear()
        .env("HOLDFAST_VENDOR_SYNC_ENDPOINT", endpoint)
        .env("USER", "ada")
        .args(arguments)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_held_file_is_code_4_with_the_commands_that_decide_it() {
    let output = holdctl(&["feed", "upload", "held.csv", "--connection", "FEED", "--as-of", "now"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    let commands = [format!("run approve {RUN} --reason"), format!("run reject {RUN} --reason")];
    assert!(commands.iter().all(|command| said.contains(command)) && said.contains("half of it is gone"), "{said}");
    assert!(text(&output.stdout).contains("HELD"), "the run itself is the result");
}

#[tokio::test]
async fn a_refused_file_is_code_1_and_names_the_connection_to_compare_it_with() {
    let output = holdctl(&["feed", "upload", "refused.csv", "--connection", "FEED", "--as-of", "now"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("holdctl connection get"));
}

#[tokio::test]
async fn an_applied_file_is_code_0_and_says_which_rows_wait() {
    let output = holdctl(&["feed", "upload", "good.csv", "--connection", "FEED", "--as-of", "now", "-o", "json"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("CHAIR at HALL: 999 written, 150 known  [R4]"), "{said}");
    assert!(said.contains(&format!("holdctl quarantine approve {STOPPED} --reason")), "{said}");
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&run["totals"]["quarantined"], &run["decided_by"]), (&1.into(), &"".into()));
}

#[tokio::test]
async fn only_files_of_the_house_say_where_and_who() {
    let house = ["feed", "upload", "good.csv", "--connection", "house", "--as-of", "now", "-o", "json"];
    let output = holdctl(&[&house[..], &["--location", "HALL"]].concat()).await;
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&run["location"], &run["decided_by"]), (&"HALL".into(), &"ada".into()));
    assert_eq!(holdctl(&house).await.status.code(), Some(2), "a location has to be said");
    let other = ["feed", "upload", "good.csv", "--connection", "FEED", "--as-of", "now", "--location", "HALL"];
    assert_eq!(holdctl(&other).await.status.code(), Some(2), "a vendor's feed has its own");
}

#[tokio::test]
async fn a_typed_number_that_a_guard_stops_is_code_4_and_its_neighbours_are_shown() {
    let output = holdctl(&["stock", "count", "HALL", "CHAIR=999", "TABLE=12", "--overwrite"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(&format!("holdctl quarantine approve {STOPPED}")), "{said}");
    assert!(text(&output.stdout).contains("TABLE"));
    let count = ["stock", "count", "HALL", "CHAIR=12", "--expected", "11"];
    assert_eq!(holdctl(&count).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_count_beside_which_something_else_was_on_hand_is_code_1_and_shown() {
    let output = holdctl(&["stock", "count", "HALL", "CHAIR=12", "--expected", "7", "-o", "json"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 1 counts not taken"), "{said}");
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0]["outcome"], "CONFLICT");
}

#[tokio::test]
async fn an_adjustment_that_a_guard_stops_is_code_4_and_nothing_is_claimed_to_be_done() {
    let adjust = |delta| ["stock", "adjust", "CHAIR", "HALL", delta, "--reason", "found"];
    let output = holdctl(&adjust("999")).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("nothing was changed"));
    let output = holdctl(&adjust("3")).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("CHAIR"));
}

#[tokio::test]
async fn a_decision_carries_who_and_why_and_another_number() {
    let words = ["quarantine", "approve", STOPPED, "--reason", "counted twice", "--quantity", "99", "-o", "json"];
    let output = holdctl(&words).await;
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&row["decided_by"], &row["decision_reason"]), (&"ada".into(), &"counted twice".into()));
    assert_eq!(row["new_quantity"], 99);
}

#[tokio::test]
async fn what_was_decided_before_is_code_1_and_an_unknown_outcome_can_be_repeated() {
    let output = holdctl(&["quarantine", "approve", STOPPED, "--reason", "late"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ALREADY_DECIDED") && said.contains("REJECTED"), "{said}");
    let output = holdctl(&["quarantine", "reject", STOPPED, "--reason", "a slip"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("holdctl quarantine reject {STOPPED} --reason 'a slip' --key ")), "{said}");
}
