//! Two releases on one schema, migrations that meet, and waiting for a schema.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use holdfast_kit::PostgresConfig;
use holdfast_kit::pg::{MigrateError, NotYet, SchemaError, WaitError, check_schema, connect, migrate, wait_schema};
use holdfast_testkit::{Database, eventually};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgPool, SqlStr};

use crate::pg::{PROGRAM, empty, migration, migrations};

/// Migrations of five releases: the second makes the table of whom the schema serves, the fourth contracts.
fn releases(upto: i64) -> Migrator {
    const TEXTS: [&str; 5] = [
        "CREATE TABLE thing (id bigint, colour text)",
        "CREATE TABLE schema_serves (oldest bigint NOT NULL);
         INSERT INTO schema_serves VALUES (2);
         GRANT SELECT ON schema_serves TO holdfast_catalog",
        "ALTER TABLE thing ADD COLUMN paint text",
        "ALTER TABLE thing DROP COLUMN colour; UPDATE schema_serves SET oldest = 3",
        "ALTER TABLE thing ADD COLUMN note text",
    ];
    let all = TEXTS.into_iter().zip(1..).filter(|(_, version)| *version <= upto);
    Migrator::with_migrations(all.map(|(text, version)| migration(version, text)).collect())
}

async fn execute(pool: &PgPool, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(pool).await.unwrap();
}

/// A database without even a list of migrations.
async fn bare() -> (Database, PostgresConfig) {
    let (database, config) = empty().await;
    execute(&database.admin_pool().await, "DROP TABLE _sqlx_migrations".into()).await;
    (database, config)
}

#[tokio::test]
async fn an_older_program_starts_on_a_schema_that_still_serves_it() {
    let (_database, config) = empty().await;
    migrate(&config, &releases(3), PROGRAM).await.unwrap();
    let pool = connect(&config, PROGRAM).await.unwrap();
    check_schema(&pool, &releases(2), PROGRAM).await.unwrap();
    let again = migrate(&config, &releases(2), PROGRAM).await.unwrap();
    assert_eq!((again.applied, again.version), (0, 3), "a rollback's own run has nothing to do");
    let version = wait_schema(&config, &releases(2), PROGRAM, Duration::ZERO).await.unwrap();
    assert_eq!(version, 3);
}

#[tokio::test]
async fn a_program_that_the_schema_serves_no_more_is_told_both_numbers_and_what_to_do() {
    let (_database, config) = empty().await;
    migrate(&config, &releases(5), PROGRAM).await.unwrap();
    let pool = connect(&config, PROGRAM).await.unwrap();
    check_schema(&pool, &releases(3), PROGRAM).await.unwrap();
    let refused = check_schema(&pool, &releases(2), PROGRAM).await.unwrap_err();
    assert!(matches!(refused, SchemaError::Newer { found: 5, known: 2, oldest: Some(3), .. }), "{refused}");
    let said = refused.to_string();
    for part in ["version 5", "from version 3 on", "of version 2", "run a newer holdfast-test"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let refused = migrate(&config, &releases(2), PROGRAM).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Schema(SchemaError::Newer { .. })), "{refused}");
    let refused = wait_schema(&config, &releases(2), PROGRAM, Duration::from_secs(600)).await.unwrap_err();
    assert!(matches!(refused, WaitError::Schema(SchemaError::Newer { .. })), "waiting does not help: {refused}");
}

#[tokio::test]
async fn texts_that_this_program_knows_are_compared_on_a_newer_schema_too() {
    let (_database, config) = empty().await;
    migrate(&config, &releases(3), PROGRAM).await.unwrap();
    let mut known: Vec<Migration> = releases(1).iter().cloned().collect();
    known.push(migration(2, "CREATE TABLE other ()"));
    let other = Migrator::with_migrations(known);
    let pool = connect(&config, PROGRAM).await.unwrap();
    let changed = check_schema(&pool, &other, PROGRAM).await.unwrap_err();
    assert!(matches!(changed, SchemaError::Changed { version: 2, .. }), "{changed}");
    let changed = migrate(&config, &other, PROGRAM).await.unwrap_err();
    assert!(matches!(changed, MigrateError::Schema(SchemaError::Changed { version: 2, .. })), "{changed}");
}

#[tokio::test]
async fn a_migration_of_another_branch_is_named() {
    let (_database, config) = empty().await;
    migrate(&config, &releases(3), PROGRAM).await.unwrap();
    let known = releases(4).iter().filter(|migration| migration.version != 3).cloned().collect();
    let branch = Migrator::with_migrations(known);
    let pool = connect(&config, PROGRAM).await.unwrap();
    let foreign = check_schema(&pool, &branch, PROGRAM).await.unwrap_err();
    assert!(matches!(foreign, SchemaError::Foreign { version: 3, known: 4, .. }), "{foreign}");
    migrate(&config, &branch, PROGRAM).await.unwrap_err();
}

#[tokio::test]
async fn a_migration_before_the_latest_is_not_applied_late() {
    let (_database, config) = empty().await;
    let without = |missing| {
        let known = releases(3).iter().filter(|migration| migration.version != missing).cloned().collect();
        Migrator::with_migrations(known)
    };
    migrate(&config, &without(2), PROGRAM).await.unwrap();
    let gap = migrate(&config, &releases(3), PROGRAM).await.unwrap_err();
    assert!(matches!(gap, MigrateError::Gap { version: 2, found: 3 }), "{gap}");
}

#[tokio::test]
async fn a_migration_outside_of_a_transaction_is_refused() {
    let (_database, config) = empty().await;
    let text = SqlStr::from_static("SELECT 1");
    let loose = Migration::new(1, "loose".into(), MigrationType::Simple, text, true);
    let refused = migrate(&config, &Migrator::with_migrations(vec![loose]), PROGRAM).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NoTransaction { version: 1 }), "{refused}");
}

#[tokio::test]
async fn eight_at_once_apply_each_migration_once() {
    let (_database, config) = bare().await;
    let runs = (0..8).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { migrate(&config, &releases(5), PROGRAM).await.unwrap() })
    });
    let mut applied = 0;
    for run in runs.collect::<Vec<_>>() {
        let done = run.await.unwrap();
        assert_eq!(done.version, 5);
        applied += done.applied;
    }
    assert_eq!(applied, 5);
    let pool = connect(&config, PROGRAM).await.unwrap();
    check_schema(&pool, &releases(5), PROGRAM).await.unwrap();
}

/// Holds the table `thing`, as a busy shop or a stuck session does.
async fn hold(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE thing IN ACCESS SHARE MODE").execute(&mut *transaction).await.unwrap();
    transaction
}

#[tokio::test]
async fn a_busy_table_is_waited_for_in_short_waits_that_let_others_through() {
    let (database, mut config) = empty().await;
    migrate(&config, &releases(2), PROGRAM).await.unwrap();
    let admin = database.admin_pool().await;
    let held = hold(&admin).await;
    config.lock_timeout_ms = 20;
    let running = tokio::spawn({
        let config = config.clone();
        async move { migrate(&config, &releases(3), PROGRAM).await }
    });
    // Each try is a transaction of its own: when a second one is seen, the first waited in vain.
    let tries = Mutex::new(BTreeSet::new());
    let another = || async {
        let query = "SELECT xact_start::text FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'holdfast-migrate' AND wait_event_type = 'Lock'";
        let began: Option<String> = sqlx::query_scalar(query).fetch_optional(&admin).await.unwrap();
        let mut tries = tries.lock().unwrap();
        tries.extend(began);
        (tries.len() > 1).then_some(())
    };
    eventually("a second try", Duration::from_secs(30), another).await;
    assert!(!running.is_finished());
    held.rollback().await.unwrap();
    let done = running.await.unwrap().unwrap();
    assert_eq!((done.applied, done.version), (1, 3));
}

#[tokio::test]
async fn what_stays_in_the_way_ends_a_migration_in_time_and_nothing_has_happened() {
    let (database, mut config) = empty().await;
    migrate(&config, &releases(2), PROGRAM).await.unwrap();
    let admin = database.admin_pool().await;
    let held = hold(&admin).await;
    (config.lock_timeout_ms, config.migrate_wait_seconds_max) = (20, 0);
    let error = migrate(&config, &releases(3), PROGRAM).await.unwrap_err();
    assert!(error.to_string().contains("lock timeout"), "{error}");
    held.rollback().await.unwrap();
    let done = migrate(&config, &releases(3), PROGRAM).await.unwrap();
    assert_eq!((done.applied, done.version), (1, 3));
}

/// What a single look says is missing.
async fn missing(config: &PostgresConfig, migrator: &Migrator) -> NotYet {
    match wait_schema(config, migrator, PROGRAM, Duration::ZERO).await.unwrap_err() {
        WaitError::TimeOver { seconds: 0, last } => last,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn waiting_outlasts_everything_that_may_not_be_there_yet() {
    let mut postgres = holdfast_testkit::private_postgres(false).await;
    let info = postgres.info().clone();
    let admin_url = info.admin_url.clone();
    let name = "holdfast_catalog";
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "not yet\n").unwrap();
    let mut config = holdfast_kit::Common::default().postgres;
    config.url = format!("postgres://127.0.0.1:{}/{name}?sslmode=disable", postgres.port()).into();
    (config.user, config.password_file) = (name.into(), password_file.clone());
    config.migrate_url = info.url("holdfast_catalog_owner", name).into();

    postgres.stop(holdfast_stack::postgres::StopMode::Immediate).await.unwrap();
    let waiting = tokio::spawn({
        let config = config.clone();
        async move { wait_schema(&config, &migrations(2), PROGRAM, Duration::from_secs(120)).await }
    });
    let step = |what: &'static str, expected: &'static [&'static str], config: PostgresConfig| async move {
        let said = missing(&config, &migrations(2)).await.to_string();
        assert!(expected.iter().any(|text| said.contains(text)), "{what}: {said}");
    };
    step("nobody is there", &["refused"], config.clone()).await;
    postgres.start_again().await.unwrap();
    step("the password is another", &["password authentication failed"], config.clone()).await;
    std::fs::write(&password_file, format!("{}\n", info.password)).unwrap();
    step("the database is missing", &["does not exist"], config.clone()).await;
    let database = holdfast_stack::roles::ServiceDatabase::of("catalog").unwrap();
    holdfast_stack::roles::make_database(&admin_url, database, name, "template0").await.unwrap();
    step("there is no list", &["the schema is at version 0, this program needs 2"], config.clone()).await;
    migrate(&config, &migrations(1), PROGRAM).await.unwrap();
    step("a migration is missing", &["the schema is at version 1, this program needs 2"], config.clone()).await;
    let mut owner = holdfast_stack::postgres::connect(&info.url("holdfast_catalog_owner", name)).await.unwrap();
    sqlx::query("REVOKE SELECT ON _sqlx_migrations FROM holdfast_catalog").execute(&mut owner).await.unwrap();
    step("the grant is missing", &["may not read the list"], config.clone()).await;
    assert!(!waiting.is_finished());
    migrate(&config, &migrations(2), PROGRAM).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn waiting_holds_nothing_between_looks_and_disturbs_no_migration() {
    let (database, config) = bare().await;
    let admin = database.admin_pool().await;
    let waiting = tokio::spawn({
        let config = config.clone();
        async move { wait_schema(&config, &migrations(2), PROGRAM, Duration::from_secs(120)).await }
    });
    migrate(&config, &migrations(1), PROGRAM).await.unwrap();
    // The second one is under way and goes no further for now.
    let held = hold(&admin).await;
    let running = tokio::spawn({
        let config = config.clone();
        async move { migrate(&config, &migrations(2), PROGRAM).await }
    });
    let blocked = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'holdfast-migrate' AND wait_event_type = 'Lock'";
    let blocked = || async {
        let count: i64 = sqlx::query_scalar(blocked).fetch_one(&admin).await.unwrap();
        (count == 1).then_some(())
    };
    eventually("the migration waits", Duration::from_secs(30), blocked).await;
    let said = missing(&config, &migrations(2)).await.to_string();
    assert!(said.contains("version 1"), "the list can be read while a migration is under way: {said}");
    let gone = || async {
        let query =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'holdfast_catalog'";
        let count: i64 = sqlx::query_scalar(query).fetch_one(&admin).await.unwrap();
        (count == 0).then_some(())
    };
    eventually("a moment without a connection of the one who waits", Duration::from_secs(30), gone).await;
    assert!(!waiting.is_finished() && !running.is_finished());
    held.rollback().await.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
}
