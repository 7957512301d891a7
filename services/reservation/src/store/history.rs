//! What stock was at an instant that has passed.

use holdfast_stock::{Cap, Condition, Freshness, Level, RowKey, Sku, UnixMicros};
use serde::Deserialize;
use sqlx::types::Json;

use super::{Store, StoreError, rows};

pub(super) const AS_OF: &str = include_str!("../../queries/as_of.sql");

/// Stock of a SKU at an instant.
#[derive(Debug, Clone)]
pub struct AsOf {
    /// Postgres's clock at the read.
    pub now: UnixMicros,
    /// When the SKU's ledger begins, there or anywhere, as it was asked for; none if there is none.
    pub begins: Option<UnixMicros>,
    /// The rows that there were, in the order of their locations. What the ledger does not have (when the vendor counted, which connection) is not set.
    pub levels: Vec<(RowKey, Level)>,
}

#[derive(Deserialize)]
struct AsOfRow {
    now: i64,
    begins: Option<i64>,
    levels: Vec<PastRow>,
}

#[derive(Deserialize)]
struct PastRow {
    location: String,
    version: i64,
    on_hand: i64,
    held: i64,
    committed: i64,
    safety: i64,
    backorder: i64,
    damaged: i64,
    quality_hold: i64,
    refurbished: i64,
    freshness: Option<String>,
    cap: Option<i64>,
    archived: Option<bool>,
    paused: Option<bool>,
}

impl Store {
    /// A SKU's stock as it stood at an instant, at one location or (none) at each, added up from the ledger alone.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Unknown`] or [`StoreError::Defect`]. It has no effect.
    pub async fn as_of(&self, sku: &Sku, location: &str, at: UnixMicros) -> Result<AsOf, StoreError> {
        let query = sqlx::query_as(AS_OF).bind(sku.as_str()).bind(location).bind(at.0);
        let (Json(row),): (Json<AsOfRow>,) = query.fetch_one(&self.pool).await?;
        let level = |past: PastRow| {
            let location = rows::location(&past.location)?;
            Ok(((sku.clone(), location), past.into_level()?))
        };
        Ok(AsOf {
            now: UnixMicros(row.now),
            begins: row.begins.map(UnixMicros),
            levels: row.levels.into_iter().map(level).collect::<Result<_, StoreError>>()?,
        })
    }
}

impl PastRow {
    fn into_level(self) -> Result<Level, StoreError> {
        let unsellable = [
            (Condition::Damaged, self.damaged),
            (Condition::QualityHold, self.quality_hold),
            (Condition::Refurbished, self.refurbished),
        ];
        let freshness = self.freshness.as_deref().map(|name| Freshness::parse(name).ok_or(name)).transpose();
        let mut level = Level {
            on_hand: self.on_hand,
            held: self.held,
            committed: self.committed,
            safety: self.safety,
            backorder: self.backorder,
            version: self.version,
            unsellable: unsellable.into_iter().filter(|(_, units)| *units != 0).collect(),
            freshness: freshness.map_err(|_| rows::damaged("a freshness"))?.unwrap_or_default(),
            // Its moment is not in the ledger, and nothing that is read of the past looks at it.
            cap: self.cap.filter(|units| *units >= 0).map(|units| Cap { units, moment: (UnixMicros::default(), 0) }),
            archived: self.archived.unwrap_or_default(),
            paused: self.paused.unwrap_or_default(),
            ..Level::default()
        };
        level.shortfall = level.shortfall_due();
        Ok(level)
    }
}
