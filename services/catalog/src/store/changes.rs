//! The log of changes, as watchers and relays read it.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::listing::SkuRow;
use super::{Store, StoreError};
use crate::changes::{Cursor, Place, Snapshot};
use crate::model::{Offer, OfferContent, OfferKey, SkuState};

/// Which changes a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// All.
    All,
    /// Those that reservation has to know of.
    Policy,
    /// Those that vendor-sync has to know of.
    Offers,
}

impl Interest {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Policy => "policy",
            Self::Offers => "offers",
        }
    }
}

/// A SKU that changed, or that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its code.
    pub sku: String,
    /// Where a reader stands who has dealt with it and with those before it.
    pub after: Cursor,
}

/// What a reader reads at once.
#[derive(Debug, Clone)]
pub struct ChangesPage {
    /// The SKUs, each once.
    pub changed: Vec<Changed>,
    /// Where a reader stands who has dealt with all of them.
    pub end: Cursor,
    /// Whether the end of the whole was reached with this page: what follows are changes.
    pub whole_ended: bool,
    /// Whether there may be more right now.
    pub more: bool,
}

impl Store {
    /// Where a reader begins who wants everything: whatever changes from now on is read after it.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn beginning(&self) -> Result<Cursor, StoreError> {
        let (log_id, present): (Uuid, String) =
            sqlx::query_as(include_str!("../../queries/change_present.sql")).fetch_one(&self.pool).await?;
        Ok(Cursor { log_id, seen: snapshot(present)?, at: Place::Whole(String::new()) })
    }

    /// The present snapshot of transactions, and whether it sees changes that another did not; without another one: false.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn changed_since(&self, seen: Option<&Snapshot>) -> Result<(Snapshot, bool), StoreError> {
        let Some(seen) = seen else { return Ok((self.beginning().await?.seen, false)) };
        let since = sqlx::query_as(include_str!("../../queries/change_since.sql")).bind(seen.as_str());
        let (present, changed): (String, bool) = since.fetch_one(&self.pool).await?;
        Ok((snapshot(present)?, changed))
    }

    /// What follows a cursor, at most so many rows.
    ///
    /// # Errors
    /// [`StoreError::ChangesDropped`], [`StoreError::OtherLog`], [`StoreError::Postgres`].
    pub async fn changes(&self, from: &Cursor, interest: Interest, rows: u32) -> Result<ChangesPage, StoreError> {
        match &from.at {
            Place::Whole(after) => self.whole(from, after, interest, rows).await,
            Place::New => self.new_changes(from, None, (0, 0), interest, rows).await,
            Place::Within { upto, xid, seq } => self.new_changes(from, Some(upto), (*xid, *seq), interest, rows).await,
        }
    }

    async fn whole(
        &self,
        from: &Cursor,
        after: &str,
        interest: Interest,
        rows: u32,
    ) -> Result<ChangesPage, StoreError> {
        let query = match interest {
            Interest::All => include_str!("../../queries/sku_codes.sql"),
            Interest::Policy => include_str!("../../queries/sku_codes_restricted.sql"),
            Interest::Offers => include_str!("../../queries/sku_codes_offered.sql"),
        };
        // A cursor that stands in the middle of the whole may be as old, or of another log, as any.
        self.new_changes(from, None, (0, 0), interest, 0).await?;
        let codes: Vec<String> =
            sqlx::query_scalar(query).bind(after).bind(i64::from(rows)).fetch_all(&self.pool).await?;
        let at = |place| Cursor { at: place, ..from.clone() };
        let whole_ended = codes.len() < rows as usize;
        let end = match codes.last() {
            Some(last) if !whole_ended => at(Place::Whole(last.clone())),
            _ => at(Place::New),
        };
        let changed = codes.into_iter().map(|sku| Changed { after: at(Place::Whole(sku.clone())), sku });
        Ok(ChangesPage { changed: changed.collect(), end, whole_ended, more: true })
    }

    async fn new_changes(
        &self,
        from: &Cursor,
        upto: Option<&Snapshot>,
        (xid, seq): (i64, i64),
        interest: Interest,
        rows: u32,
    ) -> Result<ChangesPage, StoreError> {
        let found: Vec<ChangeRow> = sqlx::query_as(include_str!("../../queries/change_read.sql"))
            .bind(from.seen.as_str())
            .bind(upto.map(Snapshot::as_str))
            .bind(xid)
            .bind(seq)
            .bind(interest.name())
            .bind(i64::from(rows))
            .fetch_all(&self.pool)
            .await?;
        let first = found.first().ok_or(StoreError::OtherLog)?;
        if first.log_id != from.log_id || first.foreign {
            return Err(StoreError::OtherLog);
        }
        if first.expired {
            return Err(StoreError::ChangesDropped);
        }
        let upto_new = match upto {
            Some(upto) => upto.clone(),
            None => snapshot(first.present.clone())?,
        };
        let full = found.len() == rows as usize && first.sku.is_some();
        let changed = last_of_each(from, &upto_new, found);
        let end = match changed.last() {
            Some(last) if full => last.after.clone(),
            _ => Cursor { log_id: from.log_id, seen: upto_new, at: Place::New },
        };
        Ok(ChangesPage { changed, end, whole_ended: false, more: full || upto.is_some() })
    }

    /// SKUs with their offers, by their codes, each given once, in that order.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn states(&self, codes: &[&str]) -> Result<Vec<SkuState>, StoreError> {
        let states = sqlx::query_as::<_, StateRow>(include_str!("../../queries/sku_states.sql")).bind(codes);
        Ok(states.fetch_all(&self.pool).await?.into_iter().map(Into::into).collect())
    }

    /// Drops changes older than so many seconds, at most so many; answers how many it dropped.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn drop_changes(&self, age_seconds: u32, rows_max: u32) -> Result<u64, StoreError> {
        let dropped = sqlx::query_scalar(include_str!("../../queries/change_drop.sql"));
        let dropped: i64 = dropped.bind(f64::from(age_seconds)).bind(i64::from(rows_max)).fetch_one(&self.pool).await?;
        Ok(u64::try_from(dropped).unwrap_or(0))
    }
}

/// The SKUs of changes, each at its last one: who resumes before that finds it again.
fn last_of_each(from: &Cursor, upto: &Snapshot, found: Vec<ChangeRow>) -> Vec<Changed> {
    let changes: Vec<(i64, i64, String)> =
        found.into_iter().filter_map(|row| Some((row.xid?, row.seq?, row.sku?))).collect();
    let last: HashMap<String, usize> =
        changes.iter().enumerate().map(|(index, (_, _, sku))| (sku.clone(), index)).collect();
    let is_last = |index: usize, sku: &String| last.get(sku) == Some(&index);
    changes
        .into_iter()
        .enumerate()
        .filter(|(index, (_, _, sku))| is_last(*index, sku))
        .map(|(_, (xid, seq, sku))| Changed {
            sku,
            after: Cursor { at: Place::Within { upto: upto.clone(), xid, seq }, ..from.clone() },
        })
        .collect()
}

fn snapshot(text: String) -> Result<Snapshot, StoreError> {
    Snapshot::try_from(text).map_err(|error| StoreError::Postgres(sqlx::Error::Decode(error.into())))
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    log_id: Uuid,
    present: String,
    expired: bool,
    foreign: bool,
    xid: Option<i64>,
    seq: Option<i64>,
    sku: Option<String>,
}

/// Vendor, location, vendor code, pack size, and when it was created, in microseconds since 1970.
#[derive(Debug, Deserialize)]
struct OfferParts(String, String, String, i32, i64);

#[derive(sqlx::FromRow)]
struct StateRow {
    #[sqlx(flatten)]
    sku: SkuRow,
    offers: Json<Vec<OfferParts>>,
}

impl From<StateRow> for SkuState {
    fn from(StateRow { sku, offers }: StateRow) -> Self {
        let sku: crate::model::Sku = sku.into();
        let offer = |OfferParts(vendor, location, vendor_sku, pack_size, created)| Offer {
            key: OfferKey { vendor, location, vendor_sku },
            content: OfferContent { sku: sku.content.code.clone(), pack_size },
            create_time: OffsetDateTime::from_unix_timestamp_nanos(i128::from(created) * 1000)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        };
        let offers = offers.0.into_iter().map(offer).collect();
        Self { sku, offers }
    }
}
