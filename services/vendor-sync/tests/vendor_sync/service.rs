//! The service as a process: its peers' contract, its configuration, its callers, its janitor.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::FeedMode;
use holdfast_kit::{CancellationToken, Service as _};
use holdfast_vendor_sync::VendorSync;
use holdfast_vendor_sync::janitor::Janitor;
use holdfast_vendor_sync::metrics::Metrics;
use holdfast_vendor_sync::store::Store;
use tonic::Request;
use tonic::transport::Endpoint;

use crate::apply_counts;
use crate::peers::Peers;
use crate::world::{World, configuration, file, many, reason, totals};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stand_in_for_reservation_keeps_reservations_contract() {
    let address = Peers::default().serve().await;
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    apply_counts::holds(StockServiceClient::new(channel)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_is_turned_away() {
    let world = World::with(&[
        ("CALLERS__UNAUTHENTICATED_ROLES", "[]"),
        ("CALLERS__LIST", r#"[{ name = "watch", roles = ["monitor"], token = "0123456789abcdef" }]"#),
    ])
    .await;
    assert_eq!(reason(world.upload_file(0, file("a=3")).await), R::Unauthenticated);
    let mut request = Request::new(tokio_stream::iter(Vec::<wire::UploadFeedRequest>::new()));
    request.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(reason(world.client.clone().upload_feed(request).await), R::MethodNotAllowed);
    let mut request = Request::new(wire::ListRunsRequest::default());
    request.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(world.client.clone().list_runs(request).await.unwrap().into_inner().runs, []);
}

#[test]
fn every_method_has_somebody_who_may_call_it() {
    for row in VendorSync::methods().rows() {
        assert!(!row.roles.is_empty(), "{}", row.path);
    }
}

#[test]
fn the_service_does_not_start_without_knowing_its_peers() {
    let refused = configuration(&[("POSTGRES__URL", "postgres://localhost/x".to_owned())]).unwrap_err().to_string();
    for key in ["catalog.endpoint", "reservation.endpoint"] {
        assert!(refused.contains(key), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_janitor_forgets_old_answers_and_reports_and_keeps_the_runs() {
    let world = World::feed(FeedMode::Full, "a:CHAIR b:CUP").await;
    let old = world.upload(0, "a=3").await;
    let young = world.upload(1, "a=4").await;
    let admin = world.database.admin_pool().await;
    let age = "UPDATE run SET create_time = now() - interval '100 days' WHERE run_id = $1::uuid";
    sqlx::query(age).bind(&old.run_id).execute(&admin).await.unwrap();
    let age = "UPDATE request SET create_time = now() - interval '8 days' WHERE kind = 'UploadFeed'";
    sqlx::query(age).execute(&admin).await.unwrap();

    let metrics = Metrics::new(&holdfast_kit::Metrics::new()).into();
    let store = Store::new(world.database.pool(2).await);
    let janitor = Janitor::new(store, world.config.janitor.clone(), metrics);
    janitor.pass(&CancellationToken::new()).await.unwrap();
    assert_eq!(world.report(&old).await, "");
    assert_eq!(world.report(&young).await, "2:a:Applied");
    assert_eq!(world.number("SELECT count(*) FROM request WHERE kind = 'UploadFeed'").await, 0);
    let again = world.upload_file(0, file("a=3")).await.unwrap();
    assert!(again.replayed, "the same file is still the same run");
    assert_eq!((again.run.unwrap().run_id, world.stock().as_str()), (old.run_id, "CHAIR=4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_share_the_work_and_do_it_once() {
    let (rows, offers) = many(300);
    let world = World::feed_with(FeedMode::Partial, &offers, &[("RUNS__BATCH_COUNTS", "10")]).await;
    let (url, peers) = (world.database.url(), world.config.catalog.endpoint.clone());
    let keys = [
        ("POSTGRES__URL", &*url),
        ("CATALOG__ENDPOINT", &peers),
        ("RESERVATION__ENDPOINT", &peers),
        ("RUNS__BATCH_COUNTS", "10"),
    ];
    let mut other = World::with(&keys).await;
    let runs: Vec<_> = (0..6)
        .map(|minute| {
            let client = if minute % 2 == 0 { world.client.clone() } else { other.client.clone() };
            let (content, mut client) = (file(&rows), client);
            let parts = [
                wire::upload_feed_request::Part::Spec(crate::world::spec(minute)),
                wire::upload_feed_request::Part::Chunk(content.into_bytes()),
            ];
            let stream = tokio_stream::iter(parts.map(|part| wire::UploadFeedRequest { part: Some(part) }));
            tokio::spawn(async move { client.upload_feed(stream).await.map(|answer| answer.into_inner().run.unwrap()) })
        })
        .collect();
    for run in runs {
        assert_eq!(totals(&run.await.unwrap().unwrap())[0], 300);
    }
    let sent: std::collections::HashSet<String> = {
        let stock = world.peers.stock.lock().unwrap();
        stock.landed.iter().map(|request| request.request_id.clone()).collect()
    };
    assert_eq!((sent.len(), world.peers.landed()), (180, 180), "each batch landed once");
    other.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), &mut other.served).await.expect("it ends in time");
    ended.unwrap().unwrap();
}
