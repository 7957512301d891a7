//! Applying migrations: one transaction each, which holds the list of migrations against others.
//!
//! The driver's own way takes an advisory lock of the session for the whole run. Behind a pooler the unlock may reach another session than the lock, and then the
//! next run waits for ever; and whoever waits for it meets `lock_timeout`. Here the lock is one on the list itself, taken by the migration's own transaction. It ends
//! with the transaction, whatever becomes of the process, and readers of the list never wait for it. What another run has applied meanwhile is seen under the lock,
//! so two runs at once apply each migration once.

use std::time::Duration;

use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};
use tokio::time::{Instant, sleep};

use super::schema::{Found, SchemaError};
use super::{ConnectError, PAUSE_MAX, PAUSE_MIN, connect_once, credentials, has_code};
use crate::config::PostgresConfig;

/// Where the driver keeps the list.
const LIST: &str = "_sqlx_migrations";

/// A failed migration. Postgres rolls a failed one back; those before it stay.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is not one that these migrations lead on from.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A migration is missing although later ones were applied.
    #[error(
        "migration {version} is missing, and the schema is at version {found} already: migrations are applied in their order"
    )]
    Gap {
        /// Which.
        version: i64,
        /// The latest version there.
        found: i64,
    },
    /// A migration asks not to be run in a transaction.
    #[error(
        "migration {version} asks for no transaction: cut off in the middle, it could be neither taken back nor run again"
    )]
    NoTransaction {
        /// Which.
        version: i64,
    },
    /// A migration failed.
    #[error("migrating failed: {0}")]
    Failed(#[from] sqlx::migrate::MigrateError),
    /// The list of migrations could not be made, locked, or granted to the running role.
    #[error("the list of migrations: {0}")]
    List(#[from] sqlx::Error),
}

impl MigrateError {
    /// Whether somebody was in the way who will not be for ever: nothing has happened, and it can be tried again.
    fn passes(&self) -> bool {
        // Lock not available in time, deadlock, serialization failure.
        let passes = |error: &sqlx::Error| has_code(error, &["55P03", "40P01", "40001"]);
        match self {
            Self::List(error) | Self::Schema(SchemaError::Failed(error)) => passes(error),
            Self::Failed(
                sqlx::migrate::MigrateError::ExecuteMigration(error, _) | sqlx::migrate::MigrateError::Execute(error),
            ) => passes(error),
            Self::Failed(_) | Self::Schema(_) | Self::Connect(_) | Self::Gap { .. } | Self::NoTransaction { .. } => {
                false
            }
        }
    }
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// How many migrations were applied now, by this run.
    pub applied: usize,
    /// The version that the schema has; 0 when there are no migrations.
    pub version: i64,
}

/// Applies what is missing of these migrations as the owning role, and lets the running role read the list of migrations. On a newer schema that still serves this
/// program there is nothing to do, so that a rollback's own run succeeds. Whatever is in the way for a while (another run, a busy table) is waited for.
///
/// # Errors
/// When Postgres cannot be reached, a migration fails (it is rolled back, earlier ones stay), something is in the way for longer than
/// `migrate_wait_seconds_max`, or the schema was migrated further than it serves this program. It can always be run again.
pub async fn migrate(config: &PostgresConfig, migrator: &Migrator, program: &str) -> Result<Migrated, MigrateError> {
    let running = credentials::running(config)?;
    // No prepared statements, and no settings but a transaction's own: it works through a pooler too.
    let owning = credentials::owning(config)?.application_name("holdfast-migrate").statement_cache_capacity(0);
    let mut connection = connect_once(&owning, config.connect_seconds_max).await?;
    let end = Instant::now() + Duration::from_secs(config.migrate_wait_seconds_max);
    let reader = (running.get_username() != owning.get_username()).then(|| running.get_username());
    let run = Run { migrator, program, reader, lock_timeout_ms: config.lock_timeout_ms };
    let mut pause = PAUSE_MIN;
    let mut applied = 0;
    loop {
        match run.step(&mut connection).await {
            Ok(Step::Applied(version)) => {
                tracing::info!(version, "applied a migration");
                applied += 1;
                pause = PAUSE_MIN;
            }
            Ok(Step::Done(version)) => {
                drop(connection.close().await);
                return Ok(Migrated { applied, version });
            }
            Err(error) if error.passes() && Instant::now() < end => {
                tracing::info!(%error, "something is in the way of a migration: trying again");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

/// What one transaction did.
enum Step {
    /// It applied this migration.
    Applied(i64),
    /// There was nothing left to apply; the schema's version.
    Done(i64),
}

struct Run<'a> {
    migrator: &'a Migrator,
    program: &'a str,
    /// The running role, if it is another.
    reader: Option<&'a str>,
    lock_timeout_ms: u64,
}

impl Run<'_> {
    /// Applies the first migration that is missing, in one transaction.
    async fn step(&self, connection: &mut PgConnection) -> Result<Step, MigrateError> {
        self.make_list(connection).await?;
        let mut transaction = self.begin(connection).await?;
        lock_list(&mut transaction).await?;
        let found = Found::read(&mut transaction, self.program).await?;
        match found.serves(self.migrator, self.program) {
            Ok(()) | Err(SchemaError::Older { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(next) = found.next(self.migrator) else { return Ok(Step::Done(found.version())) };
        let version = next.version;
        if version < found.version() {
            return Err(MigrateError::Gap { version, found: found.version() });
        }
        if next.no_tx {
            return Err(MigrateError::NoTransaction { version });
        }
        transaction.apply(LIST, next).await?;
        transaction.commit().await?;
        Ok(Step::Applied(version))
    }

    /// Makes the list if it is missing and lets the running role read it, before anything is in it: who waits for the schema can see how it grows.
    async fn make_list(&self, connection: &mut PgConnection) -> Result<(), MigrateError> {
        let there = format!("SELECT to_regclass('{LIST}') IS NOT NULL");
        let there: bool =
            sqlx::query_scalar(AssertSqlSafe(there)).persistent(false).fetch_one(&mut *connection).await?;
        if !there {
            let mut transaction = self.begin(connection).await?;
            let made = transaction.ensure_migrations_table(LIST).await;
            match made {
                Ok(()) => transaction.commit().await?,
                // Another run made it at the same moment.
                Err(sqlx::migrate::MigrateError::Execute(error)) if has_code(&error, &["23505", "42P07"]) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(reader) = self.reader else { return Ok(()) };
        let may = format!("SELECT has_table_privilege($1, '{LIST}', 'SELECT')");
        let may = sqlx::query_scalar(AssertSqlSafe(may)).bind(reader).persistent(false);
        if may.fetch_one(&mut *connection).await? {
            return Ok(());
        }
        let mut transaction = self.begin(connection).await?;
        // Two grants of one table at once fail.
        lock_list(&mut transaction).await?;
        let role = reader.replace('"', "\"\"");
        execute(&mut transaction, format!("GRANT SELECT ON {LIST} TO \"{role}\"")).await?;
        Ok(transaction.commit().await?)
    }

    async fn begin<'c>(&self, connection: &'c mut PgConnection) -> Result<Transaction<'c, Postgres>, MigrateError> {
        let mut transaction = connection.begin().await?;
        // A migration that waits long for a lock makes everybody behind it wait too; its own work may take long.
        let limits =
            [format!("SET LOCAL lock_timeout = {}", self.lock_timeout_ms), "SET LOCAL statement_timeout = 0".into()];
        for limit in limits {
            execute(&mut transaction, limit).await?;
        }
        Ok(transaction)
    }
}

/// Keeps other runs out until the transaction ends; those who only read the list are not concerned.
async fn lock_list(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    execute(transaction, format!("LOCK TABLE {LIST} IN SHARE ROW EXCLUSIVE MODE")).await
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(connection).await.map(drop)
}
