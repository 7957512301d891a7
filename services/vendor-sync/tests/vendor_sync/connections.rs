//! Connections.

use std::sync::atomic::Ordering;

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::FeedMode;

use crate::world::{World, connection, id, reason, subjects, violations};

fn request(connection: wire::Connection) -> wire::CreateConnectionRequest {
    wire::CreateConnectionRequest { request_id: id(), connection: Some(connection) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_reads_back_as_it_was_created() {
    let world = World::new().await;
    let created = world.create(connection(FeedMode::Full)).await.unwrap();
    let mut wanted = connection(FeedMode::Full);
    wanted.create_time = created.create_time;
    wanted.etag.clone_from(&created.etag);
    wanted.set_state(wire::ConnectionState::Active);
    wanted.csv_schema.as_mut().unwrap().delimiter = ",".to_owned();
    assert_eq!(created, wanted);
    assert!(created.create_time.is_some());
    let request = wire::GetConnectionRequest { code: created.code.clone() };
    let read = world.client.clone().get_connection(request).await.unwrap().into_inner().connection;
    assert_eq!(read, Some(created));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating_again_with_the_same_key_answers_the_same_also_without_catalog() {
    let world = World::new().await;
    let request = request(connection(FeedMode::Full));
    let first = world.client.clone().create_connection(request.clone()).await.unwrap().into_inner();
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    let again = world.client.clone().create_connection(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = wire::CreateConnectionRequest { connection: Some(connection(FeedMode::Partial)), ..request };
    assert_eq!(reason(world.client.clone().create_connection(other).await), R::KeyReused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_taken_once() {
    let world = World::new().await;
    world.create(connection(FeedMode::Full)).await.unwrap();
    assert_eq!(reason(world.create(connection(FeedMode::Full)).await), R::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_sent_ten_times_at_once_creates_one_connection() {
    let world = World::new().await;
    let request = request(connection(FeedMode::Full));
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (mut client, request) = (world.client.clone(), request.clone());
            tokio::spawn(async move { client.create_connection(request).await.map(tonic::Response::into_inner) })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.number("SELECT count(*) FROM connection WHERE code <> 'house'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_and_a_location_that_catalog_does_not_know_are_named() {
    let world = World::new().await;
    let unknown = wire::Connection {
        vendor: "unknown-vendor".into(),
        location: "unknown-place".into(),
        ..connection(FeedMode::Full)
    };
    let refused = world.create(unknown).await.unwrap_err();
    assert_eq!(subjects(&refused), ["vendor/unknown-vendor", "location/unknown-place"]);
    assert_eq!(reason::<()>(Err(refused)), R::UnknownReference);
    world.peers.catalog_is_down.store(true, Ordering::SeqCst);
    assert_eq!(reason(world.create(connection(FeedMode::Full)).await), R::StoreUnavailable);
    assert_eq!(world.number("SELECT count(*) FROM connection WHERE code <> 'house'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_wrong_with_a_connection_is_said_at_once() {
    let world = World::new().await;
    let schema = wire::CsvSchema {
        delimiter: ";;".into(),
        header: vec!["a".into()],
        key_column: "b".into(),
        quantity_column: String::new(),
    };
    let wrong = wire::Connection {
        code: "a b".into(),
        vendor: String::new(),
        location: "x".repeat(65),
        csv_schema: Some(schema),
        ..Default::default()
    };
    let request = wire::CreateConnectionRequest { request_id: "no".into(), connection: Some(wrong) };
    let (fields, _) = violations(world.client.clone().create_connection(request).await);
    let wanted = [
        "request_id",
        "connection.code",
        "connection.vendor",
        "connection.location",
        "connection.mode",
        "connection.meaning",
        "connection.csv_schema.delimiter",
        "connection.csv_schema.header",
        "connection.csv_schema.key_column",
        "connection.csv_schema.quantity_column",
    ];
    assert_eq!(fields, wanted);
    let request = wire::CreateConnectionRequest { request_id: id(), connection: None };
    assert_eq!(violations(world.client.clone().create_connection(request).await).0, ["connection"]);
    let without = wire::Connection { csv_schema: None, ..connection(FeedMode::Full) };
    assert_eq!(violations(world.create(without).await).0, ["connection.csv_schema"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_listed_in_the_order_of_their_codes() {
    let world = World::new().await;
    for code in ["c", "a", "B", "d"] {
        world.create(wire::Connection { code: code.into(), ..connection(FeedMode::Partial) }).await.unwrap();
    }
    for page_size in [1, 2, 0] {
        let mut request = wire::ListConnectionsRequest { page_size, page_token: String::new() };
        let mut codes = Vec::new();
        loop {
            let page = world.client.clone().list_connections(request.clone()).await.unwrap().into_inner();
            codes.extend(page.connections.into_iter().map(|connection| connection.code));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(codes, ["B", "a", "c", "d", "house"], "by {page_size}");
    }
    let wrong = wire::ListConnectionsRequest { page_size: -1, page_token: String::new() };
    assert_eq!(violations(world.client.clone().list_connections(wrong).await).0, ["page_size"]);
    let wrong = wire::ListConnectionsRequest { page_size: 1, page_token: "x".into() };
    assert_eq!(reason(world.client.clone().list_connections(wrong).await), R::InvalidPageToken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_exist_is_not_found() {
    let world = World::new().await;
    let request = wire::GetConnectionRequest { code: "nobody".into() };
    assert_eq!(reason(world.client.clone().get_connection(request).await), R::NotFound);
    let request = wire::GetConnectionRequest { code: "a b".into() };
    assert_eq!(violations(world.client.clone().get_connection(request).await).0, ["code"]);
}
