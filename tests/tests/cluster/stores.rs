//! Redis and Postgres wiped, killed and set back under load (FAULTS 13–16, 23): Redis routes, Postgres speaks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use holdfast_stack::postgres::StopMode;
use holdfast_stack::redis::wipe;
use holdfast_testkit::{eventually, seed};
use sqlx::Executor as _;

use crate::kills::{BUYERS, SKUS, settled};
use crate::load::Load;
use crate::world::{Cluster, Options, scenario};

#[test]
fn a_redis_wiped_and_a_redis_killed_under_load_turn_nobody_away() {
    let seed = seed();
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&[("DESK", 100_000), ("LAMP", 100_000), ("LAST", 60)]).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        for _ in 0..3 {
            wipe(&cluster.redis.admin_url()).await.expect("Redis is wiped");
            load.goes_on(100).await;
            cluster.redis.restart_empty().await.expect("Redis starts again");
            load.goes_on(100).await;
        }
        let ended = settled(cluster, load, Duration::ZERO).await;
        assert_eq!(ended.unknown(), BTreeMap::new(), "Redis is no reason not to know");
    });
}

#[test]
fn a_redis_set_back_to_when_there_was_more_does_not_oversell() {
    let seed = seed();
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&[("DESK", 100_000), ("LAMP", 100_000), ("LAST", 60)]).await;
        cluster.redis_converges(&SKUS).await;
        let plenty = snapshot(cluster).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        sold_out(cluster, "LAST").await;
        for _ in 0..3 {
            restore(cluster, &plenty).await;
            load.goes_on(100).await;
        }
        settled(cluster, load, Duration::ZERO).await;
        // And once more when nobody buys, so that no commit puts it right.
        restore(cluster, &plenty).await;
        cluster.redis_converges(&SKUS).await;
    });
}

#[test]
fn a_redis_set_back_to_when_there_was_less_sells_all_the_same() {
    let seed = seed();
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&[("DESK", 100_000), ("LAMP", 100_000), ("LAST", 5)]).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        sold_out(cluster, "LAST").await;
        let nothing = snapshot(cluster).await;
        // Redis says "sold out" while Postgres has more and more.
        for units in [300, 600, 900] {
            cluster.count(&[("LAST", units)]).await;
            restore(cluster, &nothing).await;
            let taken = cluster.number("SELECT held + committed FROM stock WHERE sku = 'LAST'").await;
            eventually("buyers get the new units", Duration::from_secs(10), || async {
                let now = cluster.number("SELECT held + committed FROM stock WHERE sku = 'LAST'").await;
                (now >= taken + 10).then_some(())
            })
            .await;
        }
        settled(cluster, load, Duration::ZERO).await;
        restore(cluster, &nothing).await;
        cluster.redis_converges(&SKUS).await;
    });
}

#[test]
fn a_postgres_killed_under_load_keeps_what_was_acknowledged() {
    let seed = seed();
    scenario(Options::reservation(2).own_postgres(), async |cluster| {
        cluster.count(&[("DESK", 100_000), ("LAMP", 100_000), ("LAST", 60)]).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        let mut away = Duration::ZERO;
        for mode in [StopMode::Fast, StopMode::Immediate, StopMode::Kill] {
            let stopped = std::time::Instant::now();
            let postgres = cluster.postgres.as_mut().expect("its own");
            postgres.stop(mode).await.expect("Postgres stops");
            postgres.start_again().await.expect("Postgres starts again");
            load.goes_on(100).await;
            away = away.max(stopped.elapsed());
        }
        settled(cluster, load, away).await;
    });
}

#[test]
fn connections_cut_in_the_middle_of_a_commit_leave_an_outcome_that_the_key_tells() {
    let seed = seed();
    scenario(Options::reservation(2), async |cluster| {
        cluster.count(&[("DESK", 100_000), ("LAMP", 100_000), ("LAST", 60)]).await;
        let load = Load::start(cluster, &SKUS, BUYERS, &seed).await;
        for _ in 0..20 {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'holdfast_reservation'";
            cluster.record.execute(cut).await.expect("the superuser may");
            load.goes_on(30).await;
        }
        settled(cluster, load, Duration::from_secs(1)).await;
    });
}

async fn sold_out(cluster: &Cluster, sku: &str) {
    eventually("it is sold out", Duration::from_secs(30), || async {
        let level = cluster.stock().get_stock(sku).await.ok()?.levels.remove(0);
        (level.available == 0).then_some(())
    })
    .await;
}

/// Everything that Redis has, as it would lie in its dump file.
async fn snapshot(cluster: &Cluster) -> HashMap<Vec<u8>, Vec<u8>> {
    let mut connection = redis_of(cluster).await;
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    let mut dumps = HashMap::new();
    for key in keys {
        let dump: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.expect("a dump");
        dumps.extend(dump.map(|dump| (key, dump)));
    }
    assert!(!dumps.is_empty(), "an empty snapshot says nothing");
    dumps
}

/// What a restart from an old dump file does.
async fn restore(cluster: &Cluster, snapshot: &HashMap<Vec<u8>, Vec<u8>>) {
    let mut connection = redis_of(cluster).await;
    let mut all = redis::pipe();
    all.atomic().cmd("FLUSHALL").ignore();
    for (key, dump) in snapshot {
        all.cmd("RESTORE").arg(key).arg(0).arg(dump).ignore();
    }
    all.query_async::<()>(&mut connection).await.expect("the snapshot is restored");
}

async fn redis_of(cluster: &Cluster) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(cluster.redis.admin_url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}
