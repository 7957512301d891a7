//! Moves of units, and pauses in selling, in and out.

use std::collections::BTreeSet;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{Problem, Violations};
use holdfast_stock::{
    Adjustment, AdjustmentReason, Location, Name, Note, Op, Pause, Quantity, Refusal, RequestId, Sku,
};

use super::answers::timestamp;
use super::problems::{negative_moves, problem, unknown_entries};
use super::requests::{condition, request_key, text};
use crate::committer::Failure;
use crate::payload::Payload;

const MOVES_MAX: usize = 50;
const SELLING_SKUS_MAX: usize = 100;

/// A move is what leaves one quantity and what enters another, in this order, so that no move makes units.
///
/// # Errors
/// INVALID_FIELD.
pub(crate) fn moves(request: &pb::MoveStockRequest) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let key = request_key(&mut violations, &request.request_id);
    let (actor, note) = (actor(&mut violations, &request.actor), reason(&mut violations, &request.note));
    let count = request.moves.len();
    if count == 0 || count > MOVES_MAX {
        violations.add("moves", format_args!("must have 1 to {MOVES_MAX}, has {count}"));
    }
    let read = |(index, asked): (usize, &pb::Move)| one_move(&mut violations, index, asked);
    let adjustments: Vec<Adjustment> = request.moves.iter().enumerate().filter_map(read).flatten().collect();
    let (Some(request), Some(actor), Some(note), true) = (key, actor, note, violations.is_empty()) else {
        return Err(violations.into_problem());
    };
    let payload = Payload::of("MoveStock").text(actor.as_str()).text(note.as_str()).adjustments(&adjustments).hash();
    Ok(Op::Adjust { request, payload, actor, note, adjustments })
}

fn one_move(violations: &mut Violations, index: usize, asked: &pb::Move) -> Option<[Adjustment; 2]> {
    let field = format!("moves[{index}]");
    let sku = text(violations, format_args!("{field}.sku"), &asked.sku, Sku::new);
    let from = text(violations, format_args!("{field}.from_location"), &asked.from_location, Location::new);
    let from_condition = condition(violations, format_args!("{field}.from_condition"), asked.from_condition);
    let to = text(violations, format_args!("{field}.to_location"), &asked.to_location, Location::new);
    let to_condition = condition(violations, format_args!("{field}.to_condition"), asked.to_condition);
    // What is out of range could not be turned round either.
    let units = Quantity::new(asked.quantity).map(Quantity::get);
    violations.check_range(format_args!("{field}.quantity"), asked.quantity, 1..=Quantity::MAX);
    let (sku, from, to) = (sku?, from?, to?);
    let (from_condition, to_condition) = (from_condition?, to_condition?);
    if from == to && from_condition == to_condition {
        violations.add(field, "must go to another location or into another condition");
        return None;
    }
    let (reason, units) = (AdjustmentReason::Moved, units?);
    Some([
        Adjustment { sku: sku.clone(), location: from, condition: from_condition, delta: -units, reason },
        Adjustment { sku, location: to, condition: to_condition, delta: units, reason },
    ])
}

/// Why moves failed, in the words of the request.
pub(crate) fn move_problem(failure: Failure, request: &pb::MoveStockRequest) -> Problem {
    match failure {
        Failure::Refused(Refusal::WouldBeNegative(adjustments)) => negative_moves(&adjustments),
        Failure::Refused(Refusal::UnknownSku(rows)) => {
            let read: Vec<_> = request
                .moves
                .iter()
                .filter_map(|asked| Sku::new(&asked.sku).ok().zip(Location::new(&asked.from_location).ok()))
                .collect();
            let entries = read.iter().enumerate();
            unknown_entries(entries.map(|(index, (sku, at))| (format!("moves[{index}].sku"), sku, Some(at))), &rows)
        }
        other => problem(other),
    }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn pause(request: &pb::PauseSellingRequest) -> Result<Op, Problem> {
    sell("PauseSelling", true, &request.request_id, &request.skus, (&request.actor, &request.note))
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn resume(request: &pb::ResumeSellingRequest) -> Result<Op, Problem> {
    sell("ResumeSelling", false, &request.request_id, &request.skus, (&request.actor, &request.note))
}

fn sell(verb: &str, pause: bool, request_id: &str, asked: &[String], (by, why): (&str, &str)) -> Result<Op, Problem> {
    let mut violations = Violations::new();
    let key: Option<RequestId> = request_key(&mut violations, request_id);
    if asked.is_empty() || asked.len() > SELLING_SKUS_MAX {
        violations.add("skus", format_args!("must have 1 to {SELLING_SKUS_MAX}, has {}", asked.len()));
    }
    let mut seen = BTreeSet::new();
    let mut skus = Vec::new();
    for (index, code) in asked.iter().enumerate() {
        let Some(sku) = text(&mut violations, format_args!("skus[{index}]"), code, Sku::new) else { continue };
        if seen.insert(sku.clone()) {
            skus.push(sku);
        } else {
            violations.add(format_args!("skus[{index}]"), "is there a second time");
        }
    }
    let (actor, note) = (actor(&mut violations, by), reason(&mut violations, why));
    let (Some(request), Some(actor), Some(note), true) = (key, actor, note, violations.is_empty()) else {
        return Err(violations.into_problem());
    };
    let payload = skus.iter().fold(Payload::of(verb).count(skus.len()), |payload, sku| payload.text(sku.as_str()));
    let payload = payload.text(actor.as_str()).text(note.as_str()).hash();
    Ok(Op::Sell { request, payload, skus, pause, actor, note })
}

/// Why a pause or its end failed, in the words of the request.
pub(crate) fn sell_problem(failure: Failure, asked: &[String]) -> Problem {
    let Failure::Refused(Refusal::UnknownSku(rows)) = failure else { return problem(failure) };
    let read: Vec<_> = asked.iter().filter_map(|code| Sku::new(code).ok()).collect();
    unknown_entries(read.iter().enumerate().map(|(index, sku)| (format!("skus[{index}]"), sku, None)), &rows)
}

pub(crate) fn paused_sku((sku, pause): &(Sku, Pause)) -> pb::PausedSku {
    pb::PausedSku {
        sku: sku.to_string(),
        pause_time: Some(timestamp(pause.at)),
        actor: pause.actor.to_string(),
        note: pause.note.to_string(),
    }
}

fn actor(violations: &mut Violations, name: &str) -> Option<Name> {
    text(violations, "actor", name, Name::new)
}

/// Whoever changes something by hand says why.
fn reason(violations: &mut Violations, note: &str) -> Option<Note> {
    if note.is_empty() {
        violations.add("note", "is required: why");
        return None;
    }
    text(violations, "note", note, Note::new)
}
