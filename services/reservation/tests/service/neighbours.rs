//! What one row, one caller or one Redis that fails costs the others: nothing.

use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use holdfast_testkit::eventually;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::world::{Options, World, ask, published_becomes, reason, test_with, within};

/// Longer than anything here takes.
const PATIENT: Duration = Duration::from_secs(60);

/// Somebody has the SKU's row, as a person in psql might.
async fn locked(pool: &PgPool, sku: &str) -> sqlx::PgTransaction<'static> {
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stock WHERE sku = $1 FOR UPDATE").bind(sku).execute(&mut *blocker).await.unwrap();
    blocker
}

/// Sessions that wait for a lock.
async fn waiting(pool: &PgPool) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn someone_waits(pool: &PgPool) {
    eventually("somebody waits for the row", Duration::from_secs(20), || async {
        (waiting(pool).await > 0).then_some(())
    })
    .await;
}

fn reserve_later(
    world: &World,
    into: &mut JoinSet<Result<(), ErrorReason>>,
    request: pb::ReserveRequest,
    deadline: Duration,
) {
    let mut client = world.reservations();
    into.spawn(async move {
        let outcome = client.reserve(within(request, deadline)).await;
        outcome.map(drop).map_err(|status| holdfast_kit::reason_of(&status).unwrap_or_default())
    });
}

#[test]
fn a_row_that_somebody_keeps_fails_its_own_carts_and_no_others() {
    let settings = vec![("POSTGRES__LOCK_TIMEOUT_MS", "300".to_owned())];
    test_with(Options { settings, ..Options::default() }, async |world| {
        for sku in ["LOCKED", "FREE"] {
            world.count(sku, 100).await;
            published_becomes(world, sku, 100).await;
        }
        let pool = world.database.admin_pool().await;
        let blocker = locked(&pool, "LOCKED").await;
        let (mut stuck, mut free) = (JoinSet::new(), JoinSet::new());
        reserve_later(world, &mut stuck, ask(&[("LOCKED", 1)]), PATIENT);
        someone_waits(&pool).await;
        // While that one waits these queue, and become one batch.
        for _ in 0..20 {
            reserve_later(world, &mut stuck, ask(&[("LOCKED", 1)]), PATIENT);
            reserve_later(world, &mut free, ask(&[("FREE", 1)]), PATIENT);
        }
        while let Some(outcome) = free.join_next().await {
            assert_eq!(outcome.unwrap(), Ok(()), "a cart that has nothing of the locked row");
        }
        while let Some(outcome) = stuck.join_next().await {
            assert_eq!(outcome.unwrap(), Err(ErrorReason::Overloaded));
        }
        blocker.rollback().await.unwrap();
        world.hold("LOCKED", 1).await;
        assert_eq!((world.level("FREE").await.held, world.level("LOCKED").await.held), (20, 1));
    });
}

#[test]
fn a_dry_run_that_has_to_wait_holds_up_no_buyer() {
    let settings =
        vec![("POSTGRES__LOCK_TIMEOUT_MS", "20000".to_owned()), ("POSTGRES__STATEMENT_TIMEOUT_MS", "30000".to_owned())];
    test_with(Options { settings, ..Options::default() }, async |world| {
        for sku in ["LOCKED", "FREE"] {
            world.count(sku, 100).await;
            published_becomes(world, sku, 100).await;
        }
        let pool = world.database.admin_pool().await;
        let blocker = locked(&pool, "LOCKED").await;
        let mut dry = JoinSet::new();
        let request = pb::ReserveRequest { validate_only: true, ..ask(&[("LOCKED", 1)]) };
        reserve_later(world, &mut dry, request, PATIENT);
        someone_waits(&pool).await;
        world.hold("FREE", 1).await;
        assert!(dry.try_join_next().is_none(), "it waits still");
        blocker.rollback().await.unwrap();
        assert_eq!(dry.join_next().await.unwrap().unwrap(), Ok(()));
        assert_eq!(world.level("LOCKED").await.held, 0);
    });
}

#[test]
fn callers_that_give_up_keep_their_places_while_their_work_waits() {
    let settings = vec![
        ("LIMITER__REQUESTS_PER_SKU_MAX", "2".to_owned()),
        ("POSTGRES__LOCK_TIMEOUT_MS", "20000".to_owned()),
        ("POSTGRES__STATEMENT_TIMEOUT_MS", "30000".to_owned()),
    ];
    test_with(Options { settings, ..Options::default() }, async |world| {
        world.count("CHAIR", 100).await;
        world.redis.lock().await.stop().await.unwrap();
        eventually("Redis counts as dead", Duration::from_secs(20), || async {
            (world.metric(0, "holdfast_gate_up").await == Some(0.0)).then_some(())
        })
        .await;
        let pool = world.database.admin_pool().await;
        let blocker = locked(&pool, "CHAIR").await;
        let mut gone = JoinSet::new();
        for _ in 0..2 {
            reserve_later(world, &mut gone, ask(&[("CHAIR", 1)]), Duration::from_millis(500));
        }
        while let Some(outcome) = gone.join_next().await {
            assert!(outcome.unwrap().is_err(), "nobody gets an answer in time");
        }
        // Nobody waits any more, but what they asked for does.
        for _ in 0..3 {
            let shed = world.reservations().reserve(within(ask(&[("CHAIR", 1)]), PATIENT)).await;
            assert_eq!(reason(shed), ErrorReason::Overloaded);
        }
        blocker.rollback().await.unwrap();
        let places = r#"holdfast_saturation_part_ratio{part="limiter"}"#;
        eventually("their places are free", Duration::from_secs(20), || async {
            (world.metric(0, places).await == Some(0.0)).then_some(())
        })
        .await;
        world.hold("CHAIR", 1).await;
        // What had begun went on to its end; what had not was too late.
        assert!((2..=3).contains(&world.level("CHAIR").await.held));
    });
}

/// A round of all others takes minutes, so that only what is asked for comes at once.
fn slow_round() -> Options {
    let settings = vec![("RECONCILER__PERIOD_MS", "500".to_owned()), ("RECONCILER__OTHERS_MAX", "1".to_owned())];
    Options { settings, ..Options::default() }
}

async fn redis(world: &World) -> redis::aio::MultiplexedConnection {
    let url = world.redis.lock().await.admin_url();
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// What Redis says, without asking the service, which would look at the SKU for it; an error while Redis is silent.
async fn said(redis: &mut redis::aio::MultiplexedConnection, sku: &str) -> redis::RedisResult<Option<i64>> {
    redis::cmd("HGET").arg(format!("hf:a:{{{sku}}}")).arg("l:main").query_async(redis).await
}

/// The same of a Redis that answers.
async fn units(redis: &mut redis::aio::MultiplexedConnection, sku: &str) -> Option<i64> {
    said(redis, sku).await.unwrap()
}

async fn look(world: &World, sku: &str) -> pb::Availability {
    let request = pb::BatchGetAvailabilityRequest { skus: vec![sku.into()], source: pb::ReadSource::Record.into() };
    world.stock().batch_get_availability(request).await.unwrap().into_inner().results.remove(0)
}

#[test]
fn what_was_asked_for_while_redis_was_silent_is_right_soon_after() {
    test_with(slow_round(), async |world| {
        let skus: Vec<String> = (0..300).map(|n| format!("CHAIR-{n:03}")).collect();
        let counts = skus.iter().map(|sku| (sku.as_str(), "main", 5)).collect();
        world.stock().apply_counts(world.counts(counts)).await.unwrap();
        let mut direct = redis(world).await;
        let last = skus.last().unwrap();
        published_becomes(world, last, 5).await;
        let eventually_right = async |direct: &redis::aio::MultiplexedConnection| {
            eventually("it is right", Duration::from_secs(15), || async {
                (said(&mut direct.clone(), last).await.ok() == Some(Some(5))).then_some(())
            })
            .await;
        };
        eventually_right(&direct).await;
        let () = redis::pipe()
            .cmd("HSET")
            .arg(format!("hf:a:{{{last}}}"))
            .arg("l:main")
            .arg(9)
            .ignore()
            .cmd("CLIENT")
            .arg("PAUSE")
            .arg(2_500)
            .arg("ALL")
            .ignore()
            .query_async(&mut direct)
            .await
            .unwrap();
        assert_eq!(look(world, last).await.available, 5);
        eventually("a pass met a silent Redis", Duration::from_secs(20), || async {
            (world.metric(0, "holdfast_gate_up").await == Some(0.0)).then_some(())
        })
        .await;
        eventually_right(&direct).await;
    });
}

#[test]
fn a_sku_that_the_record_does_not_have_leaves_redis_when_it_is_asked_for() {
    test_with(slow_round(), async |world| {
        world.count("CHAIR", 5).await;
        let mut direct = redis(world).await;
        let () = redis::cmd("HSET")
            .arg("hf:a:{GHOST}")
            .arg(&["l:main", "5", "at", "1"])
            .query_async(&mut direct)
            .await
            .unwrap();
        assert!(!look(world, "GHOST").await.known);
        eventually("it is gone", Duration::from_secs(15), || async {
            units(&mut direct.clone(), "GHOST").await.is_none().then_some(())
        })
        .await;
        assert_eq!(world.published("GHOST").await, None);
        assert_eq!(reason(world.reserve("GHOST", 1).await), ErrorReason::UnknownSku);
    });
}

#[test]
fn a_sku_with_more_locations_than_a_slice_is_published_whole() {
    test_with(slow_round(), async |world| {
        world.count("CHAIR", 5).await;
        world.count_at("CHAIR", "outlet", 3).await;
        published_becomes(world, "CHAIR", 8).await;
        world.wipe_redis().await;
        let mut direct = redis(world).await;
        eventually("it comes round by itself", Duration::from_secs(20), || async {
            units(&mut direct.clone(), "CHAIR").await.is_some().then_some(())
        })
        .await;
        let outlet: Option<i64> =
            redis::cmd("HGET").arg("hf:a:{CHAIR}").arg("l:outlet").query_async(&mut direct).await.unwrap();
        assert_eq!((units(&mut direct, "CHAIR").await, outlet), (Some(5), Some(3)));
    });
}
