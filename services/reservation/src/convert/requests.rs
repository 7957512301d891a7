//! Counts, adjustments and reads in, and what all requests have in common: everything that is wrong with one is found at once.

use std::collections::BTreeSet;
use std::fmt::Display;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{Problem, Violations};
use holdfast_stock::{
    Adjustment, AdjustmentReason, Condition, Count, CountEffect, CountMeaning, Location, Name, Note, Op, RequestId,
    ReservationId, Sku, State, TextProblem, UnixMicros,
};

use crate::payload::Payload;

const COUNTS_MAX: usize = 1_000;
const COUNT_UNITS_MAX: i64 = 1_000_000_000;
const ADJUSTMENTS_MAX: usize = 100;
const ADJUSTMENT_UNITS_MAX: i64 = 1_000_000;
/// How far a vendor's clock may lie ahead of Postgres's.
const AHEAD_MICROS: i64 = 300 * 1_000_000;
const SKUS_MAX: usize = 1_000;

/// # Errors
/// INVALID_FIELD.
pub(crate) fn reservation_id(text: &str) -> Result<ReservationId, Problem> {
    let mut violations = Violations::new();
    key(&mut violations, "reservation_id", text).ok_or_else(|| violations.into_problem())
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn count(request: &pb::ApplyCountsRequest, now: UnixMicros) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let key_of_request = request_key(&mut violations, &request.request_id);
    let connection = text(&mut violations, "connection", &request.connection, Name::new);
    let run = text(&mut violations, "run", &request.run, Name::new);
    let as_of = count_time(&mut violations, request.as_of_time.as_ref(), now);
    violations.check_range("sequence", request.sequence, 0..=i64::MAX);
    let meaning = meaning(&mut violations, "meaning", request.meaning());
    let counts = counts(&mut violations, &request.counts);
    let (Some(request_key), Some(connection), Some(run), Some(as_of), Some(meaning), true) =
        (key_of_request, connection, run, as_of, meaning, violations.is_empty())
    else {
        return Err(violations.into_problem());
    };
    let payload = Payload::of("ApplyCounts").text(connection.as_str()).text(run.as_str()).instant(as_of);
    let payload = payload.number(request.sequence).text(meaning.as_str()).count(counts.len());
    let payload = counts
        .iter()
        .fold(payload, |payload, count| {
            let payload = payload.text(count.sku.as_str()).text(count.location.as_str()).number(count.units);
            // A key that was first sent before there were effects and expectations keeps its payload.
            let payload = if count.effect == CountEffect::Set { payload } else { payload.text(count.effect.as_str()) };
            match count.expected {
                Some(expected) => payload.text("expected").number(expected),
                None => payload,
            }
        })
        .hash();
    let (sequence, covers_all) = (request.sequence, request.covers_all);
    Ok(Op::Count { request: request_key, payload, connection, run, as_of, sequence, meaning, covers_all, counts })
}

pub(super) fn meaning(violations: &mut Violations, field: &str, asked: pb::CountMeaning) -> Option<CountMeaning> {
    match asked {
        pb::CountMeaning::OnHand => Some(CountMeaning::OnHand),
        pb::CountMeaning::Available => Some(CountMeaning::Available),
        pb::CountMeaning::Unspecified => {
            violations.add(field, "must be ON_HAND or AVAILABLE");
            None
        }
    }
}

fn counts(violations: &mut Violations, asked: &[pb::Count]) -> Vec<Count> {
    if asked.is_empty() || asked.len() > COUNTS_MAX {
        violations.add("counts", format_args!("must have 1 to {COUNTS_MAX}, has {}", asked.len()));
    }
    let mut counts = Vec::with_capacity(asked.len());
    let mut seen = BTreeSet::new();
    for (index, count) in asked.iter().enumerate() {
        let sku = text(violations, format_args!("counts[{index}].sku"), &count.sku, Sku::new);
        let location = text(violations, format_args!("counts[{index}].location"), &count.location, Location::new);
        violations.check_range(format_args!("counts[{index}].quantity"), count.quantity, 0..=COUNT_UNITS_MAX);
        if let Some(expected) = count.expected_on_hand {
            violations.check_range(format_args!("counts[{index}].expected_on_hand"), expected, 0..=COUNT_UNITS_MAX);
        }
        if let (Some(sku), Some(location)) = (sku, location) {
            if !seen.insert((sku.clone(), location.clone())) {
                violations.add(format_args!("counts[{index}]"), "counts the same SKU and location a second time");
            }
            let effect = match pb::CountEffect::try_from(count.effect) {
                Ok(pb::CountEffect::Unspecified | pb::CountEffect::Set) => CountEffect::Set,
                Ok(pb::CountEffect::Limit) => CountEffect::Limit,
                Ok(pb::CountEffect::Unlimit) => CountEffect::Unlimit,
                Err(_) => {
                    violations.add(format_args!("counts[{index}].effect"), "is no effect");
                    continue;
                }
            };
            // What only limits the offer leaves on_hand as it is, whatever that is.
            let expected = count.expected_on_hand.filter(|_| effect == CountEffect::Set);
            counts.push(Count { sku, location, units: count.quantity, effect, expected });
        }
    }
    counts
}

pub(super) fn count_time(
    violations: &mut Violations,
    time: Option<&prost_types::Timestamp>,
    now: UnixMicros,
) -> Option<UnixMicros> {
    let Some(time) = time else {
        violations.add("as_of_time", "is required: when the vendor counted");
        return None;
    };
    instant(violations, "as_of_time", time, now)
}

/// An instant that came from outside: at most as far ahead as clocks differ.
pub(super) fn instant(
    violations: &mut Violations,
    field: &str,
    time: &prost_types::Timestamp,
    now: UnixMicros,
) -> Option<UnixMicros> {
    let micros = any_instant(violations, field, time)?;
    if micros.0 > now.0.saturating_add(AHEAD_MICROS) {
        violations.add(field, "is more than 5 minutes ahead");
        return None;
    }
    Some(micros)
}

pub(super) fn any_instant(
    violations: &mut Violations,
    field: impl Display,
    time: &prost_types::Timestamp,
) -> Option<UnixMicros> {
    // 0001-01-01 to 9999-12-31, as the type's definition says.
    let in_range =
        (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..=999_999_999).contains(&time.nanos);
    if !in_range {
        violations.add(field, "is not an instant from year 1 to 9999");
        return None;
    }
    Some(UnixMicros(time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000))
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn adjust(request: &pb::AdjustStockRequest) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let key_of_request = request_key(&mut violations, &request.request_id);
    let actor = text(&mut violations, "actor", &request.actor, Name::new);
    let note = text(&mut violations, "note", &request.note, Note::new);
    if request.adjustments.is_empty() || request.adjustments.len() > ADJUSTMENTS_MAX {
        let count = request.adjustments.len();
        violations.add("adjustments", format_args!("must have 1 to {ADJUSTMENTS_MAX}, has {count}"));
    }
    let adjustments: Vec<Adjustment> =
        request.adjustments.iter().enumerate().filter_map(|(index, a)| adjustment(&mut violations, index, a)).collect();
    let (Some(request), Some(actor), Some(note), true) = (key_of_request, actor, note, violations.is_empty()) else {
        return Err(violations.into_problem());
    };
    let payload = Payload::of("AdjustStock").text(actor.as_str()).text(note.as_str()).adjustments(&adjustments).hash();
    Ok(Op::Adjust { request, payload, actor, note, adjustments })
}

fn adjustment(violations: &mut Violations, index: usize, asked: &pb::Adjustment) -> Option<Adjustment> {
    let sku = text(violations, format_args!("adjustments[{index}].sku"), &asked.sku, Sku::new);
    let location = text(violations, format_args!("adjustments[{index}].location"), &asked.location, Location::new);
    let condition = condition(violations, format_args!("adjustments[{index}].condition"), asked.condition);
    let reason = match asked.reason() {
        pb::AdjustmentReason::Received => Some(AdjustmentReason::Received),
        pb::AdjustmentReason::Found => Some(AdjustmentReason::Found),
        pb::AdjustmentReason::Lost => Some(AdjustmentReason::Lost),
        pb::AdjustmentReason::Damaged => Some(AdjustmentReason::Damaged),
        pb::AdjustmentReason::Returned => Some(AdjustmentReason::Returned),
        pb::AdjustmentReason::Moved => Some(AdjustmentReason::Moved),
        pb::AdjustmentReason::Correction => Some(AdjustmentReason::Correction),
        pb::AdjustmentReason::Unspecified => None,
    };
    if reason.is_none() {
        violations.add(format_args!("adjustments[{index}].reason"), "is required");
    }
    let delta = asked.delta;
    if delta == 0 || !(-ADJUSTMENT_UNITS_MAX..=ADJUSTMENT_UNITS_MAX).contains(&delta) {
        let field = format_args!("adjustments[{index}].delta");
        violations.add(
            field,
            format_args!("must be -{ADJUSTMENT_UNITS_MAX} to {ADJUSTMENT_UNITS_MAX} and not 0, is {delta}"),
        );
    }
    Some(Adjustment { sku: sku?, location: location?, condition: condition?, delta, reason: reason? })
}

pub(super) fn condition(violations: &mut Violations, field: impl Display, asked: i32) -> Option<Condition> {
    match pb::Condition::try_from(asked).unwrap_or_default() {
        pb::Condition::Sellable => Some(Condition::Sellable),
        pb::Condition::Damaged => Some(Condition::Damaged),
        pb::Condition::QualityHold => Some(Condition::QualityHold),
        pb::Condition::Refurbished => Some(Condition::Refurbished),
        pb::Condition::Unspecified => {
            violations.add(field, "is required");
            None
        }
    }
}

/// When a count would be taken and what it would mean, for which a read says what it would reflect; both or neither.
///
/// # Errors
/// INVALID_FIELD.
pub(crate) fn reflection(
    request: &pb::BatchGetStockRequest,
    now: UnixMicros,
) -> Result<Option<(UnixMicros, CountMeaning)>, Problem> {
    let mut violations = Violations::new();
    let as_of = request.reflect_as_of_time.as_ref();
    let as_of = as_of.and_then(|time| instant(&mut violations, "reflect_as_of_time", time, now));
    let meaning = match (request.reflect_as_of_time.is_some(), request.reflect_meaning()) {
        (false, pb::CountMeaning::Unspecified) => None,
        (false, _) => {
            violations.add("reflect_as_of_time", "is required with reflect_meaning");
            None
        }
        (true, asked) => meaning(&mut violations, "reflect_meaning", asked),
    };
    violations.into_result()?;
    Ok(as_of.zip(meaning))
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn skus(asked: &[String]) -> Result<Vec<Sku>, Problem> {
    let mut violations = Violations::new();
    if asked.is_empty() || asked.len() > SKUS_MAX {
        violations.add("skus", format_args!("must have 1 to {SKUS_MAX}, has {}", asked.len()));
    }
    let read = |(index, code): (usize, &String)| text(&mut violations, format_args!("skus[{index}]"), code, Sku::new);
    let skus = asked.iter().enumerate().filter_map(read).collect();
    violations.into_result()?;
    Ok(skus)
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn sku(field: &str, code: &str) -> Result<Sku, Problem> {
    let mut violations = Violations::new();
    text(&mut violations, field, code, Sku::new).ok_or_else(|| violations.into_problem())
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn location(code: &str) -> Result<Location, Problem> {
    let mut violations = Violations::new();
    text(&mut violations, "location", code, Location::new).ok_or_else(|| violations.into_problem())
}

/// A filter by location: empty for all.
pub(crate) fn named_location(violations: &mut Violations, code: &str) -> String {
    let _ = optional_location(violations, "location", code);
    code.to_owned()
}

/// A filter by state, as the database calls it: empty for all.
pub(crate) fn parse_state(violations: &mut Violations, state: i32) -> &'static str {
    match pb::ReservationState::try_from(state) {
        Ok(pb::ReservationState::Unspecified) => "",
        Ok(pb::ReservationState::Held) => State::Held.as_str(),
        Ok(pb::ReservationState::Confirmed) => State::Confirmed.as_str(),
        Ok(pb::ReservationState::Fulfilled) => State::Fulfilled.as_str(),
        Ok(pb::ReservationState::Released) => State::Released.as_str(),
        Ok(pb::ReservationState::Expired) => State::Expired.as_str(),
        Ok(pb::ReservationState::Cancelled) => State::Cancelled.as_str(),
        Ok(pb::ReservationState::Refused) => State::Refused.as_str(),
        Err(_) => {
            violations.add("state", format_args!("is no state: {state}"));
            ""
        }
    }
}

pub(super) fn key(violations: &mut Violations, field: &str, text: &str) -> Option<ReservationId> {
    violations.check_uuid_v7(field, text).map(|id| ReservationId::from_bytes(id.into_bytes()))
}

pub(super) fn request_key(violations: &mut Violations, text: &str) -> Option<RequestId> {
    violations.check_uuid("request_id", text).map(|id| RequestId::from_bytes(id.into_bytes()))
}

pub(super) fn text<T>(
    violations: &mut Violations,
    field: impl Display,
    value: &str,
    read: impl FnOnce(&str) -> Result<T, TextProblem>,
) -> Option<T> {
    match read(value) {
        Ok(text) => Some(text),
        Err(problem) => {
            violations.add(field, problem);
            None
        }
    }
}

/// A location that may be left open; `None` if it is malformed.
#[expect(clippy::option_option, reason = "malformed, left open and named are three things")]
pub(super) fn optional_location(
    violations: &mut Violations,
    field: impl Display,
    code: &str,
) -> Option<Option<Location>> {
    if code.is_empty() { Some(None) } else { text(violations, field, code, Location::new).map(Some) }
}
