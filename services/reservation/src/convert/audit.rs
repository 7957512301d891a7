//! The auditor's messages.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{Problem, Violations};
use holdfast_stock::{
    Name, Note, PayloadHash, RepairOutcome, RepairResult, RepairSubject, RequestId, Side, UnixMicros,
};
use uuid::Uuid;

use super::requests::text;
use super::timestamp;
use crate::payload::Payload;
use crate::store::Discrepancy;

const DISCREPANCIES_MAX: usize = 100;

/// A finding that was kept; a kind that this binary does not know reads as unspecified.
pub(crate) fn discrepancy(one: Discrepancy) -> pb::Discrepancy {
    let kind = pb::DiscrepancyKind::from_str_name(&format!("DISCREPANCY_KIND_{}", one.kind)).unwrap_or_default();
    let instant = |micros| Some(timestamp(UnixMicros(micros)));
    pb::Discrepancy {
        discrepancy_id: if one.id.is_nil() { String::new() } else { one.id.to_string() },
        kind: kind.into(),
        sku: one.sku,
        location: one.location,
        reservation_id: if one.reservation_id.is_nil() { String::new() } else { one.reservation_id.to_string() },
        detail: one.detail,
        since_time: instant(one.since),
        found_time: instant(one.found_at),
        seen_time: instant(one.seen_at),
        resolve_time: one.resolved_at.and_then(instant),
    }
}

pub(crate) fn repair_result(result: RepairResult) -> pb::RepairResult {
    let (reservation_id, sku, location) = match result.subject {
        RepairSubject::Reservation(id) => (id.to_string(), String::new(), String::new()),
        RepairSubject::Row((sku, location)) => (String::new(), sku.to_string(), location.to_string()),
    };
    let outcome = match result.outcome {
        RepairOutcome::Repaired => pb::RepairOutcome::Repaired,
        RepairOutcome::Gone => pb::RepairOutcome::Gone,
        RepairOutcome::Left => pb::RepairOutcome::Left,
    };
    pb::RepairResult { sku, location, reservation_id, outcome: outcome.into(), detail: result.detail }
}

/// What a Repair says.
pub(crate) struct RepairAsk {
    pub(crate) request: RequestId,
    pub(crate) payload: PayloadHash,
    pub(crate) discrepancies: Vec<Uuid>,
    pub(crate) actor: Name,
    pub(crate) reason: Note,
    pub(crate) side: Side,
    pub(crate) validate_only: bool,
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn repair_ask(request: &pb::RepairRequest) -> Result<RepairAsk, Problem> {
    let mut violations = Violations::new();
    let key = violations.check_uuid_v7("request_id", &request.request_id);
    let actor = text(&mut violations, "actor", &request.actor, Name::new);
    let reason = text(&mut violations, "reason", &request.reason, Note::new);
    if request.reason.is_empty() {
        violations.add("reason", "is required: it is kept with every entry");
    }
    let count = request.discrepancy_ids.len();
    if count == 0 || count > DISCREPANCIES_MAX {
        violations.add("discrepancy_ids", format_args!("must have 1 to {DISCREPANCIES_MAX}, has {count}"));
    }
    let mut discrepancies = Vec::with_capacity(count);
    for (index, id) in request.discrepancy_ids.iter().enumerate() {
        if let Some(id) = violations.check_uuid(format_args!("discrepancy_ids[{index}]"), id) {
            if discrepancies.contains(&id) {
                violations.add(format_args!("discrepancy_ids[{index}]"), "comes a second time");
            }
            discrepancies.push(id);
        }
    }
    let side = match pb::RepairSide::try_from(request.side) {
        Ok(pb::RepairSide::Unspecified | pb::RepairSide::Row) => Side::Row,
        Ok(pb::RepairSide::Ledger) => Side::Ledger,
        Err(_) => {
            violations.add("side", "is neither ROW nor LEDGER");
            Side::Row
        }
    };
    let (Some(key), Some(actor), Some(reason), true) = (key, actor, reason, violations.is_empty()) else {
        return Err(violations.into_problem());
    };
    let mut sorted = discrepancies.clone();
    sorted.sort_unstable();
    let payload =
        Payload::of("Repair").text(actor.as_str()).text(reason.as_str()).text(side.as_str()).count(sorted.len());
    let payload = sorted.iter().fold(payload, |payload, id| payload.text(&id.to_string())).hash();
    let request_id = RequestId::from_bytes(key.into_bytes());
    let validate_only = request.validate_only;
    Ok(RepairAsk { request: request_id, payload, discrepancies, actor, reason, side, validate_only })
}
