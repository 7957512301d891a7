//! Runs and their reports, read and listed.

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, RowOutcome};

use crate::world::{FEED, World, connection, file, id, reason, spec, violations};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_listed_newest_first_of_one_connection_or_of_all() {
    let world = World::feed(FeedMode::Partial, "a:CHAIR").await;
    world.create(wire::Connection { code: "other".into(), ..connection(FeedMode::Partial) }).await.unwrap();
    let mut ids = Vec::new();
    for (minute, code) in [(0, FEED), (1, "other"), (2, FEED), (3, FEED), (1, FEED)] {
        let spec = wire::UploadFeedSpec { connection: code.into(), ..spec(minute) };
        ids.push(world.upload_as(spec, file("a=3")).await.unwrap().run.unwrap().run_id);
    }
    let newest_first = |picked: &[usize]| picked.iter().map(|at| ids[*at].clone()).collect::<Vec<_>>();
    for page_size in [1, 2, 0] {
        assert_eq!(list(&world, page_size, "").await, newest_first(&[4, 3, 2, 1, 0]), "by {page_size}");
        assert_eq!(list(&world, page_size, FEED).await, newest_first(&[4, 3, 2, 0]), "by {page_size}");
        assert_eq!(list(&world, page_size, "nobody").await, Vec::<String>::new());
    }
}

/// All pages of a list; a token must not fit another filter.
async fn list(world: &World, page_size: i32, connection: &str) -> Vec<String> {
    let mut client = world.client.clone();
    let mut request = wire::ListRunsRequest { page_size, connection: connection.into(), ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = client.list_runs(request.clone()).await.unwrap().into_inner();
        seen.extend(page.runs.into_iter().map(|run| run.run_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return seen;
        }
        let other = wire::ListRunsRequest { connection: "third".into(), ..request.clone() };
        assert_eq!(reason(client.list_runs(other).await), R::InvalidPageToken);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_listed_in_the_order_of_the_file_by_outcome_or_whole() {
    let world = World::feed(FeedMode::Full, "a:A b:B c:C").await;
    world.upload(0, "a=1 b=1 c=1").await;
    let run = world.upload(1, "b=1 x=1 a=2 y=oops z=1").await;
    for page_size in [1, 2, 1000] {
        let rows = async |outcome: RowOutcome| rows(&world, &run.run_id, page_size, outcome).await;
        assert_eq!(rows(RowOutcome::Unspecified).await, ["2:b", "3:x", "4:a", "5:y", "6:z", "0:c"]);
        assert_eq!(rows(RowOutcome::Applied).await, ["4:a", "0:c"]);
        assert_eq!(rows(RowOutcome::Unchanged).await, ["2:b"]);
        assert_eq!(rows(RowOutcome::Unmapped).await, ["3:x", "6:z"]);
        assert_eq!(rows(RowOutcome::Rejected).await, ["5:y"]);
        assert_eq!(rows(RowOutcome::Pending).await, Vec::<String>::new());
    }
}

async fn rows(world: &World, run_id: &str, page_size: i32, outcome: RowOutcome) -> Vec<String> {
    let mut request = wire::ListRunRowsRequest {
        run_id: run_id.into(),
        page_size,
        page_token: String::new(),
        outcome: outcome.into(),
    };
    let mut seen = Vec::new();
    loop {
        let page = world.client.clone().list_run_rows(request.clone()).await.unwrap().into_inner();
        assert!(page.rows.len() <= page_size.try_into().unwrap());
        seen.extend(page.rows.iter().map(|row| format!("{}:{}", row.line, row.vendor_sku)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_does_not_exist_is_not_found_and_bad_fields_are_named() {
    let world = World::new().await;
    let mut client = world.client.clone();
    assert_eq!(reason(client.get_run(wire::GetRunRequest { run_id: id() }).await), R::NotFound);
    assert_eq!(violations(client.get_run(wire::GetRunRequest { run_id: "x".into() }).await).0, ["run_id"]);
    let request = wire::ListRunRowsRequest { run_id: id(), ..Default::default() };
    assert_eq!(reason(client.list_run_rows(request).await), R::NotFound);
    let wrong =
        wire::ListRunRowsRequest { run_id: String::new(), page_size: -1, page_token: String::new(), outcome: 99 };
    assert_eq!(violations(client.list_run_rows(wrong).await).0, ["page_size", "run_id", "outcome"]);
    let wrong = wire::ListRunsRequest { page_size: -1, connection: "a b".into(), ..Default::default() };
    assert_eq!(violations(client.list_runs(wrong).await).0, ["page_size", "connection"]);
}
