//! Rules for the fields of the catalog, the same for a request and for a row of a file. Kit has those that all services share.

use holdfast_kit::Violations;

use crate::model::{ATTRIBUTES_MAX, Attributes, ChannelCap, Policy, PolicyChange};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 500;
/// The longest key of an attribute, in bytes.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 64;
/// The longest value of an attribute, in bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 500;
/// The largest pack, in units.
pub const PACK_SIZE_MAX: i64 = 100_000;

/// How much of an attribute's key is repeated in the name of a field, in characters.
const KEY_ECHO_CHARS_MAX: usize = 40;

/// A name: 0 to 500 bytes, no control characters.
pub fn check_name(violations: &mut Violations, field: &str, value: &str) {
    violations.check_text(field, value, 0..=NAME_BYTES_MAX);
}

/// A GTIN, or empty: 8, 12, 13 or 14 digits with a correct check digit.
pub fn check_gtin(violations: &mut Violations, field: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !matches!(value.len(), 8 | 12 | 13 | 14) || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        violations.add(field, "must be a GTIN of 8, 12, 13 or 14 digits, or empty");
    } else if !gtin_adds_up(value) {
        violations.add(field, "is a GTIN with a wrong check digit");
    }
}

/// One attribute's key and value; `entry` is the name of its field.
pub fn check_attribute(violations: &mut Violations, entry: &str, key: &str, value: &str) {
    if violations.check_text(format_args!("{entry} (key)"), key, 1..=ATTRIBUTE_KEY_BYTES_MAX) {
        violations.check_text(entry, value, 0..=ATTRIBUTE_VALUE_BYTES_MAX);
    }
}

/// Attributes: at most 50, keys of 1 to 64 bytes, values of at most 500, no control characters.
pub fn check_attributes(violations: &mut Violations, field: &str, attributes: &Attributes) {
    if attributes.len() > ATTRIBUTES_MAX {
        violations.add(field, format_args!("must have at most {ATTRIBUTES_MAX} entries, has {}", attributes.len()));
    }
    for (key, value) in attributes {
        let echo: String = key.chars().take(KEY_ECHO_CHARS_MAX).collect();
        check_attribute(violations, &format!("{field}[{echo:?}]"), key, value);
    }
}

/// The most units of a limit of a policy.
pub const UNITS_MAX: i64 = 1_000_000_000;
/// The most units in one reservation that a policy can name.
pub const RESERVATION_UNITS_MAX: i64 = 1_000_000;
/// The longest default hold, in seconds: 30 days.
pub const HOLD_SECONDS_MAX: i64 = 30 * 24 * 3600;
/// The most locations that a policy names.
pub const LOCATIONS_MAX: usize = 20;
/// The most channels that a policy caps.
pub const CHANNEL_CAPS_MAX: usize = 20;
/// The longest name of a channel, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 128;
/// The longest time from an order to its promised date, in seconds: 366 days.
pub const PROMISE_LEAD_SECONDS_MAX: i64 = 366 * 24 * 3600;
/// The dates that can be promised, in seconds since 1970: of the years 2000 to 2199.
const PROMISE_TIME_SECONDS: std::ops::Range<i64> = 946_684_800..7_258_118_400;

/// The new values in a change of a policy, each by itself; `field` is the policy's.
pub fn check_policy_change(violations: &mut Violations, field: &str, change: &PolicyChange) {
    let PolicyChange {
        safety_stock,
        backorder_limit,
        max_per_reservation,
        max_per_owner,
        default_hold_ns,
        locations,
        max_per_minute,
        channel_caps,
        promise_time_ns,
        promise_lead_seconds,
    } = change;
    for (name, value, max) in [
        ("safety_stock", safety_stock, UNITS_MAX),
        ("backorder_limit", backorder_limit, UNITS_MAX),
        ("max_per_reservation", max_per_reservation, RESERVATION_UNITS_MAX),
        ("max_per_owner", max_per_owner, UNITS_MAX),
        ("max_per_minute", max_per_minute, UNITS_MAX),
    ] {
        violations.check_range(format_args!("{field}.{name}"), value.unwrap_or(0), 0..=max);
    }
    let range = NANOS_PER_SECOND..=HOLD_SECONDS_MAX * NANOS_PER_SECOND;
    if default_hold_ns.is_some_and(|nanos| nanos != 0 && !range.contains(&nanos)) {
        violations.add(format_args!("{field}.default_hold_duration"), "must be 1 s to 30 days, or unset");
    }
    if let Some(locations) = locations {
        check_locations(violations, &format!("{field}.locations"), locations);
    }
    if let Some(caps) = channel_caps {
        check_channel_caps(violations, &format!("{field}.channel_caps"), caps);
    }
    if promise_time_ns.is_some_and(|nanos| nanos != 0 && !promisable(nanos)) {
        violations.add(format_args!("{field}.promise_time"), "must be an instant of the years 2000 to 2199, or unset");
    }
    if promise_lead_seconds.is_some_and(|seconds| seconds != 0 && !(1..=PROMISE_LEAD_SECONDS_MAX).contains(&seconds)) {
        let text = "must be whole seconds, 1 s to 366 days, or unset";
        violations.add(format_args!("{field}.promise_lead_duration"), text);
    }
}

/// Whether that instant, in nanoseconds since 1970, can be promised: one of the years 2000 to 2199.
#[must_use]
pub fn promisable(nanos: i64) -> bool {
    PROMISE_TIME_SECONDS.contains(&nanos.div_euclid(NANOS_PER_SECOND))
}

/// Caps of channels, in the order of the channels: at most 20, each channel once. A field is named by its channel, for the order is not the request's.
pub fn check_channel_caps(violations: &mut Violations, field: &str, caps: &[ChannelCap]) {
    if caps.len() > CHANNEL_CAPS_MAX {
        violations.add(field, format_args!("must have at most {CHANNEL_CAPS_MAX} entries, has {}", caps.len()));
        return;
    }
    for (index, ChannelCap { channel, quantity }) in caps.iter().enumerate() {
        let echo: String = channel.chars().take(KEY_ECHO_CHARS_MAX).collect();
        let entry = format!("{field}[{echo:?}]");
        violations.check_text(format_args!("{entry}.channel"), channel, 1..=CHANNEL_BYTES_MAX);
        violations.check_range(format_args!("{entry}.quantity"), *quantity, 0..=UNITS_MAX);
        if index > 0 && caps[index - 1].channel == *channel {
            violations.add(entry, "stands in the list twice");
        }
    }
}

/// Locations of a policy: at most 20 codes, each once.
pub fn check_locations(violations: &mut Violations, field: &str, locations: &[String]) {
    if locations.len() > LOCATIONS_MAX {
        violations.add(field, format_args!("must have at most {LOCATIONS_MAX} entries, has {}", locations.len()));
        return;
    }
    for (index, code) in locations.iter().enumerate() {
        let entry = format!("{field}[{index}]");
        if violations.check_code(&entry, code) && locations[..index].contains(code) {
            violations.add(entry, "stands in the list before");
        }
    }
}

/// A policy as a whole: who promises more than is there says where it will come from, and when in one way. A promise without a backorder limit is allowed and says
/// nothing, so that the date of a preorder can be there before its units and stay when they are sold.
pub fn check_policy(violations: &mut Violations, field: &str, policy: &Policy) {
    if policy.backorder_limit > 0 && policy.locations.is_empty() {
        violations.add(format_args!("{field}.locations"), BACKORDER_NEEDS_LOCATION);
    }
    if policy.promise_time_ns != 0 && policy.promise_lead_seconds != 0 {
        violations.add(format_args!("{field}.promise_lead_duration"), ONE_PROMISE);
    }
}

/// What is said of a policy that promises a date and a time of delivery.
pub const ONE_PROMISE: &str = "must be unset when promise_time is set";

/// What is said of a policy with a backorder limit and no locations.
pub const BACKORDER_NEEDS_LOCATION: &str =
    "must name a location when backorder_limit is above 0: its first one gets the backorders";

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What a check says of a single value, as a sentence without the field's name; `None` if nothing.
pub fn complaint(check: impl FnOnce(&mut Violations, &str)) -> Option<String> {
    const FIELD: &str = "value";
    let mut violations = Violations::new();
    check(&mut violations, FIELD);
    if violations.is_empty() {
        return None;
    }
    let problem = violations.into_problem();
    let message = problem.message();
    Some(message.strip_prefix(FIELD).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message).to_owned())
}

/// Whether the digits of a GTIN, weighted 1, 3, 1, 3 … from the right, add up to a multiple of ten.
fn gtin_adds_up(digits: &str) -> bool {
    let weighted = |(place, digit): (usize, u8)| u32::from(digit - b'0') * if place % 2 == 0 { 1 } else { 3 };
    digits.bytes().rev().enumerate().map(weighted).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gtin(value: &str) -> Option<String> {
        complaint(|violations, field| check_gtin(violations, field, value))
    }

    #[test]
    fn gtins_of_all_four_lengths_are_taken() {
        // Examples of the GS1 General Specifications and of products; none is made by the function under test.
        for good in ["", "96385074", "036000291452", "4006381333931", "10614141000415"] {
            assert_eq!(gtin(good), None, "{good}");
        }
    }

    #[test]
    fn every_wrong_digit_of_a_gtin_is_noticed() {
        let good = "4006381333931";
        for place in 0..good.len() {
            for digit in '0'..='9' {
                let mut wrong = good.to_owned();
                wrong.replace_range(place..=place, &digit.to_string());
                assert_eq!(gtin(&wrong).is_none(), wrong == good, "{wrong}");
            }
        }
    }

    #[test]
    fn what_is_no_gtin_is_said_to_be_none() {
        for bad in ["1", "123456789", "4006381333931 ", "40063813339AB", "４００６３８１３３３９３１", "-006381333931"]
        {
            assert_eq!(gtin(bad).as_deref(), Some("must be a GTIN of 8, 12, 13 or 14 digits, or empty"), "{bad}");
        }
    }

    #[test]
    fn a_complaint_does_not_repeat_the_field() {
        let complaint = complaint(|violations, field| {
            violations.check_sku(field, " A");
        });
        assert!(complaint.is_some_and(|text| text.starts_with("may not begin or end with white space")));
    }
}
