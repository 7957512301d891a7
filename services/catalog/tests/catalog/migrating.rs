//! `migrate` and `wait-schema` as processes: two at once, one killed in the middle, and one that waits for them.

use std::process::{Output, Stdio};
use std::time::Duration;

use holdfast_catalog::store::MIGRATOR;
use holdfast_testkit::{Database, database, eventually};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::process::{Child, Command};

/// While somebody holds this lock, no statement that makes or alters a table begins once three migrations are there.
const HELD: &str = "SELECT pg_advisory_lock(7)";
const HOLD_UP: &str = "
    CREATE FUNCTION hold_up() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- One condition would be planned as a whole, and fail where there is no list.
        IF to_regclass('_sqlx_migrations') IS NOT NULL THEN
            IF (SELECT count(*) FROM _sqlx_migrations) = 3 THEN
                PERFORM pg_advisory_xact_lock_shared(7);
            END IF;
        END IF;
    END $$;
    CREATE EVENT TRIGGER hold_up ON ddl_command_start EXECUTE FUNCTION hold_up();";

/// An empty database, without even a list of migrations.
async fn empty() -> (Database, PgPool) {
    let database = database("catalog", &Migrator::with_migrations(Vec::new())).await;
    let admin = database.admin_pool().await;
    sqlx::raw_sql("DROP TABLE _sqlx_migrations").execute(&admin).await.unwrap();
    (database, admin)
}

fn start(database: &Database, arguments: &[&str]) -> Child {
    start_with("5000", database, arguments)
}

fn start_with(lock_timeout_ms: &str, database: &Database, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-catalog"));
    command.args(arguments).env("HOLDFAST_CATALOG__POSTGRES__URL", database.url());
    command.env("HOLDFAST_CATALOG__POSTGRES__MIGRATE_URL", database.owner_url());
    command.env("HOLDFAST_CATALOG__POSTGRES__LOCK_TIMEOUT_MS", lock_timeout_ms);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

async fn end(child: Child) -> Output {
    tokio::time::timeout(Duration::from_secs(120), child.wait_with_output()).await.expect("it ends").unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn applied(output: &Output) -> usize {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number =
        text.split("applied ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {text}"))
}

fn all() -> usize {
    MIGRATOR.iter().count()
}

async fn count(admin: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(admin).await.unwrap()
}

/// Statements of `migrate` that are held up.
const HELD_UP: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'holdfast-migrate' AND wait_event = 'advisory'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_apply_each_migration_once_and_who_waits_sees_them_come() {
    let (database, _admin) = empty().await;
    let waiting = start(&database, &["wait-schema", "--seconds", "120"]);
    let (one, other) = tokio::join!(end(start(&database, &["migrate"])), end(start(&database, &["migrate"])));
    assert_eq!(applied(&one) + applied(&other), all(), "{} {}", said(&one), said(&other));
    let waited = end(waiting).await;
    assert!(waited.status.success(), "{}", said(&waited));
    assert!(said(&waited).contains(&format!("at version {} and serves this program", all())), "{}", said(&waited));
    assert_eq!(applied(&end(start(&database, &["migrate"])).await), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_in_the_middle_is_made_good_by_the_next() {
    let (database, admin) = empty().await;
    sqlx::raw_sql(HOLD_UP).execute(&admin).await.unwrap();
    let mut holder = PgConnection::connect(&database.admin_url()).await.unwrap();
    sqlx::query(HELD).execute(&mut holder).await.unwrap();

    let mut killed = start(&database, &["migrate"]);
    let held_up = || async { (count(&admin, HELD_UP).await == 1).then_some(()) };
    eventually("the fourth migration is under way", Duration::from_secs(60), held_up).await;
    killed.kill().await.unwrap();
    // Its session stands in the middle of its statement, with the list locked: the next one waits for its end.
    let next = start_with("50", &database, &["migrate"]);
    let waiting = end(start(&database, &["wait-schema", "--seconds", "0"])).await;
    assert_eq!(waiting.status.code(), Some(3), "{}", said(&waiting));
    assert!(said(&waiting).contains("the schema is at version 3, this program needs"), "{}", said(&waiting));

    holder.close().await.unwrap();
    assert_eq!(applied(&end(next).await), all() - 3);
    let twice = "SELECT count(*) - count(DISTINCT version) FROM _sqlx_migrations";
    assert_eq!(count(&admin, twice).await, 0);
    let waiting = end(start(&database, &["wait-schema", "--seconds", "0"])).await;
    assert_eq!(waiting.status.code(), Some(0), "{}", said(&waiting));
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(count(&admin, locks).await, 0, "nothing is left locked");
}
