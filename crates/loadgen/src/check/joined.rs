//! One reservation's story: all that its callers saw of it, beside what the record has.

use std::collections::BTreeMap;

use holdfast_client::api::reservation::v1::{Reservation, ReservationState};
use holdfast_client::{RequestKey, ReservationKey};

use super::{Findings, SENTENCES_MAX};
use crate::history::{Answer, Call, Verb};

/// All calls for one reservation, in the order of their answers.
#[derive(Debug)]
pub(super) struct Story<'a> {
    pub(super) reservation: ReservationKey,
    calls: Vec<&'a Call>,
}

impl<'a> Story<'a> {
    pub(super) fn of_all(calls: &'a [Call]) -> Vec<Self> {
        let mut stories: BTreeMap<ReservationKey, Vec<&Call>> = BTreeMap::new();
        for call in calls {
            stories.entry(call.reservation).or_default().push(call);
        }
        stories.into_iter().map(|(reservation, calls)| Self { reservation, calls }).collect()
    }

    /// Holds the story against the record.
    pub(super) fn check(&self, record: Option<&Reservation>, findings: &mut Findings) {
        self.check_replays(findings);
        let state = record.map(Reservation::state);
        let granted = self.granted();
        match (granted, record) {
            (Some(answer), Some(record)) => self.check_acknowledged(answer, record, findings),
            (Some(_), None) => {
                self.lost(findings, "was acknowledged and is not in the record");
            }
            (None, _) => {
                let open = self.calls.iter().any(|call| is_open(call));
                if !open && state.is_some_and(took_units) {
                    findings.held_in_secret += 1;
                    let what = "was denied by every answer, and the record has it as";
                    self.say(findings.held_in_secret, format!("H: {} {what} {state:?}", self.reservation), findings);
                }
            }
        }
        if self.calls.iter().any(|call| call.verb == Verb::Reserve && is_open(call)) {
            if state.is_some_and(took_units) {
                findings.unknown_landed += 1;
            } else {
                findings.unknown_not_landed += 1;
            }
        }
        self.check_closed(state, findings);
    }

    /// The reservation as the first acknowledging answer had it.
    fn granted(&self) -> Option<&'a Reservation> {
        self.calls.iter().find_map(|call| match (&call.verb, &call.answer) {
            (Verb::Reserve, Answer::Done { reservation, .. }) => Some(&**reservation),
            _ => None,
        })
    }

    fn check_acknowledged(&self, answer: &Reservation, record: &Reservation, findings: &mut Findings) {
        if (&answer.lines, &answer.owner) != (&record.lines, &record.owner) {
            self.lost(findings, "has other lines or another owner in the record than in its answer");
        }
        let asked = self.asked();
        let answered: BTreeMap<_, _> = answer.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        let allocated = answer
            .lines
            .iter()
            .all(|line| line.allocations.iter().map(|part| part.quantity).sum::<i64>() == line.quantity);
        if asked != answered || !allocated {
            self.lost(findings, "was acknowledged with other lines than were asked for");
        }
        for (verb, wanted) in
            [(Verb::Confirm, ReservationState::Confirmed), (Verb::Release, ReservationState::Released)]
        {
            let done =
                self.calls.iter().filter(|call| call.verb == verb).any(
                    |call| matches!(&call.answer, Answer::Done { reservation, .. } if reservation.state() == wanted),
                );
            if done && record.state() != wanted {
                self.lost(findings, &format!("was {} to its caller, the record has {:?}", verb.name(), record.state()));
            }
        }
    }

    /// What the caller asked for, summed by SKU.
    fn asked(&self) -> BTreeMap<&str, i64> {
        let mut asked = BTreeMap::new();
        let reserve = self.calls.iter().find(|call| call.verb == Verb::Reserve);
        for line in reserve.into_iter().flat_map(|call| &call.lines) {
            *asked.entry(line.sku.as_str()).or_default() += line.quantity;
        }
        asked
    }

    /// Every answer of a key is its first one.
    fn check_replays(&self, findings: &mut Findings) {
        let mut first: BTreeMap<(Verb, Option<RequestKey>), &Reservation> = BTreeMap::new();
        for call in &self.calls {
            let Answer::Done { reservation, .. } = &call.answer else { continue };
            match first.get(&(call.verb, call.request)) {
                None => drop(first.insert((call.verb, call.request), reservation)),
                Some(before) if **before == **reservation => findings.replays_identical += 1,
                Some(before) => {
                    findings.replays_different += 1;
                    let what = format!(
                        "I4: {} of {} was answered {before:?}, then {reservation:?}",
                        call.verb.name(),
                        self.reservation
                    );
                    self.say(findings.replays_different, what, findings);
                }
            }
        }
    }

    /// A marked retry that was told "sold out" has closed the key: nothing may land after it, and a repetition gets the same no.
    fn check_closed(&self, state: Option<ReservationState>, findings: &mut Findings) {
        let reserves = || self.calls.iter().filter(|call| call.verb == Verb::Reserve);
        let refused = reserves().find(|call| call.attempt > 1 && matches!(call.answer, Answer::SoldOut(_)));
        let Some(refused) = refused else { return };
        let after = |call: &&&Call| call.invoked_micros >= refused.answered_micros;
        findings.replays_identical +=
            reserves().filter(after).filter(|call| matches!(call.answer, Answer::SoldOut(_))).count();
        let landed_later = reserves().filter(after).any(|call| call.answer.is_done());
        if landed_later || state.is_some_and(took_units) {
            findings.held_in_secret += 1;
            let what = format!("H: {} was closed by a refusal and still landed ({state:?})", self.reservation);
            self.say(findings.held_in_secret, what, findings);
        }
    }

    fn lost(&self, findings: &mut Findings, what: &str) {
        findings.lost += 1;
        self.say(findings.lost, format!("I1: {} {what}", self.reservation), findings);
    }

    fn say(&self, number: usize, what: String, findings: &mut Findings) {
        if number <= SENTENCES_MAX {
            findings.broken.push(what);
        }
    }
}

/// True if nobody can tell from the answer whether the call had its effect.
fn is_open(call: &Call) -> bool {
    matches!(call.answer, Answer::Unknown(_))
}

/// True for a reservation that holds or held units: not for a key that was closed before anything landed, which reads as RELEASED or REFUSED.
fn took_units(state: ReservationState) -> bool {
    match state {
        ReservationState::Held
        | ReservationState::Confirmed
        | ReservationState::Fulfilled
        | ReservationState::Expired
        | ReservationState::Cancelled => true,
        ReservationState::Unspecified | ReservationState::Released | ReservationState::Refused => false,
    }
}
