//! The API's messages as JSON values: fields named as in the protos, enums without their prefix, instants in RFC 3339.

use holdfast_client::api::catalog::v1::{ImportSkusResponse, Location, Offer, Sku, Vendor};
use holdfast_client::api::reservation::v1::{
    AdjustmentReason, Availability, Condition, LedgerCause, LedgerEntry, ReadSource, Reservation, ReservationState,
    StockLevel,
};
use holdfast_client::api::vendorsync::v1::{Connection, FeedMode, QuantityMeaning, RowOutcome, Run, RunRow, RunState};
use prost_types::Timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) fn sku(sku: &Sku) -> Value {
    json!({
        "code": sku.code,
        "name": sku.name,
        "gtin": sku.gtin,
        "attributes": sku.attributes,
        "create_time": instant(sku.create_time.as_ref()),
        "update_time": instant(sku.update_time.as_ref()),
        "etag": sku.etag,
    })
}

pub(crate) fn import(response: &ImportSkusResponse) -> Value {
    let problems: Vec<_> = response
        .problems
        .iter()
        .map(|problem| json!({"line": problem.line, "column": problem.column, "description": problem.description}))
        .collect();
    json!({
        "rows": response.rows,
        "created": response.created,
        "updated": response.updated,
        "unchanged": response.unchanged,
        "failed": response.failed,
        "problems": problems,
    })
}

pub(crate) fn vendor(vendor: &Vendor) -> Value {
    json!({"code": vendor.code, "name": vendor.name, "create_time": instant(vendor.create_time.as_ref())})
}

pub(crate) fn location(location: &Location) -> Value {
    json!({
        "code": location.code,
        "name": location.name,
        "vendor": location.vendor,
        "create_time": instant(location.create_time.as_ref()),
    })
}

pub(crate) fn offer(offer: &Offer) -> Value {
    json!({
        "vendor": offer.vendor,
        "location": offer.location,
        "vendor_sku": offer.vendor_sku,
        "sku": offer.sku,
        "pack_size": offer.pack_size,
        "create_time": instant(offer.create_time.as_ref()),
    })
}

pub(crate) fn connection(connection: &Connection) -> Value {
    let schema = connection.csv_schema.as_ref().map(|schema| {
        json!({
            "delimiter": schema.delimiter,
            "header": schema.header,
            "key_column": schema.key_column,
            "quantity_column": schema.quantity_column,
        })
    });
    json!({
        "code": connection.code,
        "vendor": connection.vendor,
        "location": connection.location,
        "mode": short(FeedMode::try_from(connection.mode).unwrap_or_default().as_str_name(), "FEED_MODE_"),
        "meaning": short(
            QuantityMeaning::try_from(connection.meaning).unwrap_or_default().as_str_name(),
            "QUANTITY_MEANING_",
        ),
        "csv_schema": schema,
        "create_time": instant(connection.create_time.as_ref()),
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
        },
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
        "outcome": short(RowOutcome::try_from(row.outcome).unwrap_or_default().as_str_name(), "ROW_OUTCOME_"),
        "note": row.note,
        "previous_on_hand": row.previous_on_hand,
        "shortfall": row.shortfall,
    })
}

pub(crate) fn level(level: &StockLevel) -> Value {
    let unsellable: Vec<_> = level
        .unsellable
        .iter()
        .map(|part| json!({"condition": condition(part.condition), "quantity": part.quantity}))
        .collect();
    json!({
        "sku": level.sku,
        "location": level.location,
        "available": level.available,
        "on_hand": level.on_hand,
        "held": level.held,
        "committed": level.committed,
        "safety_stock": level.safety_stock,
        "backorder_limit": level.backorder_limit,
        "shortfall": level.shortfall,
        "unsellable": unsellable,
        "count_as_of_time": instant(level.count_as_of_time.as_ref()),
        "version": level.version,
    })
}

pub(crate) fn ledger_entry(entry: &LedgerEntry) -> Value {
    json!({
        "sku": entry.sku,
        "location": entry.location,
        "version": entry.version,
        "create_time": instant(entry.create_time.as_ref()),
        "cause": short(LedgerCause::try_from(entry.cause).unwrap_or_default().as_str_name(), "LEDGER_CAUSE_"),
        "cause_id": entry.cause_id,
        "on_hand_delta": entry.on_hand_delta,
        "held_delta": entry.held_delta,
        "committed_delta": entry.committed_delta,
        "safety_stock_delta": entry.safety_stock_delta,
        "backorder_limit_delta": entry.backorder_limit_delta,
        "unsellable_delta": entry.unsellable_delta,
        "unsellable_condition": condition(entry.unsellable_condition),
        "adjustment_reason": short(
            AdjustmentReason::try_from(entry.adjustment_reason).unwrap_or_default().as_str_name(),
            "ADJUSTMENT_REASON_",
        ),
        "actor": entry.actor,
        "note": entry.note,
    })
}

pub(crate) fn availability(result: &Availability) -> Value {
    let locations: Vec<_> =
        result.locations.iter().map(|part| json!({"location": part.location, "available": part.available})).collect();
    let staleness = result.staleness_max.map(|most| most.seconds * 1000 + i64::from(most.nanos) / 1_000_000);
    json!({
        "sku": result.sku,
        "known": result.known,
        "available": result.available,
        "locations": locations,
        "source": short(ReadSource::try_from(result.source).unwrap_or_default().as_str_name(), "READ_SOURCE_"),
        "read_time": instant(result.read_time.as_ref()),
        "staleness_milliseconds_max": staleness,
    })
}

pub(crate) fn reservation(reservation: &Reservation) -> Value {
    let lines: Vec<_> = reservation
        .lines
        .iter()
        .map(|line| {
            let allocations: Vec<_> = line
                .allocations
                .iter()
                .map(|part| json!({"location": part.location, "quantity": part.quantity}))
                .collect();
            json!({"sku": line.sku, "quantity": line.quantity, "allocations": allocations})
        })
        .collect();
    json!({
        "reservation_id": reservation.reservation_id,
        "owner": reservation.owner,
        "state": state(reservation.state),
        "lines": lines,
        "create_time": instant(reservation.create_time.as_ref()),
        "expire_time": instant(reservation.expire_time.as_ref()),
        "state_time": instant(reservation.state_time.as_ref()),
        "version": reservation.version,
    })
}

/// A change's answer: the reservation, where it stands now, and whether the key had landed before.
pub(crate) fn changed(reservation: Option<&Reservation>, current_state: i32, replayed: bool) -> Value {
    let mut value = reservation.map_or_else(|| json!({}), self::reservation);
    value["current_state"] = state(current_state).into();
    value["replayed"] = replayed.into();
    value
}

pub(crate) fn state(state: i32) -> &'static str {
    short(ReservationState::try_from(state).unwrap_or_default().as_str_name(), "RESERVATION_STATE_")
}

fn condition(condition: i32) -> &'static str {
    short(Condition::try_from(condition).unwrap_or_default().as_str_name(), "CONDITION_")
}

/// The name of an enum's value without its prefix; empty for "unspecified".
fn short(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).filter(|name| *name != "UNSPECIFIED").unwrap_or_default()
}

/// An instant for people and programs, or null.
pub(crate) fn instant(at: Option<&Timestamp>) -> Value {
    let formatted = at.and_then(|at| {
        let seconds = OffsetDateTime::from_unix_timestamp(at.seconds).ok()?;
        let micros = u32::try_from(at.nanos).ok()? / 1_000;
        seconds.replace_microsecond(micros).ok()?.format(&Rfc3339).ok()
    });
    formatted.map_or(Value::Null, Value::String)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc_3339_and_enums_have_short_names() {
        let run = Run {
            state: RunState::Applied.into(),
            as_of_time: Some(Timestamp { seconds: 1_772_359_200, nanos: 500_000_000 }),
            ..Run::default()
        };
        let value = self::run(&run);
        assert_eq!(value["state"], "APPLIED");
        assert_eq!(value["as_of_time"], "2026-03-01T10:00:00.5Z");
        assert_eq!(value["end_time"], Value::Null);
        assert_eq!(state(99), "", "a value from a newer server is not made up");
    }
}
