//! What can be watched: what could be reserved, and what happens to reservations.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;

use holdfast_stock::{Owner, Sku, UnixMicros};

use super::inbox::{Each, NewestOfEachRow, Waiting};
use crate::changes::{Cursor, WholePlace};
use crate::store::{AT_RISK, ChangesPage, ReservationChange, RowAvailability, Store, StoreError};

/// A topic, as one watcher is interested in it.
pub trait Topic: Debug + Send + Sync + 'static {
    /// What is told.
    type Item: AsRef<Self::Item> + Debug + Send + Sync + 'static;
    /// How it waits for a reader.
    type Waiting: Waiting<Self::Item> + Debug;
    /// Its name in metrics and in the log.
    const NAME: &'static str;

    /// What changed after a cursor, for whomever; from about so many entries.
    ///
    /// # Errors
    /// [`StoreError`]; it is a read.
    fn read(
        store: &Store,
        from: &Cursor,
        entries: i64,
    ) -> impl Future<Output = Result<ChangesPage<Self::Item>, StoreError>> + Send;

    /// A page of what there is after a place, for this watcher, and the next place; none at the end.
    ///
    /// # Errors
    /// [`StoreError`]; it is a read.
    fn whole(
        &self,
        store: &Store,
        after: &WholePlace,
        rows_max: u32,
    ) -> impl Future<Output = Result<(Vec<Self::Item>, Option<WholePlace>), StoreError>> + Send;

    /// Whether this watcher is to be told.
    fn wants(&self, item: &Self::Item) -> bool;

    /// The newest transaction that an item tells of.
    fn xid(item: &Self::Item) -> i64;

    /// When it was decided; none in the whole.
    fn at(item: &Self::Item) -> Option<UnixMicros>;
}

/// What could be reserved of these SKUs; none: of all.
#[derive(Debug, Clone, Default)]
pub struct AvailabilityInterest {
    /// The SKUs.
    pub skus: BTreeSet<Sku>,
}

impl Topic for AvailabilityInterest {
    type Item = RowAvailability;
    type Waiting = NewestOfEachRow;
    const NAME: &'static str = "availability";

    async fn read(store: &Store, from: &Cursor, entries: i64) -> Result<ChangesPage<RowAvailability>, StoreError> {
        store.changed_rows(from, entries).await
    }

    async fn whole(
        &self,
        store: &Store,
        after: &WholePlace,
        rows_max: u32,
    ) -> Result<(Vec<RowAvailability>, Option<WholePlace>), StoreError> {
        let skus: Vec<&str> = self.skus.iter().map(Sku::as_str).collect();
        let rows = store.whole_rows(after, &skus, i64::from(rows_max)).await?;
        let next = rows.last().filter(|_| rows.len() >= rows_max as usize).map(|last| WholePlace {
            sku: last.sku.to_string(),
            location: last.location.to_string(),
            ..WholePlace::beginning()
        });
        Ok((rows, next))
    }

    fn wants(&self, item: &RowAvailability) -> bool {
        self.skus.is_empty() || self.skus.contains(&item.sku)
    }

    fn xid(item: &RowAvailability) -> i64 {
        item.xid
    }

    fn at(item: &RowAvailability) -> Option<UnixMicros> {
        item.changed_at
    }
}

impl AsRef<Self> for RowAvailability {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// What happens to a reservation that a watcher can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It was bought.
    Confirmed,
    /// It was given back.
    Released,
    /// Its time ran out.
    Expired,
    /// It was called off after it was bought.
    Cancelled,
    /// Something of it was shipped.
    Fulfilled,
    /// Units of it are not there.
    AtRisk,
    /// Shipped units came back.
    Returned,
    /// The record was repaired.
    Repaired,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Confirmed,
        Self::Released,
        Self::Expired,
        Self::Cancelled,
        Self::Fulfilled,
        Self::AtRisk,
        Self::Returned,
        Self::Repaired,
    ];

    /// By which cause the ledger knows it; none where the ledger does not tell it.
    #[must_use]
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Confirmed => Some("CONFIRM"),
            Self::Released => Some("RELEASE"),
            Self::Expired => Some("EXPIRE"),
            Self::Cancelled => Some("CANCEL"),
            Self::Fulfilled => Some("FULFIL"),
            Self::AtRisk => None,
            Self::Returned => Some("RETURN"),
            Self::Repaired => Some("REPAIR"),
        }
    }

    /// The kind of what a change says that happened.
    #[must_use]
    pub fn of(change: &ReservationChange) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.cause().unwrap_or(AT_RISK) == change.what)
    }
}

/// What happens to reservations of an owner, or of everybody, of some kinds.
#[derive(Debug, Clone)]
pub struct ReservationInterest {
    /// Whose; none: everybody's.
    pub owner: Option<Owner>,
    /// Of which kinds, at least one.
    pub kinds: BTreeSet<Kind>,
}

impl Topic for ReservationInterest {
    type Item = ReservationChange;
    type Waiting = Each;
    const NAME: &'static str = "reservations";

    async fn read(store: &Store, from: &Cursor, entries: i64) -> Result<ChangesPage<ReservationChange>, StoreError> {
        let causes: Vec<&str> = Kind::ALL.into_iter().filter_map(Kind::cause).collect();
        store.changed_reservations(from, &causes, entries).await
    }

    async fn whole(
        &self,
        store: &Store,
        after: &WholePlace,
        rows_max: u32,
    ) -> Result<(Vec<ReservationChange>, Option<WholePlace>), StoreError> {
        if !self.kinds.contains(&Kind::AtRisk) {
            return Ok((Vec::new(), None));
        }
        let found = store.list_at_risk(after, ("", ""), i64::from(rows_max)).await?;
        let last = found.last().filter(|_| found.len() >= rows_max as usize);
        let next = last.and_then(|last| {
            let risk = last.risk.as_ref()?;
            Some(WholePlace::after(risk.sku.as_str(), risk.location.as_str(), last.record.id))
        });
        Ok((found.into_iter().filter(|change| self.wants(change)).collect(), next))
    }

    fn wants(&self, change: &ReservationChange) -> bool {
        Kind::of(change).is_some_and(|kind| self.kinds.contains(&kind))
            && self.owner.as_ref().is_none_or(|owner| change.record.owner.as_ref() == Some(owner))
    }

    fn xid(change: &ReservationChange) -> i64 {
        change.xid
    }

    fn at(change: &ReservationChange) -> Option<UnixMicros> {
        change.at
    }
}

impl AsRef<Self> for ReservationChange {
    fn as_ref(&self) -> &Self {
        self
    }
}
