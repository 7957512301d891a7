//! The service as a process: its configuration, its callers, its end.

use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use holdfast_catalog::Catalog;
use holdfast_catalog::janitor::Janitor;
use holdfast_catalog::metrics::Metrics;
use holdfast_kit::{CancellationToken, ConfigError, Service as _};
use tonic::Request;

use crate::world::{World, configuration, id, reason, sku, spec};

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_is_turned_away_and_nothing_is_written() {
    let world = World::with(&[
        ("CALLERS__UNAUTHENTICATED_ROLES", "[]"),
        ("CALLERS__LIST", r#"[{ name = "sync", roles = ["vendor-sync"], token = "0123456789abcdef" }]"#),
    ])
    .await;
    let mut client = world.client.clone();
    let create = || wire::CreateSkuRequest { request_id: id(), sku: Some(sku("A")) };
    assert_eq!(reason(client.create_sku(create()).await), R::Unauthenticated);
    assert_eq!(reason(client.list_skus(wire::ListSkusRequest::default()).await), R::Unauthenticated);

    let mut request = Request::new(create());
    request.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(reason(client.create_sku(request).await), R::MethodNotAllowed);
    let mut request = Request::new(wire::ListSkusRequest::default());
    request.metadata_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(client.list_skus(request).await.unwrap().into_inner().skus, []);
}

#[test]
fn every_method_has_somebody_who_may_call_it() {
    for row in Catalog::methods().rows() {
        assert!(!row.roles.is_empty(), "{}", row.path);
    }
}

#[test]
fn the_defaults_need_only_a_database() {
    let config = configuration(&[("POSTGRES__URL", "postgres://localhost/x")]).unwrap();
    assert!(config.common.server.message_bytes_max > 1024 * 1024);
}

#[test]
fn numbers_that_do_not_fit_each_other_are_refused_all_at_once() {
    let refused = configuration(&[
        ("POSTGRES__URL", "postgres://localhost/x"),
        ("IMPORT__ROWS_MAX", "0"),
        ("IMPORT__CONCURRENT_MAX", "16"),
        ("IMPORT__IDLE_SECONDS_MAX", "900"),
        ("SERVER__MESSAGE_BYTES_MAX", "65536"),
    ]);
    let Err(ConfigError::Refused(problems)) = refused else { panic!("{refused:?}") };
    let keys = [
        "import.rows_max",
        "server.message_bytes_max",
        "janitor.import_silence_seconds_max",
        "postgres.pool_connections_max",
    ];
    assert_eq!(problems.len(), keys.len(), "{problems:?}");
    for (problem, key) in problems.iter().zip(keys) {
        assert!(problem.starts_with(key), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_forgets_what_is_old_and_keeps_what_is_not() {
    let world = World::with(&[("JANITOR__BATCH_ROWS_MAX", "2")]).await;
    world.skus(&["A", "B", "C", "D", "E"]).await;
    world.import(spec(), "sku,name\nF,f\n").await.unwrap();
    let admin = world.database.admin_pool().await;
    sqlx::query("UPDATE request SET create_time = now() - interval '8 days' WHERE kind = 'CreateSku'")
        .execute(&admin)
        .await
        .unwrap();
    // An import that broke off an hour ago and left rows, and one that is alive.
    let left = "WITH gone AS (INSERT INTO import (import_id, request_id, update_time)
                    VALUES (gen_random_uuid(), gen_random_uuid(), now() - interval '1 hour') RETURNING import_id)
                INSERT INTO import_row SELECT import_id, 'X' || n, n, '', NULL, '{}' FROM gone, generate_series(1, 5) n";
    sqlx::query(left).execute(&admin).await.unwrap();
    let alive = "WITH alive AS (INSERT INTO import (import_id, request_id) VALUES (gen_random_uuid(), gen_random_uuid()) RETURNING import_id)
                 INSERT INTO import_row SELECT import_id, 'Y', 2, '', NULL, '{}' FROM alive";
    sqlx::query(alive).execute(&admin).await.unwrap();

    let metrics = Metrics::new(&holdfast_kit::Metrics::new()).into();
    let janitor = Janitor::new(world.store().await, world.config.janitor.clone(), 604_800, metrics);
    janitor.pass(&CancellationToken::new()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM request").await, 1, "the import's answer is young");
    assert_eq!(world.number("SELECT count(*) FROM import_row WHERE code LIKE 'X%'").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM import_row WHERE code = 'Y'").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM import WHERE state = 'ABANDONED'").await, 1);

    sqlx::query("UPDATE import SET update_time = now() - interval '8 days' WHERE state <> 'STAGING'")
        .execute(&admin)
        .await
        .unwrap();
    janitor.pass(&CancellationToken::new()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM import").await, 1, "only the one that is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_begun_survives_the_end_of_the_service() {
    let mut world = World::new().await;
    world.skus(&["A"]).await;
    let mut creates = Vec::new();
    for number in 0..50 {
        let mut client = world.client.clone();
        let request = wire::CreateSkuRequest { request_id: id(), sku: Some(sku(&format!("N{number}"))) };
        creates.push(tokio::spawn(async move { client.create_sku(request).await.is_ok() }));
    }
    world.shutdown.cancel();
    let served = tokio::time::timeout(Duration::from_secs(30), &mut world.served).await.expect("it ends in time");
    served.unwrap().unwrap();
    let mut acknowledged = 0;
    for create in creates {
        acknowledged += i64::from(create.await.unwrap());
    }
    let there = world.number("SELECT count(*) FROM sku WHERE code LIKE 'N%'").await;
    assert!(there >= acknowledged, "{acknowledged} acknowledged, {there} there");
}
