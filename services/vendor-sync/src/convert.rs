//! Between the wire and vendor-sync's own types. What comes in is checked here, all fields at once.

mod connections;
mod house;
mod offers;
mod quarantine;

pub use connections::{
    Change, Fetchable, HOUSE, Switch, changed, connection, connection_key, create_connection, created,
    nothing_to_look_at, switch, update_connection,
};
pub use house::{
    Adjust, TYPED_COLUMNS, Typed, TypedCounts, adjust_key, adjustment, guard_view, house_level, kept_adjustments,
    submit_adjustments, submit_counts, typed_key, unknown_sku_fields,
};
pub use offers::told_offers;
pub use quarantine::{
    ToDecide, decide_quarantined, decide_run, not_quarantined, quarantine_filter, quarantine_id, quarantined_row,
};

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_kit::{Problem, Violations, page};
use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::model::{HouseFile, Moment, RowOutcome, Run, RunOrigin, RunRow, RunState, Totals, Upload};
use crate::store::RequestKey;

/// How far a vendor's clock may be ahead of ours.
pub const AHEAD_MAX: Duration = Duration::minutes(5);
/// The longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// A file that is announced, before its bytes are there.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The key that the caller made.
    pub request_id: Uuid,
    /// The connection's code.
    pub connection: String,
    /// When the vendor counted, to the microsecond.
    pub as_of: OffsetDateTime,
    /// What the file is called.
    pub file_name: String,
    /// How large it is, if that was said.
    pub size_bytes: Option<u64>,
    /// What else is said of a file of the shop's own.
    pub house: Option<HouseFile>,
}

/// What UploadFeed's first message announces.
///
/// # Errors
/// INVALID_FIELD.
pub fn announced(spec: wire::UploadFeedSpec) -> Result<Announced, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("spec.request_id", &spec.request_id);
    violations.check_code("spec.connection", &spec.connection);
    violations.check_text("spec.file_name", &spec.file_name, 0..=FILE_NAME_BYTES_MAX);
    violations.check_range("spec.size_bytes", spec.size_bytes, 0..=i64::MAX);
    let size_bytes = u64::try_from(spec.size_bytes).ok().filter(|size| *size > 0);
    let as_of = spec.as_of_time.and_then(moment);
    if as_of.is_none() {
        violations.add("spec.as_of_time", "is required: when the vendor counted, from 1970 on");
    }
    let house = house::of_spec(&mut violations, &spec);
    match (request_id, as_of) {
        (Some(request_id), Some(as_of)) if violations.is_empty() => {
            let wire::UploadFeedSpec { connection, file_name, .. } = spec;
            Ok(Announced { request_id, connection, as_of, file_name, size_bytes, house })
        }
        _ => Err(violations.into_problem()),
    }
}

/// Looks whether a file's as_of is not too far ahead of Postgres's clock.
///
/// # Errors
/// INVALID_FIELD.
pub fn check_as_of(as_of: OffsetDateTime, present_time: OffsetDateTime) -> Result<(), Problem> {
    let mut violations = Violations::new();
    if as_of - present_time > AHEAD_MAX {
        violations.add("spec.as_of_time", "may be at most 5 minutes ahead of the server's clock");
    }
    violations.into_result()
}

/// The key under which a file is received once.
#[must_use]
pub fn upload_key(request_id: Uuid, upload: &Upload) -> RequestKey {
    let parts = Fingerprint::new()
        .part(&upload.connection)
        .part(upload.as_of.unix_timestamp_nanos().to_be_bytes())
        .part(&upload.file_name)
        .part(upload.sha256);
    let parts = upload.house.iter().fold(parts, |parts, house| parts.part(&house.location).part(&house.typed_by));
    RequestKey { request_id, kind: "UploadFeed", payload_hash: parts.finish() }
}

/// A connection's code to look up.
///
/// # Errors
/// INVALID_FIELD.
pub fn code(code: String) -> Result<String, Problem> {
    let mut violations = Violations::new();
    violations.check_code("code", &code);
    violations.into_result().map(|()| code)
}

/// A run to look up.
///
/// # Errors
/// INVALID_FIELD.
pub fn run_id(run_id: &str) -> Result<Uuid, Problem> {
    let mut violations = Violations::new();
    match violations.check_uuid("run_id", run_id) {
        Some(run_id) => Ok(run_id),
        None => Err(violations.into_problem()),
    }
}

/// The outcome to which a list of rows is limited; none is all. A number that is no outcome is a violation.
pub fn outcome(violations: &mut Violations, outcome: i32) -> Option<RowOutcome> {
    match wire::RowOutcome::try_from(outcome) {
        Ok(wire::RowOutcome::Unspecified) => None,
        Ok(wire::RowOutcome::Pending) => Some(RowOutcome::Pending),
        Ok(wire::RowOutcome::Applied) => Some(RowOutcome::Applied),
        Ok(wire::RowOutcome::Unchanged) => Some(RowOutcome::Unchanged),
        Ok(wire::RowOutcome::Stale) => Some(RowOutcome::Stale),
        Ok(wire::RowOutcome::Unmapped) => Some(RowOutcome::Unmapped),
        Ok(wire::RowOutcome::Rejected) => Some(RowOutcome::Rejected),
        Ok(wire::RowOutcome::Quarantined) => Some(RowOutcome::Quarantined),
        Ok(wire::RowOutcome::Conflict) => Some(RowOutcome::Conflict),
        Err(_) => {
            violations.add("outcome", format_args!("is none of the outcomes: {outcome}"));
            None
        }
    }
}

/// The state to which a list of runs is limited; none is all. A number that is no state is a violation.
pub fn run_state(violations: &mut Violations, state: i32) -> Option<RunState> {
    match wire::RunState::try_from(state) {
        Ok(wire::RunState::Unspecified) => None,
        Ok(wire::RunState::Applying) => Some(RunState::Applying),
        Ok(wire::RunState::Applied) => Some(RunState::Applied),
        Ok(wire::RunState::Refused) => Some(RunState::Refused),
        Ok(wire::RunState::Held) => Some(RunState::Held),
        Ok(wire::RunState::Rejected) => Some(RunState::Rejected),
        Ok(wire::RunState::Superseded) => Some(RunState::Superseded),
        Err(_) => {
            violations.add("state", format_args!("is none of the states: {state}"));
            None
        }
    }
}

/// A single field that is wrong.
#[must_use]
pub fn violation(field: &str, description: &str) -> Problem {
    let mut violations = Violations::new();
    violations.add(field, description);
    violations.into_problem()
}

/// How many items a page of a list has, after what else a check of its fields finds.
///
/// # Errors
/// INVALID_FIELD.
pub fn page_size(
    requested: i32,
    (default, max): (i32, i32),
    check: impl FnOnce(&mut Violations),
) -> Result<usize, Problem> {
    let mut violations = Violations::new();
    let size = page::page_size(requested, default, max, &mut violations);
    check(&mut violations);
    violations.into_result()?;
    Ok(usize::try_from(size).expect("kit's page sizes lie between 1 and the maximum"))
}

/// Nothing is known under a connection's code.
#[must_use]
pub fn no_connection(code: &str) -> Problem {
    Problem::new(ErrorReason::NotFound, format!("no connection has the code {code:?}")).resource("connection", code)
}

/// Nothing is known under a run's id.
#[must_use]
pub fn no_run(run_id: Uuid) -> Problem {
    Problem::new(ErrorReason::NotFound, format!("no run has the id {run_id}")).resource("run", run_id.to_string())
}

/// Catalog does not know what a connection refers to.
#[must_use]
pub fn unknown_references(unknown: Vec<(&'static str, String)>) -> Problem {
    let message = match unknown.as_slice() {
        [(kind, code)] => format!("no {kind} has the code {code:?}"),
        _ => "neither the vendor nor the location exists".to_owned(),
    };
    unknown.into_iter().fold(Problem::new(ErrorReason::UnknownReference, message), |problem, (kind, code)| {
        problem.precondition("UNKNOWN_REFERENCE", format!("{kind}/{code}"), format!("no {kind} has this code"))
    })
}

/// A run for the wire.
#[must_use]
pub fn run(run: Run) -> wire::Run {
    let state = match run.state {
        RunState::Applying => wire::RunState::Applying,
        RunState::Applied => wire::RunState::Applied,
        RunState::Refused => wire::RunState::Refused,
        RunState::Held => wire::RunState::Held,
        RunState::Rejected => wire::RunState::Rejected,
        RunState::Superseded => wire::RunState::Superseded,
    };
    let origin = match run.origin {
        RunOrigin::Upload => wire::RunOrigin::Upload,
        RunOrigin::DropFolder => wire::RunOrigin::DropFolder,
        RunOrigin::HttpPull => wire::RunOrigin::HttpPull,
        RunOrigin::Typed => wire::RunOrigin::Typed,
    };
    // A file that was held by an earlier version has a time at which it did not end.
    let end_time = run.end_time.filter(|_| run.state != RunState::Held);
    let Moment { as_of, .. } = run.moment;
    let Totals { rows, applied, unchanged, stale, unmapped, rejected, quarantined } = run.totals;
    wire::Run {
        run_id: run.run_id.to_string(),
        connection: run.connection,
        state: state.into(),
        as_of_time: Some(timestamp(as_of)),
        file_name: run.file_name,
        content_sha256: run.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        create_time: Some(timestamp(run.create_time)),
        end_time: end_time.map(timestamp),
        reason: run.reason,
        totals: Some(wire::RunTotals { rows, applied, unchanged, stale, unmapped, rejected, quarantined }),
        location: run.location,
        warnings: run.warnings,
        decided_by: run.decided_by,
        decision_reason: run.decision_reason,
        origin: origin.into(),
    }
}

/// A row of a report for the wire.
#[must_use]
pub fn row(row: RunRow) -> wire::RunRow {
    let outcome = row_outcome(row.outcome);
    wire::RunRow {
        line: row.line,
        vendor_sku: row.vendor_sku,
        raw_quantity: row.raw_quantity,
        sku: row.sku.unwrap_or_default(),
        quantity: row.units.unwrap_or_default(),
        outcome: outcome.into(),
        note: row.note,
        previous_on_hand: row.previous_on_hand.unwrap_or_default(),
        shortfall: row.shortfall.unwrap_or_default(),
        quarantine_id: row.quarantine_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn row_outcome(outcome: RowOutcome) -> wire::RowOutcome {
    match outcome {
        RowOutcome::Pending => wire::RowOutcome::Pending,
        RowOutcome::Applied => wire::RowOutcome::Applied,
        RowOutcome::Unchanged => wire::RowOutcome::Unchanged,
        RowOutcome::Stale => wire::RowOutcome::Stale,
        RowOutcome::Unmapped => wire::RowOutcome::Unmapped,
        RowOutcome::Rejected => wire::RowOutcome::Rejected,
        RowOutcome::Quarantined => wire::RowOutcome::Quarantined,
        RowOutcome::Conflict => wire::RowOutcome::Conflict,
    }
}

/// A time for the wire.
#[must_use]
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).expect("a second has fewer nanoseconds than i32::MAX");
    Timestamp { seconds: time.unix_timestamp(), nanos }
}

/// A vendor's moment, cut to the microseconds that Postgres keeps; none if it is no time from 1970 to 9999.
fn moment(timestamp: Timestamp) -> Option<OffsetDateTime> {
    let nanos = u32::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let seconds = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok().filter(|_| timestamp.seconds >= 0)?;
    seconds.replace_nanosecond(nanos / 1000 * 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_moment_is_kept_to_the_microsecond() {
        let kept = |seconds, nanos| moment(Timestamp { seconds, nanos }).map(timestamp);
        assert_eq!(kept(1, 123_456_789), Some(Timestamp { seconds: 1, nanos: 123_456_000 }));
        for (seconds, nanos) in [(-1, 0), (i64::MAX, 0), (1, -1), (1, 1_000_000_000), (253_402_300_800, 0)] {
            assert_eq!(kept(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn five_minutes_ahead_is_the_most() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        assert!(check_as_of(now + AHEAD_MAX, now).is_ok());
        let problem = check_as_of(now + AHEAD_MAX + Duration::microseconds(1), now).unwrap_err();
        assert_eq!(problem.reason(), ErrorReason::InvalidField);
    }
}
