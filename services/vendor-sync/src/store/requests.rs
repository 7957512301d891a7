//! The memory of answered requests: one key, one effect.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreError};

/// By what a mutation is recognised when it is sent again.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// The key that the caller made.
    pub request_id: Uuid,
    /// The method's name.
    pub kind: &'static str,
    /// The fingerprint of what was asked for.
    pub payload_hash: [u8; 32],
}

/// What a key was answered before.
#[derive(Debug, sqlx::FromRow)]
struct Answered {
    kind: String,
    payload_hash: Vec<u8>,
    answer: Vec<u8>,
}

impl Store {
    /// What a key was answered before, if it was.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] when it answered another request, [`StoreError::Postgres`].
    pub async fn answered(&self, key: &RequestKey) -> Result<Option<Vec<u8>>, StoreError> {
        let found: Option<Answered> = sqlx::query_as(include_str!("../../queries/request_find.sql"))
            .bind(key.request_id)
            .fetch_optional(&self.pool)
            .await?;
        match found {
            None => Ok(None),
            Some(found) if found.kind == key.kind && found.payload_hash == key.payload_hash => Ok(Some(found.answer)),
            Some(_) => Err(StoreError::KeyReused),
        }
    }

    /// Forgets answers older than so many seconds, at most so many; answers how many it forgot.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn forget_requests(&self, age_seconds: u32, rows_max: u32) -> Result<u64, StoreError> {
        let pruned = sqlx::query(include_str!("../../queries/request_prune.sql"));
        Ok(pruned.bind(f64::from(age_seconds)).bind(i64::from(rows_max)).execute(&self.pool).await?.rows_affected())
    }
}

/// Keeps an answer within the transaction of its effect; false when another request has taken the key.
pub(super) async fn keep(connection: &mut PgConnection, key: &RequestKey, answer: &[u8]) -> Result<bool, sqlx::Error> {
    let kept = sqlx::query(include_str!("../../queries/request_insert.sql"))
        .bind(key.request_id)
        .bind(key.kind)
        .bind(key.payload_hash.as_slice())
        .bind(answer)
        .execute(connection)
        .await?;
    Ok(kept.rows_affected() == 1)
}
