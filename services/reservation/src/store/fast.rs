//! The batch that needs no thinking: one call, one commit.

use std::collections::BTreeMap;

use holdfast_stock::{
    Allocation, Details, HoldMicros, Limits, Line, Location, Name, Owner, PayloadHash, Record, RequestId,
    ReservationId, Sku, State, UnixMicros,
};
use serde::Deserialize;
use uuid::Uuid;

use super::rows::{self, AvailableRow, DetailsRow, RecordRow};
use super::{Store, StoreError};

pub(super) const COMMIT_FAST: &str = "SELECT commit_fast($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)";

/// Reserves that are new and fit, confirms and releases of running holds, at most one operation a key. If any of that is not so, nothing of the batch happens.
#[derive(Debug, Default)]
pub struct FastBatch {
    /// The reserves, in the order of arrival.
    pub reserves: Vec<FastReserve>,
    /// The confirms and releases, in the order of arrival.
    pub transitions: Vec<FastTransition>,
}

/// A reserve whose units have been chosen on published availability.
#[derive(Debug)]
pub struct FastReserve {
    /// The key.
    pub id: ReservationId,
    /// Whose it is.
    pub owner: Owner,
    /// What the request said.
    pub payload: PayloadHash,
    /// What was asked for.
    pub lines: Vec<Line>,
    /// Where to take it.
    pub allocations: Vec<Allocation>,
    /// How long to hold it; none: as the policies or else the limits say.
    pub hold: Option<HoldMicros>,
    /// What is kept with it.
    pub details: Details,
    /// Who asked.
    pub actor: String,
    /// The trace that the request belongs to, if it belongs to one.
    pub trace: Option<String>,
}

/// A confirm or a release.
#[derive(Debug)]
pub struct FastTransition {
    /// The request's key.
    pub request: RequestId,
    /// What the request said.
    pub payload: PayloadHash,
    /// Which reservation.
    pub id: ReservationId,
    /// Where to.
    pub target: Target,
    /// For a confirm: the caller's own name for the order, if the reservation has none yet.
    pub order: Option<Name>,
    /// Who asked.
    pub actor: String,
    /// The trace that the request belongs to, if it belongs to one.
    pub trace: Option<String>,
}

/// Where a running hold can go on the fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Bought.
    Confirmed,
    /// Given back.
    Released,
}

/// What a committed batch did.
#[derive(Debug)]
pub struct FastOutcome {
    /// When the new holds were made.
    pub claimed_at: UnixMicros,
    /// The reserves that landed, and until when their units are held; the other keys were there before and are to be read.
    pub landed: BTreeMap<ReservationId, UnixMicros>,
    /// The reservations of the transitions, as they stand now.
    pub records: BTreeMap<ReservationId, Record>,
    /// When `available` was true.
    pub decided_at: UnixMicros,
    /// Every location of the touched SKUs.
    pub available: Vec<(Sku, Location, i64)>,
}

#[derive(Deserialize)]
struct OutcomeRow {
    claimed_at: i64,
    decided_at: i64,
    landed: Vec<(Uuid, i64)>,
    records: Vec<RecordRow>,
    available: Vec<AvailableRow>,
}

impl Store {
    /// Commits a batch in one round trip.
    ///
    /// # Errors
    /// [`StoreError::NeedsPlanning`] if an operation is anything but plain, then and with every other error but two nothing has happened: [`StoreError::Unknown`], and
    /// [`StoreError::Defect`], which may come of an answer that cannot be read. Deciding the batch anew finds what stands, for every operation has its key.
    pub async fn commit_fast(&self, batch: &FastBatch, limits: &Limits) -> Result<FastOutcome, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(|error| StoreError::before(&error))?;
        let reserves = &batch.reserves;
        let transitions = &batch.transitions;
        let taken = || reserves.iter().flat_map(|r| r.allocations.iter().map(move |a| (r, a)));
        let details =
            |r: &FastReserve| serde_json::to_value(DetailsRow::of(&r.details, &r.lines)).ok().filter(|d| !d.is_null());
        let target = |target| match target {
            Target::Confirmed => State::Confirmed.as_str(),
            Target::Released => State::Released.as_str(),
        };
        let query = sqlx::query_as(COMMIT_FAST)
            .bind(reserves.iter().map(|r| rows::uuid_of(r.id)).collect::<Vec<_>>())
            .bind(reserves.iter().map(|r| r.owner.as_str()).collect::<Vec<_>>())
            .bind(reserves.iter().map(|r| r.payload.0.to_vec()).collect::<Vec<_>>())
            .bind(reserves.iter().map(|r| sqlx::types::Json(rows::lines_row(&r.lines))).collect::<Vec<_>>())
            .bind(reserves.iter().map(|r| r.hold.map(HoldMicros::get)).collect::<Vec<_>>())
            .bind(reserves.iter().map(|r| r.actor.as_str()).collect::<Vec<_>>())
            .bind(taken().map(|(r, _)| rows::uuid_of(r.id)).collect::<Vec<_>>())
            .bind(taken().map(|(_, a)| a.sku.as_str()).collect::<Vec<_>>())
            .bind(taken().map(|(_, a)| a.location.as_str()).collect::<Vec<_>>())
            .bind(taken().map(|(_, a)| a.quantity).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| Uuid::from_bytes(t.request.to_bytes())).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| t.payload.0.to_vec()).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| rows::uuid_of(t.id)).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| target(t.target)).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| t.actor.as_str()).collect::<Vec<_>>())
            .bind(limits.default_hold.get())
            .bind(limits.longest_hold_micros)
            .bind(reserves.iter().map(details).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| t.order.as_ref().map(Name::as_str)).collect::<Vec<_>>())
            .bind(reserves.iter().map(|r| r.trace.as_deref()).collect::<Vec<_>>())
            .bind(transitions.iter().map(|t| t.trace.as_deref()).collect::<Vec<_>>());
        let (row,): (sqlx::types::Json<OutcomeRow>,) = self.pool.within(query.fetch_one(&mut *connection)).await?;
        let row = row.0;
        let records = row.records.into_iter().map(RecordRow::into_record);
        Ok(FastOutcome {
            claimed_at: UnixMicros(row.claimed_at),
            decided_at: UnixMicros(row.decided_at),
            landed: row.landed.into_iter().map(|(id, end)| (rows::id_of(id), UnixMicros(end))).collect(),
            records: records.map(|record| record.map(|r| (r.id, r))).collect::<Result<_, _>>()?,
            available: rows::available(row.available)?,
        })
    }
}
