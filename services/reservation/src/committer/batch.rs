//! How a batch is committed: the plain part on the fast path, the rest, or what proved not to be plain, on the planned path.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_stock::{
    Answer, Availability, Op, Reading, Record, Refusal, ReservationAnswer, ReservationId, State, UnixMicros, read,
};
use tracing::Instrument as _;

use super::lane::Lane;
use super::{Failure, Outcome, Queued};
use crate::metrics::Path;
use crate::store::{Actor, FastBatch, FastOutcome, FastReserve, FastTransition, StoreError, Target};
use crate::trace;

/// What became of an operation.
pub(super) enum Decided {
    /// It is answered.
    Answer(Outcome),
    /// It is to be tried again: the units that it lacks are just being freed.
    Again,
}

type Batch = Vec<(Queued, Decided)>;
/// Postgres's clock at a read, and what stood under the keys.
type Found = (UnixMicros, BTreeMap<ReservationId, Record>);

/// Commits a batch, nothing of it twice, and says what became of each operation.
pub(super) async fn commit(lane: &Lane, batch: Vec<Queued>) -> Batch {
    let span = trace::batch_span(lane.name, batch.len(), batch.iter().map(|queued| &queued.span));
    for queued in &batch {
        trace::note_batch(&queued.span, &span, queued.queued_at.elapsed());
    }
    async {
        let (plain, other): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_plain);
        let mut done = Vec::new();
        if !plain.is_empty() {
            done.extend(fast(lane, plain).await);
        }
        if !other.is_empty() {
            done.extend(planned(lane, other).await);
        }
        done
    }
    .instrument(span)
    .await
}

/// Whether the fast path may be tried. It verifies everything itself; this only keeps away what it cannot do.
fn is_plain(queued: &Queued) -> bool {
    match &queued.work.op {
        Op::Reserve { .. } => queued.work.chosen.is_some(),
        Op::Confirm { .. } | Op::Release { .. } => true,
        Op::Refuse { .. }
        | Op::Extend { .. }
        | Op::Expire { .. }
        | Op::Count { .. }
        | Op::Adjust { .. }
        | Op::Policies { .. }
        | Op::Freshen { .. }
        | Op::Repair { .. } => false,
    }
}

async fn fast(lane: &Lane, batch: Vec<Queued>) -> Batch {
    let request = fast_batch(&batch);
    match lane.store.commit_fast(&request, &lane.limits).await {
        Ok(outcome) => {
            lane.metrics.path(Path::Fast, batch.len());
            lane.publisher.publish(outcome.decided_at, &outcome.available, batch.iter().map(|queued| &queued.work.op));
            let found = match conflicts(lane, &batch, &outcome).await {
                Ok(found) => found,
                // The batch is committed, but what stands under the keys that were there before could not be read.
                Err(error) => return fast_answers(batch, &outcome, Err(&error)),
            };
            fast_answers(batch, &outcome, Ok(&found))
        }
        Err(StoreError::OverLimit(over)) => {
            // Refused in the order of arrival; in a rush for something limited most are, and their neighbours must not be slower for it.
            let is_over = |queued: &Queued| queued.work.op.reservation().is_some_and(|id| over.contains(&id));
            let (over, within): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_over);
            if over.is_empty() {
                return planned(lane, within).await;
            }
            let mut done = if within.is_empty() { Vec::new() } else { Box::pin(fast(lane, within)).await };
            done.extend(planned(lane, over).await);
            done
        }
        Err(StoreError::NeedsPlanning | StoreError::Contended(_)) => planned(lane, batch).await,
        Err(error) => failed(batch, &error),
    }
}

fn fast_batch(batch: &[Queued]) -> FastBatch {
    let mut request = FastBatch::default();
    for Queued { work, .. } in batch {
        let actor = work.actor.clone();
        match &work.op {
            Op::Reserve { id, owner, payload, cart, hold, .. } => request.reserves.push(FastReserve {
                id: *id,
                owner: owner.clone(),
                payload: *payload,
                lines: cart.lines().to_vec(),
                allocations: work.chosen.clone().unwrap_or_default(),
                hold: *hold,
                actor,
            }),
            Op::Confirm { request: key, payload, id } => request.transitions.push(FastTransition {
                request: *key,
                payload: *payload,
                id: *id,
                target: Target::Confirmed,
                actor,
            }),
            Op::Release { request: key, payload, id } => request.transitions.push(FastTransition {
                request: *key,
                payload: *payload,
                id: *id,
                target: Target::Released,
                actor,
            }),
            Op::Refuse { .. }
            | Op::Extend { .. }
            | Op::Expire { .. }
            | Op::Count { .. }
            | Op::Adjust { .. }
            | Op::Policies { .. }
            | Op::Freshen { .. }
            | Op::Repair { .. } => {}
        }
    }
    request
}

/// Reads what stands under the keys that did not land because they were there before.
async fn conflicts(lane: &Lane, batch: &[Queued], outcome: &FastOutcome) -> Result<Found, StoreError> {
    let ids: Vec<_> = batch
        .iter()
        .filter(|queued| matches!(queued.work.op, Op::Reserve { .. }))
        .filter_map(|queued| queued.work.op.reservation())
        .filter(|id| !outcome.landed.contains_key(id))
        .collect();
    if ids.is_empty() {
        return Ok((outcome.decided_at, BTreeMap::new()));
    }
    let look = lane.store.look(&ids, &[]).await?;
    Ok((look.read_at, look.records))
}

fn fast_answers(batch: Vec<Queued>, outcome: &FastOutcome, found: Result<&Found, &StoreError>) -> Batch {
    let missing =
        |what: &str| Err(Failure::Store(StoreError::Defect(format!("{what} was committed, but is not there"))));
    let answer = |queued: &Queued| match &queued.work.op {
        Op::Reserve { id, owner, payload, cart, .. } if outcome.landed.contains_key(id) => {
            let expires_at = outcome.landed.get(id).copied();
            Ok(stands(Record {
                id: *id,
                owner: Some(owner.clone()),
                payload: Some(*payload),
                lines: cart.lines().to_vec(),
                allocations: queued.work.chosen.clone().unwrap_or_default(),
                created_at: outcome.claimed_at,
                first_expires_at: expires_at,
                state: State::Held,
                expires_at,
                state_at: outcome.claimed_at,
                version: 1,
                shortages: Vec::new(),
            }))
        }
        Op::Reserve { id, payload, cart, .. } => match found {
            Ok((now, records)) => match read(*now, records.get(id), *payload, cart, &Availability::new()) {
                Reading::Settled(answer) => answer.map_err(Failure::Refused),
                Reading::Insufficient(_) | Reading::UnknownSku(_) | Reading::Enough => missing("a key that was taken"),
            },
            Err(error) => Err(Failure::Store(error.clone())),
        },
        op => match op.reservation().and_then(|id| outcome.records.get(&id)) {
            Some(record) => Ok(stands(record.clone())),
            None => missing("a reservation"),
        },
    };
    batch
        .into_iter()
        .map(|queued| {
            let decided = Decided::Answer(answer(&queued));
            (queued, decided)
        })
        .collect()
}

fn stands(record: Record) -> Answer {
    Answer::Reservation(Box::new(ReservationAnswer {
        current_state: record.state,
        current_expires_at: record.expires_at,
        first: record,
        replayed: false,
    }))
}

/// Decides in arrival order. What another transaction was in the way of is repeated; what is a defect is done one by one, so that it harms no neighbour.
async fn planned(lane: &Lane, batch: Vec<Queued>) -> Batch {
    let ops: Vec<(Op, Actor)> =
        batch.iter().map(|queued| (queued.work.op.clone(), queued.work.actor.clone())).collect();
    let mut attempt = 1;
    loop {
        match lane.store.commit_planned(&ops, &lane.limits).await {
            Ok(outcome) => {
                lane.metrics.path(Path::Planned, batch.len());
                lane.metrics.shortfall(outcome.shortfall_units_raised);
                lane.publisher.publish(outcome.decided_at, &outcome.available, ops.iter().map(|(op, _)| op));
                return batch.into_iter().zip(outcome.answers).map(|(q, answer)| (q, decide(answer))).collect();
            }
            Err(StoreError::Contended(text)) if attempt < lane.config.contended_attempts_max => {
                tracing::debug!(attempt, error = text, "another transaction was in the way");
                lane.metrics.contended();
                tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                attempt += 1;
            }
            Err(StoreError::Defect(text)) if batch.len() > 1 => {
                tracing::error!(
                    error = text,
                    operations = batch.len(),
                    "a batch failed; its operations are tried one by one"
                );
                let mut done = Vec::new();
                for queued in batch {
                    done.extend(Box::pin(planned(lane, vec![queued])).await);
                }
                return done;
            }
            Err(error) => return failed(batch, &error),
        }
    }
}

fn decide(answer: Result<Answer, Refusal>) -> Decided {
    match answer {
        Ok(answer) => Decided::Answer(Ok(answer)),
        Err(Refusal::Contended) => Decided::Again,
        Err(refusal) => Decided::Answer(Err(Failure::Refused(refusal))),
    }
}

fn failed(batch: Vec<Queued>, error: &StoreError) -> Batch {
    match error {
        StoreError::Defect(_) => tracing::error!(%error, operations = batch.len(), "an operation failed"),
        _ => tracing::warn!(%error, operations = batch.len(), "a batch failed"),
    }
    batch.into_iter().map(|queued| (queued, Decided::Answer(Err(Failure::Store(error.clone()))))).collect()
}
