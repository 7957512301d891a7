//! A watch that resumes: what a watcher sees when streams break, end, or are refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod catalog_server;

use std::time::{Duration, Instant};

use catalog_server::{RETRY_AFTER, Reply, Server, checkpoint, end, holdfast, state};
use holdfast_client::{CatalogClient, Connection, Error, Outcome, SkuEvent, SkuWatch};
use tonic::{Code, Status};

fn watch(server: &Server, token: &str) -> SkuWatch {
    let connection = Connection::builder(server.endpoint()).deadline(Duration::from_secs(2)).build().unwrap();
    CatalogClient::new(&connection).watch_skus(token)
}

/// The next SKU's code, or what came instead.
async fn next(watch: &mut SkuWatch) -> String {
    match watch.next().await.unwrap() {
        SkuEvent::State(state) => state.sku.unwrap().code,
        SkuEvent::SnapshotEnd => "(end)".to_owned(),
        SkuEvent::Checkpoint => "(checkpoint)".to_owned(),
    }
}

#[tokio::test]
async fn a_snapshot_its_end_and_changes_come_in_order_with_their_tokens() {
    let server = Server::start([vec![state("A", "t1"), end("t2"), state("B", "t3"), checkpoint("t4")]]).await;
    let mut watch = watch(&server, "");
    assert_eq!(watch.resume_token(), "");
    for (seen, token) in [("A", "t1"), ("(end)", "t2"), ("B", "t3"), ("(checkpoint)", "t4")] {
        assert_eq!(next(&mut watch).await, seen);
        assert_eq!(watch.resume_token(), token);
    }
    assert_eq!(server.tokens(), [""]);
}

#[tokio::test]
async fn a_broken_stream_goes_on_with_the_last_token_and_nobody_notices() {
    let broken = Reply::Fail(Status::unavailable("the replica went away"));
    let server = Server::start([vec![state("A", "t1"), broken], vec![state("B", "t2")]]).await;
    let mut watch = watch(&server, "");
    assert_eq!(next(&mut watch).await, "A");
    assert_eq!(next(&mut watch).await, "B");
    assert_eq!(server.tokens(), ["", "t1"]);
}

#[tokio::test]
async fn a_stream_that_ends_well_is_taken_up_again_too() {
    let server = Server::start([vec![state("A", "t1"), Reply::End], vec![Reply::End], vec![state("B", "t2")]]).await;
    let mut watch = watch(&server, "t0");
    assert_eq!(next(&mut watch).await, "A");
    assert_eq!(next(&mut watch).await, "B");
    assert_eq!(server.tokens(), ["t0", "t1", "t1"]);
}

#[tokio::test]
async fn a_refusal_by_the_server_that_goes_away_or_is_full_is_waited_out() {
    let refusals = [
        holdfast(Code::Unavailable, "SHUTTING_DOWN"),
        holdfast(Code::ResourceExhausted, "OVERLOADED"),
        state("A", "t1"),
    ];
    let server = Server::start(refusals.map(|reply| vec![reply])).await;
    let mut watch = watch(&server, "t0");
    assert_eq!(next(&mut watch).await, "A");
    assert_eq!(server.tokens(), ["t0", "t0", "t0"]);
}

#[tokio::test]
async fn a_watch_that_was_read_too_slowly_goes_on_with_its_last_token_when_the_server_wants() {
    let slow = || holdfast(Code::ResourceExhausted, "WATCHER_TOO_SLOW");
    let server = Server::start([vec![state("A", "t1"), slow()], vec![slow()], vec![state("B", "t2"), slow()]]).await;
    let mut watch = watch(&server, "");
    assert_eq!(next(&mut watch).await, "A");
    let asked = Instant::now();
    assert_eq!(next(&mut watch).await, "B");
    assert!(asked.elapsed() >= 2 * RETRY_AFTER, "twice the server wished for a pause");
    // Whoever has no patience is told, and can go on from there.
    let mut watch = watch.patience(Duration::ZERO);
    let error = watch.next().await.unwrap_err();
    assert!(matches!(error, Error::TooSlow { .. }), "{error:?}");
    assert_eq!(watch.resume_token(), "t2");
    assert_eq!(server.tokens(), ["", "t1", "t1"], "it was not asked again");
}

#[tokio::test]
async fn a_token_that_is_too_old_ends_the_watch_with_a_typed_error_at_once() {
    let server = Server::start([vec![holdfast(Code::OutOfRange, "RESUME_TOKEN_EXPIRED")]]).await;
    let error = watch(&server, "t0").next().await.unwrap_err();
    assert!(matches!(error, Error::ResumeTokenExpired { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Certain);
    assert_eq!(server.tokens(), ["t0"], "trying again would be no use");
}

#[tokio::test]
async fn a_watch_that_is_cut_off_for_longer_than_its_patience_ends_and_can_be_taken_up() {
    let down = || vec![Reply::Fail(Status::unavailable("down"))];
    let server = Server::start([vec![state("A", "t1"), Reply::End], down(), down(), down()]).await;
    let mut watch = watch(&server, "").patience(Duration::ZERO);
    assert_eq!(next(&mut watch).await, "A");
    let error = watch.next().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    assert_eq!(watch.resume_token(), "t1", "it goes on from where it was");
}

#[tokio::test]
async fn waiting_for_the_next_event_can_be_given_up_without_losing_one() {
    let server = Server::start([vec![state("A", "t1"), Reply::Pause, state("B", "t2")]]).await;
    let mut watch = watch(&server, "");
    assert_eq!(next(&mut watch).await, "A");
    let given_up = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
    assert!(given_up.is_err(), "nothing comes yet");
    server.go_on();
    assert_eq!(next(&mut watch).await, "B");
    assert_eq!(server.tokens(), [""], "the same stream goes on");
}
