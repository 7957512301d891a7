//! vendor-sync's tables. The only module that knows SQL; each statement is a file in `queries/`.

mod connections;
mod fetch;
mod offers;
mod quarantine;
mod reports;
mod requests;
mod runs;
mod work;

pub use connections::Found;
pub use fetch::{DroppedFile, LookDone, SeenFile, Validators};
pub use quarantine::{QuarantineCursor, QuarantineFilter, StoppedAdjustments};
pub use requests::RequestKey;
pub use runs::{Backlog, Received, RunCursor};
pub use work::{Planned, Unplanned};

use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::{Problem, pg};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

/// The migrations, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// vendor-sync's database, as the running role sees it. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// On a pool of connections of the running role.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// A page: its items, and whether there are more behind them.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub more: bool,
}

impl<T> Listed<T> {
    /// From one item more than the page has, if there are as many.
    fn cut(mut items: Vec<T>, size: usize) -> Self {
        let more = items.len() > size;
        items.truncate(size);
        Self { items, more }
    }
}

/// One more than a page has, to see whether another one follows.
fn limit(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1)
}

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key was used before with another payload. Nothing was changed.
    #[error("the request id was used before for another request")]
    KeyReused,
    /// A connection has the code already. Nothing was changed.
    #[error("connection {0:?} exists already")]
    Exists(String),
    /// No connection has the code. Nothing was changed.
    #[error("no connection has the code {0:?}")]
    UnknownConnection(String),
    /// No connection has the code that is to be changed. Nothing was changed.
    #[error("there is no connection {0:?}")]
    NoConnection(String),
    /// No run has the id. Nothing was changed.
    #[error("no run has the id {0}")]
    NoRun(Uuid),
    /// No quarantined number has the id. Nothing was changed.
    #[error("no quarantined number has the id {0}")]
    NotQuarantined(Uuid),
    /// Somebody, or a newer number, decided it before. Nothing was changed.
    #[error("the {kind} {id} is {state}")]
    Decided {
        /// What: a run, a quarantined number.
        kind: &'static str,
        /// Which.
        id: Uuid,
        /// Where it stands.
        state: &'static str,
    },
    /// A number that can be read in two ways was approved without saying which it is. Nothing was changed.
    #[error("the quantity has to be said")]
    WhichQuantity,
    /// Adjustments were approved with another quantity. Nothing was changed.
    #[error("adjustments are approved as they are")]
    NoQuantity,
    /// A row has a value that no version of this program writes.
    #[error("a row has {0}, which this program does not know")]
    Unreadable(String),
    /// Postgres did not do it. Whether the effect happened is unknown if a commit was under way.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::KeyReused => Self::new(
                ErrorReason::KeyReused,
                "the request_id was used before with another payload; nothing was changed",
            ),
            StoreError::Exists(code) => {
                Self::new(ErrorReason::AlreadyExists, format!("another connection has the code {code:?}"))
                    .resource("connection", code)
            }
            StoreError::UnknownConnection(code) => Self::new(
                ErrorReason::UnknownReference,
                format!("no connection has the code {code:?}"),
            )
            .precondition("UNKNOWN_REFERENCE", format!("connection/{code}"), "no connection has this code"),
            StoreError::NoConnection(code) => crate::convert::no_connection(&code),
            StoreError::NoRun(run_id) => crate::convert::no_run(run_id),
            StoreError::NotQuarantined(id) => crate::convert::not_quarantined(id),
            StoreError::Decided { kind, id, state } => {
                let message = format!("the {kind} {id} is {state}: it was decided before; nothing was changed");
                Self::new(ErrorReason::AlreadyDecided, message).metadata("state", state)
            }
            StoreError::WhichQuantity => crate::convert::violation(
                "quantity",
                "is required: the number can be read in two ways, say which it is",
            ),
            StoreError::NoQuantity => {
                crate::convert::violation("quantity", "must be unset: adjustments are approved as they are")
            }
            StoreError::Unreadable(_) => Self::defect(error),
            StoreError::Postgres(error) => pg::problem(&error),
        }
    }
}
