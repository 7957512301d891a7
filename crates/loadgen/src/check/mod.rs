//! What must be true of a run: the callers' histories joined with the record. Pure, so that it can be shown to find what it looks for.
//!
//! What a caller saw is trusted over what Holdfast says of itself; where they differ, an invariant is broken.

mod joined;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::{HashMap, HashSet};

use holdfast_client::ReservationKey;
use holdfast_client::api::reservation::v1::{LedgerEntry, Reservation};

use crate::history::{Answer, Call, Verb};
use joined::Story;
use timeline::{Instant, Timeline};

/// How the callers' clock and Postgres's relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// What to add to a caller's microseconds to get Postgres's, since 1970.
    pub offset_micros: i64,
    /// By how much that may be wrong, either way.
    pub uncertainty_micros: i64,
}

/// Everything that the checks look at.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What the callers saw.
    pub calls: &'a [Call],
    /// The record's reservations, by key.
    pub records: &'a HashMap<ReservationKey, Reservation>,
    /// The record's ledger of each SKU that is looked at, in any order.
    pub ledgers: &'a HashMap<String, Vec<LedgerEntry>>,
    /// How the clocks relate.
    pub clock: ClockReading,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Units promised beyond what was there, by the ledger, at the worst instant. Must be 0.
    pub oversold_units: i64,
    /// Refusals that were looked at: for each there must be an instant, between the call and its answer, at which the ledger shows fewer units than it
    /// asked for.
    pub refusals_checked: usize,
    /// Refusals without such an instant. Must be 0.
    pub falsely_refused: usize,
    /// Reservations that were acknowledged and are not in the record as they were acknowledged. Must be 0.
    pub lost: usize,
    /// Reservations that every answer denied, and that the record holds. Must be 0.
    pub held_in_secret: usize,
    /// Reservations that took units, or were sold, more than once. Must be 0.
    pub charged_twice: usize,
    /// Answers that repeated an earlier one of the same key, word for word.
    pub replays_identical: usize,
    /// Answers that differed from an earlier one of the same key. Must be 0.
    pub replays_different: usize,
    /// Reserves whose outcome at least one attempt left open, and that the record shows to have landed.
    pub unknown_landed: usize,
    /// The same, shown not to have landed.
    pub unknown_not_landed: usize,
    /// What is broken, one sentence each, the first of each kind in full.
    pub broken: Vec<String>,
}

/// How many sentences of a kind are kept.
const SENTENCES_MAX: usize = 3;

/// Runs all checks.
pub fn check(evidence: &Evidence<'_>) -> Findings {
    let mut findings = Findings::default();
    let stories = Story::of_all(evidence.calls);
    for story in &stories {
        story.check(evidence.records.get(&story.reservation), &mut findings);
    }
    let timelines: HashMap<&str, Timeline> = evidence
        .ledgers
        .iter()
        .map(|(sku, entries)| (sku.as_str(), Timeline::new(entries, evidence.records, &acknowledged(evidence))))
        .collect();
    for (sku, timeline) in &timelines {
        timeline.check_units(sku, &mut findings);
    }
    check_refusals(evidence, &timelines, &mut findings);
    findings
}

/// Until when, at the latest, the effect of a call was there for all to see: when its caller had the answer.
fn acknowledged(evidence: &Evidence<'_>) -> HashMap<(ReservationKey, Verb), Instant> {
    let mut acknowledged = HashMap::new();
    for call in evidence.calls.iter().filter(|call| call.answer.is_done()) {
        let at = call.answered_micros + evidence.clock.offset_micros + evidence.clock.uncertainty_micros;
        acknowledged
            .entry((call.reservation, call.verb))
            .and_modify(|first: &mut Instant| *first = at.min(*first))
            .or_insert(at);
    }
    acknowledged
}

/// Looks at every "sold out" whose lines' ledgers are all at hand.
fn check_refusals(evidence: &Evidence<'_>, timelines: &HashMap<&str, Timeline>, findings: &mut Findings) {
    let mut closed = HashSet::new();
    for call in evidence.calls {
        let Answer::SoldOut(_) = call.answer else { continue };
        // A closed key repeats its no, whatever there is since.
        if closed.contains(&call.reservation) || call.verb != Verb::Reserve {
            continue;
        }
        if call.attempt > 1 {
            closed.insert(call.reservation);
        }
        let mut asked: HashMap<(&str, Option<&str>), i64> = HashMap::new();
        for line in &call.lines {
            *asked.entry((line.sku.as_str(), line.location.as_deref())).or_default() += line.quantity;
        }
        if !asked.keys().all(|(sku, _)| timelines.contains_key(sku)) {
            continue;
        }
        findings.refusals_checked += 1;
        let doubt = evidence.clock.uncertainty_micros;
        let from = call.invoked_micros + evidence.clock.offset_micros - doubt;
        let to = call.answered_micros + evidence.clock.offset_micros + doubt;
        let was_short = asked.iter().any(|((sku, at), units)| timelines[sku].least_available(*at, from, to) < *units);
        if !was_short {
            findings.falsely_refused += 1;
            if findings.falsely_refused <= SENTENCES_MAX {
                let asked: Vec<_> = asked.iter().map(|((sku, _), units)| format!("{units} × {sku}")).collect();
                findings.broken.push(format!(
                    "U: buyer {} was refused {} under {} (attempt {}) although there was enough from {from} to {to} µs",
                    call.caller,
                    asked.join(", "),
                    call.reservation,
                    call.attempt
                ));
            }
        }
    }
}
