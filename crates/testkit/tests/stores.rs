//! What a test may rely on when it asks for stores.

use std::time::Duration;

use holdfast_stack::postgres::StopMode;
use holdfast_testkit::database::database_on;
use holdfast_testkit::{database, eventually, private_postgres, redis};
use sqlx::Connection;
use sqlx::migrate::Migrator;

static MIGRATIONS: Migrator = sqlx::migrate!("tests/migrations");

async fn count(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM thing").fetch_one(pool).await.expect("a migrated table")
}

#[tokio::test]
async fn what_one_test_writes_no_other_sees() {
    let (one, other) = tokio::join!(database("catalog", &MIGRATIONS), database("catalog", &MIGRATIONS));
    let (one, other) = (one.pool(2).await, other.pool(2).await);
    sqlx::query("INSERT INTO thing VALUES (1)").execute(&one).await.expect("the running role may insert");
    assert_eq!((count(&one).await, count(&other).await), (1, 0));
}

#[tokio::test]
async fn the_running_role_can_do_what_migrations_grant_and_nothing_else() {
    let database = database("catalog", &MIGRATIONS).await;
    let running = database.pool(1).await;
    for forbidden in ["DELETE FROM thing", "DROP TABLE thing", "CREATE TABLE other ()", "CREATE SCHEMA other"] {
        let error = sqlx::query(forbidden).execute(&running).await.expect_err(forbidden);
        let code = error.as_database_error().and_then(|error| error.code()).expect("Postgres refused").into_owned();
        assert_eq!(code, "42501", "{forbidden} is refused for want of privilege");
    }
}

#[tokio::test]
async fn another_services_role_cannot_even_connect() {
    let database = database("catalog", &MIGRATIONS).await;
    let url = database.url().replacen("holdfast_catalog:", "holdfast_reservation:", 1);
    let error = sqlx::PgConnection::connect(&url).await.expect_err("a stranger");
    let code = error.as_database_error().and_then(|error| error.code()).expect("Postgres refused").into_owned();
    assert_eq!(code, "42501");
}

#[tokio::test]
async fn a_database_is_gone_with_its_value() {
    let database = database("catalog", &MIGRATIONS).await;
    let _still_connected = database.pool(1).await;
    let (name, admin_url) = (database.name().to_owned(), database.admin_url());
    drop(database);
    let error = sqlx::PgConnection::connect(&admin_url).await.expect_err("a dropped database");
    assert!(error.to_string().contains(&format!("database \"{name}\" does not exist")), "{error}");
}

#[tokio::test]
async fn a_private_postgres_keeps_what_was_committed_over_every_kind_of_stop() {
    let mut postgres = private_postgres(false).await;
    let database = database_on(postgres.info(), "catalog", &MIGRATIONS).await;
    for (number, mode) in [(1_i64, StopMode::Fast), (2, StopMode::Immediate), (3, StopMode::Kill)] {
        let pool = database.pool(1).await;
        sqlx::query("INSERT INTO thing VALUES ($1)").bind(number).execute(&pool).await.expect("a row");
        pool.close().await;
        postgres.stop(mode).await.expect("it stops");
        postgres.start_again().await.expect("it starts again");
        assert_eq!(count(&database.pool(1).await).await, number, "after {mode:?}");
    }
}

#[tokio::test]
async fn the_gates_user_reads_and_writes_its_own_keys_and_nothing_else() {
    let redis = redis().await;
    let client = redis::Client::open(redis.gate_url()).expect("an address");
    let mut gate = client.get_multiplexed_async_connection().await.expect("the gate's user connects");
    let mut ask = async |words: &[&str]| {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        command.query_async::<redis::Value>(&mut gate).await
    };
    ask(&["HSET", "hf:{CHAIR}:available", "MAIN", "5"]).await.expect("its own key");
    let script = |key: &str| format!("return redis.call('HGETALL', '{key}')");
    let mut load = async |text: &str| {
        let loaded = ask(&["SCRIPT", "LOAD", text]).await.expect("a script");
        redis::from_redis_value::<String>(loaded).expect("its digest")
    };
    let (own, other) = (load(&script("hf:{CHAIR}:available")).await, load(&script("other")).await);
    ask(&["EVALSHA", &own, "0"]).await.expect("a script that reads its own keys");
    let foreign: [&[&str]; 8] = [
        &["HSET", "other", "MAIN", "5"],
        &["EVALSHA", &other, "0"],
        &["EVAL", "return 1", "0"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
    ];
    for words in foreign {
        let error = ask(words).await.expect_err(&words.join(" "));
        let text = error.to_string();
        assert!(["NOPERM", "permission", "can't access"].iter().any(|word| text.contains(word)), "{words:?}: {text}");
    }
}

#[tokio::test]
async fn a_frozen_redis_answers_nobody_until_it_is_thawed() {
    let mut redis = redis().await;
    let client = redis::Client::open(redis.admin_url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
    redis.freeze();
    let asked = redis::cmd("PING").query_async::<String>(&mut connection).await;
    assert!(asked.is_err(), "a frozen Redis answered: {asked:?}");
    redis.thaw();
    eventually("Redis answers again", Duration::from_secs(10), || {
        let mut connection = connection.clone();
        async move { redis::cmd("PING").query_async::<String>(&mut connection).await.ok() }
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_was_wiped_or_restarted_is_empty_on_the_same_port() {
    let mut redis = redis().await;
    let url = redis.admin_url();
    let size = async || {
        let client = redis::Client::open(url.as_str()).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
        let before: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.expect("a number");
        redis::cmd("SET").arg("key").arg(1).exec_async(&mut connection).await.expect("a key");
        before
    };
    assert_eq!(size().await, 0);
    holdfast_stack::redis::wipe(&redis.admin_url()).await.expect("a wipe");
    assert_eq!(size().await, 0, "after the wipe");
    redis.restart_empty().await.expect("a restart");
    assert_eq!(size().await, 0, "after the restart");
}
