//! The memory of answered requests: one key, one effect.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::mutation::RequestKey;

/// What a key was answered before.
#[derive(Debug, sqlx::FromRow)]
pub struct Answered {
    kind: String,
    payload_hash: Vec<u8>,
    answer: Vec<u8>,
}

impl Answered {
    /// The first answer, in protobuf's encoding.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] when it answered another request.
    pub fn to(self, key: &RequestKey) -> Result<Vec<u8>, StoreError> {
        if self.kind == key.kind && self.payload_hash == key.payload_hash {
            Ok(self.answer)
        } else {
            Err(StoreError::KeyReused)
        }
    }
}

impl Store {
    /// What a key was answered before, if it was.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn answered(&self, request_id: Uuid) -> Result<Option<Answered>, StoreError> {
        let found = sqlx::query_as(include_str!("../../queries/request_find.sql"));
        Ok(found.bind(request_id).fetch_optional(&self.pool).await?)
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
