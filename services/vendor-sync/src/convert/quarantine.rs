//! Quarantined numbers and held runs, and what people decide of them, between the wire and vendor-sync's own types.

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_kit::{Problem, Violations};
use uuid::Uuid;

use super::{kept_adjustments, row_outcome, timestamp};
use crate::fingerprint::Fingerprint;
use crate::model::{Decision, QuarantineState, Quarantined};
use crate::store::{QuarantineFilter, RequestKey, StoreError};

/// The most units that a count may say.
const UNITS_MAX: i64 = 1_000_000_000;

/// A decision that somebody asks for.
#[derive(Debug, Clone)]
pub struct ToDecide {
    /// The key under which it happens once.
    pub key: RequestKey,
    /// What is decided.
    pub id: Uuid,
    /// How.
    pub decision: Decision,
    /// The units to apply instead of the number's own.
    pub quantity: Option<i64>,
}

/// What ApproveRun (or RejectRun) asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn decide_run(
    request_id: &str,
    run_id: &str,
    actor: String,
    reason: String,
    approves: bool,
) -> Result<ToDecide, Problem> {
    let kind = if approves { "ApproveRun" } else { "RejectRun" };
    to_decide(kind, request_id, ("run_id", run_id), Decision { approves, actor, reason }, None)
}

/// What ApproveQuarantinedRow (or RejectQuarantinedRow) asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn decide_quarantined(
    request_id: &str,
    id: &str,
    decision: Decision,
    quantity: Option<i64>,
) -> Result<ToDecide, Problem> {
    let kind = if decision.approves { "ApproveQuarantinedRow" } else { "RejectQuarantinedRow" };
    to_decide(kind, request_id, ("quarantine_id", id), decision, quantity)
}

fn to_decide(
    kind: &'static str,
    request_id: &str,
    (field, id): (&'static str, &str),
    decision: Decision,
    quantity: Option<i64>,
) -> Result<ToDecide, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("request_id", request_id);
    let id = violations.check_uuid(field, id);
    violations.check_text("actor", &decision.actor, 1..=128);
    violations.check_text("reason", &decision.reason, 1..=500);
    if let Some(quantity) = quantity {
        violations.check_range("quantity", quantity, 0..=UNITS_MAX);
    }
    match (request_id, id) {
        (Some(request_id), Some(id)) if violations.is_empty() => {
            let parts = Fingerprint::new().part(id.as_bytes()).part(&decision.actor).part(&decision.reason);
            let parts = quantity.into_iter().fold(parts, |parts, quantity| parts.part(quantity.to_be_bytes()));
            let key = RequestKey { request_id, kind, payload_hash: parts.finish() };
            Ok(ToDecide { key, id, decision, quantity })
        }
        _ => Err(violations.into_problem()),
    }
}

/// A quarantined number to look up.
///
/// # Errors
/// INVALID_FIELD.
pub fn quarantine_id(id: &str) -> Result<Uuid, Problem> {
    let mut violations = Violations::new();
    match violations.check_uuid("quarantine_id", id) {
        Some(id) => Ok(id),
        None => Err(violations.into_problem()),
    }
}

/// Which numbers ListQuarantinedRows asks for; what is wrong with the fields is a violation.
pub fn quarantine_filter(violations: &mut Violations, request: &wire::ListQuarantinedRowsRequest) -> QuarantineFilter {
    let state = match wire::QuarantineState::try_from(request.state) {
        Ok(wire::QuarantineState::Unspecified | wire::QuarantineState::Pending) => QuarantineState::Pending,
        Ok(wire::QuarantineState::Approved) => QuarantineState::Approved,
        Ok(wire::QuarantineState::Rejected) => QuarantineState::Rejected,
        Ok(wire::QuarantineState::Superseded) => QuarantineState::Superseded,
        Err(_) => {
            violations.add("state", format_args!("is none of the states: {}", request.state));
            QuarantineState::Pending
        }
    };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (connection, sku) = (given(&request.connection), given(&request.sku));
    if let Some(connection) = &connection {
        violations.check_code("connection", connection);
    }
    if let Some(sku) = &sku {
        violations.check_sku("sku", sku);
    }
    let run_id = given(&request.run_id).and_then(|run_id| violations.check_uuid("run_id", &run_id));
    QuarantineFilter { state, connection, run_id, sku }
}

/// Nothing is known under a quarantined number's id.
#[must_use]
pub fn not_quarantined(id: Uuid) -> Problem {
    Problem::new(ErrorReason::NotFound, format!("no quarantined row has the id {id}"))
        .resource("quarantined row", id.to_string())
}

/// A quarantined number for the wire.
///
/// # Errors
/// [`StoreError::Unreadable`] when adjustments were stored that cannot be read.
pub fn quarantined_row(row: Quarantined) -> Result<wire::QuarantinedRow, StoreError> {
    let state = match row.state {
        QuarantineState::Pending => wire::QuarantineState::Pending,
        QuarantineState::Approved => wire::QuarantineState::Approved,
        QuarantineState::Rejected => wire::QuarantineState::Rejected,
        QuarantineState::Superseded => wire::QuarantineState::Superseded,
    };
    let (kind, adjustments) = match &row.adjustments {
        None => (wire::QuarantineKind::Count, Vec::new()),
        Some(request) => (wire::QuarantineKind::Adjustment, kept_adjustments(request)?.adjustments),
    };
    let explanation = match row.outcome_note.as_str() {
        "" => row.explanation,
        note => format!("{}; {note}", row.explanation),
    };
    Ok(wire::QuarantinedRow {
        quarantine_id: row.quarantine_id.to_string(),
        state: state.into(),
        kind: kind.into(),
        connection: row.connection,
        run_id: row.run_id.map(|run_id| run_id.to_string()).unwrap_or_default(),
        line: row.line,
        vendor_sku: row.vendor_sku,
        sku: row.sku,
        location: row.location,
        raw_quantity: row.raw_quantity,
        old_quantity: row.old_units,
        new_quantity: row.new_units,
        rules: row.rules,
        explanation,
        exposure: row.exposure,
        as_of_time: Some(timestamp(row.moment.as_of)),
        create_time: Some(timestamp(row.create_time)),
        decide_time: row.decide_time.map(timestamp),
        decided_by: row.decided_by,
        decision_reason: row.decision_reason,
        outcome: row.outcome.map_or(0, |outcome| row_outcome(outcome).into()),
        adjustments,
        typed_by: row.typed_by,
    })
}
