//! Postgres: connecting with limits, migrating by command, waiting for and checking the schema, and what its errors mean for a caller.

mod credentials;
mod migrate;
mod pool;
mod schema;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};

pub use self::migrate::{MigrateError, Migrated, migrate};
pub use self::pool::Pool;
pub use self::schema::{NotYet, SchemaError, WaitError, check_schema, wait_schema};
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
    /// A file with credentials cannot be read.
    #[error("postgres.{key}: cannot read {}: {source}", path.display())]
    File {
        /// Which key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    #[error("Postgres at {place} refused the connection: {source}. Check role, password and database in [postgres]")]
    Refused {
        /// Where.
        place: String,
        /// What it said.
        source: sqlx::Error,
    },
}

/// The connections of [`Pool::connect`], for services whose statements end with the requests that they are for.
///
/// # Errors
/// As [`Pool::connect`].
pub async fn connect(config: &PostgresConfig, application_name: &str) -> Result<PgPool, ConnectError> {
    Pool::connect(config, application_name).await.map(|pool| pool.connections().clone())
}

/// One connection, tried until it succeeds, is refused, or the time is over.
async fn connect_once(options: &PgConnectOptions, seconds_max: u64) -> Result<PgConnection, ConnectError> {
    let place = || place_of(options);
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

/// Where these options lead, for people.
fn place_of(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}

/// Whether Postgres said no with one of these codes.
fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().is_some_and(|code| codes.contains(&&*code)))
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
                // Connection exceptions, credentials that are just being changed, resources (disk, memory, connections), operator intervention, I/O.
                Some(code) if ["08", "28", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
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
