//! What each of the server's reasons becomes.

use super::*;

fn status(reason: ErrorReason, code: Code) -> Status {
    let reason = reason.as_str_name().strip_prefix(REASON_PREFIX).unwrap();
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, "words", details)
}

fn all_reasons() -> impl Iterator<Item = ErrorReason> {
    (1..100).filter_map(|number| ErrorReason::try_from(number).ok())
}

#[test]
fn every_reason_becomes_an_error_that_keeps_its_name() {
    assert_eq!(all_reasons().count(), 38);
    for reason in all_reasons() {
        let error = Failure::from_status(&status(reason, Code::Internal)).error;
        match error.reason() {
            Some(name) => assert_eq!(format!("{REASON_PREFIX}{name}"), reason.as_str_name()),
            None => assert_eq!(error.outcome(), Outcome::Unknown, "{reason:?}"),
        }
    }
}

#[test]
fn only_the_store_the_clock_and_defects_leave_the_outcome_unknown() {
    for reason in all_reasons() {
        let unknown = matches!(
            reason,
            ErrorReason::StoreUnavailable
                | ErrorReason::ShuttingDown
                | ErrorReason::DeadlineExceeded
                | ErrorReason::Internal
        );
        let error = Failure::from_status(&status(reason, Code::Unavailable)).error;
        assert_eq!(error.outcome() == Outcome::Unknown, unknown, "{reason:?}");
    }
}

#[test]
fn a_short_line_has_its_numbers() {
    let metadata = [("short[0].requested", "3"), ("short[0].available", "1"), ("short[1].requested", "?")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut details = ErrorDetails::with_error_info("INSUFFICIENT_STOCK", DOMAIN, metadata);
    details.add_precondition_failure_violation("STOCK", "sku/CHAIR", "requested 3, available 1");
    details.add_precondition_failure_violation("STOCK", "sku/TABLE", "sold out");
    let status = Status::with_error_details(Code::FailedPrecondition, "short", details);
    let Error::Insufficient { lines, .. } = Failure::from_status(&status).error else { panic!("not insufficient") };
    assert_eq!(lines[0].subject, "sku/CHAIR");
    assert_eq!((lines[0].requested, lines[0].available), (Some(3), Some(1)));
    assert_eq!((lines[1].requested, lines[1].available), (None, None));
}

#[test]
fn violations_come_with_their_total() {
    let metadata = [("violations".to_owned(), "101".to_owned())];
    let mut details = ErrorDetails::with_error_info("INVALID_FIELD", DOMAIN, metadata);
    details.add_bad_request_violation("lines[0].quantity", "must be at least 1");
    let status = Status::with_error_details(Code::InvalidArgument, "bad", details);
    let Error::Invalid { violations, total, .. } = Failure::from_status(&status).error else { panic!("not invalid") };
    assert_eq!(total, 101);
    assert_eq!(violations[0].field, "lines[0].quantity");
}

#[test]
fn a_no_after_an_open_attempt_is_only_certain_if_it_settles_that_attempt() {
    let after = |reason| Failure::from_status(&status(reason, Code::FailedPrecondition)).into_error(2, true);
    assert_eq!(after(ErrorReason::InsufficientStock).outcome(), Outcome::Certain);
    assert_eq!(after(ErrorReason::ReservationReleased).outcome(), Outcome::Certain);
    assert_eq!(after(ErrorReason::Overloaded).outcome(), Outcome::Unknown);
    assert_eq!(after(ErrorReason::KeyOutOfWindow).outcome(), Outcome::Unknown);
    assert_eq!(after(ErrorReason::StockWouldBeNegative).outcome(), Outcome::Unknown);
    assert_eq!(after(ErrorReason::AlreadyDecided).outcome(), Outcome::Unknown, "the first attempt may have decided");
    assert_eq!(after(ErrorReason::EtagMismatch).outcome(), Outcome::Unknown, "the first attempt may have changed it");
}

#[test]
fn another_domains_error_is_not_taken_for_holdfasts() {
    let details = ErrorDetails::with_error_info("INSUFFICIENT_STOCK", "example.com", []);
    let status = Status::with_error_details(Code::Aborted, "proxy", details);
    assert_eq!(Failure::from_status(&status).error.outcome(), Outcome::Unknown);
}
