//! Answers out.

use holdfast_api::reservation::v1 as pb;
use holdfast_stock::{Condition, CountOutcome, CountResult, Level, Record, RowKey, State, UnixMicros};

use crate::gate::Published;
use crate::store::LedgerRow;

pub(crate) fn timestamp(at: UnixMicros) -> prost_types::Timestamp {
    let micros = at.0.rem_euclid(1_000_000);
    prost_types::Timestamp { seconds: at.0.div_euclid(1_000_000), nanos: i32::try_from(micros * 1_000).unwrap_or(0) }
}

pub(crate) fn state(state: State) -> pb::ReservationState {
    match state {
        State::Held => pb::ReservationState::Held,
        State::Confirmed => pb::ReservationState::Confirmed,
        State::Fulfilled => pb::ReservationState::Fulfilled,
        State::Released => pb::ReservationState::Released,
        State::Expired => pb::ReservationState::Expired,
        State::Cancelled => pb::ReservationState::Cancelled,
        State::Refused => pb::ReservationState::Refused,
    }
}

pub(crate) fn reservation(record: &Record) -> pb::Reservation {
    let line = |line: holdfast_stock::AllocatedLine| pb::ReservationLine {
        sku: line.sku.to_string(),
        quantity: line.quantity.get(),
        allocations: line
            .allocations
            .into_iter()
            .map(|(location, quantity)| pb::Allocation { location: location.to_string(), quantity })
            .collect(),
    };
    pb::Reservation {
        reservation_id: record.id.to_string(),
        owner: record.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: state(record.state).into(),
        lines: record.allocated_lines().into_iter().map(line).collect(),
        create_time: Some(timestamp(record.created_at)),
        expire_time: record.expires_at.map(timestamp),
        state_time: Some(timestamp(record.state_at)),
        version: record.version,
    }
}

/// A reservation as it stands at that time: a hold past its time reads as expired since then, though its row may not say so yet (I5).
pub(crate) fn reservation_at(record: &Record, now: UnixMicros) -> pb::Reservation {
    let message = reservation(record);
    if record.is_due(now) {
        return pb::Reservation {
            state: pb::ReservationState::Expired.into(),
            state_time: message.expire_time,
            ..message
        };
    }
    message
}

pub(crate) fn stock_level((sku, location): &RowKey, level: &Level) -> pb::StockLevel {
    pb::StockLevel {
        sku: sku.to_string(),
        location: location.to_string(),
        on_hand: level.on_hand,
        held: level.held,
        committed: level.committed,
        safety_stock: level.safety,
        backorder_limit: level.backorder,
        shortfall: level.shortfall,
        available: level.available(),
        unsellable: level
            .unsellable
            .iter()
            .map(|(of, quantity)| pb::ConditionQuantity { condition: condition(*of).into(), quantity: *quantity })
            .collect(),
        count_as_of_time: level.count.map(|(as_of, _)| timestamp(as_of)),
        version: level.version,
        freshness: level.count.map_or(pb::Freshness::Unspecified, |_| super::feeds::freshness(level.freshness)).into(),
        offer_limit: level.cap.map(|cap| cap.units),
        connection: level.feed.as_ref().map(ToString::to_string).unwrap_or_default(),
        archived: level.archived,
    }
}

fn condition(condition: Condition) -> pb::Condition {
    match condition {
        Condition::Sellable => pb::Condition::Sellable,
        Condition::Damaged => pb::Condition::Damaged,
        Condition::QualityHold => pb::Condition::QualityHold,
        Condition::Refurbished => pb::Condition::Refurbished,
    }
}

pub(crate) fn count_result(result: &CountResult) -> pb::CountResult {
    let outcome = match result.outcome {
        CountOutcome::Applied => pb::CountOutcome::Applied,
        CountOutcome::Unchanged => pb::CountOutcome::Unchanged,
        CountOutcome::Stale => pb::CountOutcome::Stale,
    };
    pb::CountResult {
        sku: result.sku.to_string(),
        location: result.location.to_string(),
        outcome: outcome.into(),
        previous_on_hand: result.previous_on_hand,
        on_hand: result.on_hand,
        shortfall: result.shortfall,
    }
}

/// An entry as it is stored; names that this binary does not know (a newer one wrote them) read as unspecified.
pub(crate) fn ledger_entry(row: LedgerRow) -> pb::LedgerEntry {
    let cause = pb::LedgerCause::from_str_name(&format!("LEDGER_CAUSE_{}", row.cause)).unwrap_or_default();
    let condition =
        row.condition.and_then(|name| pb::Condition::from_str_name(&format!("CONDITION_{name}"))).unwrap_or_default();
    let reason = row
        .reason
        .and_then(|name| pb::AdjustmentReason::from_str_name(&format!("ADJUSTMENT_REASON_{name}")))
        .unwrap_or_default();
    let freshness =
        row.freshness.and_then(|name| pb::Freshness::from_str_name(&format!("FRESHNESS_{name}"))).unwrap_or_default();
    pb::LedgerEntry {
        sku: row.sku,
        location: row.location,
        version: row.version,
        create_time: Some(timestamp(UnixMicros(row.at))),
        cause: cause.into(),
        cause_id: if row.cause_id.is_nil() { String::new() } else { row.cause_id.to_string() },
        on_hand_delta: row.on_hand,
        held_delta: row.held,
        committed_delta: row.committed,
        unsellable_delta: row.unsellable,
        unsellable_condition: condition.into(),
        adjustment_reason: reason.into(),
        actor: row.actor,
        note: row.note,
        safety_stock_delta: row.safety,
        backorder_limit_delta: row.backorder,
        freshness: freshness.into(),
        offer_limit: row.cap,
        archived: row.archived,
        trace_id: row.trace.unwrap_or_default(),
    }
}

/// What could be reserved of a SKU: `published` is `None` if there is no row of it anywhere.
pub(crate) fn availability(
    sku: &str,
    published: Option<&Published>,
    source: pb::ReadSource,
    read_at: UnixMicros,
    staleness_micros_max: i64,
) -> pb::Availability {
    let locations: Vec<_> = published.map_or_else(Vec::new, |published| {
        let row = |(location, available): &(holdfast_stock::Location, i64)| pb::LocationAvailability {
            location: location.to_string(),
            available: *available,
        };
        let mut locations: Vec<_> = published.locations.iter().map(row).collect();
        locations.sort_by(|a, b| a.location.cmp(&b.location));
        locations
    });
    pb::Availability {
        sku: sku.to_owned(),
        known: published.is_some(),
        available: locations.iter().map(|location| location.available).sum(),
        locations,
        source: source.into(),
        read_time: Some(timestamp(read_at)),
        staleness_max: Some(prost_types::Duration {
            seconds: staleness_micros_max / 1_000_000,
            nanos: i32::try_from(staleness_micros_max % 1_000_000 * 1_000).unwrap_or(0),
        }),
    }
}
