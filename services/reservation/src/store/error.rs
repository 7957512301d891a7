//! What can go wrong with Postgres, named by what the caller does next.

use holdfast_stock::ReservationId;
use sqlx::postgres::PgDatabaseError;
use thiserror::Error;
use uuid::Uuid;

/// SQLSTATE that `commit_fast` raises when a row is short or missing.
const SHORT: &str = "HF001";
/// SQLSTATE that `commit_fast` raises when a reservation is not a running hold, or a request was answered before.
const NOT_A_HOLD: &str = "HF002";
/// SQLSTATE that `commit_fast` raises when reserves are beyond a selling policy's limit; its detail names them.
const OVER_LIMIT: &str = "HF003";
/// Unique violation: of the keys, only another replica's commit of the same request can cause it.
const UNIQUE: &str = "23505";
/// Rolled back by Postgres and likely to succeed when repeated: serialization failure, deadlock, lock timeout.
const TRANSIENT: [&str; 3] = ["40001", "40P01", "55P03"];
/// Read-only transaction: the address leads to a standby, which a failover may be about to promote. Nothing was written.
const STANDBY: &str = "25006";
/// Classes of errors of the server's state rather than of the statement: connection, credentials that are just being changed, resources, operator's intervention,
/// system.
const SERVER: [&str; 5] = ["08", "28", "53", "57", "58"];

/// Why Postgres gave no result.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// Decide on the planned path: the batch deviates from what the fast one verifies. Rolled back.
    #[error("the batch needs planning")]
    NeedsPlanning,
    /// Decide these on the planned path, and the others anew: these reserves are beyond a selling policy's limit. Rolled back.
    #[error("{} reserves are beyond a limit", .0.len())]
    OverLimit(Vec<ReservationId>),
    /// Do it again: another transaction was in the way. Rolled back.
    #[error("another transaction was in the way: {0}")]
    Contended(String),
    /// Postgres was not reached at all: certainly nothing happened.
    #[error("Postgres cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke or Postgres gave up: whether the effect happened is unknown.
    #[error("Postgres did not answer: {0}")]
    Unknown(String),
    /// The changes that a cursor needs are not kept any more. It was a read.
    #[error("changes after the cursor are not kept any more")]
    ChangesDropped,
    /// The cursor is of another life of the record: a backup was restored since. It was a read.
    #[error("the cursor is of another life of the record")]
    OtherRecord,
    /// A defect, or damage in the record: rolled back. Tell an operator.
    #[error("defect: {0}")]
    Defect(String),
}

impl StoreError {
    /// An error before anything was sent that could have an effect.
    pub(super) fn before(error: &sqlx::Error) -> Self {
        match Self::from(error) {
            Self::Unknown(text) => Self::Unreachable(text),
            other => other,
        }
    }
}

impl From<&sqlx::Error> for StoreError {
    fn from(error: &sqlx::Error) -> Self {
        let text = error.to_string();
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Unreachable(text),
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                    Self::Unknown(text)
                }
                _ => Self::Defect(text),
            };
        };
        match database.code().as_deref() {
            Some(SHORT | NOT_A_HOLD | UNIQUE) => Self::NeedsPlanning,
            Some(OVER_LIMIT) => over_limit(error).map_or(Self::NeedsPlanning, Self::OverLimit),
            Some(code) if TRANSIENT.contains(&code) => Self::Contended(text),
            Some(STANDBY) => Self::Unreachable(text),
            // Statement timeout (57014) rolls back; the other errors of the class end the connection, perhaps during the commit.
            Some("57014") => Self::Contended(text),
            Some(code) if SERVER.iter().any(|class| code.starts_with(class)) => Self::Unknown(text),
            Some(_) | None => Self::Defect(text),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

/// The reserves that `commit_fast` named; none if they cannot be read, and then all are to be planned.
fn over_limit(error: &sqlx::Error) -> Option<Vec<ReservationId>> {
    let detail = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.detail()?;
    let id = |text: &str| Uuid::parse_str(text).ok().map(|id| ReservationId::from_bytes(id.into_bytes()));
    detail.split(',').map(id).collect()
}
