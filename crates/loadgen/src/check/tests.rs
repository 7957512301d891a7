//! The checks find what they look for: a sound run passes, and each lie is noticed.

use std::collections::HashMap;

use holdfast_client::api::reservation::v1::{
    Allocation, LedgerCause, LedgerEntry, Reservation, ReservationLine, ReservationState,
};
use holdfast_client::{Line, RequestKey, ReservationKey};
use prost_types::Timestamp;

use super::{ClockReading, Evidence, Findings, check};
use crate::history::{Answer, Call, Verb};

const SKU: &str = "CHAIR";

/// A run that is told step by step; times are microseconds by either clock.
#[derive(Default)]
struct Run {
    calls: Vec<Call>,
    records: HashMap<ReservationKey, Reservation>,
    ledger: Vec<LedgerEntry>,
}

impl Run {
    /// A run in which `units` were counted at time 0.
    fn with_units(units: i64) -> Self {
        let mut run = Self::default();
        run.entry(0, LedgerCause::Count, &RequestKey::new().to_string(), units, 0, 0);
        run
    }

    fn entry(&mut self, at: i64, cause: LedgerCause, id: &str, on_hand: i64, held: i64, committed: i64) {
        self.ledger.push(LedgerEntry {
            sku: SKU.into(),
            location: "HALL".into(),
            version: i64::try_from(self.ledger.len()).unwrap() + 1,
            create_time: timestamp(at),
            cause: cause.into(),
            cause_id: id.to_owned(),
            on_hand_delta: on_hand,
            held_delta: held,
            committed_delta: committed,
            ..LedgerEntry::default()
        });
    }

    fn call(&mut self, verb: Verb, id: ReservationKey, attempt: u32, times: (i64, i64), answer: Answer) {
        let lines = if verb == Verb::Reserve { vec![Line::anywhere(SKU, 1)] } else { Vec::new() };
        let request = (verb != Verb::Reserve).then(RequestKey::new);
        let (invoked_micros, answered_micros) = times;
        self.calls.push(Call {
            caller: 1,
            verb,
            reservation: id,
            request,
            attempt,
            lines,
            invoked_micros,
            answered_micros,
            answer,
        });
    }

    /// A hold of one unit, from the call to the record.
    fn hold(&mut self, times: (i64, i64), until: i64) -> ReservationKey {
        let id = ReservationKey::new();
        let reservation = reservation(id, ReservationState::Held, until);
        self.entry((times.0 + times.1) / 2, LedgerCause::Reserve, &id.to_string(), 0, 1, 0);
        self.call(Verb::Reserve, id, 1, times, done(&reservation));
        self.records.insert(id, reservation);
        id
    }

    fn sold_out(&mut self, times: (i64, i64)) -> ReservationKey {
        let id = ReservationKey::new();
        self.call(Verb::Reserve, id, 1, times, Answer::SoldOut(Vec::new()));
        id
    }

    fn end(&mut self, id: ReservationKey, at: i64, cause: LedgerCause, state: ReservationState) {
        self.entry(at, cause, &id.to_string(), 0, -1, i64::from(cause == LedgerCause::Confirm));
        self.records.get_mut(&id).unwrap().state = state.into();
    }

    fn check(&self) -> Findings {
        let ledgers = HashMap::from([(SKU.to_owned(), self.ledger.clone())]);
        let clock = ClockReading { offset_micros: 0, uncertainty_micros: 10 };
        check(&Evidence { calls: &self.calls, records: &self.records, ledgers: &ledgers, clock })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "messages have it so")]
fn timestamp(micros: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: micros / 1_000_000, nanos: i32::try_from(micros % 1_000_000).unwrap() * 1_000 })
}

fn reservation(id: ReservationKey, state: ReservationState, until: i64) -> Reservation {
    let allocations = vec![Allocation { location: "HALL".into(), quantity: 1, ..Allocation::default() }];
    Reservation {
        reservation_id: id.to_string(),
        owner: "cart".into(),
        state: state.into(),
        lines: vec![ReservationLine { sku: SKU.into(), quantity: 1, allocations }],
        expire_time: timestamp(until),
        ..Reservation::default()
    }
}

fn done(reservation: &Reservation) -> Answer {
    let current_state = reservation.state();
    Answer::Done { reservation: Box::new(reservation.clone()), current_state, replayed: false }
}

const LATE: i64 = 3_600_000_000;
const SECOND: i64 = 1_000_000;

#[test]
fn a_sound_run_has_no_findings() {
    let mut run = Run::with_units(1);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    run.sold_out((2 * SECOND, 2 * SECOND + 200));
    run.end(id, 3 * SECOND, LedgerCause::Confirm, ReservationState::Confirmed);
    let sold = reservation(id, ReservationState::Confirmed, LATE);
    run.call(Verb::Confirm, id, 1, (3 * SECOND, 3 * SECOND + 100), done(&sold));
    run.sold_out((9 * SECOND, 9 * SECOND + 200));
    let findings = run.check();
    assert_eq!(findings.broken, Vec::<String>::new());
    assert_eq!((findings.refusals_checked, findings.falsely_refused, findings.oversold_units), (2, 0, 0));
}

#[test]
fn a_refusal_while_a_unit_was_there_is_false() {
    let mut run = Run::with_units(2);
    run.hold((SECOND, SECOND + 200), LATE);
    run.sold_out((20 * SECOND, 20 * SECOND + 200));
    let findings = run.check();
    assert_eq!((findings.refusals_checked, findings.falsely_refused), (1, 1));
    assert!(findings.broken[0].starts_with("U: "), "{:?}", findings.broken);
}

#[test]
fn a_refusal_after_a_release_was_acknowledged_is_false_and_before_it_is_not() {
    let mut run = Run::with_units(1);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    run.end(id, 5 * SECOND, LedgerCause::Release, ReservationState::Released);
    let released = reservation(id, ReservationState::Released, LATE);
    run.call(Verb::Release, id, 1, (5 * SECOND - 100, 5 * SECOND + 500), done(&released));
    run.sold_out((5 * SECOND + 200, 5 * SECOND + 300));
    assert_eq!(run.check().falsely_refused, 0, "the release was not acknowledged yet");
    run.sold_out((5 * SECOND + 600, 5 * SECOND + 700));
    assert_eq!(run.check().falsely_refused, 1, "it had been acknowledged for 100 µs");
}

#[test]
fn a_refusal_because_of_a_hold_that_is_over_is_false_though_the_row_still_has_it() {
    let mut run = Run::with_units(1);
    let id = run.hold((SECOND, SECOND + 200), 4 * SECOND);
    run.end(id, 9 * SECOND, LedgerCause::Expire, ReservationState::Expired);
    run.sold_out((4 * SECOND - 1_000, 4 * SECOND - 500));
    assert_eq!(run.check().falsely_refused, 0);
    run.sold_out((4 * SECOND + 1_000, 4 * SECOND + 2_000));
    assert_eq!(run.check().falsely_refused, 1);
}

#[test]
fn more_taken_than_there_is_is_oversold() {
    let mut run = Run::with_units(1);
    run.hold((SECOND, SECOND + 200), LATE);
    run.hold((2 * SECOND, 2 * SECOND + 200), LATE);
    let findings = run.check();
    assert_eq!(findings.oversold_units, 1);
    assert!(findings.broken.iter().any(|what| what.starts_with("I2: ")), "{:?}", findings.broken);
}

#[test]
fn an_acknowledged_reservation_that_is_not_in_the_record_is_lost() {
    let mut run = Run::with_units(5);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    run.records.remove(&id);
    assert_eq!(run.check().lost, 1);
}

#[test]
fn an_acknowledged_reservation_with_other_lines_is_lost() {
    let mut run = Run::with_units(5);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    run.records.get_mut(&id).unwrap().lines[0].quantity = 2;
    assert_eq!(run.check().lost, 1);
}

#[test]
fn a_sale_that_the_record_forgot_is_lost() {
    let mut run = Run::with_units(5);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    let sold = reservation(id, ReservationState::Confirmed, LATE);
    run.call(Verb::Confirm, id, 1, (3 * SECOND, 3 * SECOND + 100), done(&sold));
    assert_eq!(run.check().lost, 1, "the record still has it as held");
}

#[test]
fn a_reservation_that_every_answer_denied_must_not_hold_units() {
    let mut run = Run::with_units(0);
    let id = run.sold_out((SECOND, SECOND + 200));
    assert_eq!(run.check().held_in_secret, 0);
    run.records.insert(id, reservation(id, ReservationState::Held, LATE));
    assert_eq!(run.check().held_in_secret, 1);
}

#[test]
fn an_unknown_outcome_is_resolved_by_the_record() {
    let mut run = Run::with_units(5);
    let landed = run.hold((SECOND, SECOND + 200), LATE);
    run.calls[0].answer = Answer::Unknown("timed out".into());
    let not = ReservationKey::new();
    run.call(Verb::Reserve, not, 1, (SECOND, SECOND + 200), Answer::Unknown("timed out".into()));
    let findings = run.check();
    assert_eq!((findings.unknown_landed, findings.unknown_not_landed), (1, 1), "{landed} landed, {not} did not");
    assert_eq!(findings.broken, Vec::<String>::new());
}

#[test]
fn a_key_that_a_marked_retry_closed_must_stay_closed() {
    let mut run = Run::with_units(0);
    let id = ReservationKey::new();
    run.call(Verb::Reserve, id, 1, (SECOND, SECOND + 100), Answer::Unknown("timed out".into()));
    run.call(Verb::Reserve, id, 2, (2 * SECOND, 2 * SECOND + 100), Answer::SoldOut(Vec::new()));
    run.records.insert(id, reservation(id, ReservationState::Refused, LATE));
    assert_eq!(run.check().broken, Vec::<String>::new());
    run.records.insert(id, reservation(id, ReservationState::Expired, LATE));
    assert_eq!(run.check().held_in_secret, 1);
}

#[test]
fn a_replay_that_differs_is_noticed() {
    let mut run = Run::with_units(5);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    let mut same = reservation(id, ReservationState::Held, LATE);
    run.call(Verb::Reserve, id, 1, (2 * SECOND, 2 * SECOND + 100), done(&same));
    assert_eq!(run.check().replays_identical, 1);
    same.expire_time = timestamp(LATE + 1);
    run.call(Verb::Reserve, id, 1, (3 * SECOND, 3 * SECOND + 100), done(&same));
    assert_eq!(run.check().replays_different, 1);
}

#[test]
fn a_reservation_that_takes_units_twice_is_noticed() {
    let mut run = Run::with_units(5);
    let id = run.hold((SECOND, SECOND + 200), LATE);
    run.entry(2 * SECOND, LedgerCause::Reserve, &id.to_string(), 0, 1, 0);
    let findings = run.check();
    assert_eq!(findings.charged_twice, 1);
    assert!(findings.broken.iter().any(|what| what.starts_with("I4: ")), "{:?}", findings.broken);
}
