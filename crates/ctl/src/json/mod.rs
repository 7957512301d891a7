//! The API's messages as JSON values: fields named as in the protos, enums without their prefix, instants in RFC 3339, durations as `15m`.

mod catalog;
mod reservation;
mod vendor_sync;

use prost_types::{Duration, Timestamp};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use catalog::{import, location, offer, sku, sku_match, sku_state, vendor};
pub(crate) use reservation::{
    at_risk, audit_end, availability, changed, discrepancy, feed, ledger_entry, level, paused_sku, repair_result,
    reservation, reservation_event, row_availability, state,
};
pub(crate) use vendor_sync::{connection, house_level, quarantined, run, run_row, run_state};

/// The name of an enum's value without its prefix; empty for "unspecified".
fn short(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).filter(|name| *name != "UNSPECIFIED").unwrap_or_default()
}

/// An instant for people and programs, or null.
pub(crate) fn instant(at: Option<&Timestamp>) -> Value {
    let formatted = at.and_then(|at| {
        let seconds = OffsetDateTime::from_unix_timestamp(at.seconds).ok()?;
        let micros = u32::try_from(at.nanos).ok()? / 1_000;
        seconds.replace_microsecond(micros).ok()?.format(&Rfc3339).ok()
    });
    formatted.map_or(Value::Null, Value::String)
}

/// A duration as the command line takes it: in the largest unit that leaves nothing over; or null.
fn duration(duration: Option<&Duration>) -> Value {
    let Some(duration) = duration else { return Value::Null };
    let milliseconds = i128::from(duration.seconds) * 1_000 + i128::from(duration.nanos) / 1_000_000;
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let fits = |(unit, _): &&(i128, &str)| milliseconds % unit == 0;
    let (unit, name) = units.iter().find(fits).expect("a millisecond leaves nothing over");
    Value::String(format!("{}{name}", milliseconds / unit))
}

#[cfg(test)]
mod tests {
    use holdfast_client::api::vendorsync::v1::{Run, RunState};

    use super::*;

    #[test]
    fn instants_are_rfc_3339_and_enums_have_short_names() {
        let run = Run {
            state: RunState::Applied.into(),
            as_of_time: Some(Timestamp { seconds: 1_772_359_200, nanos: 500_000_000 }),
            ..Run::default()
        };
        let value = self::run(&run);
        assert_eq!(value["state"], "APPLIED");
        assert_eq!(value["as_of_time"], "2026-03-01T10:00:00.5Z");
        assert_eq!(value["end_time"], Value::Null);
        assert_eq!(state(99), "", "a value from a newer server is not made up");
    }

    #[test]
    fn durations_read_as_they_are_written() {
        for (seconds, nanos, written) in
            [(86_400, 0, "1d"), (5_400, 0, "90m"), (7_200, 0, "2h"), (61, 0, "61s"), (1, 500_000_000, "1500ms")]
        {
            let value = duration(Some(&Duration { seconds, nanos }));
            assert_eq!(value, written);
            let read = crate::parse::duration(written).unwrap();
            assert_eq!(i64::try_from(read.as_secs()).unwrap(), seconds, "{written}");
        }
        assert_eq!(duration(None), Value::Null);
    }
}
