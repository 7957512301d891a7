//! Makes sure that every status that leaves has a reason, and none leaks what is inside.
//!
//! Handlers make their errors of [`Problem`]s, which have one already. What remains is made by tonic (a malformed message, a broken frame) or by a handler
//! that forgot.

use holdfast_api::error::v1::ErrorReason;
use tonic::{Code, Status};

use super::limit::too_large_status;
use crate::{Problem, problem};

/// How tonic 0.14 and prost 0.14 begin the messages of statuses that a caller's bytes provoke; they have codes only, and INTERNAL among them. The tests
/// send such bytes, so that another version's words are noticed.
const MALFORMED: &[&str] = &[
    "failed to decode Protobuf message",
    "Missing request message",
    "Unexpected EOF decoding stream",
    "protocol error: ",
    "Error decompressing: ",
    "Content is compressed with ",
];
/// The same for messages that are too large.
const TOO_LARGE: &[&str] = &["Error, decoded message length too large", "Error decompressing: size limit"];

/// The status as it may leave.
pub(super) fn normalised(status: Status) -> Status {
    if problem::reason_of(&status).is_some() {
        return status;
    }
    let begins = |with: &[&str]| with.iter().any(|begin| status.message().starts_with(begin));
    let said = status.message();
    if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) && begins(TOO_LARGE) {
        return too_large_status(0, 4 * 1024 * 1024);
    }
    if matches!(status.code(), Code::Internal | Code::Unimplemented) && begins(MALFORMED) {
        return Problem::new(ErrorReason::InvalidField, "the bytes are not a message of this method")
            .metadata("violations", 1)
            .field("", "the bytes are not a message of this method")
            .into();
    }
    let reason = match status.code() {
        // What tonic's client says when a call of ours to another service took too long.
        Code::Cancelled if said == "Timeout expired" => ErrorReason::DeadlineExceeded,
        // Said of what the caller sent; the words are meant for him.
        Code::InvalidArgument => return Problem::new(ErrorReason::InvalidField, said).into(),
        Code::NotFound => return Problem::new(ErrorReason::NotFound, said).into(),
        Code::AlreadyExists => return Problem::new(ErrorReason::AlreadyExists, said).into(),
        Code::PermissionDenied => return Problem::new(ErrorReason::MethodNotAllowed, said).into(),
        Code::Unauthenticated => return Problem::new(ErrorReason::Unauthenticated, said).into(),
        Code::Unimplemented => return Problem::new(ErrorReason::UnknownMethod, said).into(),
        Code::DeadlineExceeded => ErrorReason::DeadlineExceeded,
        Code::ResourceExhausted => ErrorReason::Overloaded,
        Code::Unavailable => ErrorReason::StoreUnavailable,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => return Problem::defect(format_args!("{:?}: {said}", status.code())).into(),
    };
    // The words may be from the inside: they go to the log.
    Problem::new(reason, problem::reason_name(reason).to_lowercase().replace('_', " ")).because(said).into()
}
