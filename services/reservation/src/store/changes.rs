//! What changed since a reader looked last, and the whole with which a watch begins.

use holdfast_stock::{Location, Record, Sku, UnixMicros};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use uuid::Uuid;

use super::rows::{self, RecordRow};
use super::{Store, StoreError};
use crate::changes::{Cursor, Place, Snapshot, WholePlace};

pub(super) const CHANGE_PRESENT: &str = include_str!("../../queries/change_present.sql");
pub(super) const CHANGE_ROWS: &str = include_str!("../../queries/change_rows.sql");
pub(super) const CHANGE_RESERVATIONS: &str = include_str!("../../queries/change_reservations.sql");
pub(super) const WHOLE_ROWS: &str = include_str!("../../queries/whole_rows.sql");
pub(super) const LIST_AT_RISK: &str = include_str!("../../queries/list_at_risk.sql");

/// What one look at the changes found.
#[derive(Debug, Clone)]
pub struct ChangesPage<T> {
    /// The changes.
    pub items: Vec<T>,
    /// Where a reader stands who has dealt with all of them.
    pub end: Cursor,
    /// Whether there are more of the same look.
    pub more: bool,
    /// The snapshot with which the statement read: what the items say is of that moment.
    pub present: Snapshot,
}

/// What can be reserved of a row of stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowAvailability {
    /// The newest transaction that changed the row, of those that the look found; 0 in the whole.
    pub xid: i64,
    /// The SKU.
    pub sku: Sku,
    /// The location.
    pub location: Location,
    /// Units.
    pub available: i64,
    /// The row's version.
    pub version: i64,
    /// When that transaction changed it; none in the whole.
    pub changed_at: Option<UnixMicros>,
}

/// Units of a reservation that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// The SKU of the row that is short.
    pub sku: Sku,
    /// Its location.
    pub location: Location,
    /// The row's version.
    pub version: i64,
    /// Units of the reservation, at least 1.
    pub units: i64,
    /// The row's shortfall in all.
    pub shortfall: i64,
}

/// What happened to a reservation, and how it stands.
#[derive(Debug, Clone)]
pub struct ReservationChange {
    /// The transaction; 0 in the whole.
    pub xid: i64,
    /// When; none in the whole.
    pub at: Option<UnixMicros>,
    /// The cause in the ledger, or `AT_RISK`.
    pub what: String,
    /// What is at risk, where that is what happened.
    pub risk: Option<Risk>,
    /// The reservation as it stands.
    pub record: Record,
    /// Postgres's clock when it stood so.
    pub read_at: UnixMicros,
}

/// What is known of the record as a whole, with what a look found.
#[derive(sqlx::FromRow)]
struct LookRow {
    incarnation: Uuid,
    present: String,
    expired: bool,
    foreign: bool,
    entries: i64,
    last_xid: Option<i64>,
}

#[derive(Deserialize)]
struct ChangeRow {
    xid: i64,
    at: i64,
    what: String,
    sku: String,
    location: String,
    stock_version: i64,
    units: i64,
    shortfall: i64,
    record: RecordRow,
}

/// SKU, location and version of the row; units; shortfall; the reservation; Postgres's clock.
type AtRiskRow = (String, String, i64, i64, i64, Json<RecordRow>, i64);

/// `[xid, sku, location, available, version, at]`.
type AvailabilityRow = (i64, String, String, i64, i64, i64);

/// None of these has an effect; they fail with [`StoreError::Unreachable`], [`StoreError::Unknown`] or [`StoreError::Defect`], and where a cursor is given also with
/// [`StoreError::OtherRecord`] and [`StoreError::ChangesDropped`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Store {
    /// Where a reader begins who wants everything: whatever changes from now on is read after it.
    pub async fn beginning(&self) -> Result<Cursor, StoreError> {
        let (incarnation, present): (Uuid, String) = sqlx::query_as(CHANGE_PRESENT).fetch_one(&self.pool).await?;
        Ok(Cursor { incarnation, seen: snapshot(present)?, at: Place::Whole(WholePlace::beginning()) })
    }

    /// The rows that changed after a cursor, each once, as they stand; from about so many entries of the ledger, whole transactions.
    pub async fn changed_rows(&self, from: &Cursor, entries: i64) -> Result<ChangesPage<RowAvailability>, StoreError> {
        let (look, found) = self.look_at::<AvailabilityRow>(CHANGE_ROWS, from, entries, None).await?;
        let item = |(xid, sku, location, available, version, at): AvailabilityRow| {
            let (sku, location) = (rows::sku(&sku)?, rows::location(&location)?);
            Ok(RowAvailability { xid, sku, location, available, version, changed_at: Some(UnixMicros(at)) })
        };
        page(from, entries, look, found.0.into_iter().map(item).collect::<Result<_, StoreError>>()?)
    }

    /// What happened to reservations after a cursor, in its order, by these causes in the ledger or by shortfall; about so many, whole transactions.
    pub async fn changed_reservations(
        &self,
        from: &Cursor,
        causes: &[&str],
        entries: i64,
    ) -> Result<ChangesPage<ReservationChange>, StoreError> {
        let (look, (found, read_at)) =
            self.look_at::<ChangeRow>(CHANGE_RESERVATIONS, from, entries, Some(causes)).await?;
        let items = found.into_iter().map(|row| row.into_change(read_at)).collect::<Result<_, _>>()?;
        page(from, entries, look, items)
    }

    async fn look_at<T: DeserializeOwned + Send + Unpin>(
        &self,
        query: &'static str,
        from: &Cursor,
        entries: i64,
        causes: Option<&[&str]>,
    ) -> Result<(LookRow, (Vec<T>, UnixMicros)), StoreError> {
        use sqlx::{FromRow as _, Row as _};
        let (upto, next) = match &from.at {
            Place::Within { upto, next } => (Some(upto.as_str()), *next),
            Place::New | Place::Whole(_) => (None, 0),
        };
        let mut look = sqlx::query(query).bind(from.seen.as_str()).bind(upto).bind(next).bind(entries);
        if let Some(causes) = causes {
            look = look.bind(causes);
        }
        let row = look.fetch_one(&self.pool).await?;
        let Json(items) = row.try_get::<Json<Vec<T>>, _>("items")?;
        let read_at = if causes.is_some() { row.try_get("read_at")? } else { 0 };
        Ok((LookRow::from_row(&row)?, (items, UnixMicros(read_at))))
    }

    /// What can be reserved of rows after a place, at most so many, only of these SKUs unless there are none.
    pub async fn whole_rows(
        &self,
        after: &WholePlace,
        skus: &[&str],
        rows_max: i64,
    ) -> Result<Vec<RowAvailability>, StoreError> {
        let query = sqlx::query_as(WHOLE_ROWS).bind(&after.sku).bind(&after.location).bind(rows_max).bind(skus);
        let found: Vec<(String, String, i64, i64)> = query.fetch_all(&self.pool).await?;
        let row = |(sku, location, available, version): (String, String, i64, i64)| {
            let (sku, location) = (rows::sku(&sku)?, rows::location(&location)?);
            Ok(RowAvailability { xid: 0, sku, location, available, version, changed_at: None })
        };
        found.into_iter().map(row).collect()
    }

    /// Reservations that are at risk now, after a place, at most so many, only of a SKU and at a location unless these are empty.
    pub async fn list_at_risk(
        &self,
        after: &WholePlace,
        (sku, location): (&str, &str),
        max: i64,
    ) -> Result<Vec<ReservationChange>, StoreError> {
        let query = sqlx::query_as(LIST_AT_RISK).bind(sku).bind(location);
        let query = query.bind(&after.sku).bind(&after.location).bind(after.reservation).bind(max);
        let found: Vec<AtRiskRow> = query.fetch_all(&self.pool).await?;
        let change = |(sku, location, version, units, shortfall, Json(record), read_at): AtRiskRow| {
            let risk = Risk { sku: rows::sku(&sku)?, location: rows::location(&location)?, version, units, shortfall };
            let (record, read_at) = (record.into_record()?, UnixMicros(read_at));
            Ok(ReservationChange { xid: 0, at: None, what: AT_RISK.to_owned(), risk: Some(risk), record, read_at })
        };
        found.into_iter().map(change).collect()
    }
}

/// What the queries call it when a shortfall reaches a reservation.
pub const AT_RISK: &str = "AT_RISK";

impl ChangeRow {
    fn into_change(self, read_at: UnixMicros) -> Result<ReservationChange, StoreError> {
        let risk = if self.what == AT_RISK {
            let (sku, location) = (rows::sku(&self.sku)?, rows::location(&self.location)?);
            Some(Risk { sku, location, version: self.stock_version, units: self.units, shortfall: self.shortfall })
        } else {
            None
        };
        let record = self.record.into_record()?;
        Ok(ReservationChange { xid: self.xid, at: Some(UnixMicros(self.at)), what: self.what, risk, record, read_at })
    }
}

fn page<T>(from: &Cursor, entries: i64, look: LookRow, items: Vec<T>) -> Result<ChangesPage<T>, StoreError> {
    if look.incarnation != from.incarnation || look.foreign {
        return Err(StoreError::OtherRecord);
    }
    if look.expired {
        return Err(StoreError::ChangesDropped);
    }
    let present = snapshot(look.present)?;
    let upto = match &from.at {
        Place::Within { upto, .. } => upto.clone(),
        Place::New | Place::Whole(_) => present.clone(),
    };
    let last = look.last_xid.filter(|_| look.entries >= entries);
    let end = match last {
        Some(last) => Cursor { at: Place::Within { upto, next: last + 1 }, ..from.clone() },
        None => Cursor { incarnation: from.incarnation, seen: upto, at: Place::New },
    };
    Ok(ChangesPage { items, end, more: last.is_some(), present })
}

fn snapshot(text: String) -> Result<Snapshot, StoreError> {
    Snapshot::try_from(text).map_err(|_| rows::damaged("a snapshot"))
}
