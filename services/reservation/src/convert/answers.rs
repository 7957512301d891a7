//! Answers out.

use holdfast_api::reservation::v1 as pb;
use holdfast_stock::{
    Allocation, Condition, CountMeaning, CountOutcome, CountResult, Level, Location, Name, Progress, Record,
    ReservationId, RowKey, Shortage, State, UnixMicros,
};
use tonic::Status;
use tonic_types::StatusExt as _;

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
    let line = |line: holdfast_stock::AllocatedLine| {
        let named = line.location.is_some();
        let share = |(location, units): (Location, i64)| {
            let row = |allocation: &&Allocation| allocation.sku == line.sku && allocation.location == location;
            let allocation = record.allocations.iter().find(row);
            allocation.map(|allocation| share(allocation, named, units))
        };
        let allocations = line.allocations.clone().into_iter().filter_map(share).collect();
        pb::ReservationLine { sku: line.sku.to_string(), quantity: line.quantity.get(), allocations }
    };
    let name = |name: &Option<Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
    let id = |id: Option<ReservationId>| id.map(|id| id.to_string()).unwrap_or_default();
    pb::Reservation {
        reservation_id: record.id.to_string(),
        owner: record.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: state(record.state).into(),
        lines: record.allocated_lines().into_iter().map(line).collect(),
        create_time: Some(timestamp(record.created_at)),
        expire_time: record.expires_at.map(timestamp),
        state_time: Some(timestamp(record.state_at)),
        version: record.version,
        channel: name(&record.details.channel),
        order_reference: name(&record.details.order),
        labels: record.details.labels.clone().into_iter().collect(),
        shortages: record.shortages.iter().map(shortage).collect(),
        predecessor_id: id(record.predecessor),
        successor_id: id(record.successor),
    }
}

/// A line's part of an allocation. Where a named line and a free one of the same SKU share an allocation, its units are numbered: the named line has the first ones; of
/// all of them the first were shipped, the next cancelled, the next given back; the last are the backordered ones. So both lines add up, and so does each.
fn share(allocation: &Allocation, named: bool, units: i64) -> pb::Allocation {
    let first = if named { 0 } else { allocation.quantity.saturating_sub(units) };
    let mine = first..first.saturating_add(units);
    let within = |from: i64, count: i64| {
        let (from, to) = (from.max(mine.start), from.saturating_add(count).min(mine.end));
        to.saturating_sub(from).max(0)
    };
    let Progress { released, cancelled, fulfilled, returned, .. } = allocation.progress;
    let backordered = within(allocation.quantity.saturating_sub(allocation.backordered), allocation.backordered);
    pb::Allocation {
        location: allocation.location.to_string(),
        quantity: units,
        backordered_quantity: backordered,
        promise_time: allocation.promised_at.filter(|_| backordered > 0).map(timestamp),
        released_quantity: within(fulfilled.saturating_add(cancelled), released),
        cancelled_quantity: within(fulfilled, cancelled),
        fulfilled_quantity: within(0, fulfilled),
        returned_quantity: within(0, returned),
    }
}

fn shortage(shortage: &Shortage) -> pb::Shortage {
    pb::Shortage {
        sku: shortage.sku.to_string(),
        location: shortage.location.as_ref().map(ToString::to_string).unwrap_or_default(),
        requested_quantity: shortage.requested,
        available_quantity: shortage.available,
    }
}

/// What one of several requests would have failed with, had it come alone.
pub(crate) fn batch_failure(shortages: &[Shortage], status: &Status) -> pb::BatchFailure {
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| bad.field_violations.iter().map(|v| v.field.clone()).collect());
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    pb::BatchFailure {
        code: status.code().into(),
        reason: holdfast_kit::reason_of(status).unwrap_or_default().into(),
        message: status.message().to_owned(),
        shortages: shortages.iter().map(shortage).collect(),
        fields: fields.unwrap_or_default(),
        retry_delay: delay.and_then(|delay| prost_types::Duration::try_from(delay).ok()),
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
        paused: level.paused,
        count_meaning: level.meaning.map_or(pb::CountMeaning::Unspecified, meaning).into(),
        reflectable_quantity: 0,
    }
}

fn meaning(meaning: CountMeaning) -> pb::CountMeaning {
    match meaning {
        CountMeaning::OnHand => pb::CountMeaning::OnHand,
        CountMeaning::Available => pb::CountMeaning::Available,
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
        CountOutcome::Conflict => pb::CountOutcome::Conflict,
    };
    pb::CountResult {
        sku: result.sku.to_string(),
        location: result.location.to_string(),
        outcome: outcome.into(),
        previous_on_hand: result.previous_on_hand,
        on_hand: result.on_hand,
        shortfall: result.shortfall,
        reflected_quantity: result.reflected,
        previous_available: result.previous_available,
        available: result.available,
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
        paused: row.paused,
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
        let row = |(location, available): &(Location, i64)| pb::LocationAvailability {
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
