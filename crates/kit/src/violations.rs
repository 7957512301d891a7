//! Collects everything that is wrong with a request, so that a caller hears of all of it at once.

use std::fmt::Display;
use std::ops::RangeInclusive;

use holdfast_api::error::v1::ErrorReason;
use uuid::Uuid;

use crate::Problem;

/// How many violations an answer lists: trailers are limited, the total stands in metadata `violations`.
const LISTED_MAX: usize = 20;
/// How much of a value that the caller sent is repeated to him, in characters.
const ECHO_CHARS_MAX: usize = 40;

/// The violations found in a request so far.
///
/// Fields are named as in the proto, with indices: `lines[3].sku`. Pass `format_args!("lines[{i}].sku")`: it is formatted only if something is wrong.
#[derive(Debug, Default, Clone)]
pub struct Violations {
    listed: Vec<(String, String)>,
    total: usize,
}

impl Violations {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. From the 21st on they are only counted.
    pub fn add(&mut self, field: impl Display, description: impl Display) {
        self.total += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push((field.to_string(), description.to_string()));
        }
    }

    /// True if nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many there are, the unlisted ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.total
    }

    /// Adds what was found in a part of the request: the message in this field, whose own fields were named as if it stood alone.
    pub fn add_within(&mut self, field: &str, part: Self) {
        let unlisted = part.total - part.listed.len();
        for (path, description) in part.listed {
            self.add(format_args!("{field}.{path}"), description);
        }
        self.total += unlisted;
    }

    /// The problem INVALID_FIELD with what was found.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        self.into_problem_as(ErrorReason::InvalidField)
    }

    /// The same for another reason of INVALID_ARGUMENT, for example UNKNOWN_SKU when only that is wrong.
    #[must_use]
    pub fn into_problem_as(self, reason: ErrorReason) -> Problem {
        let message = match (self.total, self.listed.first()) {
            (1, Some((field, description))) => format!("{field}: {description}"),
            (total, Some((field, description))) => {
                format!("{total} fields are wrong; the first is {field}: {description}")
            }
            (_, None) => String::from("the request is not valid"),
        };
        let problem = Problem::new(reason, message).metadata("violations", self.total);
        self.listed.into_iter().fold(problem, |problem, (field, description)| problem.field(field, description))
    }

    /// Nothing wrong, or the problem INVALID_FIELD.
    ///
    /// # Errors
    /// When there is at least one violation; nothing has happened then.
    pub fn into_result(self) -> Result<(), Problem> {
        if self.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    /// A SKU: 1 to 128 bytes, no control characters, no white space at its ends.
    pub fn check_sku(&mut self, field: impl Display, value: &str) -> bool {
        self.check_line_of_text(field, value, 1..=128, true)
    }

    /// A code of a vendor, location or connection: 1 to 64 bytes of letters, digits, '.', '_', '-'.
    pub fn check_code(&mut self, field: impl Display, value: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if value.is_empty() || value.len() > 64 {
            self.add(field, format_args!("must have 1 to 64 bytes, has {}", value.len()));
        } else if !value.bytes().all(allowed) {
            self.add(field, format_args!("may have letters, digits, '.', '_' and '-' only: {}", echo(value)));
        } else {
            return true;
        }
        false
    }

    /// An owner: 1 to 128 bytes, no control characters.
    pub fn check_owner(&mut self, field: impl Display, value: &str) -> bool {
        self.check_line_of_text(field, value, 1..=128, false)
    }

    /// Text of so many bytes, without control characters.
    pub fn check_text(&mut self, field: impl Display, value: &str, bytes: RangeInclusive<usize>) -> bool {
        self.check_line_of_text(field, value, bytes, false)
    }

    /// A number within bounds.
    pub fn check_range(&mut self, field: impl Display, value: i64, range: RangeInclusive<i64>) -> bool {
        let fits = range.contains(&value);
        if !fits {
            self.add(field, format_args!("must be {} to {}, is {value}", range.start(), range.end()));
        }
        fits
    }

    /// A UUID of any version, in any of its usual spellings; `None` adds a violation. The nil UUID is refused: it is what a forgotten field looks like.
    pub fn check_uuid(&mut self, field: impl Display, value: &str) -> Option<Uuid> {
        match Uuid::try_parse(value) {
            Ok(uuid) if !uuid.is_nil() => Some(uuid),
            Ok(_) => {
                self.add(field, "must not be the nil UUID");
                None
            }
            Err(_) if value.is_empty() => {
                self.add(field, "is required: a UUID");
                None
            }
            Err(_) => {
                self.add(field, format_args!("is not a UUID: {}", echo(value)));
                None
            }
        }
    }

    /// A UUIDv7; `None` adds a violation. Whether its time is within the window is not looked at here.
    pub fn check_uuid_v7(&mut self, field: impl Display, value: &str) -> Option<Uuid> {
        let uuid = self.check_uuid(format_args!("{field}"), value)?;
        if uuid.get_version_num() == 7 {
            return Some(uuid);
        }
        self.add(field, format_args!("must be a UUID of version 7, is of version {}", uuid.get_version_num()));
        None
    }

    fn check_line_of_text(
        &mut self,
        field: impl Display,
        value: &str,
        bytes: RangeInclusive<usize>,
        trimmed: bool,
    ) -> bool {
        if !bytes.contains(&value.len()) {
            self.add(field, format_args!("must have {} to {} bytes, has {}", bytes.start(), bytes.end(), value.len()));
        } else if value.chars().any(char::is_control) {
            self.add(field, format_args!("may not have control characters: {}", echo(value)));
        } else if trimmed && value.trim() != value {
            self.add(field, format_args!("may not begin or end with white space: {}", echo(value)));
        } else {
            return true;
        }
        false
    }
}

/// A value as it may be repeated to its sender: escaped, and cut when it is long.
fn echo(value: &str) -> String {
    let mut cut: String = value.chars().take(ECHO_CHARS_MAX).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn twenty_are_listed_and_all_are_counted() {
        let mut violations = Violations::new();
        for line in 0..35 {
            violations.check_sku(format_args!("lines[{line}].sku"), "");
        }
        let status = Status::from(violations.into_problem());
        let listed = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((listed.len(), listed[19].field.as_str()), (20, "lines[19].sku"));
        assert_eq!(status.get_details_error_info().unwrap().metadata["violations"], "35");
        assert!(
            status.message().starts_with("35 fields are wrong; the first is lines[0].sku: must have 1 to 128 bytes")
        );
    }

    #[test]
    fn the_longest_answer_fits_the_trailers() {
        let mut violations = Violations::new();
        for line in 0..200 {
            violations.check_sku(format_args!("lines[{line}].sku"), &"\u{1}😀".repeat(20));
        }
        let mut trailers = http::HeaderMap::new();
        Status::from(violations.into_problem()).add_header(&mut trailers).unwrap();
        let bytes: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 8192, "{bytes} bytes");
    }

    #[test]
    fn skus_are_odd_but_not_too_odd() {
        let long = "x".repeat(129);
        for (sku, fits) in [
            ("CHAIR-ERGO-BLK", true),
            ("Stuhl, grün/größer", true),
            ("a b", true),
            (&long[..128], true),
            ("", false),
            (&long, false),
            (" a", false),
            ("a\u{a0}", false),
            ("a\nb", false),
            ("a\0", false),
        ] {
            assert_eq!(Violations::new().check_sku("sku", sku), fits, "{sku:?}");
        }
    }

    #[test]
    fn codes_are_plain() {
        let long = "x".repeat(65);
        for (code, fits) in
            [("acme-1.eu_2", true), (&long[..64], true), ("", false), (&long, false), ("a/b", false), ("ä", false)]
        {
            assert_eq!(Violations::new().check_code("code", code), fits, "{code:?}");
        }
    }

    #[test]
    fn ids_are_uuids_and_keys_of_version_seven() {
        let mut violations = Violations::new();
        assert!(violations.check_uuid("id", "67e55044-10b1-426f-9247-bb680e5fe0c8").is_some());
        assert!(violations.check_uuid_v7("id", "0190f3a8-7b4e-7c3a-8f00-0123456789ab").is_some());
        assert!(violations.is_empty());
        for bad in [
            "",
            "67e55044",
            "00000000-0000-0000-0000-000000000000",
            "not a uuid at all, and much too long to be repeated in full",
        ] {
            assert_eq!(violations.check_uuid("id", bad), None);
        }
        assert_eq!(violations.check_uuid_v7("id", "67e55044-10b1-426f-9247-bb680e5fe0c8"), None);
        assert_eq!(violations.len(), 5);
    }
}
