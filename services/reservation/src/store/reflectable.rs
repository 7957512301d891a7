//! How many committed units a count would reflect: what guards compare a number with (PROTOCOL 18).

use std::collections::BTreeMap;

use holdfast_stock::{CountMeaning, Level, Location, Name, RowKey, Sku, UnixMicros, Watermark};

use super::{Store, StoreError};

pub(super) const REFLECTION_LAGS: &str = "SELECT connection, reflection_lag FROM feed WHERE connection = ANY ($1)";

impl Store {
    /// For each of these rows of one location, how many committed units a count as of then would reflect, by what is known now; rows of which it would reflect none are
    /// missing. A read without a lock, which has no effect.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Unknown`] or [`StoreError::Defect`].
    pub async fn reflectable(
        &self,
        rows: &[(RowKey, Level)],
        location: &Location,
        as_of: UnixMicros,
        meaning: CountMeaning,
    ) -> Result<BTreeMap<RowKey, i64>, StoreError> {
        let sold: Vec<Sku> =
            rows.iter().filter(|(_, level)| level.committed > 0).map(|((sku, _), _)| sku.clone()).collect();
        if sold.is_empty() {
            return Ok(BTreeMap::new());
        }
        let pending = self.pending(&sold, Some(location)).await?;
        let lags = self.reflection_lags(rows).await?;
        let mut reflectable = BTreeMap::new();
        for (row, level) in rows {
            let lag = level.feed.as_ref().and_then(|feed| lags.get(feed.as_str()).copied());
            let count = Watermark { as_of, meaning, reflection_lag_micros: lag };
            let here = pending.get(row).map_or(&[][..], Vec::as_slice);
            let more = |p: &holdfast_stock::Pending| {
                p.progress.reflected_by(p.quantity, &count).saturating_sub(p.progress.reflected)
            };
            let units: i64 = here.iter().map(more).fold(0, i64::saturating_add);
            if units > 0 {
                reflectable.insert(row.clone(), units);
            }
        }
        Ok(reflectable)
    }

    async fn reflection_lags(&self, rows: &[(RowKey, Level)]) -> Result<BTreeMap<String, i64>, StoreError> {
        let mut feeds: Vec<&str> = rows.iter().filter_map(|(_, level)| level.feed.as_ref()).map(Name::as_str).collect();
        feeds.sort_unstable();
        feeds.dedup();
        let found: Vec<(String, Option<i64>)> =
            sqlx::query_as(REFLECTION_LAGS).bind(feeds).fetch_all(&self.pool).await?;
        Ok(found.into_iter().filter_map(|(connection, lag)| Some((connection, lag?))).collect())
    }
}
