//! What repair decides on, beside what every batch reads.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_stock::{Condition, Freshness, Movement, RepairEvidence, ReservationId, RowKey, Sku, State, Sums};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::planned::before_commit;
use super::progress::ProgressRow;
use super::{Store, StoreError, rows};

pub(super) const EVIDENCE: &str = include_str!("../../queries/repair_evidence.sql");
pub(super) const ROWS: &str = include_str!("../../queries/repair_rows.sql");

#[derive(Deserialize)]
struct EvidenceRows {
    rows: Vec<RowRow>,
    movements: Vec<MovementRow>,
}

#[derive(Deserialize)]
struct RowRow {
    sku: String,
    location: String,
    entries: i64,
    newest: i64,
    on_hand: i64,
    held: i64,
    committed: i64,
    safety: i64,
    backorder: i64,
    damaged: i64,
    quality_hold: i64,
    refurbished: i64,
    freshness: String,
    cap: i64,
    archived: bool,
    paused: bool,
    promised_held: i64,
    promised_committed: i64,
    oversold: bool,
}

#[derive(Deserialize)]
struct MovementRow {
    reservation_id: Uuid,
    sku: String,
    location: String,
    state: Option<String>,
    allocated: i64,
    promised_held: i64,
    promised_committed: i64,
    /// The units of its row of progress; none where it has none.
    progressed: Option<i64>,
    progress: Option<ProgressRow>,
    loose: i64,
    held: i64,
    committed: i64,
    taken: i64,
    reserved: i64,
    ended: i64,
    after: i64,
    repaired: i64,
    last: Option<String>,
}

/// Reads what the ledger and the reservations say of rows that the transaction has locked.
pub(super) async fn evidence(
    transaction: &mut sqlx::PgTransaction<'_>,
    keys: &BTreeSet<RowKey>,
    reservations: &BTreeSet<ReservationId>,
) -> Result<BTreeMap<RowKey, RepairEvidence>, StoreError> {
    let (Json(found),): (Json<EvidenceRows>,) = sqlx::query_as(EVIDENCE)
        .bind(keys.iter().map(|(sku, _)| sku.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, location)| location.as_str()).collect::<Vec<_>>())
        .bind(reservations.iter().map(|id| rows::uuid_of(*id)).collect::<Vec<_>>())
        .fetch_one(&mut **transaction)
        .await
        .map_err(before_commit)?;
    let mut evidence = BTreeMap::new();
    for row in found.rows {
        evidence.insert((rows::sku(&row.sku)?, rows::location(&row.location)?), row.into_evidence()?);
    }
    for row in found.movements {
        let key = (rows::sku(&row.sku)?, rows::location(&row.location)?);
        if let Some(evidence) = evidence.get_mut(&key) {
            evidence.movements.insert(rows::id_of(row.reservation_id), row.into_movement()?);
        }
    }
    Ok(evidence)
}

impl RowRow {
    fn into_evidence(self) -> Result<RepairEvidence, StoreError> {
        let unsellable = [
            (Condition::Damaged, self.damaged),
            (Condition::QualityHold, self.quality_hold),
            (Condition::Refurbished, self.refurbished),
        ];
        Ok(RepairEvidence {
            entries: self.entries,
            newest: self.newest,
            sums: Sums {
                on_hand: self.on_hand,
                held: self.held,
                committed: self.committed,
                safety: self.safety,
                backorder: self.backorder,
                unsellable: unsellable.into_iter().filter(|(_, units)| *units != 0).collect(),
            },
            freshness: Freshness::parse(&self.freshness).ok_or_else(|| rows::damaged("a freshness"))?,
            cap_units: (self.cap >= 0).then_some(self.cap),
            archived: self.archived,
            paused: self.paused,
            promised_held: self.promised_held,
            promised_committed: self.promised_committed,
            oversold: self.oversold,
            movements: BTreeMap::new(),
        })
    }
}

impl MovementRow {
    fn into_movement(self) -> Result<Movement, StoreError> {
        let progress = self.progress.map(ProgressRow::into_progress).transpose()?;
        let state = |name: String| State::parse(&name).ok_or_else(|| rows::damaged("a state"));
        Ok(Movement {
            state: self.state.map(state).transpose()?,
            allocated: self.allocated,
            promised_held: self.promised_held,
            promised_committed: self.promised_committed,
            progress: progress.map(|(_, progress)| progress),
            progressed: self.progressed,
            loose: self.loose,
            held: self.held,
            committed: self.committed,
            taken: self.taken,
            reserved: self.reserved,
            ended: self.ended,
            after: self.after,
            repaired: self.repaired,
            told: self.last.as_deref().and_then(told),
        })
    }
}

/// The state to which an entry of this cause brings a reservation.
fn told(cause: &str) -> Option<State> {
    match cause {
        "RESERVE" => Some(State::Held),
        "CONFIRM" => Some(State::Confirmed),
        "RELEASE" => Some(State::Released),
        "EXPIRE" => Some(State::Expired),
        _ => None,
    }
}

impl Store {
    /// The rows of stock that reservations are about, by what they took and by the ledger of the SKUs that they asked for or that are given.
    ///
    /// # Errors
    /// [`StoreError`]; reading changes nothing.
    pub async fn rows_of(&self, ids: &[ReservationId], skus: &[Sku]) -> Result<Vec<RowKey>, StoreError> {
        let found: Vec<(String, String)> = sqlx::query_as(ROWS)
            .bind(ids.iter().map(|id| rows::uuid_of(*id)).collect::<Vec<_>>())
            .bind(skus.iter().map(Sku::as_str).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(|(code, at)| Ok((rows::sku(&code)?, rows::location(&at)?))).collect()
    }
}
