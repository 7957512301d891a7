//! Postgres: connecting with limits, migrating by command, checking the schema at start, and what its errors mean for a caller.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};

use crate::Problem;
use crate::config::PostgresConfig;

/// The first pause between attempts to connect; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take: an address where nothing answers, not even with a refusal, would hold it for minutes.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// Postgres cannot be reached or refuses the role. Nothing has happened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one.
    #[error("postgres.{key} is not a Postgres URL: {message}")]
    Url {
        /// Which key.
        key: &'static str,
        /// Why.
        message: String,
    },
    /// It answered nothing within `connect_seconds_max`.
    #[error(
        "Postgres at {place} cannot be reached, tried for {seconds} s: {source}. Check that it runs and that postgres.url names it \
         (`pg_isready -h HOST -p PORT`)"
    )]
    Unreachable {
        /// Where.
        place: String,
        /// How long.
        seconds: u64,
        /// The last failure.
        source: sqlx::Error,
    },
    /// It answered, and said no: a wrong password, no such database or role.
    #[error("Postgres at {place} refused the connection: {source}. Check role, password and database in postgres.url")]
    Refused {
        /// Where.
        place: String,
        /// What it said.
        source: sqlx::Error,
    },
}

/// The schema is not the one that this program was built for. Nothing has been started.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Migrations are missing.
    #[error("the schema is at version {found}, this program needs {needed}: run `{program} migrate` first")]
    Older {
        /// The latest version there; 0 when there is none.
        found: i64,
        /// The latest version known here.
        needed: i64,
        /// What to run.
        program: String,
    },
    /// Somebody else has migrated further.
    #[error("the schema is at version {found}, this program knows {known} and no later one: run a newer {program}")]
    Newer {
        /// The latest version there.
        found: i64,
        /// The latest version known here.
        known: i64,
        /// What to replace.
        program: String,
    },
    /// A migration was applied with another text.
    #[error(
        "migration {version} was applied with another text than {program} has: applied migrations never change; restore its file, or reset a \
         database that may be lost"
    )]
    Changed {
        /// Which.
        version: i64,
        /// Whose.
        program: String,
    },
    /// The running role may not look.
    #[error("the running role may not read the list of migrations: run `{program} migrate`, which grants it")]
    Hidden {
        /// What to run.
        program: String,
    },
    /// The question failed.
    #[error("the schema cannot be checked: {0}")]
    Failed(#[from] sqlx::Error),
}

/// A failed migration. Postgres rolls a failed one back; those before it stay.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A migration failed, or does not match what was applied before.
    #[error("migrating failed: {0}")]
    Failed(#[from] sqlx::migrate::MigrateError),
    /// The running role could not be granted the list of migrations.
    #[error("the running role cannot be granted the list of migrations: {0}")]
    Grant(#[source] sqlx::Error),
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// How many migrations were applied now.
    pub applied: usize,
    /// The version that the schema has; 0 when there are no migrations.
    pub version: i64,
}

/// A pool of connections as the running role, each with the configured timeouts, after one connection has been made. `application_name` stands in
/// `pg_stat_activity`.
///
/// # Errors
/// When the URL is none, Postgres refuses the role, or it does not answer within `connect_seconds_max`.
pub async fn connect(config: &PostgresConfig, application_name: &str) -> Result<PgPool, ConnectError> {
    let options = options(&config.url, "url")?.application_name(application_name).options([
        ("statement_timeout", config.statement_timeout_ms.to_string()),
        ("lock_timeout", config.lock_timeout_ms.to_string()),
        ("idle_in_transaction_session_timeout", config.idle_in_transaction_timeout_ms.to_string()),
        // Short statements only: compiling one that is estimated to be costly takes longer than running it.
        ("jit", "off".to_owned()),
    ]);
    let first = connect_once(&options, config.connect_seconds_max).await?;
    // Only to learn that it can be had; the pool makes its own.
    drop(first.close().await);
    Ok(PgPoolOptions::new()
        .max_connections(config.pool_connections_max)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .connect_lazy_with(options))
}

/// Applies what is missing of these migrations as the owning role, and lets the running role read the list of migrations.
///
/// # Errors
/// When Postgres cannot be reached, a migration fails (it is rolled back, earlier ones stay), or the schema has migrations that are unknown here.
pub async fn migrate(config: &PostgresConfig, migrator: &Migrator) -> Result<Migrated, MigrateError> {
    let running = options(&config.url, "url")?;
    let owning = if config.migrate_url.expose_secret().is_empty() {
        running.clone()
    } else {
        options(&config.migrate_url, "migrate_url")?
    };
    let owning = owning
        .application_name("holdfast-migrate")
        // A migration that waits long for a lock makes everybody behind it wait too.
        .options([("lock_timeout", config.lock_timeout_ms.to_string())]);
    let mut connection = connect_once(&owning, config.connect_seconds_max).await?;
    let before = applied(&mut connection).await.map_or(0, |rows| rows.len());
    migrator.run(&mut connection).await?;
    let after = applied(&mut connection).await.map_err(MigrateError::Grant)?;
    if running.get_username() != owning.get_username() {
        let role = running.get_username().replace('"', "\"\"");
        let grant = format!("GRANT SELECT ON _sqlx_migrations TO \"{role}\"");
        sqlx::query(AssertSqlSafe(grant)).execute(&mut connection).await.map_err(MigrateError::Grant)?;
    }
    drop(connection.close().await);
    Ok(Migrated { applied: after.len() - before, version: after.last().map_or(0, |row| row.0) })
}

/// Checks that the schema is exactly the one that these migrations make.
///
/// # Errors
/// When it is older, newer, or made by other texts; the message says what to run as `program`.
pub async fn check_schema(pool: &PgPool, migrator: &Migrator, program: &str) -> Result<(), SchemaError> {
    let program = crate::entry::program(program);
    let mut connection = pool.acquire().await?;
    let rows = match applied(&mut connection).await {
        Ok(rows) => rows,
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
            return Err(SchemaError::Hidden { program });
        }
        Err(error) => return Err(error.into()),
    };
    let known = migrator.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let needed = known.clone().map(|migration| migration.version).max().unwrap_or(0);
    let found = rows.last().map_or(0, |row| row.0);
    if let Some((version, _)) = rows.iter().find(|(version, _)| !migrator.version_exists(*version)) {
        return Err(SchemaError::Newer { found: *version, known: needed, program });
    }
    for migration in known {
        match rows.iter().find(|(version, _)| *version == migration.version) {
            None => return Err(SchemaError::Older { found, needed, program }),
            Some((version, checksum)) if **checksum != *migration.checksum => {
                return Err(SchemaError::Changed { version: *version, program });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Version and checksum of each migration that was applied, ascending; none when there is no list yet.
async fn applied(connection: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let rows = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(connection)
        .await;
    match rows {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(Vec::new()),
        rows => rows,
    }
}

fn options(url: &SecretString, key: &'static str) -> Result<PgConnectOptions, ConnectError> {
    PgConnectOptions::from_str(url.expose_secret())
        .map_err(|error| ConnectError::Url { key, message: error.to_string() })
}

/// One connection, tried until it succeeds, is refused, or the time is over.
async fn connect_once(options: &PgConnectOptions, seconds_max: u64) -> Result<PgConnection, ConnectError> {
    let place = || format!("{}:{}", options.get_host(), options.get_port());
    let end = Instant::now() + Duration::from_secs(seconds_max);
    let mut pause = PAUSE_MIN;
    loop {
        let source = match timeout(ATTEMPT_MAX, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(source)) => source,
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        if matches!(&source, sqlx::Error::Database(error) if !is_starting(error.code().as_deref())) {
            return Err(ConnectError::Refused { place: place(), source });
        }
        if Instant::now() + pause > end {
            return Err(ConnectError::Unreachable { place: place(), seconds: seconds_max, source });
        }
        tracing::info!(place = place(), error = %source, "Postgres cannot be reached yet");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether Postgres says that it is starting, stopping or full, all of which pass.
fn is_starting(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("57P0") || code.starts_with("53"))
}

/// What a failed statement means for whoever sent it, by what he does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Postgres did not answer, or went away. If a COMMIT was under way, its outcome is unknown: retry with the same key.
    Unavailable,
    /// No connection was free in time. Nothing was sent.
    Busy,
    /// A deadlock, a lost race or a lock not had in time. The transaction was rolled back: run it again.
    Again,
    /// The statement took longer than allowed. It was rolled back.
    TooSlow,
    /// A constraint said no; the statement was rolled back. The name is an API: translate it.
    Conflict(Constraint),
    /// Anything else is a defect: the statement does not fit the schema, or the code does not fit the row. If it came from reading an answer, the effect
    /// may have happened.
    Defect,
}

/// A constraint that was violated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its name in the migrations.
    pub name: String,
    /// What kind it is.
    pub kind: ConstraintKind,
}

/// The kinds of constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// UNIQUE, PRIMARY KEY or EXCLUDE.
    Unique,
    /// FOREIGN KEY.
    Reference,
    /// CHECK.
    Check,
}

/// What a failed statement means.
#[must_use]
pub fn classify(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code();
            let constraint = |kind| {
                database
                    .constraint()
                    .map_or(Failure::Defect, |name| Failure::Conflict(Constraint { name: name.into(), kind }))
            };
            match code.as_deref() {
                Some("23505" | "23P01") => constraint(ConstraintKind::Unique),
                Some("23503") => constraint(ConstraintKind::Reference),
                Some("23514") => constraint(ConstraintKind::Check),
                // Serialization failure, deadlock, lock not available in time.
                Some("40001" | "40P01" | "55P03") => Failure::Again,
                Some("57014") => Failure::TooSlow,
                // Connection exceptions, resources (disk, memory, connections), operator intervention, a standby that cannot write, I/O.
                Some(code) if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
                    Failure::Unavailable
                }
                Some("25006" | "25P03") => Failure::Unavailable,
                _ => Failure::Defect,
            }
        }
        sqlx::Error::PoolTimedOut => Failure::Busy,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Failure::Unavailable,
        // The driver says so of a connection that was cut in the middle of a message.
        sqlx::Error::Protocol(_) => Failure::Unavailable,
        _ => Failure::Defect,
    }
}

/// The problem that a failed statement is, where its constraints have no meaning of their own. The error itself goes to the log.
#[must_use]
pub fn problem(error: &sqlx::Error) -> Problem {
    let unavailable = |message: &str| Problem::new(ErrorReason::StoreUnavailable, message);
    match classify(error) {
        Failure::Unavailable => unavailable("the record did not answer; retry with the same key"),
        Failure::Again => unavailable("the record was busy with the same rows; retry with the same key"),
        Failure::TooSlow => unavailable("the record took too long; retry with the same key"),
        Failure::Busy => {
            Problem::new(ErrorReason::Overloaded, "all connections to the record are busy; nothing was done")
        }
        Failure::Conflict(_) | Failure::Defect => return Problem::defect(error),
    }
    .because(error)
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
