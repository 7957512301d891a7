//! What callers are told when the store did not do what it was asked to.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::{Problem, pg};

use crate::model::{Offer, OfferContent, OfferKey};
use crate::store::{Reference, StoreError};

/// How long to wait before an import that was lost is sent again.
const IMPORT_RETRY: Duration = Duration::from_secs(1);

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::KeyReused => Self::new(
                ErrorReason::KeyReused,
                "the request_id was used before with another payload; nothing was changed",
            ),
            StoreError::Exists { kind, code } => {
                Self::new(ErrorReason::AlreadyExists, format!("another {kind} has the code {code:?}"))
                    .resource(kind, code)
            }
            StoreError::NotFound { kind, code } => not_found(kind, &code),
            StoreError::EtagMismatch { kind, code } => {
                let message = format!("the {kind} {code:?} was changed since its etag was read; nothing was changed");
                Self::new(ErrorReason::EtagMismatch, message).resource(kind, code)
            }
            StoreError::Unfit(violations) => violations.into_problem(),
            StoreError::ChangesDropped => Self::new(
                ErrorReason::ResumeTokenExpired,
                "changes since this token have been dropped; watch again without a token",
            ),
            StoreError::OtherLog => bad_resume_token(),
            StoreError::OffersDiffer(offers) => offers_differ(&offers),
            StoreError::UnknownReferences(references) => unknown_references(references),
            StoreError::ImportLost => {
                Self::new(ErrorReason::StoreUnavailable, "the import was interrupted and had no effect; send it again")
                    .retry_after(IMPORT_RETRY)
            }
            StoreError::TooLarge { bytes_max } => {
                let message = format!("the answer would be larger than {bytes_max} bytes; ask for fewer at once");
                Self::new(ErrorReason::MessageTooLarge, message).metadata("bytes_max", bytes_max)
            }
            StoreError::Postgres(error) => pg::problem(&error),
        }
    }
}

/// Nothing is known under a code.
#[must_use]
pub fn not_found(kind: &'static str, code: &str) -> Problem {
    Problem::new(ErrorReason::NotFound, format!("no {kind} has the code {code:?}")).resource(kind, code)
}

/// A resume token that this watch did not give.
#[must_use]
pub fn bad_resume_token() -> Problem {
    let mut violations = holdfast_kit::Violations::new();
    violations.add("resume_token", "must be a resume_token of this watch, or empty");
    violations.into_problem_as(ErrorReason::InvalidResumeToken)
}

fn offers_differ(offers: &[Offer]) -> Problem {
    let message = match offers {
        [offer] => format!("the offer {} exists with other content; nothing was changed", name(&offer.key)),
        offers => format!("{} offers or more exist with other content; nothing was changed", offers.len()),
    };
    offers.iter().fold(Problem::new(ErrorReason::AlreadyExists, message), |problem, Offer { key, content, .. }| {
        let OfferContent { sku, pack_size } = content;
        problem.precondition(
            "OFFER_EXISTS",
            format!("offer/{}", name(key)),
            format!("is SKU {sku:?} in packs of {pack_size}"),
        )
    })
}

fn name(OfferKey { vendor, location, vendor_sku }: &OfferKey) -> String {
    format!("{vendor}/{location}/{vendor_sku}")
}

fn unknown_references(references: Vec<Reference>) -> Problem {
    let message = match references.as_slice() {
        [Reference { kind, code }] => format!("no {kind} has the code {code:?}"),
        references => format!("{} codes or more that the request refers to do not exist", references.len()),
    };
    references.into_iter().fold(
        Problem::new(ErrorReason::UnknownReference, message),
        |problem, Reference { kind, code }| {
            let description = format!("no {kind} has this code");
            problem.precondition("UNKNOWN_REFERENCE", format!("{kind}/{code}"), description)
        },
    )
}
