//! Watches, what is at risk, and what was: requests in, messages out.

use std::collections::BTreeSet;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::watch_availability_response::Event as AvailabilityEvent;
use holdfast_api::reservation::v1::watch_reservations_response::Event as ReservationEvent;
use holdfast_kit::{ErrorReason, Problem, Violations, page};
use holdfast_stock::{Level, Owner, RowKey, Sku, UnixMicros};

use super::requests::text;
use super::{feeds, named_location, reservation_at, stock_level, timestamp};
use crate::store::{ReservationChange, Risk, RowAvailability};
use crate::watch::{AvailabilityInterest, Kind, ReservationInterest, Told};

const SKUS_MAX: usize = 1_000;
const ENTRIES_DEFAULT: i32 = 20;
const ENTRIES_MAX: i32 = 1_000;

/// What a GetStockAsOf asks.
pub(crate) struct AsOfAsk {
    pub(crate) sku: Sku,
    pub(crate) location: String,
    pub(crate) at: UnixMicros,
    pub(crate) entries: i64,
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn as_of_ask(request: &pb::GetStockAsOfRequest) -> Result<AsOfAsk, Problem> {
    let mut violations = Violations::new();
    let sku = text(&mut violations, "sku", &request.sku, Sku::new);
    let location = named_location(&mut violations, &request.location);
    let at = instant(&mut violations, "time", request.time.as_ref());
    if request.time.is_none() {
        violations.add("time", "is required: as of when");
    }
    let entries = page::page_size(request.page_size, ENTRIES_DEFAULT, ENTRIES_MAX, &mut violations);
    match (sku, at) {
        (Some(sku), Some(at)) if violations.is_empty() => Ok(AsOfAsk { sku, location, at, entries }),
        _ => Err(violations.into_problem()),
    }
}

/// The first and the last instant of which entries are listed; none where it is open.
pub(crate) fn ledger_range(
    violations: &mut Violations,
    request: &pb::ListLedgerEntriesRequest,
) -> (Option<UnixMicros>, Option<UnixMicros>) {
    let from = instant(violations, "start_time", request.start_time.as_ref());
    let upto = instant(violations, "end_time", request.end_time.as_ref());
    if from.zip(upto).is_some_and(|(from, upto)| from > upto) {
        violations.add("end_time", "must not lie before start_time");
    }
    (from, upto)
}

/// An instant that the record could have: rounded down to its microseconds. None if it is not given, or malformed.
fn instant(violations: &mut Violations, field: &str, time: Option<&prost_types::Timestamp>) -> Option<UnixMicros> {
    let time = time?;
    let in_range =
        (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..=999_999_999).contains(&time.nanos);
    if !in_range {
        violations.add(field, "is not an instant from year 1 to 9999");
        return None;
    }
    Some(UnixMicros(time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000))
}

/// The SKU's ledger begins later.
pub(crate) fn before_record(begins: UnixMicros) -> Problem {
    let message = "the instant lies before the first entry that the ledger has of this SKU there";
    Problem::new(ErrorReason::BeforeRecord, message).metadata("begin_unix_micros", begins.0)
}

/// A level of the past: the ledger says what the number was and not when the vendor counted it, nor by which connection.
pub(crate) fn past_level((row, level): &(RowKey, Level)) -> pb::StockLevel {
    pb::StockLevel { freshness: feeds::freshness(level.freshness).into(), ..stock_level(row, level) }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn availability_interest(request: &pb::WatchAvailabilityRequest) -> Result<AvailabilityInterest, Problem> {
    let mut violations = Violations::new();
    if request.skus.len() > SKUS_MAX {
        violations.add("skus", format_args!("must have at most {SKUS_MAX}, has {}", request.skus.len()));
        return Err(violations.into_problem());
    }
    let read = |(index, code): (usize, &String)| text(&mut violations, format_args!("skus[{index}]"), code, Sku::new);
    let skus = request.skus.iter().enumerate().filter_map(read).collect();
    violations.into_result()?;
    Ok(AvailabilityInterest { skus })
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn reservation_interest(request: &pb::WatchReservationsRequest) -> Result<ReservationInterest, Problem> {
    use pb::ReservationEventKind as K;
    let mut violations = Violations::new();
    let owner = (!request.owner.is_empty()).then(|| text(&mut violations, "owner", &request.owner, Owner::new));
    let mut kinds = BTreeSet::new();
    for (index, kind) in request.kinds.iter().enumerate() {
        match K::try_from(*kind) {
            Ok(K::Confirmed) => drop(kinds.insert(Kind::Confirmed)),
            Ok(K::Released) => drop(kinds.insert(Kind::Released)),
            Ok(K::Expired) => drop(kinds.insert(Kind::Expired)),
            Ok(K::Cancelled) => drop(kinds.insert(Kind::Cancelled)),
            Ok(K::Fulfilled) => drop(kinds.insert(Kind::Fulfilled)),
            Ok(K::AtRisk) => drop(kinds.insert(Kind::AtRisk)),
            Ok(K::Returned) => drop(kinds.insert(Kind::Returned)),
            Ok(K::Repaired) => drop(kinds.insert(Kind::Repaired)),
            Ok(K::Unspecified) | Err(_) => violations.add(format_args!("kinds[{index}]"), "is no kind of event"),
        }
    }
    violations.into_result()?;
    if kinds.is_empty() {
        kinds.extend(Kind::ALL);
    }
    Ok(ReservationInterest { owner: owner.flatten(), kinds })
}

pub(crate) fn availability_event(told: Told<'_, RowAvailability>, token: String) -> pb::WatchAvailabilityResponse {
    let event = match told {
        Told::Item(row) => AvailabilityEvent::Row(pb::RowAvailability {
            sku: row.sku.to_string(),
            location: row.location.to_string(),
            available: row.available,
            version: row.version,
            change_time: row.changed_at.map(timestamp),
        }),
        Told::WholeEnd => AvailabilityEvent::SnapshotEnd(pb::SnapshotEnd {}),
        Told::Checkpoint => AvailabilityEvent::Checkpoint(pb::Checkpoint {}),
    };
    pb::WatchAvailabilityResponse { event: Some(event), resume_token: token }
}

pub(crate) fn reservation_event(told: Told<'_, ReservationChange>, token: String) -> pb::WatchReservationsResponse {
    let event = match told {
        Told::Item(change) => ReservationEvent::Change(pb::ReservationEvent {
            kind: Kind::of(change).map_or(pb::ReservationEventKind::Unspecified, kind).into(),
            reservation: Some(reservation_at(&change.record, change.read_at)),
            shortage: change.risk.as_ref().map(shortage),
            create_time: change.at.map(timestamp),
        }),
        Told::WholeEnd => ReservationEvent::SnapshotEnd(pb::SnapshotEnd {}),
        Told::Checkpoint => ReservationEvent::Checkpoint(pb::Checkpoint {}),
    };
    pb::WatchReservationsResponse { event: Some(event), resume_token: token }
}

fn kind(kind: Kind) -> pb::ReservationEventKind {
    match kind {
        Kind::Confirmed => pb::ReservationEventKind::Confirmed,
        Kind::Released => pb::ReservationEventKind::Released,
        Kind::Expired => pb::ReservationEventKind::Expired,
        Kind::Cancelled => pb::ReservationEventKind::Cancelled,
        Kind::Fulfilled => pb::ReservationEventKind::Fulfilled,
        Kind::AtRisk => pb::ReservationEventKind::AtRisk,
        Kind::Returned => pb::ReservationEventKind::Returned,
        Kind::Repaired => pb::ReservationEventKind::Repaired,
    }
}

fn shortage(risk: &Risk) -> pb::RowShortage {
    pb::RowShortage {
        sku: risk.sku.to_string(),
        location: risk.location.to_string(),
        quantity: risk.units,
        shortfall: risk.shortfall,
        stock_version: risk.version,
    }
}

pub(crate) fn at_risk(change: &ReservationChange) -> pb::ReservationAtRisk {
    pb::ReservationAtRisk {
        reservation: Some(reservation_at(&change.record, change.read_at)),
        shortage: change.risk.as_ref().map(shortage),
    }
}
