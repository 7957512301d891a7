//! Errors that say what to do next, built from the details that every Holdfast error carries.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use tonic::transport::Error as TransportError;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Whether a failed call may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The call changed nothing, and nothing of it can happen later.
    Certain,
    /// The effect may have happened or may still happen. Call again with the same key, or release the reservation.
    Unknown,
}

/// Why a call failed, named by what the caller does next. Retries that are safe have been made already.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There are fewer units than asked for: offer less, or something else. Certain. After an attempt whose outcome was unknown, the retry that was
    /// told this has closed the key, so that the first attempt cannot land later.
    #[error("not enough stock: {message}")]
    Insufficient {
        /// The lines that are short.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// Holdfast does not know these SKUs (or not at these locations). Certain.
    #[error("unknown SKU: {message}")]
    UnknownSku {
        /// Which, at most 20.
        violations: Vec<Violation>,
        /// How many in all.
        total: u64,
        /// What the server said.
        message: String,
    },
    /// The request is malformed: correct it. Certain.
    #[error("invalid request: {message}")]
    Invalid {
        /// What is wrong, field by field, at most 20.
        violations: Vec<Violation>,
        /// How many in all.
        total: u64,
        /// What the server said.
        message: String,
    },
    /// The key's time lies outside the retry window: make a new key, but only if no earlier attempt with this one is open. Certain for this attempt.
    #[error("the key is too old or from the future: {message}")]
    KeyOutOfWindow {
        /// What the server said.
        message: String,
    },
    /// The page token is malformed or belongs to other filters: begin again at the first page. Certain.
    #[error("the page token cannot be used: {message}")]
    InvalidPageToken {
        /// What the server said.
        message: String,
    },
    /// The hold's time is over and its units are free: reserve again with a new key. Certain.
    #[error("{message}")]
    Expired {
        /// What the server said.
        message: String,
    },
    /// The reservation was released, or its key was closed by a Release: reserve again with a new key. Certain.
    #[error("{message}")]
    Released {
        /// What the server said.
        message: String,
    },
    /// The reservation is confirmed already, so it can be neither released nor extended. Certain.
    #[error("{message}")]
    Confirmed {
        /// What the server said.
        message: String,
    },
    /// The reservation was cancelled after it was confirmed. Certain.
    #[error("{message}")]
    Cancelled {
        /// What the server said.
        message: String,
    },
    /// The change would take more units than there are. Certain.
    #[error("stock would fall below zero: {message}")]
    StockWouldBeNegative {
        /// Where, and by how much.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// The hold would last longer than is allowed: confirm it, or release it. Certain.
    #[error("the hold cannot last that long: {message}")]
    HoldTooLong {
        /// What the server said.
        message: String,
    },
    /// Nothing is known under this id or code. Certain.
    #[error("{message}")]
    NotFound {
        /// What the server said.
        message: String,
    },
    /// Another resource has this code. Certain.
    #[error("{message}")]
    AlreadyExists {
        /// What the server said.
        message: String,
    },
    /// The key was used before with another payload: a defect of the caller's, who must make a key per intent. Certain.
    #[error("the key was used for another request: {message}")]
    KeyReused {
        /// What the server said.
        message: String,
    },
    /// A code that the request refers to (a vendor, a location, a SKU, a connection) does not exist: create it first. Certain.
    #[error("{message}")]
    UnknownReference {
        /// Which, at most 20.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// The file does not have the header, encoding or shape that was agreed. Certain.
    #[error("the file was refused: {message}")]
    FileRefused {
        /// What the server said.
        message: String,
    },
    /// Somebody changed the resource since it was read: read it again and decide anew. Certain.
    #[error("it was changed meanwhile: {message}")]
    EtagMismatch {
        /// What the server said.
        message: String,
    },
    /// More units of a SKU than its selling policy allows per reservation, per owner or per channel: ask for fewer. Certain.
    #[error("more than the selling policy allows: {message}")]
    LimitExceeded {
        /// The lines that ask for too much.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// A SKU is archived: it is not sold any more. Certain.
    #[error("not sold any more: {message}")]
    Archived {
        /// Which, at most 20.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// A SKU's selling is paused: come back when somebody has resumed it. Certain.
    #[error("selling is paused: {message}")]
    SellingPaused {
        /// Which, at most 20.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// The reservation is only held: confirm it first, or release it instead. Certain.
    #[error("{message}")]
    NotConfirmed {
        /// What the server said.
        message: String,
    },
    /// Everything of the reservation was shipped already: return units instead. Certain.
    #[error("{message}")]
    Fulfilled {
        /// What the server said.
        message: String,
    },
    /// More units than the reservation has left for this: name fewer. Certain.
    #[error("more than the reservation has left: {message}")]
    QuantityExceeded {
        /// The portions that name too many.
        lines: Vec<ShortLine>,
        /// What the server said.
        message: String,
    },
    /// The hold to replace is another owner's. Certain.
    #[error("{message}")]
    OwnerMismatch {
        /// What the server said.
        message: String,
    },
    /// Somebody decided it otherwise before (a quarantined row, a held run): look at what was decided. Certain.
    #[error("already decided: {message}")]
    AlreadyDecided {
        /// Where it stands, as the server names it (`APPROVED`, …); empty if it did not say.
        state: String,
        /// What the server said.
        message: String,
    },
    /// The resume token is older than the changes that are kept: watch again without one, the snapshot has everything. Certain.
    #[error("the resume token is too old: {message}")]
    ResumeTokenExpired {
        /// What the server said.
        message: String,
    },
    /// The resume token is malformed or belongs to another watch: watch again without one. Certain.
    #[error("the resume token cannot be used: {message}")]
    InvalidResumeToken {
        /// What the server said.
        message: String,
    },
    /// A watch was read too slowly and was ended; it has tried to go on with its last token for as long as its patience lasts. Watch again with that token, and
    /// read faster: hand events on instead of dealing with them in between. Certain.
    #[error("the watch was read too slowly: {message}")]
    TooSlow {
        /// What the server said.
        message: String,
    },
    /// The instant lies before the first entry that the ledger has of the SKU there. Certain.
    #[error("nothing is recorded of that time: {message}")]
    BeforeRecord {
        /// What the server said.
        message: String,
    },
    /// A queue or a limit is full: come back later. Certain.
    #[error("overloaded: {message}")]
    Overloaded {
        /// How long to wait at least, if the server said.
        retry_after: Option<Duration>,
        /// What the server said.
        message: String,
    },
    /// The message is larger than the server takes: send less at once. Certain.
    #[error("the message is too large: {message}")]
    TooLarge {
        /// What the server said.
        message: String,
    },
    /// The call has no valid credentials. Certain.
    #[error("not authenticated: {message}")]
    Unauthenticated {
        /// What the server said.
        message: String,
    },
    /// This caller may not call this method. Certain.
    #[error("not allowed: {message}")]
    NotAllowed {
        /// What the server said.
        message: String,
    },
    /// The server does not have this method: it is older than the client, or another service. Certain.
    #[error("not supported by this server: {message}")]
    Unsupported {
        /// What the server said.
        message: String,
    },
    /// No connection could be made, so nothing was sent. Certain.
    #[error("no connection: {message}")]
    Unreachable {
        /// What the network said.
        message: String,
    },
    /// Nobody knows whether the effect happened: the answer did not come in time or was lost, a store did not answer, or the server failed. Unknown:
    /// call again with the same key, or release.
    #[error("outcome unknown after {attempts} attempt(s): {message}")]
    Unknown {
        /// Attempts made.
        attempts: u32,
        /// What the last attempt said.
        message: String,
    },
}

impl Error {
    /// Whether the effect may have happened.
    pub fn outcome(&self) -> Outcome {
        if matches!(self, Self::Unknown { .. }) { Outcome::Unknown } else { Outcome::Certain }
    }

    /// The reason as the server names it (`INSUFFICIENT_STOCK`, …), for logs and people; `None` where it came from the network or the clock.
    pub fn reason(&self) -> Option<&'static str> {
        let reason = match self {
            Self::Insufficient { .. } => ErrorReason::InsufficientStock,
            Self::UnknownSku { .. } => ErrorReason::UnknownSku,
            Self::Invalid { .. } => ErrorReason::InvalidField,
            Self::KeyOutOfWindow { .. } => ErrorReason::KeyOutOfWindow,
            Self::InvalidPageToken { .. } => ErrorReason::InvalidPageToken,
            Self::Expired { .. } => ErrorReason::ReservationExpired,
            Self::Released { .. } => ErrorReason::ReservationReleased,
            Self::Confirmed { .. } => ErrorReason::ReservationConfirmed,
            Self::Cancelled { .. } => ErrorReason::ReservationCancelled,
            Self::StockWouldBeNegative { .. } => ErrorReason::StockWouldBeNegative,
            Self::HoldTooLong { .. } => ErrorReason::HoldTooLong,
            Self::NotFound { .. } => ErrorReason::NotFound,
            Self::AlreadyExists { .. } => ErrorReason::AlreadyExists,
            Self::KeyReused { .. } => ErrorReason::KeyReused,
            Self::UnknownReference { .. } => ErrorReason::UnknownReference,
            Self::FileRefused { .. } => ErrorReason::FileRefused,
            Self::EtagMismatch { .. } => ErrorReason::EtagMismatch,
            Self::LimitExceeded { .. } => ErrorReason::LimitExceeded,
            Self::Archived { .. } => ErrorReason::SkuArchived,
            Self::SellingPaused { .. } => ErrorReason::SellingPaused,
            Self::NotConfirmed { .. } => ErrorReason::ReservationNotConfirmed,
            Self::Fulfilled { .. } => ErrorReason::ReservationFulfilled,
            Self::QuantityExceeded { .. } => ErrorReason::QuantityExceeded,
            Self::OwnerMismatch { .. } => ErrorReason::OwnerMismatch,
            Self::AlreadyDecided { .. } => ErrorReason::AlreadyDecided,
            Self::ResumeTokenExpired { .. } => ErrorReason::ResumeTokenExpired,
            Self::InvalidResumeToken { .. } => ErrorReason::InvalidResumeToken,
            Self::TooSlow { .. } => ErrorReason::WatcherTooSlow,
            Self::BeforeRecord { .. } => ErrorReason::BeforeRecord,
            Self::Overloaded { .. } => ErrorReason::Overloaded,
            Self::TooLarge { .. } => ErrorReason::MessageTooLarge,
            Self::Unauthenticated { .. } => ErrorReason::Unauthenticated,
            Self::NotAllowed { .. } => ErrorReason::MethodNotAllowed,
            Self::Unsupported { .. } => ErrorReason::UnknownMethod,
            Self::Unreachable { .. } | Self::Unknown { .. } => return None,
        };
        reason.as_str_name().strip_prefix(REASON_PREFIX)
    }

    /// True if this answer also settles what earlier attempts with the same key did: they did nothing and never will.
    fn settles_earlier_attempts(&self) -> bool {
        match self {
            // Told to a marked retry, so the key is closed; or a final state of the reservation; or the key belongs to another payload.
            Self::Insufficient { .. }
            | Self::LimitExceeded { .. }
            | Self::Archived { .. }
            | Self::SellingPaused { .. }
            | Self::Expired { .. }
            | Self::Released { .. }
            | Self::Confirmed { .. }
            | Self::Cancelled { .. }
            | Self::KeyReused { .. }
            // The same payload was as wrong the first time.
            | Self::Invalid { .. } => true,
            Self::UnknownSku { .. }
            | Self::KeyOutOfWindow { .. }
            | Self::InvalidPageToken { .. }
            | Self::StockWouldBeNegative { .. }
            | Self::HoldTooLong { .. }
            // An earlier attempt may have been what used the units up, or what changed the state.
            | Self::NotConfirmed { .. }
            | Self::Fulfilled { .. }
            | Self::QuantityExceeded { .. }
            | Self::OwnerMismatch { .. }
            | Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::UnknownReference { .. }
            | Self::FileRefused { .. }
            | Self::EtagMismatch { .. }
            | Self::AlreadyDecided { .. }
            | Self::ResumeTokenExpired { .. }
            | Self::InvalidResumeToken { .. }
            | Self::TooSlow { .. }
            | Self::BeforeRecord { .. }
            | Self::Overloaded { .. }
            | Self::TooLarge { .. }
            | Self::Unauthenticated { .. }
            | Self::NotAllowed { .. }
            | Self::Unsupported { .. }
            | Self::Unreachable { .. }
            | Self::Unknown { .. } => false,
        }
    }
}

/// A line that is short, or a thing that is not as the request needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortLine {
    /// What it is about, for example `sku/CHAIR-ERGO-BLK`.
    pub subject: String,
    /// Units asked for, where the server said.
    pub requested: Option<i64>,
    /// Units there, where the server said.
    pub available: Option<i64>,
    /// The server's words.
    pub description: String,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, for example `lines[2].quantity`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// How one attempt failed: the error that it would be, and what a retry has to know.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// True where the same request may be sent again.
    pub(crate) retryable: bool,
    /// The server's wish: not before this.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// No answer came within the time that the attempt had.
    pub(crate) fn no_answer(waited: Duration) -> Self {
        let message = format!("no answer within {} ms", waited.as_millis());
        Self { error: Error::Unknown { attempts: 1, message }, retryable: true, retry_after: None }
    }

    /// A stream that should last was ended without a reason.
    pub(crate) fn ended() -> Self {
        let message = "the server ended the stream".to_owned();
        Self { error: Error::Unknown { attempts: 1, message }, retryable: true, retry_after: None }
    }

    /// What the server or the network said.
    pub(crate) fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        let error = match reason(&details) {
            Some(reason) => from_reason(reason, status, &details, retry_after),
            None => from_code(status, retry_after),
        };
        let retryable = match &error {
            Error::Overloaded { retry_after, .. } => retry_after.is_some(),
            // Only a watch is told that it is too slow, and it goes on with its last token: nothing is lost.
            Error::Unreachable { .. } | Error::TooSlow { .. } => true,
            // Of the unknown ones, only those that another attempt may settle: not a defect of the server's.
            Error::Unknown { .. } => {
                came_from_network(status) || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
            }
            _ => false,
        };
        Self { error, retryable, retry_after }
    }

    /// The error to hand out when no further attempt is made. `unknown_before` says that an earlier attempt's outcome is open.
    pub(crate) fn into_error(self, attempts: u32, unknown_before: bool) -> Error {
        match self.error {
            Error::Unknown { message, .. } => Error::Unknown { attempts, message },
            error if unknown_before && !error.settles_earlier_attempts() => {
                Error::Unknown { attempts, message: error.to_string() }
            }
            error => error,
        }
    }
}

const DOMAIN: &str = "holdfast";
const REASON_PREFIX: &str = "ERROR_REASON_";

fn reason(details: &ErrorDetails) -> Option<ErrorReason> {
    let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
    ErrorReason::from_str_name(&format!("{REASON_PREFIX}{}", info.reason))
}

fn from_reason(reason: ErrorReason, status: &Status, details: &ErrorDetails, retry_after: Option<Duration>) -> Error {
    let message = status.message().to_owned();
    match reason {
        ErrorReason::InvalidField => {
            let (violations, total) = violations(details);
            Error::Invalid { violations, total, message }
        }
        ErrorReason::UnknownSku => {
            let (violations, total) = violations(details);
            Error::UnknownSku { violations, total, message }
        }
        ErrorReason::KeyOutOfWindow => Error::KeyOutOfWindow { message },
        ErrorReason::InvalidPageToken => Error::InvalidPageToken { message },
        ErrorReason::InsufficientStock => Error::Insufficient { lines: short_lines(details), message },
        ErrorReason::ReservationExpired => Error::Expired { message },
        ErrorReason::ReservationReleased => Error::Released { message },
        ErrorReason::ReservationConfirmed => Error::Confirmed { message },
        ErrorReason::ReservationCancelled => Error::Cancelled { message },
        ErrorReason::StockWouldBeNegative => Error::StockWouldBeNegative { lines: short_lines(details), message },
        ErrorReason::HoldTooLong => Error::HoldTooLong { message },
        ErrorReason::NotFound => Error::NotFound { message },
        ErrorReason::AlreadyExists => Error::AlreadyExists { message },
        ErrorReason::KeyReused => Error::KeyReused { message },
        ErrorReason::UnknownReference => Error::UnknownReference { lines: short_lines(details), message },
        ErrorReason::FileRefused => Error::FileRefused { message },
        ErrorReason::EtagMismatch => Error::EtagMismatch { message },
        ErrorReason::LimitExceeded => Error::LimitExceeded { lines: short_lines(details), message },
        ErrorReason::SkuArchived => Error::Archived { lines: short_lines(details), message },
        ErrorReason::SellingPaused => Error::SellingPaused { lines: short_lines(details), message },
        ErrorReason::ReservationNotConfirmed => Error::NotConfirmed { message },
        ErrorReason::ReservationFulfilled => Error::Fulfilled { message },
        ErrorReason::QuantityExceeded => Error::QuantityExceeded { lines: short_lines(details), message },
        ErrorReason::OwnerMismatch => Error::OwnerMismatch { message },
        ErrorReason::AlreadyDecided => {
            let state = details.error_info().and_then(|info| info.metadata.get("state")).cloned().unwrap_or_default();
            Error::AlreadyDecided { state, message }
        }
        ErrorReason::ResumeTokenExpired => Error::ResumeTokenExpired { message },
        ErrorReason::InvalidResumeToken => Error::InvalidResumeToken { message },
        ErrorReason::WatcherTooSlow => Error::TooSlow { message },
        ErrorReason::BeforeRecord => Error::BeforeRecord { message },
        ErrorReason::Overloaded => Error::Overloaded { retry_after, message },
        ErrorReason::MessageTooLarge => Error::TooLarge { message },
        ErrorReason::Unauthenticated => Error::Unauthenticated { message },
        ErrorReason::MethodNotAllowed => Error::NotAllowed { message },
        ErrorReason::UnknownMethod => Error::Unsupported { message },
        ErrorReason::Unspecified
        | ErrorReason::StoreUnavailable
        | ErrorReason::ShuttingDown
        | ErrorReason::DeadlineExceeded
        | ErrorReason::Internal => Error::Unknown { attempts: 1, message },
    }
}

/// Errors that are not Holdfast's own: from a proxy, from tonic, from the network. Whatever is not surely without effect is unknown.
fn from_code(status: &Status, retry_after: Option<Duration>) -> Error {
    let message = words(status);
    if never_sent(status) {
        return Error::Unreachable { message };
    }
    if came_from_network(status) {
        return Error::Unknown { attempts: 1, message };
    }
    match status.code() {
        Code::ResourceExhausted => Error::Overloaded { retry_after, message },
        Code::OutOfRange => Error::TooLarge { message },
        Code::Unauthenticated => Error::Unauthenticated { message },
        Code::PermissionDenied => Error::NotAllowed { message },
        Code::Unimplemented => Error::Unsupported { message },
        Code::InvalidArgument => Error::Invalid { violations: Vec::new(), total: 0, message },
        Code::NotFound => Error::NotFound { message },
        Code::AlreadyExists => Error::AlreadyExists { message },
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Error::Unknown { attempts: 1, message },
    }
}

/// The status and what is behind it, so that "transport error" becomes "transport error: connection refused".
fn words(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = if words.is_empty() { text } else { format!("{words}: {text}") };
        }
        source = cause.source();
    }
    if words.is_empty() { format!("{:?}", status.code()) } else { words }
}

/// True if no connection could be made, so that the request never left.
fn never_sent(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

/// True if the status was made on this side, from an error of the connection, and not sent by a server.
fn came_from_network(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<TransportError>() || cause.is::<TimeoutExpired>())
        || std::error::Error::source(status).is_some()
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |cause| cause.source())
}

fn violations(details: &ErrorDetails) -> (Vec<Violation>, u64) {
    let violations: Vec<_> = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|violation| Violation { field: violation.field.clone(), description: violation.description.clone() })
        .collect();
    let said = details.error_info().and_then(|info| info.metadata.get("violations")?.parse().ok());
    let total = said.unwrap_or(violations.len() as u64);
    (violations, total)
}

fn short_lines(details: &ErrorDetails) -> Vec<ShortLine> {
    details
        .precondition_failure()
        .map(|failure| failure.violations.as_slice())
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(index, violation)| {
            // The metadata has the same lines for programs, in the same order.
            let number = |what| details.error_info()?.metadata.get(&format!("short[{index}].{what}"))?.parse().ok();
            ShortLine {
                subject: violation.subject.clone(),
                requested: number("requested"),
                available: number("available"),
                description: violation.description.clone(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
