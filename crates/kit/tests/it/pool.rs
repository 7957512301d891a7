//! Postgres behind an address that leads elsewhere, or to nobody who says so.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use holdfast_kit::PostgresConfig;
use holdfast_kit::pg::{Failure, Pool, classify};
use holdfast_stack::proxy::Proxy;
use holdfast_testkit::{Database, PrivatePostgres, eventually, private_postgres};
use sqlx::AssertSqlSafe;

use crate::pg::{PROGRAM, empty};

/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pool that comes to the run's Postgres by an address that can be led elsewhere, with short limits.
async fn behind_an_address() -> (Database, Proxy, PostgresConfig) {
    let (database, mut config) = empty().await;
    let (who, rest) = database.url().rsplit_once('@').map(|(who, rest)| (who.to_owned(), rest.to_owned())).unwrap();
    let (server, rest) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(server.parse().unwrap()).await.unwrap();
    config.url = format!("{who}@{}/{rest}", proxy.address()).into();
    (config.statement_timeout_ms, config.lock_timeout_ms, config.acquire_timeout_ms) = (300, 300, 2_000);
    (database, proxy, config)
}

/// Another server with the same database and role.
async fn other_server(database: &Database) -> PrivatePostgres {
    let other = private_postgres(false).await;
    let mut admin = holdfast_stack::postgres::connect(&other.admin_url()).await.unwrap();
    let make = format!("CREATE DATABASE {}", database.name());
    sqlx::query(AssertSqlSafe(make)).execute(&mut admin).await.unwrap();
    other
}

async fn server_of(pool: &Pool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_postmaster_start_time()::text").fetch_one(pool).await
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_the_next_statement_has_another_connection() {
    let (_database, proxy, config) = behind_an_address().await;
    let pool = Pool::connect(&config, PROGRAM).await.unwrap();
    server_of(&pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    proxy.halve();
    let began = Instant::now();
    let statement = sqlx::query("SELECT 1").execute(&mut *connection);
    let silent = pool.within(statement).await.unwrap_err();
    assert_eq!(classify(&silent), Failure::Unavailable, "{silent}");
    assert!(began.elapsed() < PATIENCE, "it ends when Postgres itself would have ended it");
    drop(connection);
    // What lies in the pool is silent too, and is found out in time to make another one.
    server_of(&pool).await.unwrap();
}

#[tokio::test]
async fn connections_are_left_when_their_address_leads_to_another_server() {
    let (database, proxy, config) = behind_an_address().await;
    let pool = Pool::connect(&config, PROGRAM).await.unwrap();
    let beside = pool.beside(&config, PROGRAM).await.unwrap();
    let (before, of_beside) = (server_of(&pool).await.unwrap(), server_of(&beside).await.unwrap());
    assert_eq!(before, of_beside);
    let other = other_server(&database).await;
    proxy.lead_to((Ipv4Addr::LOCALHOST, other.port()).into());
    for pool in [&pool, &beside] {
        eventually("it is left", PATIENCE, || async { (server_of(pool).await.unwrap() != before).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_statement_under_way_at_a_server_that_was_left_is_given_up() {
    let (database, proxy, mut config) = behind_an_address().await;
    config.statement_timeout_ms = 600_000;
    let pool = Pool::connect(&config, PROGRAM).await.unwrap();
    let sleeping = tokio::spawn({
        let pool = pool.clone();
        async move { sqlx::query("SELECT pg_sleep(600)").execute(&pool).await }
    });
    let admin = database.admin_pool().await;
    eventually("it is under way", PATIENCE, || async {
        let asleep =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        (sqlx::query_scalar::<_, i64>(asleep).fetch_one(&admin).await.unwrap() == 1).then_some(())
    })
    .await;
    let other = other_server(&database).await;
    proxy.lead_to((Ipv4Addr::LOCALHOST, other.port()).into());
    let given_up = sleeping.await.unwrap().unwrap_err();
    assert_eq!(classify(&given_up), Failure::Unavailable, "{given_up}");
}
