//! Pages of lists: sizes and opaque tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_api::error::v1::ErrorReason;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::{Problem, Violations};

/// How many bytes of the digest a token carries: enough to notice damage and other filters, which is all it is for.
const CHECK_BYTES: usize = 8;

/// How many items a page has: 0 means `default`, more than `max` means `max`, a negative number adds a violation of the field `page_size`.
pub fn page_size(requested: i32, default: i32, max: i32, violations: &mut Violations) -> i64 {
    debug_assert!(0 < default && default <= max, "a default page fits the largest");
    if requested < 0 {
        violations.add("page_size", format_args!("must not be negative, is {requested}"));
    }
    i64::from(if requested <= 0 { default } else { requested.min(max) })
}

/// A page token: where the next page begins, bound to the filters of the list.
///
/// Callers get it as text that means nothing to them. It is neither secret nor signed: a forged one can only point at another place of a list that the
/// caller may read anyway.
#[derive(Debug)]
pub struct Token;

impl Token {
    /// The token of the page after `cursor` (the last item's sort key), for a list with these filters. Filters are all fields of the request that
    /// choose or order items, in a fixed order; the page size is not one of them.
    #[must_use]
    pub fn encode(filters: &[&str], cursor: &impl Serialize) -> String {
        let cursor =
            serde_json::to_vec(cursor).expect("sort keys are numbers, strings and tuples of them, which JSON can hold");
        let mut bytes = check(filters, &cursor).to_vec();
        bytes.extend_from_slice(&cursor);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where a page begins: `None` for the empty token, the first page's.
    ///
    /// # Errors
    /// INVALID_PAGE_TOKEN when the token is damaged or belongs to other filters. Nothing was read.
    pub fn decode<C: DeserializeOwned>(token: &str, filters: &[&str]) -> Result<Option<C>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = || {
            Problem::new(
                ErrorReason::InvalidPageToken,
                "the page token is malformed or belongs to a list with other filters",
            )
            .field("page_token", "must be the next_page_token of a list with the same filters, or empty")
            .metadata("violations", 1)
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (presented, cursor) = bytes.split_at_checked(CHECK_BYTES).ok_or_else(refused)?;
        if presented != check(filters, cursor) {
            return Err(refused());
        }
        serde_json::from_slice(cursor).map(Some).map_err(|_| refused())
    }
}

fn check(filters: &[&str], cursor: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    for filter in filters {
        // With its length, so that ("a", "bc") and ("ab", "c") differ.
        hash.update((filter.len() as u64).to_be_bytes());
        hash.update(filter.as_bytes());
    }
    hash.update(cursor);
    let mut out = [0; CHECK_BYTES];
    out.copy_from_slice(&hash.finalize()[..CHECK_BYTES]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(token: &str, filters: &[&str]) -> Result<Option<(String, i64)>, ErrorReason> {
        Token::decode(token, filters).map_err(|problem| problem.reason())
    }

    #[test]
    fn a_token_leads_back_to_its_place() {
        let token = Token::encode(&["owner", "HELD"], &("CHAIR", 7));
        assert_eq!(decode(&token, &["owner", "HELD"]), Ok(Some(("CHAIR".into(), 7))));
        assert_eq!(decode("", &["owner", "HELD"]), Ok(None));
    }

    #[test]
    fn a_token_of_other_filters_is_refused() {
        let token = Token::encode(&["ab", "c"], &("CHAIR", 7));
        for filters in [&["a", "bc"][..], &["ab"], &["ab", "c", ""], &["c", "ab"], &[]] {
            assert_eq!(decode(&token, filters), Err(ErrorReason::InvalidPageToken), "{filters:?}");
        }
    }

    #[test]
    fn a_damaged_token_is_refused() {
        let token = Token::encode(&[], &("CHAIR", 7));
        for at in 0..token.len() {
            let mut damaged = token.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert_eq!(decode(&damaged, &[]), Err(ErrorReason::InvalidPageToken), "{damaged}");
            assert_eq!(decode(&token[..at.max(1)], &[]), Err(ErrorReason::InvalidPageToken), "cut at {at}");
        }
        assert_eq!(decode("größer", &[]), Err(ErrorReason::InvalidPageToken));
    }

    #[test]
    fn sizes_are_the_default_or_cut_or_refused() {
        let mut violations = Violations::new();
        let sizes = [0, 1, 500, 501, i32::MAX].map(|requested| page_size(requested, 50, 500, &mut violations));
        assert_eq!(sizes, [50, 1, 500, 500, 500]);
        assert!(violations.is_empty());
        page_size(-1, 50, 500, &mut violations);
        assert_eq!(violations.len(), 1);
    }
}
