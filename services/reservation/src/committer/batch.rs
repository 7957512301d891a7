//! How a batch is committed: the plain part on the fast path, the rest, or what proved not to be plain, on the planned path.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_stock::{
    Answer, Availability, Op, Reading, Record, Refusal, ReservationAnswer, ReservationId, Sku, State, UnixMicros,
    Wanted, read,
};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::lane::Lane;
use super::{Failure, Outcome, Queued};
use crate::metrics::Path;
use crate::store::{Asked, FastBatch, FastOutcome, FastReserve, FastTransition, PlannedOutcome, StoreError, Target};
use crate::trace;

/// What became of an operation.
pub(super) enum Decided {
    /// It is answered.
    Answer(Outcome),
    /// It is to be tried again: the units that it lacks are just being freed.
    Again,
}

/// Where operations go as soon as it is decided what became of them: nobody waits for the rest of his batch.
pub(super) type Sink<'a> = &'a mut (dyn FnMut(Queued, Decided) + Send);
/// Postgres's clock at a read, and what stood under the keys.
type Found = (UnixMicros, BTreeMap<ReservationId, Record>);

/// How long a batch is repeated that other transactions are in the way of, before its operations are tried one by one.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an operation waits for a lock that is tried by itself because its batch met one: whoever holds it so long is no neighbour at work.
const LOCK_WAIT: Duration = Duration::from_millis(200);

/// Commits a batch, nothing of it twice, and says what became of each operation.
pub(super) async fn commit(lane: &Lane, batch: Vec<Queued>, sink: Sink<'_>) {
    let span = trace::batch_span(lane.name, batch.len(), batch.iter().map(|queued| &queued.span));
    for queued in &batch {
        trace::note_batch(&queued.span, &span, queued.queued_at.elapsed());
    }
    async {
        let (dry, real): (Vec<_>, Vec<_>) = batch.into_iter().partition(|queued| queued.work.dry);
        let (plain, other): (Vec<_>, Vec<_>) = real.into_iter().partition(is_plain);
        if !plain.is_empty() {
            fast(lane, plain, sink).await;
        }
        if !other.is_empty() {
            planned(lane, other, Instant::now(), sink).await;
        }
        for queued in dry {
            let decided = tried(lane, &queued).await;
            sink(queued, decided);
        }
    }
    .instrument(span)
    .await;
}

/// Whether the fast path may be tried. It verifies everything itself; this only keeps away what it cannot do.
fn is_plain(queued: &Queued) -> bool {
    match &queued.work.op {
        Op::Reserve { terms, .. } => queued.work.chosen.is_some() && terms.replaces.is_none() && !terms.best_effort,
        // With a key to reserve anew under it is plain too, as long as the hold is running.
        Op::Confirm { portions, .. } => portions.is_empty(),
        Op::Release { .. } => true,
        Op::Refuse { .. }
        | Op::Extend { .. }
        | Op::Fulfil { .. }
        | Op::Cancel { .. }
        | Op::Return { .. }
        | Op::Evidence { .. }
        | Op::Sell { .. }
        | Op::Expire { .. }
        | Op::Count { .. }
        | Op::Adjust { .. }
        | Op::Policies { .. }
        | Op::Freshen { .. }
        | Op::Repair { .. } => false,
    }
}

async fn fast(lane: &Lane, batch: Vec<Queued>, sink: Sink<'_>) {
    let (request, began) = (fast_batch(&batch), Instant::now());
    match lane.store.commit_fast(&request, &lane.limits).await {
        Ok(outcome) => {
            lane.metrics.path(Path::Fast, batch.len());
            lane.publisher.publish(outcome.decided_at, &outcome.available, batch.iter().map(|queued| &queued.work.op));
            // If it cannot be read what stands under the keys that were there before, the batch is committed all the same.
            let found = conflicts(lane, &batch, &outcome).await;
            fast_answers(batch, &outcome, found.as_ref(), sink);
        }
        Err(StoreError::OverLimit(over)) => {
            // Refused in the order of arrival; in a rush for something limited most are, and their neighbours must not be slower for it.
            let is_over = |queued: &Queued| queued.work.op.reservation().is_some_and(|id| over.contains(&id));
            let (over, within): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_over);
            if over.is_empty() {
                return planned(lane, within, began, sink).await;
            }
            if !within.is_empty() {
                Box::pin(fast(lane, within, &mut *sink)).await;
            }
            planned(lane, over, Instant::now(), sink).await;
        }
        // What is a defect of one of them is found there.
        Err(StoreError::NeedsPlanning | StoreError::Contended(_) | StoreError::Defect(_)) => {
            planned(lane, batch, began, sink).await;
        }
        Err(error) => failed(batch, &error, sink),
    }
}

fn fast_batch(batch: &[Queued]) -> FastBatch {
    let mut request = FastBatch::default();
    for Queued { work, span, .. } in batch {
        let (actor, trace) = (work.actor.clone(), trace::id_of(span));
        match &work.op {
            Op::Reserve { id, owner, payload, cart, hold, terms, .. } => request.reserves.push(FastReserve {
                id: *id,
                owner: owner.clone(),
                payload: *payload,
                lines: cart.lines().to_vec(),
                allocations: work.chosen.clone().unwrap_or_default(),
                hold: *hold,
                details: terms.details.clone(),
                actor,
                trace,
            }),
            Op::Confirm { request: key, payload, id, order, .. } => request.transitions.push(FastTransition {
                request: *key,
                payload: *payload,
                id: *id,
                target: Target::Confirmed,
                order: order.clone(),
                actor,
                trace,
            }),
            Op::Release { request: key, payload, id } => request.transitions.push(FastTransition {
                request: *key,
                payload: *payload,
                id: *id,
                target: Target::Released,
                order: None,
                actor,
                trace,
            }),
            Op::Refuse { .. }
            | Op::Extend { .. }
            | Op::Fulfil { .. }
            | Op::Cancel { .. }
            | Op::Return { .. }
            | Op::Evidence { .. }
            | Op::Sell { .. }
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
    // A batch that wrote something has waited for the standby already, and so for all that was there before it.
    if look.has_standby && outcome.landed.is_empty() && outcome.records.is_empty() {
        lane.store.settle().await?;
    }
    Ok((look.read_at, look.records))
}

fn fast_answers(batch: Vec<Queued>, outcome: &FastOutcome, found: Result<&Found, &StoreError>, sink: Sink<'_>) {
    let missing =
        |what: &str| Err(Failure::Store(StoreError::Defect(format!("{what} was committed, but is not there"))));
    let answer = |queued: &Queued| match &queued.work.op {
        Op::Reserve { id, owner, payload, cart, terms, .. } if outcome.landed.contains_key(id) => {
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
                details: terms.details.clone(),
                predecessor: None,
                successor: None,
            }))
        }
        Op::Reserve { id, payload, cart, terms, .. } => match found {
            Ok((now, records)) => {
                let wanted = Wanted { cart, terms, paused: &BTreeSet::new() };
                match read(*now, records.get(id), *payload, wanted, &Availability::new()) {
                    Reading::Settled(answer) => answer.map_err(Failure::Refused),
                    Reading::Insufficient(_) | Reading::Paused { .. } | Reading::UnknownSku(_) | Reading::Enough => {
                        missing("a key that was taken")
                    }
                }
            }
            Err(error) => Err(Failure::Store(error.clone())),
        },
        op => match op.reservation().and_then(|id| outcome.records.get(&id)) {
            Some(record) => Ok(stands(record.clone())),
            None => missing("a reservation"),
        },
    };
    for queued in batch {
        let decided = Decided::Answer(answer(&queued));
        sink(queued, decided);
    }
}

fn stands(record: Record) -> Answer {
    Answer::Reservation(Box::new(ReservationAnswer {
        current_state: record.state,
        current_expires_at: record.expires_at,
        first: record,
        replayed: false,
    }))
}

/// Decides in arrival order. What another transaction was in the way of is repeated for a while, counted from when the batch began; then, and when one of its operations is a
/// defect, they are done one by one, so that none harms its neighbours.
async fn planned(lane: &Lane, batch: Vec<Queued>, began: Instant, sink: Sink<'_>) {
    let ops: Vec<Asked> = batch.iter().map(asked).collect();
    let mut attempt = 1;
    loop {
        match lane.store.commit_planned(&ops, &lane.limits, None).await {
            Ok(outcome) => return landed(lane, batch, &ops, outcome, sink),
            Err(StoreError::Contended(text))
                if attempt < lane.config.contended_attempts_max && began.elapsed() < PATIENCE =>
            {
                tracing::debug!(attempt, error = text, "another transaction was in the way");
                lane.metrics.contended();
                tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                attempt += 1;
            }
            Err(error @ (StoreError::Contended(_) | StoreError::Defect(_))) if batch.len() > 1 => {
                let operations = batch.len();
                tracing::warn!(%error, operations, "a batch failed; its operations are tried one by one");
                return one_by_one(lane, batch, sink).await;
            }
            Err(error) => return failed(batch, &error, sink),
        }
    }
}

/// Does operations each by itself. One that waited in vain for its SKU's lock speaks for the others that want nothing but that SKU.
async fn one_by_one(lane: &Lane, batch: Vec<Queued>, sink: Sink<'_>) {
    let mut locked: BTreeMap<Sku, StoreError> = BTreeMap::new();
    for queued in batch {
        let sku = only_sku(&queued.work.op);
        if let Some(error) = sku.as_ref().and_then(|sku| locked.get(sku)) {
            failed(vec![queued], error, &mut *sink);
            continue;
        }
        let ops = [asked(&queued)];
        match lane.store.commit_planned(&ops, &lane.limits, Some(LOCK_WAIT)).await {
            Ok(outcome) => landed(lane, vec![queued], &ops, outcome, &mut *sink),
            Err(error) => {
                failed(vec![queued], &error, &mut *sink);
                if let (Some(sku), StoreError::Contended(_)) = (sku, &error) {
                    locked.insert(sku, error);
                }
            }
        }
    }
}

/// The SKU of a cart that has no other.
fn only_sku(op: &Op) -> Option<Sku> {
    let Op::Reserve { cart, .. } = op else { return None };
    let mut skus = cart.skus();
    let first = skus.next()?;
    skus.all(|other| other == first).then(|| first.clone())
}

/// Tells what a plan that was committed decided.
fn landed(lane: &Lane, batch: Vec<Queued>, ops: &[Asked], outcome: PlannedOutcome, sink: Sink<'_>) {
    lane.metrics.path(Path::Planned, batch.len());
    lane.metrics.shortfall(outcome.shortfall_units_raised);
    lane.publisher.publish(outcome.decided_at, &outcome.available, ops.iter().map(|asked| &asked.op));
    for (queued, answer) in batch.into_iter().zip(outcome.answers) {
        sink(queued, decide(answer));
    }
}

/// Decides one operation as if it were to be done, and takes it back. Alone, so that it neither sees nor moves a neighbour.
async fn tried(lane: &Lane, queued: &Queued) -> Decided {
    let ops = [asked(queued)];
    let mut attempt = 1;
    let decided = loop {
        match lane.store.try_planned(&ops, &lane.limits).await {
            Ok(outcome) => break outcome.answers.into_iter().next().map(decide),
            Err(StoreError::Contended(_)) if attempt < lane.config.contended_attempts_max => {
                lane.metrics.contended();
                tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                attempt += 1;
            }
            Err(error) => break Some(Decided::Answer(Err(Failure::Store(error)))),
        }
    };
    let none = || Decided::Answer(Err(Failure::Store(StoreError::Defect("an operation was not decided".to_owned()))));
    decided.unwrap_or_else(none)
}

fn asked(Queued { work, span, .. }: &Queued) -> Asked {
    Asked { op: work.op.clone(), actor: work.actor.clone(), trace: trace::id_of(span) }
}

fn decide(answer: Result<Answer, Refusal>) -> Decided {
    match answer {
        Ok(answer) => Decided::Answer(Ok(answer)),
        Err(Refusal::Contended) => Decided::Again,
        Err(refusal) => Decided::Answer(Err(Failure::Refused(refusal))),
    }
}

fn failed(batch: Vec<Queued>, error: &StoreError, sink: Sink<'_>) {
    match error {
        StoreError::Defect(_) => tracing::error!(%error, operations = batch.len(), "an operation failed"),
        _ => tracing::warn!(%error, operations = batch.len(), "a batch failed"),
    }
    for queued in batch {
        sink(queued, Decided::Answer(Err(Failure::Store(error.clone()))));
    }
}
