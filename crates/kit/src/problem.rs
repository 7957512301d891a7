//! The one way to make an error that leaves the process: a reason from the proto, its gRPC code, and the standard details.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `google.rpc.ErrorInfo` that Holdfast sends.
pub const DOMAIN: &str = "holdfast";

/// What a caller is told of a defect: nothing of the inside, but where to look.
const INTERNAL_MESSAGE: &str = "a defect of Holdfast's; the server's log has it under this request's trace id";

/// An error on its way to a caller.
///
/// It becomes a [`Status`] with exactly one `ErrorInfo`; the gRPC code follows from the reason ([`code`]). The message is read by people and may name
/// what they sent; it never has internal text in it. What the log should know besides goes into [`Problem::because`].
#[derive(Clone)]
pub struct Problem(Box<Inner>);

#[derive(Clone)]
struct Inner {
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: ErrorDetails,
    cause: Option<String>,
}

impl Problem {
    /// A problem for this reason. `message` is one sentence for people, without secrets and without internal text.
    #[must_use]
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
            cause: None,
        }))
    }

    /// A defect: INTERNAL with a message that says nothing of the inside. `cause` is logged, with the trace id, when the problem becomes a status.
    #[must_use]
    pub fn defect(cause: impl fmt::Display) -> Self {
        Self::new(ErrorReason::Internal, INTERNAL_MESSAGE).because(cause)
    }

    /// A defect that is in the log already.
    #[must_use]
    pub(crate) fn defect_known() -> Self {
        Self::new(ErrorReason::Internal, INTERNAL_MESSAGE)
    }

    /// What the log should know and the caller must not: the error beneath. Logged once, when the problem becomes a status.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Adds an entry to the `ErrorInfo`'s metadata; a second one with the same key replaces the first.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Adds a `PreconditionFailure` violation: its kind (`STOCK`), its subject (`sku/CHAIR-ERGO-BLK`) and a description for people.
    #[must_use]
    pub fn precondition(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.0.details.add_precondition_failure_violation(kind, subject, description);
        self
    }

    /// Adds `RetryInfo`: the caller should wait this long before it tries again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.details.set_retry_info(Some(delay));
        self
    }

    /// Adds `ResourceInfo`: the kind (`reservation`) and the name of what the error is about.
    #[must_use]
    pub fn resource(mut self, kind: impl Into<String>, name: impl Into<String>) -> Self {
        self.0.details.set_resource_info(kind, name, "", "");
        self
    }

    /// Adds a `BadRequest` violation. [`crate::Violations`] counts and bounds them: prefer it.
    #[must_use]
    pub(crate) fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.details.add_bad_request_violation(field, description);
        self
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> ErrorReason {
        self.0.reason
    }

    /// What the caller is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The gRPC code that the reason has.
    #[must_use]
    pub fn code(&self) -> Code {
        code(self.0.reason)
    }

    /// The status, without logging anything. For tests and for answers that are stored.
    #[must_use]
    pub fn into_status_silently(self) -> Status {
        let Inner { reason, message, metadata, mut details, .. } = *self.0;
        details.set_error_info(reason_name(reason), DOMAIN, metadata);
        if needs_retry_info(reason) && details.retry_info().is_none() {
            details.set_retry_info(Some(RETRY_DEFAULT));
        }
        Status::with_error_details(code(reason), message, details)
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        if let Some(cause) = &problem.0.cause {
            let reason = reason_name(problem.0.reason);
            if problem.0.reason == ErrorReason::Internal {
                tracing::error!(reason, cause, "a request failed by a defect");
            } else {
                tracing::warn!(reason, cause, "a request failed");
            }
        }
        problem.into_status_silently()
    }
}

impl From<Box<Problem>> for Status {
    fn from(problem: Box<Problem>) -> Self {
        (*problem).into()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", reason_name(self.0.reason), self.0.message)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.0.cause.as_ref().map_or(Ok(()), |cause| write!(f, " (because {cause})"))
    }
}

impl std::error::Error for Problem {}

/// How long a caller waits by default where the reason promises `RetryInfo` and nobody said how long.
const RETRY_DEFAULT: Duration = Duration::from_millis(200);

/// The reasons whose documentation promises `RetryInfo`.
fn needs_retry_info(reason: ErrorReason) -> bool {
    use ErrorReason as R;
    matches!(reason, R::Overloaded | R::StoreUnavailable | R::ShuttingDown | R::WatcherTooSlow)
}

/// The gRPC code of each reason; `docs/errors.md` has the same table, and a test compares them.
#[must_use]
pub fn code(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidField | R::UnknownSku | R::KeyOutOfWindow | R::InvalidPageToken | R::InvalidResumeToken => {
            Code::InvalidArgument
        }
        R::InsufficientStock
        | R::ReservationExpired
        | R::ReservationReleased
        | R::ReservationConfirmed
        | R::ReservationCancelled
        | R::StockWouldBeNegative
        | R::HoldTooLong
        | R::UnknownReference
        | R::FileRefused
        | R::LimitExceeded
        | R::AlreadyDecided
        | R::SkuArchived
        | R::ReservationNotConfirmed
        | R::ReservationFulfilled
        | R::QuantityExceeded
        | R::SellingPaused
        | R::OwnerMismatch => Code::FailedPrecondition,
        R::EtagMismatch => Code::Aborted,
        R::ResumeTokenExpired | R::BeforeRecord => Code::OutOfRange,
        R::NotFound => Code::NotFound,
        R::AlreadyExists | R::KeyReused => Code::AlreadyExists,
        R::Overloaded | R::MessageTooLarge | R::WatcherTooSlow => Code::ResourceExhausted,
        R::StoreUnavailable | R::ShuttingDown => Code::Unavailable,
        R::DeadlineExceeded => Code::DeadlineExceeded,
        R::Unauthenticated => Code::Unauthenticated,
        R::MethodNotAllowed => Code::PermissionDenied,
        R::UnknownMethod => Code::Unimplemented,
        // UNSPECIFIED is never sent on purpose; if it is, that is a defect.
        R::Internal | R::Unspecified => Code::Internal,
    }
}

/// The reason as it stands in `ErrorInfo.reason`: the enum's name without its prefix.
#[must_use]
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The reason that a status carries, if it is one of Holdfast's.
#[must_use]
pub fn reason_of(status: &Status) -> Option<ErrorReason> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons() -> impl Iterator<Item = ErrorReason> {
        // Numbers are never used again, so there may be gaps.
        (0..100).filter_map(|number| ErrorReason::try_from(number).ok())
    }

    #[test]
    fn every_reason_leaves_with_one_error_info_and_comes_back() {
        for reason in reasons() {
            let status = Status::from(Problem::new(reason, "why"));
            assert_eq!(reason_of(&status), Some(reason));
            assert_eq!(status.code(), code(reason));
            assert_ne!(status.code(), Code::Ok);
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, reason_name(reason)));
            assert!(!info.reason.starts_with("ERROR_REASON"));
        }
        assert_eq!(reasons().count(), 39);
    }

    #[test]
    fn whoever_may_come_back_is_told_when() {
        for reason in reasons() {
            let retry = Status::from(Problem::new(reason, "why")).get_details_retry_info();
            use ErrorReason as R;
            let promised = matches!(reason, R::Overloaded | R::StoreUnavailable | R::ShuttingDown | R::WatcherTooSlow);
            assert_eq!(retry.is_some(), promised, "{reason:?}");
        }
        let chosen = Problem::new(ErrorReason::Overloaded, "why").retry_after(Duration::from_secs(3));
        let delay = Status::from(chosen).get_details_retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_cause_stays_inside() {
        let status = Status::from(Problem::defect("password=hunter2"));
        assert!(!format!("{status:?}").contains("hunter2"));
        assert_eq!(status.code(), Code::Internal);
    }

    #[test]
    fn details_of_others_are_not_ours() {
        let theirs =
            Status::with_error_details(Code::NotFound, "", ErrorDetails::with_error_info("NOT_FOUND", "else", []));
        assert_eq!(reason_of(&theirs), None);
        assert_eq!(reason_of(&Status::not_found("")), None);
    }
}
