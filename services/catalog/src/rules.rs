//! Rules for the fields of the catalog, the same for a request and for a row of a file. Kit has those that all services share.

use holdfast_kit::Violations;

use crate::model::{ATTRIBUTES_MAX, Attributes};

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

/// Attributes: at most 50, keys of 1 to 64 bytes, values of at most 500, no control characters.
pub fn check_attributes(violations: &mut Violations, field: &str, attributes: &Attributes) {
    if attributes.len() > ATTRIBUTES_MAX {
        violations.add(field, format_args!("must have at most {ATTRIBUTES_MAX} entries, has {}", attributes.len()));
    }
    for (key, value) in attributes {
        let echo: String = key.chars().take(KEY_ECHO_CHARS_MAX).collect();
        let entry = format!("{field}[{echo:?}]");
        if violations.check_text(format_args!("{entry} (key)"), key, 1..=ATTRIBUTE_KEY_BYTES_MAX) {
            violations.check_text(&entry, value, 0..=ATTRIBUTE_VALUE_BYTES_MAX);
        }
    }
}

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
