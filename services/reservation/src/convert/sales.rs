//! What is done with a reservation that stands, in: Confirm, Release, Extend, Fulfil, Cancel, Return and RecordEvidence.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{ErrorReason, Problem, Violations};
use holdfast_stock::{
    EvidenceKind, Location, Name, Note, Op, Portion, Quantity, RequestId, ReservationId, Returned, Sku, UnixMicros,
};

use super::requests::{condition, instant, key, optional_location, request_key, text};
use super::reserve::{hold, is_outside, optional_name};
use crate::config::HoldsConfig;
use crate::payload::Payload;

const PORTIONS_MAX: usize = 100;
/// A whole cart of one SKU: each of its 100 lines at its most.
const PORTION_UNITS_MAX: i64 = 100 * Quantity::MAX;

/// The request's key and the reservation that it is about.
fn keys(violations: &mut Violations, request_id: &str, reservation_id: &str) -> Option<(RequestId, ReservationId)> {
    let request = request_key(violations, request_id);
    let id = key(violations, "reservation_id", reservation_id);
    request.zip(id)
}

/// # Errors
/// INVALID_FIELD; KEY_OUT_OF_WINDOW if nothing but the time of the key to reacquire with is wrong.
pub(crate) fn confirm(request: &pb::ConfirmRequest, holds: &HoldsConfig, now: UnixMicros) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    let portions = portions(&mut violations, &request.portions);
    let order = optional_name(&mut violations, "order_reference", &request.order_reference);
    let (reacquire, outside) = reacquire(&mut violations, request, holds, now);
    let Some((request, id)) = keys.filter(|_| violations.is_empty()) else {
        let alone = outside && violations.len() == 1;
        let reason = if alone { ErrorReason::KeyOutOfWindow } else { ErrorReason::InvalidField };
        return Err(violations.into_problem_as(reason));
    };
    let mut payload = Payload::of("Confirm").reservation(id).portions(&portions);
    if let Some(new) = reacquire {
        payload = payload.text("reacquire").reservation(new);
    }
    if let Some(order) = &order {
        payload = payload.text("order").text(order.as_str());
    }
    Ok(Op::Confirm { request, payload: payload.hash(), id, portions, reacquire, order })
}

/// Under which key to reserve anew, and whether its time is what is wrong.
fn reacquire(
    violations: &mut Violations,
    request: &pb::ConfirmRequest,
    holds: &HoldsConfig,
    now: UnixMicros,
) -> (Option<ReservationId>, bool) {
    const FIELD: &str = "reacquire_reservation_id";
    if request.reacquire_reservation_id.is_empty() {
        return (None, false);
    }
    let Some(new) = key(violations, FIELD, &request.reacquire_reservation_id) else { return (None, false) };
    if key(&mut Violations::new(), FIELD, &request.reservation_id) == Some(new) {
        violations.add(FIELD, "must be another key than reservation_id");
    }
    let outside = is_outside(violations, FIELD, holds, new, now);
    (Some(new), outside)
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn release(request: &pb::ReleaseRequest) -> Result<(Op, ReservationId), Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    let Some((request, id)) = keys else { return Err(violations.into_problem()) };
    Ok((Op::Release { request, payload: Payload::of("Release").reservation(id).hash(), id }, id))
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn extend(request: &pb::ExtendRequest, holds: &HoldsConfig) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    if request.hold_duration.is_none() {
        violations.add("hold_duration", "is required");
    }
    let hold = hold(&mut violations, request.hold_duration.as_ref(), holds);
    match (keys, hold) {
        (Some((request, id)), Some((asked, hold))) if violations.is_empty() => {
            let payload = Payload::of("Extend").reservation(id).number(asked).hash();
            Ok(Op::Extend { request, payload, id, hold: hold.unwrap_or_else(|| holds.default_hold()) })
        }
        _ => Err(violations.into_problem()),
    }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn fulfil(request: &pb::FulfilRequest, now: UnixMicros) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    let portions = portions(&mut violations, &request.portions);
    let at = past(&mut violations, "ship_time", request.ship_time.as_ref(), now);
    let Some((request, id)) = keys.filter(|_| violations.is_empty()) else { return Err(violations.into_problem()) };
    let payload = Payload::of("Fulfil").reservation(id).portions(&portions).optional_instant(at).hash();
    Ok(Op::Fulfil { request, payload, id, portions, at })
}

/// `caller` did it unless the request names somebody.
///
/// # Errors
/// INVALID_FIELD.
pub(crate) fn cancel(request: &pb::CancelRequest, caller: &str) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    let portions = portions(&mut violations, &request.portions);
    let lost = match pb::CancelRestock::try_from(request.restock) {
        Ok(pb::CancelRestock::Unspecified | pb::CancelRestock::Restocked) => Some(false),
        Ok(pb::CancelRestock::Lost) => Some(true),
        Err(_) => {
            violations.add("restock", "must be RESTOCKED or LOST");
            None
        }
    };
    let actor = actor(&mut violations, &request.actor, caller);
    let note = text(&mut violations, "note", &request.note, Note::new);
    let named = request.actor.as_str();
    match (keys, lost, actor, note) {
        (Some((request, id)), Some(lost), Some(actor), Some(note)) if violations.is_empty() => {
            let payload = Payload::of("Cancel").reservation(id).portions(&portions).number(i64::from(lost));
            let payload = payload.text(named).text(note.as_str()).hash();
            Ok(Op::Cancel { request, payload, id, portions, lost, actor, note })
        }
        _ => Err(violations.into_problem()),
    }
}

/// `caller` did it unless the request names somebody.
///
/// # Errors
/// INVALID_FIELD.
pub(crate) fn take_back(request: &pb::ReturnRequest, caller: &str) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    let returns = returns(&mut violations, &request.returns);
    let actor = actor(&mut violations, &request.actor, caller);
    let note = text(&mut violations, "note", &request.note, Note::new);
    let named = request.actor.as_str();
    match (keys, actor, note) {
        (Some((request, id)), Some(actor), Some(note)) if violations.is_empty() => {
            let payload = Payload::of("Return").reservation(id).count(returns.len());
            let payload = returns.iter().fold(payload, |payload, back| {
                let to = back.to.as_ref().map_or("", |location| location.as_str());
                payload.portion(&back.portion).text(back.condition.as_str()).text(to)
            });
            let payload = payload.text(named).text(note.as_str()).hash();
            Ok(Op::Return { request, payload, id, returns, actor, note })
        }
        _ => Err(violations.into_problem()),
    }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn evidence(request: &pb::RecordEvidenceRequest, now: UnixMicros) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let keys = keys(&mut violations, &request.request_id, &request.reservation_id);
    let kind = match request.kind() {
        pb::EvidenceKind::Sent => Some(Some(EvidenceKind::Sent)),
        pb::EvidenceKind::Booked => Some(Some(EvidenceKind::Booked)),
        pb::EvidenceKind::ShippedAnyway => Some(Some(EvidenceKind::Shipped)),
        pb::EvidenceKind::CancellationTaken => Some(None),
        pb::EvidenceKind::Unspecified => {
            violations.add("kind", "must be SENT, BOOKED, CANCELLATION_TAKEN or SHIPPED_ANYWAY");
            None
        }
    };
    let portions = portions(&mut violations, &request.portions);
    let at = past(&mut violations, "event_time", request.event_time.as_ref(), now);
    match (keys, kind) {
        (Some((request, id)), Some(kind)) if violations.is_empty() => {
            let name = kind.map_or("CANCELLATION_TAKEN", EvidenceKind::as_str);
            let payload = Payload::of("RecordEvidence").reservation(id).text(name).portions(&portions);
            Ok(Op::Evidence { request, payload: payload.optional_instant(at).hash(), id, portions, kind, at })
        }
        _ => Err(violations.into_problem()),
    }
}

fn portions(violations: &mut Violations, asked: &[pb::Portion]) -> Vec<Portion> {
    if asked.len() > PORTIONS_MAX {
        violations.add("portions", format_args!("must have at most {PORTIONS_MAX}, has {}", asked.len()));
        return Vec::new();
    }
    let read = |(index, asked): (usize, &pb::Portion)| portion(violations, &format!("portions[{index}]"), asked);
    asked.iter().enumerate().filter_map(read).collect()
}

fn portion(violations: &mut Violations, field: &str, asked: &pb::Portion) -> Option<Portion> {
    let sku = text(violations, format_args!("{field}.sku"), &asked.sku, Sku::new);
    let location = optional_location(violations, format_args!("{field}.location"), &asked.location);
    violations.check_range(format_args!("{field}.quantity"), asked.quantity, 1..=PORTION_UNITS_MAX);
    Some(Portion { sku: sku?, location: location?, units: asked.quantity })
}

fn returns(violations: &mut Violations, asked: &[pb::ReturnedPortion]) -> Vec<Returned> {
    if asked.is_empty() || asked.len() > PORTIONS_MAX {
        violations.add("returns", format_args!("must have 1 to {PORTIONS_MAX}, has {}", asked.len()));
        return Vec::new();
    }
    let read = |(index, asked): (usize, &pb::ReturnedPortion)| {
        let field = format!("returns[{index}]");
        let portion = match &asked.portion {
            Some(asked) => portion(violations, &format!("{field}.portion"), asked),
            None => {
                violations.add(format_args!("{field}.portion"), "is required");
                None
            }
        };
        let condition = condition(violations, format_args!("{field}.condition"), asked.condition);
        let to: Option<Option<Location>> =
            optional_location(violations, format_args!("{field}.to_location"), &asked.to_location);
        Some(Returned { portion: portion?, condition: condition?, to: to? })
    };
    asked.iter().enumerate().filter_map(read).collect()
}

/// Who is kept in the ledger: whom the request names, else whoever calls.
fn actor(violations: &mut Violations, named: &str, caller: &str) -> Option<Name> {
    text(violations, "actor", if named.is_empty() { caller } else { named }, Name::new)
}

/// An instant that may be left out, at most a little ahead.
fn past(
    violations: &mut Violations,
    field: &str,
    time: Option<&prost_types::Timestamp>,
    now: UnixMicros,
) -> Option<UnixMicros> {
    time.and_then(|time| instant(violations, field, time, now))
}
