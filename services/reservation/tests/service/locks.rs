//! What is decided is decided by what stands, and by the clock that goes, once the locks are had: somebody else keeps a row while the service waits for it.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use holdfast_testkit::eventually;
use sqlx::{PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;
use tonic::Status;
use uuid::Uuid;

use crate::world::{
    Options, World, ask, confirm, fulfil, id_of, portion, published_becomes, reason, seconds, test_with, within,
};

/// Longer than a busy machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replicas that wait for a lock for as long as a test keeps it.
fn patient() -> Options {
    let settings = [("POSTGRES__LOCK_TIMEOUT_MS", "90000"), ("POSTGRES__STATEMENT_TIMEOUT_MS", "120000")];
    Options { settings: settings.map(|(key, value)| (key, value.to_owned())).into(), ..Options::default() }
}

/// Somebody else who has the rows of stock of a SKU.
async fn whoever_has(pool: &PgPool, sku: &str) -> Transaction<'static, Postgres> {
    let mut other = pool.begin().await.unwrap();
    let lock = "SELECT FROM stock WHERE sku = $1 FOR UPDATE";
    sqlx::query(lock).bind(sku).execute(&mut *other).await.unwrap();
    other
}

/// Until the service has waited for somebody else's lock for so long.
async fn waits(pool: &PgPool, milliseconds: i64) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                   AND clock_timestamp() - query_start > $1 * interval '1 millisecond'";
    eventually("the service waits for the row", PATIENCE, || async {
        let count: i64 = sqlx::query_scalar(waiting).bind(milliseconds).fetch_one(pool).await.unwrap();
        (count > 0).then_some(())
    })
    .await;
}

/// Postgres's clock, in microseconds.
async fn clock(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT micros(clock_timestamp())").fetch_one(pool).await.unwrap()
}

fn micros(time: Option<prost_types::Timestamp>) -> i64 {
    let time = time.expect("a time");
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

fn reserving(world: &World, request: pb::ReserveRequest) -> JoinHandle<Result<pb::ReserveResponse, Status>> {
    let mut client = world.reservations();
    tokio::spawn(async move { client.reserve(within(request, PATIENCE * 2)).await.map(tonic::Response::into_inner) })
}

fn best_effort(lines: &[(&str, i64)]) -> pb::ReserveRequest {
    pb::ReserveRequest { mode: pb::ReserveMode::BestEffort.into(), ..ask(lines) }
}

#[test]
fn a_confirm_that_waits_for_its_row_beyond_the_end_of_the_hold_is_refused() {
    test_with(patient(), async |world| {
        let pool = world.database.admin_pool().await;
        // All of it is confirmed without a plan, a part of it with one.
        for (sku, portions) in [("CHAIR", vec![]), ("TABLE", vec![portion("TABLE", 1)])] {
            world.count(sku, 10).await;
            let request = pb::ReserveRequest { hold_duration: seconds(3), ..ask(&[(sku, 2)]) };
            let id = id_of(&world.reservations().reserve(request).await.unwrap().into_inner());
            let other = whoever_has(&pool, sku).await;
            let (mut client, request) = (world.reservations(), pb::ConfirmRequest { portions, ..confirm(&id) });
            let confirmed = tokio::spawn(async move { client.confirm(within(request, PATIENCE * 2)).await });
            waits(&pool, 0).await;
            eventually("the hold is over", PATIENCE, || async {
                let over =
                    "SELECT EXISTS (SELECT FROM reservation WHERE id = $1::uuid AND expires_at <= clock_timestamp())";
                let over: bool = sqlx::query_scalar(over).bind(&id).fetch_one(&pool).await.unwrap();
                over.then_some(())
            })
            .await;
            other.rollback().await.unwrap();
            assert_eq!(reason(confirmed.await.unwrap()), ErrorReason::ReservationExpired, "{sku}");
            world.level_becomes(sku, "its units are free", |level| level.held == 0 && level.committed == 0).await;
        }
    });
}

#[test]
fn a_hold_that_waited_for_its_row_lasts_its_whole_time_from_when_it_had_it() {
    test_with(patient(), async |world| {
        let pool = world.database.admin_pool().await;
        for (sku, request) in [("CHAIR", ask(&[("CHAIR", 1)])), ("TABLE", best_effort(&[("TABLE", 1)]))] {
            world.count(sku, 10).await;
            published_becomes(world, sku, 10).await;
            let other = whoever_has(&pool, sku).await;
            let reserved = reserving(world, pb::ReserveRequest { hold_duration: seconds(60), ..request });
            waits(&pool, 200).await;
            let had_at = clock(&pool).await;
            other.rollback().await.unwrap();
            let answered = reserved.await.unwrap().unwrap().reservation.unwrap();
            let recorded = world.get(&answered.reservation_id).await.unwrap();
            for (what, reservation) in [("answered", answered), ("recorded", recorded)] {
                let (from, until) = (micros(reservation.create_time), micros(reservation.expire_time));
                assert!(from >= had_at, "{sku} {what}: it began {} µs before it had its units", had_at - from);
                assert_eq!(until - from, 60_000_000, "{sku} {what}");
            }
        }
    });
}

#[test]
fn rows_are_locked_in_the_order_of_their_skus_whatever_the_order_of_the_request() {
    test_with(patient(), async |world| {
        let pool = world.database.admin_pool().await;
        for sku in ["A", "B", "C"] {
            world.count(sku, 100).await;
            published_becomes(world, sku, 100).await;
        }
        let lines = [("C", 1), ("A", 1), ("B", 1)];
        for (path, request) in [("without a plan", ask(&lines)), ("with a plan", best_effort(&lines))] {
            let other = whoever_has(&pool, "B").await;
            let reserved = reserving(world, request);
            waits(&pool, 0).await;
            let free: Vec<String> = sqlx::query_scalar("SELECT sku FROM stock ORDER BY sku FOR UPDATE SKIP LOCKED")
                .fetch_all(&pool)
                .await
                .unwrap();
            assert_eq!(free, ["C"], "{path}: who waits for B has A, and not yet C");
            other.rollback().await.unwrap();
            reserved.await.unwrap().unwrap();
        }
    });
}

/// Another replica reserves two units of a SKU in the east, for Anna by the channel market.
async fn reserve_in_the_east(other: &mut Transaction<'static, Postgres>, sku: &str) {
    let reserve = "SELECT commit_fast(
        ARRAY[$1]::uuid[], ARRAY['anna'], ARRAY[decode(repeat('00', 32), 'hex')], ARRAY[jsonb_build_array(jsonb_build_array($2::text, 'east', 2))],
        ARRAY[60000000], ARRAY['other'], ARRAY[$1]::uuid[], ARRAY[$2::text], ARRAY['east'], ARRAY[2], '{}', '{}', '{}', '{}', '{}',
        900000000, 3600000000, ARRAY['{\"channel\": \"market\"}'::jsonb], '{}', ARRAY[NULL]::text[], '{}')";
    sqlx::query(reserve).bind(Uuid::now_v7()).bind(sku).execute(&mut **other).await.unwrap();
}

fn in_the_west(sku: &str) -> pb::ReserveRequest {
    let mut request = pb::ReserveRequest { owner: "anna".into(), channel: "market".into(), ..ask(&[(sku, 2)]) };
    request.lines[0].location = "west".into();
    request
}

async fn apply(world: &World, policy: pb::SkuPolicy) {
    for location in ["east", "west"] {
        world.count_at(&policy.sku, location, 10).await;
    }
    let sku = policy.sku.clone();
    world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
    published_becomes(world, &sku, 20).await;
}

fn market(units: i64) -> Vec<pb::ChannelCap> {
    vec![pb::ChannelCap { channel: "market".into(), quantity: units }]
}

#[test]
fn carts_of_two_replicas_at_two_locations_do_not_go_beyond_a_limit_together() {
    test_with(patient(), async |world| {
        let pool = world.database.admin_pool().await;
        let policy = |sku: &str| pb::SkuPolicy { sku: sku.into(), version: 1, ..Default::default() };
        let owner = "SELECT FROM policy WHERE sku = $1 FOR NO KEY UPDATE";
        let channel = "SELECT FROM channel_use WHERE sku = $1 FOR UPDATE";
        let minute = "SELECT FROM selling WHERE sku = $1 FOR UPDATE";
        for (policy, lock, why) in [
            (pb::SkuPolicy { max_per_owner: 5, ..policy("OWNER") }, owner, ErrorReason::LimitExceeded),
            (pb::SkuPolicy { channel_caps: market(5), ..policy("CHANNEL") }, channel, ErrorReason::LimitExceeded),
            (pb::SkuPolicy { max_per_minute: 5, ..policy("MINUTE") }, minute, ErrorReason::SellingPaused),
        ] {
            let sku = policy.sku.clone();
            apply(world, policy).await;
            world.reservations().reserve(in_the_west(&sku)).await.unwrap();
            let mut other = pool.begin().await.unwrap();
            sqlx::query(lock).bind(&sku).execute(&mut *other).await.unwrap();
            let reserved = reserving(world, in_the_west(&sku));
            waits(&pool, 0).await;
            reserve_in_the_east(&mut other, &sku).await;
            other.commit().await.unwrap();
            assert_eq!(reason(reserved.await.unwrap()), why, "{sku}");
        }
    });
}

#[test]
fn a_sale_that_is_shipped_leaves_its_channel_what_another_replica_has_just_reserved_by_it() {
    test_with(patient(), async |world| {
        let pool = world.database.admin_pool().await;
        apply(world, pb::SkuPolicy { sku: "CHAIR".into(), version: 1, channel_caps: market(4), ..Default::default() })
            .await;
        let sold = world.reservations().reserve(in_the_west("CHAIR")).await.unwrap().into_inner();
        world.confirm(&id_of(&sold)).await.unwrap();
        let mut other = pool.begin().await.unwrap();
        reserve_in_the_east(&mut other, "CHAIR").await;
        let (mut client, request) = (world.reservations(), fulfil(&id_of(&sold), vec![]));
        let shipped = tokio::spawn(async move { client.fulfil(within(request, PATIENCE * 2)).await });
        waits(&pool, 0).await;
        other.commit().await.unwrap();
        shipped.await.unwrap().unwrap();
        let units: i64 = sqlx::query_scalar("SELECT units FROM channel_use").fetch_one(&pool).await.unwrap();
        assert_eq!(units, 2);
    });
}

#[test]
fn a_policy_reaches_a_row_that_another_replica_is_just_making() {
    test_with(patient(), async |world| {
        let pool = world.database.admin_pool().await;
        world.count_at("CHAIR", "west", 10).await;
        let mut other = pool.begin().await.unwrap();
        let make = "INSERT INTO stock (sku, location, version) VALUES ('CHAIR', 'east', 1);
                    SELECT FROM policy WHERE sku = 'CHAIR' FOR NO KEY UPDATE;
                    INSERT INTO ledger (sku, location, version, at, cause, cause_id, actor)
                    VALUES ('CHAIR', 'east', 1, clock_timestamp(), 'COUNT', gen_random_uuid(), 'other')";
        sqlx::raw_sql(make).execute(&mut *other).await.unwrap();
        let policy = pb::SkuPolicy { sku: "CHAIR".into(), version: 1, safety_stock: 3, ..Default::default() };
        let (mut client, request) = (world.stock(), pb::ApplyPoliciesRequest { policies: vec![policy] });
        let applied = tokio::spawn(async move { client.apply_policies(within(request, PATIENCE * 2)).await });
        waits(&pool, 0).await;
        other.commit().await.unwrap();
        applied.await.unwrap().unwrap();
        let kept: Vec<(String, i64)> =
            sqlx::query_as("SELECT location, safety FROM stock ORDER BY location").fetch_all(&pool).await.unwrap();
        assert_eq!(kept, [("east".to_owned(), 3), ("west".to_owned(), 3)]);
    });
}
