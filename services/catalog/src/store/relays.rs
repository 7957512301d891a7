//! How far each destination of the changes is, who tells it, and what it refused.

use sqlx::types::Json;
use uuid::Uuid;

use super::{Interest, Store, StoreError};
use crate::changes::{Cursor, Place};

/// The lease of a destination: this process is the one that tells it.
#[derive(Debug, Clone)]
pub struct RelayLease {
    /// Up to where it has acknowledged; none: it is told everything.
    pub cursor: Option<Cursor>,
}

/// A SKU that a destination refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The SKU.
    pub sku: String,
    /// The version that was refused.
    pub version: i64,
    /// What was said.
    pub problem: String,
}

/// What a destination waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Changes that it was not told of, counted up to a limit.
    pub changes: i64,
    /// The age of the oldest; while it is told everything, how long its cursor has not moved.
    pub seconds: f64,
    /// SKUs that it refused.
    pub parked: i64,
}

/// Further than this, waiting changes are not counted.
const LAG_CHANGES_MAX: i64 = 100_000;

impl Store {
    /// Takes the lease of a destination, or keeps it; `None` when another process has it.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn hold_relay(
        &self,
        destination: &str,
        process: Uuid,
        lease_seconds: f64,
    ) -> Result<Option<RelayLease>, StoreError> {
        let held = sqlx::query_scalar(include_str!("../../queries/relay_hold.sql"));
        let held: Option<Option<Json<Cursor>>> =
            held.bind(destination).bind(process).bind(lease_seconds).fetch_optional(&self.pool).await?;
        Ok(held.map(|cursor| RelayLease { cursor: cursor.map(|Json(cursor)| cursor) }))
    }

    /// Moves a destination's cursor; false when another process has the lease, and nothing was moved.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; whether it was moved is unknown.
    pub async fn advance_relay(
        &self,
        destination: &str,
        process: Uuid,
        lease_seconds: f64,
        cursor: Option<&Cursor>,
    ) -> Result<bool, StoreError> {
        let moved = sqlx::query(include_str!("../../queries/relay_advance.sql"));
        let moved = moved.bind(destination).bind(process).bind(lease_seconds).bind(cursor.map(Json));
        Ok(moved.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Gives a lease back, so that another process need not wait for its end.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn release_relay(&self, destination: &str, process: Uuid) -> Result<(), StoreError> {
        let released = sqlx::query(include_str!("../../queries/relay_release.sql"));
        released.bind(destination).bind(process).execute(&self.pool).await?;
        Ok(())
    }

    /// What a destination waits for.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn relay_lag(&self, destination: &str, interest: Interest) -> Result<Lag, StoreError> {
        let found = sqlx::query_as(include_str!("../../queries/relay_cursor.sql"));
        let (cursor, still): (Option<Json<Cursor>>, f64) = found.bind(destination).fetch_one(&self.pool).await?;
        let cursor = cursor.map(|Json(cursor)| cursor);
        let seen = cursor.as_ref().map_or("1:1:", |cursor| cursor.seen.as_str());
        let (upto, xid, seq) = match cursor.as_ref().map(|cursor| &cursor.at) {
            Some(Place::Within { upto, xid, seq }) => (Some(upto.as_str()), *xid, *seq),
            Some(Place::New | Place::Whole(_)) | None => (None, 0, 0),
        };
        let lag = sqlx::query_as(include_str!("../../queries/relay_lag.sql")).bind(interest.name());
        let lag = lag.bind(seen).bind(upto).bind(xid).bind(seq).bind(LAG_CHANGES_MAX);
        let (changes, seconds): (i64, f64) = lag.fetch_one(&self.pool).await?;
        let parked = sqlx::query_scalar(include_str!("../../queries/parked_count.sql"));
        let parked: i64 = parked.bind(destination).fetch_one(&self.pool).await?;
        let whole = cursor.is_none_or(|cursor| matches!(cursor.at, Place::Whole(_)));
        Ok(Lag { changes, seconds: if whole { seconds.max(still) } else { seconds }, parked })
    }

    /// Parks a SKU that a destination refused.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn park(&self, destination: &str, parked: &Parked) -> Result<(), StoreError> {
        let Parked { sku, version, problem } = parked;
        let kept = sqlx::query(include_str!("../../queries/parked_insert.sql"));
        kept.bind(destination).bind(sku).bind(version).bind(problem).execute(&self.pool).await?;
        Ok(())
    }

    /// Some of the SKUs that a destination refused, those of so many seconds ago and before, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn parked(&self, destination: &str, seconds: f64, max: u32) -> Result<Vec<String>, StoreError> {
        let parked = sqlx::query_scalar(include_str!("../../queries/parked_old.sql"));
        Ok(parked.bind(destination).bind(seconds).bind(i64::from(max)).fetch_all(&self.pool).await?)
    }

    /// Forgets that these were parked: the destination has taken them.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn unpark(&self, destination: &str, skus: &[&str]) -> Result<(), StoreError> {
        let forgotten = sqlx::query(include_str!("../../queries/parked_delete.sql"));
        forgotten.bind(destination).bind(skus).execute(&self.pool).await?;
        Ok(())
    }
}
