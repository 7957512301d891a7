//! Vendor-sync's messages.

use holdfast_client::api::vendorsync::v1::{
    Connection, HouseAdjustment, HouseLevel, QuarantinedRow, Run, RunRow, RunState,
};
use serde_json::{Value, json};

use super::{duration, instant, short};

pub(crate) fn connection(connection: &Connection) -> Value {
    let csv = connection.csv_schema.as_ref().map(|schema| {
        json!({
            "delimiter": schema.delimiter,
            "header": schema.header,
            "key_column": schema.key_column,
            "quantity_column": schema.quantity_column,
        })
    });
    let json = connection.json_schema.as_ref().map(|schema| {
        json!({
            "rows_path": schema.rows_path,
            "key_field": schema.key_field,
            "quantity_field": schema.quantity_field,
            "json_lines": schema.json_lines,
        })
    });
    let folder = connection
        .drop_folder
        .as_ref()
        .map(|folder| json!({"path": folder.path, "pattern": folder.pattern, "done_suffix": folder.done_suffix}));
    let pull = connection.http_pull.as_ref().map(
        |pull| json!({"url": pull.url, "interval": duration(pull.interval.as_ref()), "credential": pull.credential}),
    );
    json!({
        "code": connection.code,
        "vendor": connection.vendor,
        "location": connection.location,
        "state": short(connection.state().as_str_name(), "CONNECTION_STATE_"),
        "state_reason": connection.state_reason,
        "mode": short(connection.mode().as_str_name(), "FEED_MODE_"),
        "meaning": short(connection.meaning().as_str_name(), "QUANTITY_MEANING_"),
        "csv_schema": csv,
        "json_schema": json,
        "cadence": duration(connection.cadence.as_ref()),
        "drop_folder": folder,
        "http_pull": pull,
        "apply_first_file": connection.apply_first_file,
        "clock_margin": duration(connection.clock_margin.as_ref()),
        "reflection_lag": duration(connection.reflection_lag.as_ref()),
        "applied_as_of_time": instant(connection.applied_as_of_time.as_ref()),
        "fetch_status": connection.fetch_status,
        "fetch_time": instant(connection.fetch_time.as_ref()),
        "create_time": instant(connection.create_time.as_ref()),
        "etag": connection.etag,
    })
}

pub(crate) fn run(run: &Run) -> Value {
    let totals = run.totals.unwrap_or_default();
    json!({
        "run_id": run.run_id,
        "connection": run.connection,
        "state": run_state(run.state()),
        "as_of_time": instant(run.as_of_time.as_ref()),
        "file_name": run.file_name,
        "content_sha256": run.content_sha256,
        "create_time": instant(run.create_time.as_ref()),
        "end_time": instant(run.end_time.as_ref()),
        "reason": run.reason,
        "totals": {
            "rows": totals.rows,
            "applied": totals.applied,
            "unchanged": totals.unchanged,
            "stale": totals.stale,
            "unmapped": totals.unmapped,
            "rejected": totals.rejected,
            "quarantined": totals.quarantined,
        },
        "location": run.location,
        "origin": short(run.origin().as_str_name(), "RUN_ORIGIN_"),
        "warnings": run.warnings,
        "decided_by": run.decided_by,
        "decision_reason": run.decision_reason,
    })
}

pub(crate) fn run_state(state: RunState) -> &'static str {
    short(state.as_str_name(), "RUN_STATE_")
}

pub(crate) fn run_row(row: &RunRow) -> Value {
    json!({
        "line": row.line,
        "vendor_sku": row.vendor_sku,
        "raw_quantity": row.raw_quantity,
        "sku": row.sku,
        "quantity": row.quantity,
        "outcome": short(row.outcome().as_str_name(), "ROW_OUTCOME_"),
        "note": row.note,
        "previous_on_hand": row.previous_on_hand,
        "shortfall": row.shortfall,
        "quarantine_id": row.quarantine_id,
    })
}

pub(crate) fn quarantined(row: &QuarantinedRow) -> Value {
    let adjustments: Vec<_> = row.adjustments.iter().map(adjustment).collect();
    json!({
        "quarantine_id": row.quarantine_id,
        "state": short(row.state().as_str_name(), "QUARANTINE_STATE_"),
        "kind": short(row.kind().as_str_name(), "QUARANTINE_KIND_"),
        "connection": row.connection,
        "run_id": row.run_id,
        "line": row.line,
        "vendor_sku": row.vendor_sku,
        "sku": row.sku,
        "location": row.location,
        "raw_quantity": row.raw_quantity,
        "old_quantity": row.old_quantity,
        "new_quantity": row.new_quantity,
        "rules": row.rules,
        "explanation": row.explanation,
        "exposure": row.exposure,
        "as_of_time": instant(row.as_of_time.as_ref()),
        "create_time": instant(row.create_time.as_ref()),
        "decide_time": instant(row.decide_time.as_ref()),
        "decided_by": row.decided_by,
        "decision_reason": row.decision_reason,
        "outcome": short(row.outcome().as_str_name(), "ROW_OUTCOME_"),
        "adjustments": adjustments,
        "typed_by": row.typed_by,
    })
}

fn adjustment(adjustment: &HouseAdjustment) -> Value {
    json!({
        "sku": adjustment.sku,
        "location": adjustment.location,
        "condition": short(adjustment.condition().as_str_name(), "HOUSE_CONDITION_"),
        "delta": adjustment.delta,
        "reason": short(adjustment.reason().as_str_name(), "HOUSE_REASON_"),
    })
}

/// Stock of a SKU at a location after an adjustment.
pub(crate) fn house_level(level: &HouseLevel) -> Value {
    json!({
        "sku": level.sku,
        "location": level.location,
        "available": level.available,
        "on_hand": level.on_hand,
        "shortfall": level.shortfall,
        "unsellable": level.unsellable,
    })
}
