//! What people write on a command line: durations, instants, lines of a cart.

use std::time::{Duration, SystemTime};

use holdfast_client::Line;
use holdfast_client::api::reservation::v1::Portion;
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads `90`, `90s`, `15m`, `2h`, `1d` or `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write 500ms, 90s, 15m, 2h or 1d");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| wrong())?;
    let milliseconds = match &text[end..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    };
    let duration = Duration::from_millis(milliseconds.ok_or_else(wrong)?);
    if duration.is_zero() { Err("a duration is above zero".to_owned()) } else { Ok(duration) }
}

/// A value, or the word `none` for its absence.
pub(crate) type OrNone<T> = Given<Option<T>>;

/// What was given for a flag. A type of its own, so that a flag can be absent, none, or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<T>(pub(crate) T);

impl<T> Given<Option<T>> {
    pub(crate) fn as_ref(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

/// Reads a duration, or `none`.
pub(crate) fn duration_or_none(text: &str) -> Result<OrNone<Duration>, String> {
    if text == "none" { Ok(Given(None)) } else { duration(text).map(|duration| Given(Some(duration))) }
}

/// Reads an instant, or `none`.
pub(crate) fn instant_or_none(text: &str) -> Result<OrNone<Timestamp>, String> {
    if text == "none" { Ok(Given(None)) } else { instant(text).map(|instant| Given(Some(instant))) }
}

/// Reads a channel's cap, `CHANNEL=UNITS`, or `none`.
pub(crate) fn cap_or_none(text: &str) -> Result<OrNone<(String, i64)>, String> {
    if text == "none" {
        return Ok(Given(None));
    }
    let wrong = || format!("{text:?} is not a cap; write CHANNEL=UNITS, for example web=100, or none");
    // From the right: a channel may have an equals sign in it, a quantity has not.
    let (channel, units) = text.rsplit_once('=').ok_or_else(wrong)?;
    let units = units.parse().map_err(|_| wrong())?;
    if channel.is_empty() { Err(wrong()) } else { Ok(Given(Some((channel.to_owned(), units)))) }
}

/// Reads codes with commas between them, or `none`.
pub(crate) fn codes_or_none(text: &str) -> Result<OrNone<Vec<String>>, String> {
    if text == "none" {
        return Ok(Given(None));
    }
    let codes: Vec<String> = text.split(',').map(|code| code.trim().to_owned()).collect();
    if codes.iter().any(String::is_empty) {
        return Err(format!("{text:?} has an empty code; write HALL,SHOP or none"));
    }
    Ok(Given(Some(codes)))
}

/// As protobuf has it. A duration too long for protobuf (300 billion years) is sent as the longest, which the server refuses by name.
pub(crate) fn proto_duration(duration: Duration) -> prost_types::Duration {
    let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
    prost_types::Duration::try_from(duration).unwrap_or(longest)
}

/// Reads a counted number: `SKU=QUANTITY`.
pub(crate) fn count(text: &str) -> Result<(String, i64), String> {
    let wrong = || format!("{text:?} is not a count; write SKU=QUANTITY, for example CHAIR-1=150");
    // From the right: a SKU may have an equals sign in it, a quantity has not.
    let (sku, quantity) = text.rsplit_once('=').ok_or_else(wrong)?;
    let quantity = quantity.parse().map_err(|_| wrong())?;
    if sku.is_empty() { Err(wrong()) } else { Ok((sku.to_owned(), quantity)) }
}

/// Reads what was on hand before counting: `N`, or `SKU=N` where several are counted.
pub(crate) fn expected(text: &str) -> Result<(Option<String>, i64), String> {
    match text.parse() {
        Ok(units) => Ok((None, units)),
        Err(_) => count(text).map(|(sku, units)| (Some(sku), units)),
    }
}

/// Reads an instant as RFC 3339 has it (`2026-03-01T12:00:00Z`), or `now`.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(Timestamp::from(SystemTime::now()));
    }
    let instant = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("{text:?} is not an instant; write 2026-03-01T12:00:00Z, with its zone, or now"))?;
    let nanos = i32::try_from(instant.nanosecond()).expect("a second has fewer nanoseconds than an i32 holds");
    Ok(Timestamp { seconds: instant.unix_timestamp(), nanos })
}

/// Reads a line of a cart: `SKU=QUANTITY` or `SKU=QUANTITY@LOCATION`.
pub(crate) fn line(text: &str) -> Result<Line, String> {
    let wrong =
        || format!("{text:?} is not a line; write SKU=QUANTITY or SKU=QUANTITY@LOCATION, for example CHAIR-1=2");
    // From the right: a SKU may have an equals sign in it, a quantity has not.
    let (sku, rest) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (quantity, location) = match rest.split_once('@') {
        Some((quantity, location)) => (quantity, Some(location.to_owned())),
        None => (rest, None),
    };
    let quantity = quantity.parse().map_err(|_| wrong())?;
    if sku.is_empty() || location.as_deref() == Some("") {
        return Err(wrong());
    }
    Ok(Line { location, ..Line::anywhere(sku, quantity) })
}

/// Reads a part of a reservation, written as a line of a cart.
pub(crate) fn portion(text: &str) -> Result<Portion, String> {
    let Line { sku, quantity, location, .. } = line(text)?;
    Ok(Portion { sku, quantity, location: location.unwrap_or_default() })
}

/// Reads `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("3000ms", 3)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "m",
            "-1s",
            "1.5h",
            "1w",
            "0",
            "0s",
            "99999999999999999999s",
            "18446744073709551615h",
            "18446744073709551615d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_may_name_its_location_and_a_sku_may_have_an_equals_sign() {
        assert_eq!(line("CHAIR=2"), Ok(Line::anywhere("CHAIR", 2)));
        assert_eq!(line("CHAIR=2@HALL-1"), Ok(Line::at("CHAIR", 2, "HALL-1")));
        assert_eq!(line("A=B=3"), Ok(Line::anywhere("A=B", 3)));
        // What the server refuses by name is its to refuse.
        assert_eq!(line("CHAIR=-1"), Ok(Line::anywhere("CHAIR", -1)));
        for wrong in ["CHAIR", "=2", "CHAIR=", "CHAIR=two", "CHAIR=2@", "CHAIR=1.5"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flag_can_be_none() {
        assert_eq!(duration_or_none("none"), Ok(Given(None)));
        assert_eq!(duration_or_none("1h"), Ok(Given(Some(Duration::from_secs(3_600)))));
        assert_eq!(codes_or_none("A, B"), Ok(Given(Some(vec!["A".to_owned(), "B".to_owned()]))));
        assert!(codes_or_none("A,,B").is_err() && codes_or_none("").is_err());
        assert_eq!(cap_or_none("none"), Ok(Given(None)));
        assert_eq!(cap_or_none("a=b=0"), Ok(Given(Some(("a=b".to_owned(), 0)))));
        assert!(["", "web", "=1", "web=", "web=1.5", "web=none"].iter().all(|text| cap_or_none(text).is_err()));
        assert_eq!(instant_or_none("none"), Ok(Given(None)));
        assert!(instant_or_none("2026-03-01T12:00:00Z").is_ok() && instant_or_none("never").is_err());
    }

    #[test]
    fn a_count_is_a_whole_number_of_a_sku() {
        assert_eq!(count("CHAIR=150"), Ok(("CHAIR".to_owned(), 150)));
        assert_eq!(count("A=B=0"), Ok(("A=B".to_owned(), 0)));
        assert_eq!(expected("150"), Ok((None, 150)));
        assert_eq!(expected("A=B=0"), Ok((Some("A=B".to_owned()), 0)));
        for wrong in ["CHAIR", "=1", "CHAIR=", "CHAIR=1.5", "CHAIR=1,000", "CHAIR=2@HALL"] {
            assert!(count(wrong).is_err() && expected(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instant_needs_its_zone() {
        let instant_of = |text| instant(text).map(|at| (at.seconds, at.nanos));
        assert_eq!(instant_of("2026-03-01T12:00:00.5+02:00"), Ok((1_772_359_200, 500_000_000)));
        assert!(instant_of("2026-03-01T12:00:00").is_err());
        assert!(instant_of("yesterday").is_err());
        assert!(instant_of("now").is_ok());
    }
}
