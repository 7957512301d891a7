//! Which schema a program can run on: its own, or a newer one that says that it still serves it.
//!
//! Migrations expand first and contract in a later release, so that replicas of two releases share one schema while a rollout, or a rollback, is under way. The
//! table `schema_serves` says with which migration the oldest program came that the schema still serves; only a migration that contracts raises it.

use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};

use super::{ATTEMPT_MAX, ConnectError, PAUSE_MAX, PAUSE_MIN, credentials, has_code, place_of};
use crate::config::PostgresConfig;

/// The schema is not one that this program can run on. Nothing has been started.
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
    /// Somebody else has migrated further than this program can follow.
    #[error(
        "the schema is at version {found} and {}, this program is of version {known}: run a newer {program}; or, if you must go back, restore the \
         backup from before the schema was migrated",
        serves(*.oldest)
    )]
    Newer {
        /// The latest version there.
        found: i64,
        /// The latest version known here.
        known: i64,
        /// The oldest program that the schema serves; none when it does not say.
        oldest: Option<i64>,
        /// What to replace.
        program: String,
    },
    /// A migration that this program does not know stands between those that it knows.
    #[error(
        "the schema has a migration {version} that {program} of version {known} lacks: it was migrated by a build from another branch"
    )]
    Foreign {
        /// Which.
        version: i64,
        /// The latest version known here.
        known: i64,
        /// Whose.
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

fn serves(oldest: Option<i64>) -> String {
    oldest.map_or_else(
        || "does not say which older programs it serves".into(),
        |oldest| format!("serves programs from version {oldest} on"),
    )
}

/// The schema did not come to serve this program.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// It did not within the time.
    #[error("the schema does not serve this program, waited for {seconds} s. The last look: {last}")]
    TimeOver {
        /// How long.
        seconds: u64,
        /// What was seen last.
        last: NotYet,
    },
    /// Waiting does not help.
    #[error(transparent)]
    Schema(SchemaError),
    /// The configuration does not say where to look.
    #[error(transparent)]
    Connect(ConnectError),
}

/// What a look found that may pass.
#[derive(Debug, thiserror::Error)]
pub enum NotYet {
    /// No connection: Postgres is not there, or the database, the role or its password is not, or not yet.
    #[error("Postgres at {place}: {source}")]
    Postgres {
        /// Where.
        place: String,
        /// What it said, or why it could not be asked.
        source: sqlx::Error,
    },
    /// The schema is not there yet.
    #[error(transparent)]
    Schema(SchemaError),
}

/// What the database says of its schema.
#[derive(Debug)]
pub(super) struct Found {
    /// Version and checksum of each migration that was applied, ascending.
    rows: Vec<(i64, Vec<u8>)>,
    /// The oldest program that it serves, if it says so.
    oldest: Option<i64>,
}

impl Found {
    /// Reads it.
    pub(super) async fn read(connection: &mut PgConnection, program: &str) -> Result<Self, SchemaError> {
        let rows = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .persistent(false)
            .fetch_all(&mut *connection)
            .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) if has_code(&error, &["42P01"]) => Vec::new(),
            Err(error) if has_code(&error, &["42501"]) => {
                return Err(SchemaError::Hidden { program: crate::entry::program(program) });
            }
            Err(error) => return Err(error.into()),
        };
        // Asked for by name first: a missing table would break the transaction that this may be in.
        let there = sqlx::query_scalar("SELECT to_regclass('schema_serves') IS NOT NULL").persistent(false);
        let oldest = if there.fetch_one(&mut *connection).await? {
            let oldest = sqlx::query_scalar("SELECT oldest FROM schema_serves").persistent(false);
            oldest.fetch_optional(&mut *connection).await?
        } else {
            None
        };
        Ok(Self { rows, oldest })
    }

    /// The latest version; 0 when there is none.
    pub(super) fn version(&self) -> i64 {
        self.rows.last().map_or(0, |row| row.0)
    }

    /// Whether a program with these migrations can run on it.
    pub(super) fn serves(&self, migrator: &Migrator, program: &str) -> Result<(), SchemaError> {
        let program = crate::entry::program(program);
        let known = latest(migrator);
        let found = self.version();
        for migration in ups(migrator) {
            if let Some((version, checksum)) = self.rows.iter().find(|(version, _)| *version == migration.version)
                && **checksum != *migration.checksum
            {
                return Err(SchemaError::Changed { version: *version, program });
            }
        }
        let foreign = self.rows.iter().map(|row| row.0).find(|version| !migrator.version_exists(*version));
        if let Some(version) = foreign.filter(|version| *version < known) {
            return Err(SchemaError::Foreign { version, known, program });
        }
        if found > known && self.oldest.is_none_or(|oldest| known < oldest) {
            return Err(SchemaError::Newer { found, known, oldest: self.oldest, program });
        }
        if self.next(migrator).is_some() {
            return Err(SchemaError::Older { found, needed: known, program });
        }
        Ok(())
    }

    /// The first migration that was not applied.
    pub(super) fn next<'a>(&self, migrator: &'a Migrator) -> Option<&'a Migration> {
        ups(migrator).find(|migration| self.rows.iter().all(|(version, _)| *version != migration.version))
    }
}

fn ups(migrator: &Migrator) -> impl Iterator<Item = &Migration> {
    migrator.iter().filter(|migration| !migration.migration_type.is_down_migration())
}

fn latest(migrator: &Migrator) -> i64 {
    ups(migrator).map(|migration| migration.version).max().unwrap_or(0)
}

/// Checks that this program can run on the schema: it has all of the program's migrations with their texts, and if it has later ones, it says that it still
/// serves this program.
///
/// # Errors
/// When it is older, too new, or made by other texts; the message says what to run as `program`.
pub async fn check_schema(pool: &PgPool, migrator: &Migrator, program: &str) -> Result<(), SchemaError> {
    let mut connection = pool.acquire().await?;
    let found = Found::read(&mut connection, program).await?;
    found.serves(migrator, program)?;
    let (version, known) = (found.version(), latest(migrator));
    if version > known {
        tracing::warn!(version, known, "the schema is newer than this program and still serves it");
    }
    Ok(())
}

/// Waits until the schema serves this program, as the running role, and says which version it has. Each look has a connection of its own, reads two small tables
/// and lets go: nothing is locked or held between looks. Files with credentials are read anew for each.
///
/// # Errors
/// When it does not within `within`, with what the last look found; at once when waiting does not help (too new, other texts, no URL).
pub async fn wait_schema(
    config: &PostgresConfig,
    migrator: &Migrator,
    program: &str,
    within: Duration,
) -> Result<i64, WaitError> {
    let end = Instant::now() + within;
    let mut pause = PAUSE_MIN;
    let mut said = String::new();
    loop {
        let last = match look(config, migrator, program).await? {
            Ok(version) => return Ok(version),
            Err(not_yet) => not_yet,
        };
        let text = last.to_string();
        if text != said {
            tracing::info!(waiting_for = text, "the schema does not serve this program yet");
            said = text;
            pause = PAUSE_MIN;
        }
        if Instant::now() + pause > end {
            return Err(WaitError::TimeOver { seconds: within.as_secs(), last });
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One look; the outer error is one that waiting does not cure.
async fn look(config: &PostgresConfig, migrator: &Migrator, program: &str) -> Result<Result<i64, NotYet>, WaitError> {
    let config = credentials::read_again(config).await.unwrap_or_else(|_| config.clone());
    let options = credentials::running(&config).map_err(WaitError::Connect)?.statement_cache_capacity(0);
    let place = place_of(&options);
    let asked = async {
        let mut connection = PgConnection::connect_with(&options).await.map_err(LookError::Connect)?;
        let found = Found::read(&mut connection, program).await.map_err(LookError::Schema)?;
        drop(connection.close().await);
        found.serves(migrator, program).map_err(LookError::Schema)?;
        Ok(found.version())
    };
    let error = match timeout(ATTEMPT_MAX, asked).await {
        Ok(Ok(version)) => return Ok(Ok(version)),
        Ok(Err(error)) => error,
        Err(_) => LookError::Connect(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    };
    match error {
        LookError::Connect(source) | LookError::Schema(SchemaError::Failed(source)) => {
            Ok(Err(NotYet::Postgres { place, source }))
        }
        LookError::Schema(error @ (SchemaError::Older { .. } | SchemaError::Hidden { .. })) => {
            Ok(Err(NotYet::Schema(error)))
        }
        LookError::Schema(
            error @ (SchemaError::Newer { .. } | SchemaError::Foreign { .. } | SchemaError::Changed { .. }),
        ) => Err(WaitError::Schema(error)),
    }
}

enum LookError {
    Connect(sqlx::Error),
    Schema(SchemaError),
}
