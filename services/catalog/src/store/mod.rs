//! The catalog's tables. The only module that knows SQL; each statement is a file in `queries/`.

mod changes;
mod imports;
mod listing;
mod mutations;
mod offers;
mod relays;
mod requests;
mod search;

pub use changes::{Changed, ChangesPage, Interest};
pub use imports::{Applied, ImportState, ImportTransaction, Repeated, StagedRows};
pub use listing::{Listed, OfferCursor, OfferFilter, SkuFilter};
pub use relays::{Lag, Parked, RelayLease};
pub use requests::Answered;
pub use search::{Found, SearchCursor, SkuSearch};

use sqlx::PgPool;
use sqlx::migrate::Migrator;

/// The migrations, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The catalog's database, as the running role sees it. Clones share the pool.
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

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key was used before with another payload. Nothing was changed.
    #[error("the request id was used before for another request")]
    KeyReused,
    /// Something has the code already. Nothing was changed.
    #[error("{kind} {code:?} exists already")]
    Exists {
        /// What it is: `sku`, `vendor`, `location`.
        kind: &'static str,
        /// Its code.
        code: String,
    },
    /// Nothing has the code. Nothing was changed.
    #[error("there is no {kind} {code:?}")]
    NotFound {
        /// What it would be: `sku`, `vendor`, `location`.
        kind: &'static str,
        /// The code.
        code: String,
    },
    /// It has been changed since the caller read it. Nothing was changed.
    #[error("{kind} {code:?} has another etag")]
    EtagMismatch {
        /// What it is: `sku`, `vendor`, `location`.
        kind: &'static str,
        /// Its code.
        code: String,
    },
    /// What is asked for does not fit what is there. Nothing was changed.
    #[error("the change does not fit what is there")]
    Unfit(holdfast_kit::Violations),
    /// The changes that were asked for have been dropped, or are those of another database: only the whole helps.
    #[error("changes since then have been dropped")]
    ChangesDropped,
    /// A cursor of another log of changes.
    #[error("the cursor belongs to another database")]
    OtherLog,
    /// Offers exist with other content. Nothing was changed.
    #[error("offers exist with other content")]
    OffersDiffer(Vec<crate::model::Offer>),
    /// Codes that the request refers to do not exist. Nothing was changed.
    #[error("codes that the request refers to do not exist")]
    UnknownReferences(Vec<Reference>),
    /// An import was taken for dead, or its staged rows are gone. Nothing was changed; the import can be repeated.
    #[error("the import's staged rows are gone")]
    ImportLost,
    /// What was asked for is larger than an answer may be.
    #[error("the answer would be larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// Postgres did not do it. Whether the effect happened is unknown if a commit was under way.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

/// Something that a request refers to by its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it is: `sku`, `vendor`, `location`.
    pub kind: String,
    /// Its code.
    pub code: String,
}
