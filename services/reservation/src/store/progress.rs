//! The forms of what became of sold units.

use std::collections::BTreeMap;

use holdfast_stock::{Evidence, EvidenceKind, Pending, Progress, ReservationId, RowKey, UnixMicros};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::rows;

/// What became of the units of an allocation, as `progress_json` builds it and `write_plan` reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ProgressRow {
    /// In a plan; elsewhere the reservation is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reservation_id: Option<Uuid>,
    sku: String,
    location: String,
    released: i64,
    cancelled: i64,
    cancelling: i64,
    withdrawn: i64,
    fulfilled: i64,
    returned: i64,
    reflected: i64,
    /// `[kind, units, time]`, in the order in which it became known.
    evidence: Vec<(String, i64, i64)>,
}

impl ProgressRow {
    pub(super) fn new((sku, location): &RowKey, progress: &Progress) -> Self {
        let evidence = progress.evidence.iter().map(|e| (e.kind.as_str().to_owned(), e.units, e.at.0));
        Self {
            reservation_id: None,
            sku: sku.to_string(),
            location: location.to_string(),
            released: progress.released,
            cancelled: progress.cancelled,
            cancelling: progress.cancelling,
            withdrawn: progress.withdrawn,
            fulfilled: progress.fulfilled,
            returned: progress.returned,
            reflected: progress.reflected,
            evidence: evidence.collect(),
        }
    }

    pub(super) fn of(((id, row), progress): (&(ReservationId, RowKey), &Progress)) -> Self {
        Self { reservation_id: Some(rows::uuid_of(*id)), ..Self::new(row, progress) }
    }

    pub(super) fn into_progress(self) -> Result<(RowKey, Progress), StoreError> {
        let evidence = self.evidence.into_iter().map(|(kind, units, at)| {
            let kind = EvidenceKind::parse(&kind).ok_or_else(|| rows::damaged("a kind of evidence"))?;
            Ok(Evidence { kind, units, at: UnixMicros(at) })
        });
        let progress = Progress {
            released: self.released,
            cancelled: self.cancelled,
            cancelling: self.cancelling,
            withdrawn: self.withdrawn,
            fulfilled: self.fulfilled,
            returned: self.returned,
            reflected: self.reflected,
            evidence: evidence.collect::<Result<_, StoreError>>()?,
        };
        Ok(((rows::sku(&self.sku)?, rows::location(&self.location)?), progress))
    }
}

/// What became of a reservation's units, row by row.
pub(super) fn progress_of(found: Vec<ProgressRow>) -> Result<BTreeMap<RowKey, Progress>, StoreError> {
    found.into_iter().map(ProgressRow::into_progress).collect()
}

/// An allocation with committed units that a count may reflect, as `lock_batch` and `pending.sql` build it.
#[derive(Debug, Deserialize)]
pub(super) struct PendingRow {
    id: Uuid,
    quantity: i64,
    progress: ProgressRow,
}

impl PendingRow {
    pub(super) fn into_pending(self) -> Result<(RowKey, Pending), StoreError> {
        let (row, progress) = self.progress.into_progress()?;
        Ok((row, Pending { id: rows::id_of(self.id), quantity: self.quantity, progress }))
    }
}
