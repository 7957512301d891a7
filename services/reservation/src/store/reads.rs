//! What is read without a lock. No decision that could oversell is made on it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_stock::{Availability, Level, Location, Record, ReservationId, RowKey, Sku, UnixMicros};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::rows::{self, AvailableRow, LevelRow, RecordRow};
use super::{Store, StoreError};

pub(super) const LOOK: &str = include_str!("../../queries/look.sql");
/// Writes next to nothing, but as every commit that writes it ends only when the standby has it, and with it all that was committed before.
pub(super) const SETTLE: &str = "SELECT pg_logical_emit_message(true, 'holdfast', '')::text";
pub(super) const DUE: &str = include_str!("../../queries/due.sql");
pub(super) const LEVELS: &str = include_str!("../../queries/levels.sql");
pub(super) const LEVELS_AT: &str = include_str!("../../queries/levels_at.sql");
pub(super) const LIST_STOCK: &str = include_str!("../../queries/list_stock.sql");
pub(super) const LIST_LEDGER: &str = include_str!("../../queries/list_ledger.sql");
pub(super) const LIST_RESERVATIONS: &str = include_str!("../../queries/list_reservations.sql");
pub(super) const AUDIT: &str = include_str!("../../queries/audit.sql");
pub(super) const NEXT_AVAILABLE: &str = include_str!("../../queries/next_available.sql");

/// What one shared read found.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Postgres's clock when the read began.
    pub read_at: UnixMicros,
    /// What stands under the keys.
    pub records: BTreeMap<ReservationId, Record>,
    /// Every location of every known SKU asked for, the preferred ones first, holds that are over not counted.
    pub available: Vec<(Sku, Location, i64)>,
    /// The SKUs asked for that are not sold any more.
    pub archived: BTreeSet<Sku>,
    /// The SKUs asked for whose selling is paused.
    pub paused: BTreeSet<Sku>,
    /// Whether commits wait for a standby, which may not have what was read: see [`Store::settle`].
    pub has_standby: bool,
}

impl Look {
    /// The availability in the form that the rules read.
    #[must_use]
    pub fn availability(&self) -> Availability {
        self.available.iter().cloned().collect()
    }
}

/// Which reservations to list.
#[derive(Debug, Clone)]
pub struct ReservationFilter {
    /// Only this owner's; empty: everybody's.
    pub owner: String,
    /// Only in this state, as the database calls it; empty: all.
    pub state: String,
    /// Only with this name of the caller's for the order; empty: all.
    pub order: String,
}

/// Where a page of the ledger begins: after this entry.
#[derive(Debug, Clone)]
pub struct LedgerCursor {
    /// The entry's time.
    pub at: i64,
    /// Its location.
    pub location: String,
    /// Its version.
    pub version: i64,
}

/// Which entries of a SKU's ledger to list.
#[derive(Debug, Clone)]
pub struct LedgerFilter {
    /// Only this location's; empty: all.
    pub location: String,
    /// Only those at this instant or later.
    pub from: UnixMicros,
    /// Only those at this instant or earlier.
    pub upto: UnixMicros,
}

/// A ledger entry as it is stored.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the columns of the table ledger, each with its comment there")]
pub struct LedgerRow {
    pub sku: String,
    pub location: String,
    pub version: i64,
    pub at: i64,
    pub cause: String,
    pub cause_id: Uuid,
    pub on_hand: i64,
    pub held: i64,
    pub committed: i64,
    pub safety: i64,
    pub backorder: i64,
    pub unsellable: i64,
    pub condition: Option<String>,
    pub reason: Option<String>,
    pub actor: String,
    pub note: String,
    pub freshness: Option<String>,
    pub cap: Option<i64>,
    pub archived: Option<bool>,
    pub paused: Option<bool>,
    pub trace: Option<String>,
}

/// Holds past their time.
#[derive(Debug, Clone)]
pub struct Due {
    /// Postgres's clock.
    pub now: UnixMicros,
    /// For how long the oldest one has been over, in microseconds; 0 if there is none.
    pub lag_micros: i64,
    /// The holds, the oldest first.
    pub holds: Vec<ReservationId>,
}

/// One discrepancy that the audit found.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditFinding {
    /// The invariant, as DESIGN numbers it: I2, I3, I4, I6 or E.
    pub invariant: String,
    /// The row of stock or the reservation.
    pub subject: String,
    /// What is wrong.
    pub detail: String,
}

#[derive(Deserialize)]
struct LookRow {
    read_at: i64,
    records: Vec<RecordRow>,
    available: Vec<AvailableRow>,
    #[serde(default)]
    archived: Vec<String>,
    #[serde(default)]
    paused: Vec<String>,
    #[serde(default)]
    is_standby: bool,
    #[serde(default)]
    has_standby: bool,
}

#[derive(Deserialize)]
struct DueRow {
    now: i64,
    oldest: Option<i64>,
    due: Vec<Uuid>,
}

impl LookRow {
    fn into_look(self) -> Result<Look, StoreError> {
        // A failover may be about to promote it. Nobody is told no by a copy.
        if self.is_standby {
            return Err(StoreError::Unreachable("the address leads to a standby".to_owned()));
        }
        let records = self.records.into_iter().map(RecordRow::into_record);
        Ok(Look {
            read_at: UnixMicros(self.read_at),
            records: records.map(|record| record.map(|r| (r.id, r))).collect::<Result<_, _>>()?,
            available: rows::available(self.available)?,
            archived: self.archived.iter().map(|code| rows::sku(code)).collect::<Result<_, _>>()?,
            paused: self.paused.iter().map(|code| rows::sku(code)).collect::<Result<_, _>>()?,
            has_standby: self.has_standby,
        })
    }
}

/// None of these has an effect; they fail with [`StoreError::Unreachable`], [`StoreError::Unknown`] or [`StoreError::Defect`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Store {
    /// The read queue's one statement: what stands under these keys, and what these SKUs have.
    pub async fn look(&self, ids: &[ReservationId], skus: &[Sku]) -> Result<Look, StoreError> {
        let (Json(row),): (Json<LookRow>,) = sqlx::query_as(LOOK)
            .bind(ids.iter().map(|id| rows::uuid_of(*id)).collect::<Vec<_>>())
            .bind(skus.iter().map(Sku::as_str).collect::<Vec<_>>())
            .fetch_one(&self.pool)
            .await?;
        row.into_look()
    }

    /// Ends when whatever was committed before is as safe as if it had been committed now: where commits wait for a standby, when that has it.
    ///
    /// A read may find what its standby does not have: a commit whose wait was broken off, by a restart of Postgres or by somebody's hand, stands here and nowhere else.
    pub async fn settle(&self) -> Result<(), StoreError> {
        let _where: String = sqlx::query_scalar(SETTLE).fetch_one(&self.pool).await?;
        Ok(())
    }

    /// What these SKUs have, holds that are over not counted.
    pub async fn availability(&self, skus: &[Sku]) -> Result<Look, StoreError> {
        self.look(&[], skus).await
    }

    /// Postgres's clock, and holds past their time, at most so many.
    pub async fn due(&self, max: i64) -> Result<Due, StoreError> {
        let (Json(row),): (Json<DueRow>,) = sqlx::query_as(DUE).bind(max).fetch_one(&self.pool).await?;
        Ok(Due {
            now: UnixMicros(row.now),
            lag_micros: row.oldest.map_or(0, |oldest| row.now.saturating_sub(oldest).max(0)),
            holds: row.due.into_iter().map(rows::id_of).collect(),
        })
    }

    /// What the next SKUs after one have, holds that are over not counted, from at most so many rows; the last SKU may lack locations if the rows are as many.
    pub async fn available_after(&self, sku: &str, rows_max: i64) -> Result<Look, StoreError> {
        let (Json(row),): (Json<LookRow>,) =
            sqlx::query_as(NEXT_AVAILABLE).bind(sku).bind(rows_max).fetch_one(&self.pool).await?;
        row.into_look()
    }

    /// Stock of these SKUs at every location, holds that are over not counted.
    pub async fn levels(&self, skus: &[Sku]) -> Result<Vec<(RowKey, Level)>, StoreError> {
        let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let found: Vec<(Json<LevelRow>,)> = sqlx::query_as(LEVELS).bind(skus).fetch_all(&self.pool).await?;
        found.into_iter().map(|(Json(row),)| row.into_row()).collect()
    }

    /// Stock of these SKUs at one location, holds that are over not counted.
    pub async fn levels_at(&self, skus: &[Sku], location: &Location) -> Result<Vec<(RowKey, Level)>, StoreError> {
        let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let query = sqlx::query_as(LEVELS_AT).bind(skus).bind(location.as_str());
        let found: Vec<(Json<LevelRow>,)> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(|(Json(row),)| row.into_row()).collect()
    }

    /// A page of stock after a row, only of one location unless that is empty.
    pub async fn list_stock(
        &self,
        (sku, at): (&str, &str),
        location: &str,
        max: i64,
    ) -> Result<Vec<(RowKey, Level)>, StoreError> {
        let query = sqlx::query_as(LIST_STOCK).bind(sku).bind(at).bind(location).bind(max);
        let found: Vec<(Json<LevelRow>,)> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(|(Json(row),)| row.into_row()).collect()
    }

    /// A page of a SKU's ledger after an entry, newest first.
    pub async fn list_ledger(
        &self,
        sku: &Sku,
        filter: &LedgerFilter,
        after: &LedgerCursor,
        max: i64,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let found: Vec<(Json<LedgerRow>,)> = sqlx::query_as(LIST_LEDGER)
            .bind(sku.as_str())
            .bind(&filter.location)
            .bind(after.at)
            .bind(&after.location)
            .bind(after.version)
            .bind(max)
            .bind(filter.from.0)
            .bind(filter.upto.0)
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().map(|(Json(row),)| row).collect())
    }

    /// A page of reservations before a key, newest first, each with Postgres's clock at the read.
    pub async fn list_reservations(
        &self,
        before: ReservationId,
        filter: &ReservationFilter,
        max: i64,
    ) -> Result<Vec<(Record, UnixMicros)>, StoreError> {
        let found: Vec<(Json<RecordRow>, i64)> = sqlx::query_as(LIST_RESERVATIONS)
            .bind(rows::uuid_of(before))
            .bind(&filter.owner)
            .bind(&filter.state)
            .bind(max)
            .bind(&filter.order)
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(|(Json(row), now)| Ok((row.into_record()?, UnixMicros(now)))).collect()
    }

    /// Discrepancies between stock, ledger and reservations, in one snapshot; none is what it should be. Reads everything: for tests, demos and operators.
    pub async fn audit(&self, max: i64) -> Result<Vec<AuditFinding>, StoreError> {
        Ok(sqlx::query_as(AUDIT).bind(max).fetch_all(&self.pool).await?)
    }
}
