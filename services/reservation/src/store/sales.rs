//! What is read of sold units and of selling, without a lock.

use std::collections::BTreeMap;

use holdfast_stock::{CountMeaning, Level, Pause, RowKey, Sku, UnixMicros, Watermark};
use sqlx::types::Json;

use super::progress::PendingRow;
use super::selling::SellingRow;
use super::{Store, StoreError};

pub(super) const PENDING: &str = include_str!("../../queries/pending.sql");
pub(super) const LIST_PAUSED: &str = include_str!("../../queries/list_paused.sql");
pub(super) const OLDEST_PENDING: &str = include_str!("../../queries/oldest_pending.sql");

/// Allocations read at once for what a count would reflect.
const PENDING_MAX: i64 = 50_000;

/// How selling stands, for alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Standing {
    /// SKUs whose selling is paused.
    pub paused_skus: i64,
    /// For how many microseconds the oldest committed units have waited for a count that reflects them, since something was first known of them at their vendor, or,
    /// where numbers are without booked orders and nobody has said anything, since they were sold; none if none wait.
    pub oldest_micros: Option<i64>,
    /// Rows whose count says that promised units are not there, 10,000 at most.
    pub short_rows: i64,
    /// Units that are not there in these rows.
    pub short_units: i64,
}

/// None of these has an effect; they fail with [`StoreError::Unreachable`], [`StoreError::Unknown`] or [`StoreError::Defect`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Store {
    /// How many committed units of these rows a count as of then would newly reflect, by evidence that is known now and by what each row's feed says of its lag; rows of
    /// which it would reflect none are missing.
    pub async fn reflectable(
        &self,
        levels: &[(RowKey, Level)],
        as_of: UnixMicros,
        meaning: CountMeaning,
    ) -> Result<BTreeMap<RowKey, i64>, StoreError> {
        let sold = || levels.iter().filter(|(_, level)| level.committed > 0).map(|(row, _)| row);
        let found: Vec<(Json<PendingRow>, Option<i64>)> = sqlx::query_as(PENDING)
            .bind(sold().map(|(sku, _)| sku.as_str()).collect::<Vec<_>>())
            .bind(sold().map(|(_, location)| location.as_str()).collect::<Vec<_>>())
            .bind(PENDING_MAX)
            .fetch_all(&self.pool)
            .await?;
        let mut reflectable: BTreeMap<RowKey, i64> = BTreeMap::new();
        for (Json(row), reflection_lag_micros) in found {
            let (row, pending) = row.into_pending()?;
            let count = Watermark { as_of, meaning, reflection_lag_micros };
            let units = pending.progress.reflected_by(pending.quantity, &count) - pending.progress.reflected;
            if units > 0 {
                *reflectable.entry(row).or_default() += units;
            }
        }
        Ok(reflectable)
    }

    /// A page of SKUs after one whose selling is paused, in the order of their codes.
    pub async fn list_paused(&self, after: &str, max: i64) -> Result<Vec<(Sku, Pause)>, StoreError> {
        let found: Vec<(Json<SellingRow>,)> =
            sqlx::query_as(LIST_PAUSED).bind(after).bind(max).fetch_all(&self.pool).await?;
        let mut paused = Vec::with_capacity(found.len());
        for (Json(row),) in found {
            let (sku, selling) = row.into_selling()?;
            paused.extend(selling.pause.map(|pause| (sku, pause)));
        }
        Ok(paused)
    }

    /// How selling stands.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        Ok(sqlx::query_as(OLDEST_PENDING).fetch_one(&self.pool).await?)
    }
}
