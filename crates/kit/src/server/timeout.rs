//! Reads `grpc-timeout`: how long a caller gives us.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use http::HeaderMap;

use crate::Problem;

/// The timeout that the caller asked for; `None` if he named none.
pub(super) fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    parsed.map(Some).ok_or_else(|| {
        Problem::new(ErrorReason::InvalidField, "grpc-timeout must be 1 to 8 digits and a unit: H, M, S, m, u or n")
            .metadata("violations", 1)
            .field("grpc-timeout", "must be 1 to 8 digits and a unit: H, M, S, m, u or n")
    })
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}
