//! Postgres killed under the service, and back.

use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::import_skus_request::Part;
use holdfast_api::error::v1::ErrorReason as R;
use holdfast_catalog::store::MIGRATOR;
use holdfast_stack::postgres::StopMode;
use holdfast_testkit::database::database_on;
use holdfast_testkit::{eventually, private_postgres};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::world::{World, id, reason, sku, spec};

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_the_outcome_is_unknown_and_then_the_same_key_works() {
    let mut postgres = private_postgres(false).await;
    let world = World::on(database_on(postgres.info(), "catalog", &MIGRATOR).await, &[]).await;
    world.skus(&["A"]).await;
    postgres.stop(StopMode::Kill).await.unwrap();
    let request = wire::CreateSkuRequest { request_id: id(), sku: Some(sku("B")) };
    let refused = world.client.clone().create_sku(request.clone()).await;
    let why = reason(refused);
    assert!(matches!(why, R::StoreUnavailable | R::Overloaded), "{why:?}");
    let why = reason(world.client.clone().list_skus(wire::ListSkusRequest::default()).await);
    assert!(matches!(why, R::StoreUnavailable | R::Overloaded), "{why:?}");

    postgres.start_again().await.unwrap();
    let again = || async { world.client.clone().create_sku(request.clone()).await.ok() };
    let created = eventually("the same key works", Duration::from_secs(30), again).await.into_inner();
    assert_eq!(created.sku.as_ref(), Some(&world.sku("B").await));
    assert_eq!(world.all_skus().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_staged_rows_a_crash_of_postgres_emptied_is_not_applied_in_part() {
    let mut postgres = private_postgres(false).await;
    let database = database_on(postgres.info(), "catalog", &MIGRATOR).await;
    let world = World::on(database, &[("IMPORT__BATCH_ROWS_MAX", "10")]).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut client = world.client.clone();
    let call = tokio::spawn(async move { client.import_skus(ReceiverStream::new(receiver)).await });
    let send = |part| sender.send(wire::ImportSkusRequest { part: Some(part) });
    let rows = |from: usize| (from..from + 10).map(|row| format!("S{row},\n")).collect::<String>();
    let spec = spec();
    send(Part::Spec(spec.clone())).await.unwrap();
    send(Part::Chunk(format!("sku,name\n{}", rows(0)).into_bytes())).await.unwrap();
    let staged = || async { (world.number("SELECT count(*) FROM import_row").await == 10).then_some(()) };
    eventually("rows are staged", Duration::from_secs(10), staged).await;

    postgres.stop(StopMode::Kill).await.unwrap();
    postgres.start_again().await.unwrap();
    let answers = || async { world.client.clone().list_skus(wire::ListSkusRequest::default()).await.ok() };
    eventually("the service has connected again", Duration::from_secs(30), answers).await;
    // The service may have given up already; then it takes no more of the stream.
    drop(send(Part::Chunk(rows(10).into_bytes())).await);
    drop(sender);
    assert_eq!(reason(call.await.unwrap()), R::StoreUnavailable);
    assert!(world.all_skus().await.is_empty(), "an unlogged table is empty after a crash: half of the rows are gone");
    let file = format!("sku,name\n{}{}", rows(0), rows(10));
    assert_eq!(world.import(spec, file).await.unwrap().created, 20, "the same request completes it");
}
