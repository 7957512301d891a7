//! Connecting, migrating and checking the schema on a real Postgres.

use std::time::Duration;

use holdfast_kit::pg::{
    ConnectError, Constraint, ConstraintKind, Failure, SchemaError, check_schema, classify, connect, migrate, problem,
};
use holdfast_kit::{Common, ErrorReason, PostgresConfig};
use holdfast_testkit::Database;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgPool, SqlStr};

pub(crate) const PROGRAM: &str = "holdfast-test";

/// Migrations of a service that has one table, as far as they existed at some version.
pub(crate) fn migrations(upto: i64) -> Migrator {
    const TEXTS: [&str; 2] = [
        "CREATE TABLE thing (
            id bigint CONSTRAINT thing_pk PRIMARY KEY,
            parent bigint CONSTRAINT thing_parent_exists REFERENCES thing,
            units bigint NOT NULL CONSTRAINT thing_units_not_negative CHECK (units >= 0)
        );
        GRANT SELECT, INSERT, UPDATE ON thing TO holdfast_catalog",
        "ALTER TABLE thing ADD COLUMN note text",
    ];
    let all = TEXTS.into_iter().zip(1..).filter(|(_, version)| *version <= upto);
    Migrator::with_migrations(all.map(|(text, version)| migration(version, text)).collect())
}

pub(crate) fn migration(version: i64, text: &'static str) -> Migration {
    Migration::new(version, "test".into(), MigrationType::Simple, SqlStr::from_static(text), false)
}

/// A database with roles and nothing in it, and the configuration that names it.
pub(crate) async fn empty() -> (Database, PostgresConfig) {
    let database = holdfast_testkit::database("catalog", &Migrator::with_migrations(Vec::new())).await;
    let mut config = Common::default().postgres;
    config.url = database.url().into();
    config.migrate_url = database.owner_url().into();
    config.pool_connections_max = 2;
    // The tests share a machine; what waits for a connection here is not what is tested.
    config.acquire_timeout_ms = 30_000;
    (database, config)
}

async fn migrated() -> (Database, PostgresConfig, PgPool) {
    let (database, config) = empty().await;
    migrate(&config, &migrations(2), PROGRAM).await.unwrap();
    let pool = connect(&config, PROGRAM).await.unwrap();
    (database, config, pool)
}

#[tokio::test]
async fn migrating_twice_is_migrating_once_and_lets_the_running_role_look() {
    let (_database, config) = empty().await;
    let first = migrate(&config, &migrations(1), PROGRAM).await.unwrap();
    assert_eq!((first.applied, first.version), (1, 1));
    let second = migrate(&config, &migrations(2), PROGRAM).await.unwrap();
    assert_eq!((second.applied, second.version), (1, 2));
    let third = migrate(&config, &migrations(2), PROGRAM).await.unwrap();
    assert_eq!((third.applied, third.version), (0, 2));
    let pool = connect(&config, PROGRAM).await.unwrap();
    check_schema(&pool, &migrations(2), PROGRAM).await.unwrap();
}

#[tokio::test]
async fn a_schema_of_another_version_is_refused_with_the_command_to_run() {
    let (_database, config) = empty().await;
    let pool = connect(&config, PROGRAM).await.unwrap();
    let nothing = check_schema(&pool, &migrations(1), PROGRAM).await.unwrap_err();
    assert!(nothing.to_string().contains("run `holdfast-test migrate`"), "{nothing}");

    migrate(&config, &migrations(1), PROGRAM).await.unwrap();
    let older = check_schema(&pool, &migrations(2), PROGRAM).await.unwrap_err();
    assert!(matches!(older, SchemaError::Older { found: 1, needed: 2, .. }), "{older}");
    assert!(older.to_string().contains("run `holdfast-test migrate`"), "{older}");

    migrate(&config, &migrations(2), PROGRAM).await.unwrap();
    let newer = check_schema(&pool, &migrations(1), PROGRAM).await.unwrap_err();
    assert!(matches!(newer, SchemaError::Newer { found: 2, known: 1, oldest: None, .. }), "{newer}");
}

#[tokio::test]
async fn a_migration_with_another_text_is_noticed() {
    let (_database, config) = empty().await;
    migrate(&config, &migrations(1), PROGRAM).await.unwrap();
    let pool = connect(&config, PROGRAM).await.unwrap();
    let other = Migrator::with_migrations(vec![migration(1, "CREATE TABLE other ()")]);
    let changed = check_schema(&pool, &other, PROGRAM).await.unwrap_err();
    assert!(matches!(changed, SchemaError::Changed { version: 1, .. }), "{changed}");
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    let (_database, config) = empty().await;
    let broken = Migrator::with_migrations(vec![migration(1, "CREATE TABLE half (); SELECT 1 / 0")]);
    migrate(&config, &broken, PROGRAM).await.unwrap_err();
    let done = migrate(&config, &migrations(1), PROGRAM).await.unwrap();
    assert_eq!((done.applied, done.version), (1, 1));
}

#[tokio::test]
async fn the_running_role_cannot_alter_the_schema() {
    let (_database, _config, pool) = migrated().await;
    for text in ["ALTER TABLE thing ADD COLUMN extra text", "CREATE TABLE mine ()", "DELETE FROM _sqlx_migrations"] {
        sqlx::query(text).execute(&pool).await.unwrap_err();
    }
}

#[tokio::test]
async fn connections_have_their_name_and_their_limits() {
    let (_database, mut config) = empty().await;
    (config.statement_timeout_ms, config.lock_timeout_ms) = (4321, 1234);
    let pool = connect(&config, PROGRAM).await.unwrap();
    for (name, expected) in [
        ("application_name", "holdfast-test"),
        ("statement_timeout", "4321ms"),
        ("lock_timeout", "1234ms"),
        ("idle_in_transaction_session_timeout", "10s"),
    ] {
        let shown: String = sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&pool).await.unwrap();
        assert_eq!(shown, expected, "{name}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once_and_not_repeated() {
    let (database, mut config) = empty().await;
    config.url = database.url().replace(database.password(), "sesame").into();
    let refused = connect(&config, PROGRAM).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused}");
    assert!(!refused.to_string().contains("sesame"), "{refused}");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_place() {
    let mut config = Common::default().postgres;
    (config.url, config.connect_seconds_max) = ("postgres://baker:sesame@127.0.0.1:1/bakery".into(), 0);
    let unreachable = connect(&config, PROGRAM).await.unwrap_err();
    assert!(matches!(unreachable, ConnectError::Unreachable { .. }), "{unreachable}");
    let said = unreachable.to_string();
    assert!(said.contains("127.0.0.1:1") && !said.contains("sesame"), "{said}");
    config.url = "not a url".into();
    assert!(matches!(connect(&config, PROGRAM).await.unwrap_err(), ConnectError::Url { key: "url", .. }));
}

#[tokio::test]
async fn constraints_are_known_by_their_names() {
    let (_database, _config, pool) = migrated().await;
    sqlx::query("INSERT INTO thing VALUES (1, NULL, 1)").execute(&pool).await.unwrap();
    for (text, name, kind) in [
        ("INSERT INTO thing VALUES (1, NULL, 1)", "thing_pk", ConstraintKind::Unique),
        ("INSERT INTO thing VALUES (2, 9, 1)", "thing_parent_exists", ConstraintKind::Reference),
        ("INSERT INTO thing VALUES (2, NULL, -1)", "thing_units_not_negative", ConstraintKind::Check),
    ] {
        let error = sqlx::query(text).execute(&pool).await.unwrap_err();
        assert_eq!(classify(&error), Failure::Conflict(Constraint { name: name.into(), kind }), "{error}");
    }
}

#[tokio::test]
async fn a_defect_is_internal_and_keeps_its_text() {
    let (_database, _config, pool) = migrated().await;
    let error = sqlx::query("SELECT secret_column FROM thing").execute(&pool).await.unwrap_err();
    assert_eq!(classify(&error), Failure::Defect);
    let status = tonic::Status::from(problem(&error));
    assert!(!format!("{status:?}").contains("secret_column"), "{status:?}");
    assert_eq!(problem(&error).reason(), ErrorReason::Internal);
}

#[tokio::test]
async fn busy_rows_and_slow_statements_and_full_pools_are_told_apart() {
    let (_database, config, pool) = migrated().await;
    sqlx::query("INSERT INTO thing VALUES (1, NULL, 1)").execute(&pool).await.unwrap();
    let impatient = |statement_timeout_ms, lock_timeout_ms| {
        let acquire_timeout_ms = 30_000;
        PostgresConfig { statement_timeout_ms, lock_timeout_ms, acquire_timeout_ms, ..config.clone() }
    };

    let short = connect(&impatient(50, 50), PROGRAM).await.unwrap();
    let slow = sqlx::query("SELECT pg_sleep(30)").execute(&short).await.unwrap_err();
    assert_eq!((classify(&slow), problem(&slow).reason()), (Failure::TooSlow, ErrorReason::StoreUnavailable));

    let mut holder = pool.begin().await.unwrap();
    sqlx::query("UPDATE thing SET units = 2 WHERE id = 1").execute(&mut *holder).await.unwrap();
    let short = connect(&impatient(30_000, 50), PROGRAM).await.unwrap();
    let busy = sqlx::query("UPDATE thing SET units = 3 WHERE id = 1").execute(&short).await.unwrap_err();
    assert_eq!((classify(&busy), problem(&busy).reason()), (Failure::Again, ErrorReason::StoreUnavailable));

    let full = sqlx::Error::PoolTimedOut;
    assert_eq!((classify(&full), problem(&full).reason()), (Failure::Busy, ErrorReason::Overloaded));
}

#[tokio::test]
async fn a_connection_that_is_cut_is_unavailable() {
    let (database, _config, pool) = migrated().await;
    let admin = database.admin_pool().await;
    let mut connection = pool.acquire().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await.unwrap();
    let waiting = tokio::spawn(async move { sqlx::query("SELECT pg_sleep(30)").execute(&mut *connection).await });
    holdfast_testkit::eventually("the statement", Duration::from_secs(10), || async {
        let active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1";
        sqlx::query_scalar::<_, bool>(active).bind(pid).fetch_one(&admin).await.unwrap().then_some(())
    })
    .await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&admin).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((classify(&error), problem(&error).reason()), (Failure::Unavailable, ErrorReason::StoreUnavailable));
}
