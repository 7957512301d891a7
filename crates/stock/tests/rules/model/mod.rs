//! An exhaustive check of the protocol: every order in which two replicas, two buyers, their retries, a wiped Redis, a dying replica and the clock can act, with the real
//! planner and the real reading as the decisions. Each deliberate mistake is caught.
//!
//! Counts, several rows and Redis Cluster are not in it: the first two are in the property tests, the last is not built.

mod parts;
mod postgres;
mod promises;
mod protocol;
mod search;

use parts::{Broken, Request, Setup, Verb, When};
use search::search;

/// The first buyer's Reserve, its retry at the other replica (or a Release instead), and the second buyer's Reserve.
fn reserves(marked: bool) -> Vec<Request> {
    let request = |buyer, replica, verb, when, key| Request { buyer, replica, verb, when, key, unless: None };
    vec![
        request(0, 0, Verb::Reserve { marked: false }, When::AtOnce, 0),
        request(0, 1, Verb::Reserve { marked }, When::GaveUpOn(0), 1),
        request(1, 1, Verb::Reserve { marked: false }, When::AtOnce, 2),
    ]
}

/// Adds what a buyer does after a yes to an earlier request.
fn then(mut requests: Vec<Request>, after: usize, verb: Verb, replica: usize) -> Vec<Request> {
    let key = u8::try_from(requests.len()).unwrap();
    let buyer = requests[after].buyer;
    requests.push(Request { buyer, replica, verb, when: When::GotYes(after), key, unless: None });
    requests
}

fn retry_race(units: i8) -> Setup {
    Setup::new(units, [1, 1], reserves(true))
}

/// Either of the first buyer's attempts is confirmed, the second buyer releases; everything can go wrong.
fn confirm_and_release() -> Setup {
    let requests = then(then(reserves(true), 0, Verb::Confirm, 0), 2, Verb::Release, 1);
    let mut requests = then(requests, 1, Verb::Confirm, 0);
    requests[5].key = requests[3].key;
    Setup { ticks: 1, ..Setup::new(1, [1, 1], requests) }
}

/// A Confirm that is retried with its key at the other replica, against expiry and the other buyer's Confirm.
fn confirm_twice() -> Setup {
    let reserves = reserves(true);
    let mut requests = then(vec![reserves[0], reserves[2]], 0, Verb::Confirm, 0);
    requests.push(Request { replica: 1, when: When::GaveUpOn(2), ..requests[2] });
    let requests = then(requests, 1, Verb::Confirm, 1);
    Setup::new(1, [1, 1], requests)
}

/// A buyer that gave up closes its key by Release instead of asking again.
fn release_after_giving_up() -> Setup {
    let reserves = reserves(true);
    let release = Request { verb: Verb::Release, ..reserves[1] };
    Setup::new(1, [1, 1], vec![reserves[0], release, reserves[2]])
}

/// A hold that is extended across the time at which it would have ended.
fn extend() -> Setup {
    let reserves = reserves(true);
    let requests = then(vec![reserves[0], reserves[2]], 0, Verb::Extend, 1);
    let requests = then(requests, 2, Verb::Confirm, 0);
    Setup::new(1, [1, 1], requests)
}

fn holds(setup: &Setup) {
    let outcome = search(setup);
    if let Some(story) = outcome.broken {
        panic!("{story}");
    }
    assert!(outcome.states > 30_000, "the search went somewhere: {}", outcome.states);
}

#[track_caller]
fn caught(broken: Broken, setup: Setup, promise: &str) {
    let outcome = search(&Setup { broken, ..setup });
    let story = outcome.broken.unwrap_or_else(|| panic!("{broken:?} was not noticed in {} states", outcome.states));
    assert!(story.starts_with(promise), "caught for another reason: {story}");
}

#[test]
fn a_retry_races_its_first_attempt_for_the_last_unit_and_no_promise_is_broken() {
    holds(&retry_race(1));
}

#[test]
fn a_retry_races_its_first_attempt_while_there_is_enough_and_no_promise_is_broken() {
    holds(&retry_race(2));
}

#[test]
fn buyers_of_different_quantities_race_and_no_promise_is_broken() {
    holds(&Setup { wants: [1, 2], ..retry_race(2) });
}

#[test]
fn an_unmarked_retry_races_its_first_attempt_and_no_promise_is_broken() {
    holds(&Setup::new(1, [1, 1], reserves(false)));
}

#[test]
fn confirm_and_release_race_expiry_and_no_promise_is_broken() {
    holds(&confirm_and_release());
}

#[test]
fn a_retried_confirm_races_expiry_and_a_crash_and_no_promise_is_broken() {
    holds(&confirm_twice());
}

#[test]
fn a_release_after_giving_up_closes_the_key_and_no_promise_is_broken() {
    holds(&release_after_giving_up());
}

#[test]
fn an_extension_races_expiry_and_no_promise_is_broken() {
    holds(&extend());
}

#[test]
fn a_missing_counter_that_reads_as_zero_is_caught() {
    caught(Broken::MissingCounterReadsAsZero, retry_race(1), "U:");
}

#[test]
fn a_gates_refusal_answered_without_asking_postgres_is_caught() {
    caught(Broken::GateRefusalIsAnswered, retry_race(1), "U:");
}

#[test]
fn a_read_that_ignores_the_key_is_caught() {
    caught(Broken::ReadIgnoresTheKey, Setup::new(1, [1, 1], reserves(false)), "I4:");
}

#[test]
fn a_read_that_counts_due_holds_is_caught() {
    caught(Broken::ReadCountsDueHolds, retry_race(1), "U:");
}

#[test]
fn duplicate_keys_that_are_not_collapsed_are_caught() {
    caught(Broken::DuplicateKeysAreNotCollapsed, retry_race(2), "I4:");
}

#[test]
fn operations_of_a_batch_decided_apart_are_caught() {
    caught(Broken::OperationsAreDecidedApart, retry_race(1), "I2:");
}

#[test]
fn due_holds_that_the_committer_does_not_read_are_caught() {
    caught(Broken::DueHoldsAreNotRead, retry_race(1), "U:");
}

#[test]
fn a_confirm_that_ignores_the_state_is_caught() {
    caught(Broken::ConfirmIgnoresState, confirm_twice(), "I");
}

#[test]
fn a_confirm_by_a_late_clock_is_caught() {
    caught(Broken::ConfirmUsesALateClock, confirm_twice(), "I5:");
}

#[test]
fn a_marked_retry_refused_without_the_fence_is_caught() {
    caught(Broken::RetryIsRefusedWithoutAFence, confirm_and_release_of_a_rival(), "I4:");
}

#[test]
fn a_release_that_leaves_an_unknown_key_open_is_caught() {
    caught(Broken::ReleaseLeavesUnknownKeysOpen, release_after_giving_up(), "I4:");
}

#[test]
fn an_answer_before_the_commit_is_caught() {
    caught(Broken::AnswerBeforeCommit, retry_race(1), "I1:");
}

/// The second buyer gives its unit back, so that a late first attempt could land.
fn confirm_and_release_of_a_rival() -> Setup {
    Setup { crashes: 0, wipes: 0, ..Setup::new(1, [1, 1], then(reserves(true), 2, Verb::Release, 1)) }
}
