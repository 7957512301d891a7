//! What a script can rely on when the record contradicts itself: code 4, what is wrong on standard output, and that nothing is written without `--yes`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::process::Output;

use holdfast_client::api::reservation::v1::audit_service_server::{AuditService, AuditServiceServer};
use holdfast_client::api::reservation::v1::run_audit_response::Event;
use holdfast_client::api::reservation::v1::*;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const WRONG: &str = "0190a0a0-0000-7000-8000-000000000001";

/// A service in which one row is wrong, or none.
struct Scripted {
    is_wrong: bool,
}

impl Scripted {
    fn found(&self) -> Vec<Discrepancy> {
        let one = Discrepancy {
            discrepancy_id: WRONG.to_owned(),
            kind: DiscrepancyKind::LedgerSum.into(),
            sku: "CHAIR".to_owned(),
            location: "HALL".to_owned(),
            detail: "stock is not its ledger's sum".to_owned(),
            ..Discrepancy::default()
        };
        if self.is_wrong { vec![one] } else { Vec::new() }
    }
}

#[tonic::async_trait]
impl AuditService for Scripted {
    type RunAuditStream = tokio_stream::Iter<std::vec::IntoIter<Result<RunAuditResponse, Status>>>;

    async fn list_discrepancies(
        &self,
        _: Request<ListDiscrepanciesRequest>,
    ) -> Result<Response<ListDiscrepanciesResponse>, Status> {
        let discrepancies = self.found();
        Ok(Response::new(ListDiscrepanciesResponse { discrepancies, next_page_token: String::new() }))
    }

    async fn run_audit(&self, _: Request<RunAuditRequest>) -> Result<Response<Self::RunAuditStream>, Status> {
        let end = AuditEnd {
            skus: 7,
            discrepancies: i64::from(self.is_wrong),
            counters_checked: true,
            ..AuditEnd::default()
        };
        let events = self.found().into_iter().map(Event::Discrepancy).chain([Event::End(end)]);
        let messages: Vec<_> = events.map(|event| Ok(RunAuditResponse { event: Some(event) })).collect();
        Ok(Response::new(tokio_stream::iter(messages)))
    }

    async fn repair(&self, request: Request<RepairRequest>) -> Result<Response<RepairResponse>, Status> {
        let request = request.into_inner();
        let outcome = if request.reason == "stubborn" { RepairOutcome::Left } else { RepairOutcome::Repaired };
        let detail = format!("{} {} {:?} {}", request.validate_only, request.actor, request.side(), request.reason);
        let result =
            RepairResult { sku: "CHAIR".to_owned(), outcome: outcome.into(), detail, ..RepairResult::default() };
        Ok(Response::new(RepairResponse { results: vec![result], replayed: false }))
    }
}

async fn holdctl(is_wrong: bool, arguments: &[&str]) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tonic::transport::Server::builder().add_service(AuditServiceServer::new(Scripted { is_wrong }));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let dir = tempfile::tempdir().unwrap();
    tokio::process::Command::new(env!("CARGO_BIN_EXE_holdctl"))
        .current_dir(dir.path())
        .env_clear()
        .env("HOLDFAST_RESERVATION_ENDPOINT", endpoint)
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
async fn a_record_that_agrees_with_itself_is_code_0_and_one_that_does_not_is_code_4() {
    for arguments in [["audit", "list"], ["audit", "run"]] {
        assert_eq!(holdctl(false, &arguments).await.status.code(), Some(0));
        let output = holdctl(true, &arguments).await;
        let (told, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(told.contains(WRONG) && told.contains("LEDGER_SUM") && told.contains("CHAIR"), "{told}");
        assert!(said.contains("holdctl repair ID --reason 'why' --yes"), "{said}");
    }
    let output = holdctl(true, &["audit", "list", "-o", "json"]).await;
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value[0]["kind"], "LEDGER_SUM");
}

#[tokio::test]
async fn a_repair_writes_nothing_without_yes_and_what_is_left_is_code_4() {
    let dry = holdctl(true, &["repair", WRONG, "--reason", "a slip", "-o", "json"]).await;
    let value: serde_json::Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!((dry.status.code(), &value[0]["detail"]), (Some(0), &"true ada Row a slip".into()));
    assert!(text(&dry.stderr).contains("Nothing was written"));
    let wet = holdctl(true, &["repair", WRONG, "--reason", "a slip", "--yes", "--side", "ledger", "-o", "json"]).await;
    let value: serde_json::Value = serde_json::from_slice(&wet.stdout).unwrap();
    assert_eq!(value[0]["detail"], "false ada Ledger a slip");
    let left = holdctl(true, &["repair", WRONG, "--reason", "stubborn", "--yes"]).await;
    assert_eq!(left.status.code(), Some(4), "{}", text(&left.stderr));
    for wrong in [&["repair", WRONG][..], &["repair", "--reason", "x"], &["repair", WRONG, "--reason", " "]] {
        assert_eq!(holdctl(true, wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}
