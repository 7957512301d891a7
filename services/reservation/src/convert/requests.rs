//! Requests in: everything that is wrong with one is found at once.

use std::collections::BTreeSet;
use std::fmt::Display;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{ErrorReason, Problem, Violations};
use holdfast_stock::{
    Adjustment, AdjustmentReason, Cart, CartProblem, Condition, Count, CountEffect, CountMeaning, HoldMicros,
    KeyProblem, Line, Location, Name, Note, Owner, PayloadHash, Quantity, RequestId, ReservationId, Sku, State,
    TextProblem, UnixMicros,
};

use crate::config::HoldsConfig;
use crate::payload::Payload;

const COUNTS_MAX: usize = 1_000;
const COUNT_UNITS_MAX: i64 = 1_000_000_000;
const ADJUSTMENTS_MAX: usize = 100;
const ADJUSTMENT_UNITS_MAX: i64 = 1_000_000;
/// How far a vendor's clock may lie ahead of Postgres's.
const COUNT_AHEAD_MICROS: i64 = 300 * 1_000_000;
const SKUS_MAX: usize = 1_000;

/// A line whose codes could be read, with its index in the request.
pub(crate) type ReadableLine = (usize, Sku, Option<Location>);

/// A Reserve, read as far as it could be.
pub(crate) struct ReserveAsk {
    /// Complete, if nothing is wrong.
    pub(crate) complete: Option<crate::reserve::Ask>,
    /// What is wrong.
    pub(crate) violations: Violations,
    /// The reason to give if nothing but the violations so far is wrong.
    pub(crate) reason: ErrorReason,
    /// Lines whose codes could be read, with their index in the request: to look for unknown SKUs among them.
    pub(crate) lines: Vec<ReadableLine>,
}

pub(crate) fn reserve_ask(
    request: &pb::ReserveRequest,
    transport_attempt: u32,
    holds: &HoldsConfig,
    now: UnixMicros,
) -> ReserveAsk {
    let mut violations = Violations::new();
    let id = key(&mut violations, &request.reservation_id);
    let window = id.map(|id| holds.window().check(id, now));
    if let Some(Err(error)) = window {
        violations.add("reservation_id", error);
    }
    let outside = matches!(window, Some(Err(KeyProblem::TooOld | KeyProblem::TooNew)));
    let owner = text(&mut violations, "owner", &request.owner, Owner::new);
    let hold = hold(&mut violations, request.hold_duration.as_ref(), holds);
    let (lines, cart) = cart(&mut violations, &request.lines);
    let reason = if outside && violations.len() == 1 { ErrorReason::KeyOutOfWindow } else { ErrorReason::InvalidField };
    let complete = match (id, owner, hold, cart) {
        (Some(id), Some(owner), Some((asked, hold)), Some(cart)) if violations.is_empty() => {
            let payload = Payload::of("Reserve").text(owner.as_str()).number(asked).cart(&cart).hash();
            let retry = request.attempt > 1 || transport_attempt > 1;
            Some(crate::reserve::Ask { id, owner, payload, cart, hold, retry })
        }
        _ => None,
    };
    ReserveAsk { complete, violations, reason, lines }
}

fn cart(violations: &mut Violations, asked: &[pb::ReserveLine]) -> (Vec<ReadableLine>, Option<Cart>) {
    let mut readable = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in asked.iter().enumerate() {
        let sku = text(violations, format_args!("lines[{index}].sku"), &line.sku, Sku::new);
        let location = optional_location(violations, format_args!("lines[{index}].location"), &line.location);
        let quantity = Quantity::new(line.quantity);
        if quantity.is_none() {
            let field = format_args!("lines[{index}].quantity");
            violations.add(field, format_args!("must be 1 to {}, is {}", Quantity::MAX, line.quantity));
        }
        let (Some(sku), Some(location)) = (sku, location) else { continue };
        readable.push((index, sku.clone(), location.clone()));
        if let Some(quantity) = quantity {
            lines.push((index, Line { sku, location, quantity }));
        }
    }
    if asked.is_empty() || asked.len() > Cart::LINES_MAX {
        violations.add("lines", format_args!("must have 1 to {}, has {}", Cart::LINES_MAX, asked.len()));
        return (readable, None);
    }
    // Sums beyond the bound are named one after the other, each with the line that goes over.
    loop {
        match Cart::new(lines.iter().map(|(_, line)| line.clone()).collect()) {
            Ok(cart) => return (readable, Some(cart)),
            Err(CartProblem::TooManyUnits { line, .. }) => {
                let (index, _) = lines.remove(line);
                let field = format_args!("lines[{index}].quantity");
                violations
                    .add(field, format_args!("with the lines before it comes to more than {} units", Quantity::MAX));
            }
            Err(CartProblem::Empty | CartProblem::TooManyLines { .. }) => return (readable, None),
        }
    }
}

/// A Confirm or a Release.
pub(crate) struct TransitionAsk {
    pub(crate) request: RequestId,
    pub(crate) payload: PayloadHash,
    pub(crate) id: ReservationId,
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn transition_ask(verb: &str, request_id: &str, reservation_id: &str) -> Result<TransitionAsk, Problem> {
    let mut violations = Violations::new();
    let request = request_key(&mut violations, request_id);
    let id = key(&mut violations, reservation_id);
    match (request, id) {
        (Some(request), Some(id)) if violations.is_empty() => {
            Ok(TransitionAsk { request, payload: Payload::of(verb).reservation(id).hash(), id })
        }
        _ => Err(violations.into_problem()),
    }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn extend_ask(
    request: &pb::ExtendRequest,
    holds: &HoldsConfig,
) -> Result<(TransitionAsk, HoldMicros), Problem> {
    let mut violations = Violations::new();
    let key_of_request = request_key(&mut violations, &request.request_id);
    let id = key(&mut violations, &request.reservation_id);
    if request.hold_duration.is_none() {
        violations.add("hold_duration", "is required");
    }
    let hold = hold(&mut violations, request.hold_duration.as_ref(), holds);
    match (key_of_request, id, hold) {
        (Some(request), Some(id), Some((asked, hold))) if violations.is_empty() => {
            let payload = Payload::of("Extend").reservation(id).number(asked).hash();
            Ok((TransitionAsk { request, payload, id }, hold.unwrap_or_else(|| holds.default_hold())))
        }
        _ => Err(violations.into_problem()),
    }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn reservation_id(text: &str) -> Result<ReservationId, Problem> {
    let mut violations = Violations::new();
    key(&mut violations, text).ok_or_else(|| violations.into_problem())
}

/// What an ApplyCounts says.
pub(crate) struct CountAsk {
    pub(crate) request: RequestId,
    pub(crate) payload: PayloadHash,
    pub(crate) connection: Name,
    pub(crate) run: Name,
    pub(crate) as_of: UnixMicros,
    pub(crate) sequence: i64,
    pub(crate) meaning: CountMeaning,
    pub(crate) covers_all: bool,
    pub(crate) counts: Vec<Count>,
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn count_ask(request: &pb::ApplyCountsRequest, now: UnixMicros) -> Result<CountAsk, Problem> {
    let mut violations = Violations::new();
    let key_of_request = request_key(&mut violations, &request.request_id);
    let connection = text(&mut violations, "connection", &request.connection, Name::new);
    let run = text(&mut violations, "run", &request.run, Name::new);
    let as_of = count_time(&mut violations, request.as_of_time.as_ref(), now);
    violations.check_range("sequence", request.sequence, 0..=i64::MAX);
    let meaning = match request.meaning() {
        pb::CountMeaning::OnHand => Some(CountMeaning::OnHand),
        pb::CountMeaning::Available => Some(CountMeaning::Available),
        pb::CountMeaning::Unspecified => None,
    };
    if meaning.is_none() {
        violations.add("meaning", "must be ON_HAND or AVAILABLE");
    }
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
            // A key that was first sent before there were effects keeps its payload.
            if count.effect == CountEffect::Set { payload } else { payload.text(count.effect.as_str()) }
        })
        .hash();
    let (sequence, covers_all) = (request.sequence, request.covers_all);
    Ok(CountAsk { request: request_key, payload, connection, run, as_of, sequence, meaning, covers_all, counts })
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
            counts.push(Count { sku, location, units: count.quantity, effect });
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
    // 0001-01-01 to 9999-12-31, as the type's definition says.
    let in_range =
        (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..=999_999_999).contains(&time.nanos);
    if !in_range {
        violations.add("as_of_time", "is not an instant from year 1 to 9999");
        return None;
    }
    let micros = UnixMicros(time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000);
    if micros.0 > now.0.saturating_add(COUNT_AHEAD_MICROS) {
        violations.add("as_of_time", "is more than 5 minutes ahead");
        return None;
    }
    Some(micros)
}

/// What an AdjustStock says.
pub(crate) struct AdjustAsk {
    pub(crate) request: RequestId,
    pub(crate) payload: PayloadHash,
    pub(crate) actor: Name,
    pub(crate) note: Note,
    pub(crate) adjustments: Vec<Adjustment>,
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn adjust_ask(request: &pb::AdjustStockRequest) -> Result<AdjustAsk, Problem> {
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
    Ok(AdjustAsk { request, payload, actor, note, adjustments })
}

fn adjustment(violations: &mut Violations, index: usize, asked: &pb::Adjustment) -> Option<Adjustment> {
    let sku = text(violations, format_args!("adjustments[{index}].sku"), &asked.sku, Sku::new);
    let location = text(violations, format_args!("adjustments[{index}].location"), &asked.location, Location::new);
    let condition = match asked.condition() {
        pb::Condition::Sellable => Some(Condition::Sellable),
        pb::Condition::Damaged => Some(Condition::Damaged),
        pb::Condition::QualityHold => Some(Condition::QualityHold),
        pb::Condition::Refurbished => Some(Condition::Refurbished),
        pb::Condition::Unspecified => None,
    };
    if condition.is_none() {
        violations.add(format_args!("adjustments[{index}].condition"), "is required");
    }
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

fn key(violations: &mut Violations, text: &str) -> Option<ReservationId> {
    violations.check_uuid_v7("reservation_id", text).map(|id| ReservationId::from_bytes(id.into_bytes()))
}

fn request_key(violations: &mut Violations, text: &str) -> Option<RequestId> {
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
fn optional_location(violations: &mut Violations, field: impl Display, code: &str) -> Option<Option<Location>> {
    if code.is_empty() { Some(None) } else { text(violations, field, code, Location::new).map(Some) }
}

/// How long to hold: what was asked in microseconds (0 for the default, so that a change of the default changes no key's payload), and what it means; `None` inside:
/// as the policies or the configuration say.
fn hold(
    violations: &mut Violations,
    duration: Option<&prost_types::Duration>,
    holds: &HoldsConfig,
) -> Option<(i64, Option<HoldMicros>)> {
    let Some(duration) = duration.filter(|d| d.seconds != 0 || d.nanos != 0) else {
        return Some((0, None));
    };
    let longest = holds.limits().longest_hold_micros;
    let micros = duration
        .seconds
        .checked_mul(1_000_000)
        .filter(|_| (0..=999_999_999).contains(&duration.nanos))
        .and_then(|micros| micros.checked_add(i64::from(duration.nanos) / 1_000))
        .filter(|micros| (1_000_000..=longest).contains(micros));
    match micros.and_then(HoldMicros::new) {
        Some(hold) => Some((hold.get(), Some(hold))),
        None => {
            violations.add("hold_duration", format_args!("must be 1 to {} s", longest / 1_000_000));
            None
        }
    }
}
