//! Reservation's messages.

use holdfast_client::api::reservation::v1::{
    AdjustmentReason, Allocation, AuditEnd, Availability, Condition, CountMeaning, Discrepancy, DiscrepancyKind, Feed,
    Freshness, LedgerCause, LedgerEntry, PausedSku, ReadSource, RepairOutcome, RepairResult, Reservation,
    ReservationAtRisk, ReservationEvent, ReservationEventKind, ReservationState, RowAvailability, RowShortage,
    Shortage, StockLevel,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::{duration, instant, short};

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
        "freshness": freshness(level.freshness),
        "offer_limit": level.offer_limit,
        "connection": level.connection,
        "archived": level.archived,
        "paused": level.paused,
        "count_meaning": short(
            CountMeaning::try_from(level.count_meaning).unwrap_or_default().as_str_name(),
            "COUNT_MEANING_",
        ),
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
        "freshness": freshness(entry.freshness),
        "offer_limit": entry.offer_limit,
        "archived": entry.archived,
        "paused": entry.paused,
        "trace_id": entry.trace_id,
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
            let allocations: Vec<_> = line.allocations.iter().map(allocation).collect();
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
        "channel": reservation.channel,
        "order_reference": reservation.order_reference,
        "labels": reservation.labels.iter().collect::<BTreeMap<_, _>>(),
        "shortages": reservation.shortages.iter().map(missing).collect::<Vec<_>>(),
        "predecessor_id": reservation.predecessor_id,
        "successor_id": reservation.successor_id,
    })
}

fn allocation(part: &Allocation) -> Value {
    json!({
        "location": part.location,
        "quantity": part.quantity,
        "backordered_quantity": part.backordered_quantity,
        "promise_time": instant(part.promise_time.as_ref()),
        "released_quantity": part.released_quantity,
        "cancelled_quantity": part.cancelled_quantity,
        "fulfilled_quantity": part.fulfilled_quantity,
        "returned_quantity": part.returned_quantity,
    })
}

fn missing(shortage: &Shortage) -> Value {
    json!({
        "sku": shortage.sku,
        "location": shortage.location,
        "requested_quantity": shortage.requested_quantity,
        "available_quantity": shortage.available_quantity,
    })
}

/// A SKU whose selling is paused.
pub(crate) fn paused_sku(paused: &PausedSku) -> Value {
    json!({
        "sku": paused.sku,
        "pause_time": instant(paused.pause_time.as_ref()),
        "actor": paused.actor,
        "note": paused.note,
    })
}

/// What could be reserved of a row of stock, as a watch tells it.
pub(crate) fn row_availability(row: &RowAvailability) -> Value {
    json!({
        "sku": row.sku,
        "location": row.location,
        "available": row.available,
        "version": row.version,
        "change_time": instant(row.change_time.as_ref()),
    })
}

/// What happened to a reservation, as a watch tells it.
pub(crate) fn reservation_event(event: &ReservationEvent) -> Value {
    let kind = ReservationEventKind::try_from(event.kind).unwrap_or_default().as_str_name();
    json!({
        "kind": short(kind, "RESERVATION_EVENT_KIND_"),
        "reservation": event.reservation.as_ref().map(reservation),
        "shortage": event.shortage.as_ref().map(shortage),
        "create_time": instant(event.create_time.as_ref()),
    })
}

/// A reservation that lacks units.
pub(crate) fn at_risk(at_risk: &ReservationAtRisk) -> Value {
    json!({
        "reservation": at_risk.reservation.as_ref().map(reservation),
        "shortage": at_risk.shortage.as_ref().map(shortage),
    })
}

fn shortage(shortage: &RowShortage) -> Value {
    json!({
        "sku": shortage.sku,
        "location": shortage.location,
        "quantity": shortage.quantity,
        "shortfall": shortage.shortfall,
        "stock_version": shortage.stock_version,
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

/// What reservation knows of a connection's feed.
pub(crate) fn feed(feed: &Feed) -> Value {
    json!({
        "connection": feed.connection,
        "location": feed.location,
        "as_of_time": instant(feed.as_of_time.as_ref()),
        "sequence": feed.sequence,
        "promised_interval": duration(feed.promised_interval.as_ref()),
        "freshness": freshness(feed.freshness),
        "late_time": instant(feed.late_time.as_ref()),
        "stale_time": instant(feed.stale_time.as_ref()),
    })
}

/// Something that is wrong, or was.
pub(crate) fn discrepancy(one: &Discrepancy) -> Value {
    json!({
        "discrepancy_id": one.discrepancy_id,
        "kind": short(DiscrepancyKind::try_from(one.kind).unwrap_or_default().as_str_name(), "DISCREPANCY_KIND_"),
        "sku": one.sku,
        "location": one.location,
        "reservation_id": one.reservation_id,
        "detail": one.detail,
        "since_time": instant(one.since_time.as_ref()),
        "found_time": instant(one.found_time.as_ref()),
        "seen_time": instant(one.seen_time.as_ref()),
        "resolve_time": instant(one.resolve_time.as_ref()),
    })
}

pub(crate) fn audit_end(end: &AuditEnd) -> Value {
    json!({
        "skus": end.skus,
        "reservations": end.reservations,
        "discrepancies": end.discrepancies,
        "skipped_skus": end.skipped_skus,
        "counters_checked": end.counters_checked,
    })
}

pub(crate) fn repair_result(result: &RepairResult) -> Value {
    json!({
        "sku": result.sku,
        "location": result.location,
        "reservation_id": result.reservation_id,
        "outcome": short(RepairOutcome::try_from(result.outcome).unwrap_or_default().as_str_name(), "REPAIR_OUTCOME_"),
        "detail": result.detail,
    })
}

fn freshness(freshness: i32) -> &'static str {
    short(Freshness::try_from(freshness).unwrap_or_default().as_str_name(), "FRESHNESS_")
}
