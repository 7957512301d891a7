//! Problems out: an exhaustive table from failures to reasons.

use std::time::Duration;

use holdfast_kit::{ErrorReason, Problem, Violations};
use holdfast_stock::{Breach, Excess, Limit, Location, NegativeAdjustment, Refusal, RowKey, Shortage, Sku};

use crate::committer::Failure;
use crate::store::StoreError;

/// Shortages listed in an answer: trailers are limited, the total stands in metadata.
const LISTED_MAX: usize = 20;

/// What the caller is told. An unknown outcome is said to be unknown.
pub(crate) fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::Refused(refusal) => refused(refusal),
        Failure::Overloaded { retry_after } => {
            Problem::new(ErrorReason::Overloaded, "too many requests; nothing was done").retry_after(retry_after)
        }
        Failure::TooLate => Problem::new(
            ErrorReason::DeadlineExceeded,
            "the deadline passed while the request waited; nothing was done",
        ),
        Failure::Store(error) => store(&error),
    }
}

fn store(error: &StoreError) -> Problem {
    let unavailable = |message: &str| Problem::new(ErrorReason::StoreUnavailable, message).because(error);
    match error {
        StoreError::Unknown(_) => {
            unavailable("the record did not answer; whether the effect happened is unknown: retry with the same key")
        }
        StoreError::Unreachable(_) => unavailable("the record cannot be reached; nothing was done"),
        StoreError::Contended(_) | StoreError::NeedsPlanning | StoreError::OverLimit(_) => {
            Problem::new(ErrorReason::Overloaded, "other transactions were in the way; nothing was done")
                .retry_after(Duration::from_millis(100))
                .because(error)
        }
        StoreError::ChangesDropped => Problem::new(
            ErrorReason::ResumeTokenExpired,
            "the resume token is older than the changes that are kept; watch again without one",
        ),
        StoreError::OtherRecord => bad_resume_token(),
        StoreError::Defect(_) => Problem::defect(error),
    }
}

/// A resume token that this watch did not give.
pub(crate) fn bad_resume_token() -> Problem {
    let mut violations = Violations::new();
    violations.add("resume_token", "must be a resume_token of this watch with the same filters, or empty");
    violations.into_problem_as(ErrorReason::InvalidResumeToken)
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Insufficient(shortages) => insufficient(&shortages),
        Refusal::Contended => {
            Problem::new(ErrorReason::Overloaded, "the units asked for are just being freed; nothing was done")
        }
        Refusal::UnknownSku(lines) => unknown_rows(&lines),
        Refusal::Limit(breaches) => limited(&breaches),
        Refusal::Archived(skus) => {
            unsold(ErrorReason::SkuArchived, &skus, "is archived", "is not sold any more", "are not sold any more")
        }
        Refusal::Paused(skus) => unsold(
            ErrorReason::SellingPaused,
            &skus,
            "is paused",
            "is not for sale at the moment",
            "are not for sale at the moment",
        ),
        Refusal::OwnerMismatch => {
            Problem::new(ErrorReason::OwnerMismatch, "the hold to replace is another owner's; nothing was done")
        }
        Refusal::NotConfirmed => {
            Problem::new(ErrorReason::ReservationNotConfirmed, "the reservation is only held; confirm or release it")
        }
        Refusal::Fulfilled => {
            Problem::new(ErrorReason::ReservationFulfilled, "everything of the reservation was shipped already")
        }
        Refusal::Exceeded(excesses) => exceeded(&excesses),
        Refusal::KeyReused => Problem::new(ErrorReason::KeyReused, "the key was used before for another request"),
        Refusal::NotFound => Problem::new(ErrorReason::NotFound, "there is no such reservation"),
        Refusal::Expired => Problem::new(ErrorReason::ReservationExpired, "the hold's time is over"),
        Refusal::Released => {
            Problem::new(ErrorReason::ReservationReleased, "the reservation was released, or its key closed")
        }
        Refusal::Confirmed => Problem::new(ErrorReason::ReservationConfirmed, "the reservation is confirmed"),
        Refusal::Cancelled => Problem::new(ErrorReason::ReservationCancelled, "the reservation was cancelled"),
        Refusal::HoldTooLong { max_micros } => {
            let seconds = max_micros.max(0) / 1_000_000;
            Problem::new(ErrorReason::HoldTooLong, format!("the hold can last at most {seconds} s from now"))
                .metadata("seconds_max", seconds)
        }
        Refusal::WouldBeNegative(adjustments) => negative(&adjustments),
        Refusal::OutOfRange(rows) => out_of_range(&rows),
        Refusal::Inconsistent(what) => Problem::defect(what),
    }
}

fn insufficient(shortages: &[Shortage]) -> Problem {
    let message = match shortages.first() {
        Some(s) if shortages.len() == 1 => format!("{}: {} asked for, {} available", s.sku, s.requested, s.available),
        _ => format!("{} lines are short", shortages.len()),
    };
    let problem = Problem::new(ErrorReason::InsufficientStock, message).metadata("short_lines", shortages.len());
    shortages.iter().take(LISTED_MAX).enumerate().fold(problem, |problem, (index, short)| {
        let (sku, at) = (short.sku.as_str(), short.location.as_ref().map_or("", |location| location.as_str()));
        let (requested, available) = (short.requested, short.available);
        let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
        problem
            .precondition("STOCK", format!("sku/{sku}"), format!("requested {requested}, available {available}{place}"))
            .metadata(format!("short[{index}].sku"), sku)
            .metadata(format!("short[{index}].location"), at)
            .metadata(format!("short[{index}].requested"), requested)
            .metadata(format!("short[{index}].available"), available)
    })
}

fn limited(breaches: &[Breach]) -> Problem {
    let message = match breaches {
        [breach] => {
            let whose = whose(breach.limit);
            format!("{}: {} asked for, {} allowed to one {whose}", breach.sku, breach.requested, breach.allowed)
        }
        _ => format!("{} SKUs are beyond their limits", breaches.len()),
    };
    let problem = Problem::new(ErrorReason::LimitExceeded, message).metadata("lines", breaches.len());
    breaches.iter().take(LISTED_MAX).enumerate().fold(problem, |problem, (index, breach)| {
        let Breach { sku, requested, allowed, limit } = breach;
        let whose = whose(*limit);
        problem
            .precondition(
                "LIMIT",
                format!("sku/{sku}"),
                format!("requested {requested}, allowed {allowed} to one {whose}"),
            )
            .metadata(format!("line[{index}].sku"), sku)
            .metadata(format!("line[{index}].requested"), requested)
            .metadata(format!("line[{index}].allowed"), allowed)
            .metadata(format!("line[{index}].limit"), whose)
    })
}

fn whose(limit: Limit) -> &'static str {
    match limit {
        Limit::Reservation => "reservation",
        Limit::Owner => "owner",
        Limit::Channel => "channel",
    }
}

fn unsold(reason: ErrorReason, skus: &[Sku], each: &str, one: &str, several: &str) -> Problem {
    let message = match skus {
        [sku] => format!("{sku} {one}"),
        _ => format!("{} SKUs {several}", skus.len()),
    };
    let problem = Problem::new(reason, message);
    skus.iter().take(LISTED_MAX).fold(problem, |problem, sku| problem.precondition("SKU", format!("sku/{sku}"), each))
}

fn exceeded(excesses: &[Excess]) -> Problem {
    let message = match excesses {
        [one] => format!("{}: {} named, {} left for this", one.portion.sku, one.portion.units, one.left),
        _ => format!("{} portions name more units than are left", excesses.len()),
    };
    let problem = Problem::new(ErrorReason::QuantityExceeded, message).metadata("portions", excesses.len());
    excesses.iter().take(LISTED_MAX).enumerate().fold(problem, |problem, (listed, excess)| {
        let Excess { index, portion, left } = excess;
        let at = portion.location.as_ref().map_or_else(String::new, |location| format!(" at {location}"));
        let description = format!("portion {index}: {} named, {left} left{at}", portion.units);
        problem
            .precondition("QUANTITY", format!("sku/{}", portion.sku), description)
            .metadata(format!("short[{listed}].portion"), index)
            .metadata(format!("short[{listed}].sku"), &portion.sku)
            .metadata(format!("short[{listed}].requested"), portion.units)
            .metadata(format!("short[{listed}].available"), left)
    })
}

/// Rows that nobody knows, where the request's fields are not at hand.
fn unknown_rows(rows: &[(Sku, Option<Location>)]) -> Problem {
    let mut violations = Violations::new();
    for (sku, location) in rows {
        violations.add("sku", unknown(sku, location.as_ref()));
    }
    violations.into_problem_as(ErrorReason::UnknownSku)
}

/// UNKNOWN_SKU for a list of a request whose entries name a SKU and perhaps where: every entry that is of one of the unknown rows is named.
pub(crate) fn unknown_entries<'a>(
    entries: impl Iterator<Item = (String, &'a Sku, Option<&'a Location>)>,
    unknown_rows: &[(Sku, Option<Location>)],
) -> Problem {
    let mut violations = Violations::new();
    for (field, sku, location) in entries {
        let is_it =
            |(unknown, at): &(Sku, Option<Location>)| unknown == sku && (at.is_none() || at.as_ref() == location);
        if let Some((_, at)) = unknown_rows.iter().find(|row| is_it(row)) {
            violations.add(field, unknown(sku, at.as_ref()));
        }
    }
    violations.into_problem_as(ErrorReason::UnknownSku)
}

/// Moves that would take more than there is. Each is carried out as two adjustments, what leaves and what enters.
pub(crate) fn negative_moves(adjustments: &[NegativeAdjustment]) -> Problem {
    let problem = Problem::new(ErrorReason::StockWouldBeNegative, "more units would be moved than there are");
    adjustments.iter().take(LISTED_MAX).fold(problem, |problem, a| {
        let (index, units) = (a.index / 2, a.delta.saturating_neg());
        let description =
            format!("moves[{index}]: {} {} at {}, cannot move {units}", a.present, a.condition, a.location);
        problem.precondition("STOCK", format!("sku/{}", a.sku), description)
    })
}

/// UNKNOWN_SKU, naming the fields: `lines` are those of the request with their index, `unknown_rows` what the record does not have, `within` what stands before a
/// line's field.
pub(crate) fn unknown_sku_problem(
    lines: &[(usize, Sku, Option<Location>)],
    unknown_rows: &[(Sku, Option<Location>)],
    mut violations: Violations,
    reason: ErrorReason,
    within: &str,
) -> Problem {
    let alone = violations.is_empty();
    for (index, sku, location) in lines {
        if unknown_rows.iter().any(|(unknown, at)| unknown == sku && at == location) {
            violations.add(format_args!("{within}lines[{index}].sku"), unknown(sku, location.as_ref()));
        }
    }
    let reason = match (alone, violations.is_empty()) {
        (true, false) => ErrorReason::UnknownSku,
        _ => reason,
    };
    violations.into_problem_as(reason)
}

fn unknown(sku: &Sku, location: Option<&Location>) -> String {
    location.map_or_else(|| format!("{sku} is not known"), |at| format!("{sku} is not stocked at {at}"))
}

fn negative(adjustments: &[NegativeAdjustment]) -> Problem {
    let problem = Problem::new(ErrorReason::StockWouldBeNegative, "more units would be removed than there are");
    adjustments.iter().take(LISTED_MAX).fold(problem, |problem, a| {
        let subject = format!("sku/{}", a.sku);
        let description =
            format!("entry {}: {} {} at {}, cannot change by {}", a.index, a.present, a.condition, a.location, a.delta);
        problem.precondition("STOCK", subject, description)
    })
}

fn out_of_range(rows: &[RowKey]) -> Problem {
    let mut violations = Violations::new();
    for (sku, location) in rows {
        violations.add("quantity", format_args!("{sku} at {location} would have more units than a row can have"));
    }
    violations.into_problem()
}
