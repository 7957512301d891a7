//! How a command ends when it does not succeed: what a person reads, and the exit code that a script reads.

use std::fmt;
use std::process::ExitCode;

use holdfast_client::{Error, Outcome, ReservationKey};

use crate::called;
use crate::files::FileError;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command cannot be carried out as it was given. Nothing was sent. Exit code 2.
    Usage(String),
    /// The service, or what it said, is against it. Exit code 1.
    Refused(String),
    /// A guard stopped it: it waits for a person to decide. Exit code 4.
    Waits(String),
    /// What was asked could not be found out: no answer came, or too late to tell. Exit code 3.
    Unanswered(String),
    /// A call failed.
    Call {
        /// How it failed: decides the exit code, 3 where the outcome is unknown.
        error: Error,
        /// How to do the same again, with its key; for commands that change something.
        again: Option<String>,
    },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Refused(_) => ExitCode::from(1),
            Self::Waits(_) => ExitCode::from(4),
            Self::Unanswered(_) => ExitCode::from(3),
            Self::Call { error, again } => match (error.outcome(), again) {
                (Outcome::Unknown, Some(_)) => ExitCode::from(3),
                // A read has no outcome that could be unknown.
                (Outcome::Certain, _) | (Outcome::Unknown, None) => ExitCode::from(1),
            },
        }
    }

    /// A call that only reads.
    pub(crate) fn reading(error: Error) -> Self {
        Self::Call { error, again: None }
    }

    /// A call that changes something, with the key under which it can be repeated.
    pub(crate) fn changing(key: impl fmt::Display) -> impl FnOnce(Error) -> Self {
        let again = again(called::program(), called::words(), &[("--key", key.to_string())]);
        |error| Self::Call { error, again: Some(again) }
    }

    /// A Reserve or a Replace under this key. Its `attempt` was this one: the next one is marked, or a no to it would leave the key open for this one to land under.
    pub(crate) fn holding(key: ReservationKey, attempt: u32) -> impl FnOnce(Error) -> Self {
        let again = hold_again(called::program(), called::words(), key, attempt);
        |error| Self::Call { error, again: Some(again) }
    }

    /// A command that can be run again as it is.
    pub(crate) fn repeating(error: Error) -> Self {
        Self::Call { error, again: Some(command(called::program(), called::words()).join(" ")) }
    }

    /// An import that can be run again as it is, for what is there already is left as it is. `done` were imported before it failed.
    pub(crate) fn importing(error: Error, done: i64) -> Self {
        crate::output::note(&format!("{done} had been imported before this happened."));
        Self::repeating(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(words) | Self::Refused(words) | Self::Waits(words) | Self::Unanswered(words) => {
                f.write_str(words)
            }
            Self::Call { error, again } => {
                match error.reason() {
                    Some(reason) => write!(f, "{error} ({reason})")?,
                    None => write!(f, "{error}")?,
                }
                details(error, f)?;
                if let Some(step) = next_step(error) {
                    write!(f, "\nNext: {}", step.replace("holdctl ", &format!("{} ", called::program())))?;
                }
                if let (Outcome::Unknown, Some(again)) = (error.outcome(), again) {
                    write!(
                        f,
                        "\nWhether it happened is unknown. Repeat it with the same key, which has no second effect:\n  {again}"
                    )?;
                }
                Ok(())
            }
        }
    }
}

fn details(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::Invalid { violations, total, .. } | Error::UnknownSku { violations, total, .. } => {
            for violation in violations {
                write!(f, "\n  {}: {}", violation.field, violation.description)?;
            }
            let more = total.saturating_sub(violations.len() as u64);
            if more > 0 { write!(f, "\n  and {more} more") } else { Ok(()) }
        }
        Error::Insufficient { lines, .. }
        | Error::StockWouldBeNegative { lines, .. }
        | Error::LimitExceeded { lines, .. }
        | Error::Archived { lines, .. }
        | Error::SellingPaused { lines, .. }
        | Error::QuantityExceeded { lines, .. }
        | Error::UnknownReference { lines, .. } => {
            lines.iter().try_for_each(|line| write!(f, "\n  {}: {}", line.subject, line.description))
        }
        Error::AlreadyDecided { state, .. } if !state.is_empty() => write!(f, "\n  it is {state}"),
        Error::AlreadyDecided { .. }
        | Error::KeyOutOfWindow { .. }
        | Error::InvalidPageToken { .. }
        | Error::Expired { .. }
        | Error::Released { .. }
        | Error::Confirmed { .. }
        | Error::Cancelled { .. }
        | Error::NotConfirmed { .. }
        | Error::Fulfilled { .. }
        | Error::OwnerMismatch { .. }
        | Error::HoldTooLong { .. }
        | Error::NotFound { .. }
        | Error::AlreadyExists { .. }
        | Error::KeyReused { .. }
        | Error::FileRefused { .. }
        | Error::EtagMismatch { .. }
        | Error::ResumeTokenExpired { .. }
        | Error::InvalidResumeToken { .. }
        | Error::TooSlow { .. }
        | Error::BeforeRecord { .. }
        | Error::Overloaded { .. }
        | Error::TooLarge { .. }
        | Error::Unauthenticated { .. }
        | Error::NotAllowed { .. }
        | Error::Unsupported { .. }
        | Error::Unreachable { .. }
        | Error::Unknown { .. } => Ok(()),
    }
}

fn next_step(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Insufficient { .. } => "ask for less, or see `holdctl availability SKU`; nothing was held.",
        Error::UnknownSku { .. } => {
            "`holdctl sku search` finds codes; a SKU that the catalog has not: `holdctl sku create`; one that was never counted: `holdctl stock count`."
        }
        Error::KeyOutOfWindow { .. } => {
            "leave --key away to get a new one, if no earlier attempt with this key is open."
        }
        Error::Expired { .. } | Error::Released { .. } => "reserve again; that makes a new reservation.",
        Error::HoldTooLong { .. } => "ask for less time, or confirm it.",
        Error::KeyReused { .. } => "leave --key away to get a new one.",
        Error::UnknownReference { .. } => "create it first (`holdctl vendor|location|sku|connection create`).",
        Error::AlreadyExists { .. } => "see what is there with `get`; it is not changed by creating it again.",
        Error::FileRefused { .. } => "compare the file with what was registered or asked for; nothing was applied.",
        Error::EtagMismatch { .. } => {
            "see what it is now with `get`, and repeat without --key (with the new --etag, or without one)."
        }
        Error::LimitExceeded { .. } => "ask for fewer units; `holdctl sku policy SKU` shows what is allowed.",
        Error::Archived { .. } => "`holdctl sku restore SKU` takes its selling up again.",
        Error::SellingPaused { .. } => {
            "`holdctl stock paused` says why and since when; `holdctl stock resume SKU` lets it be sold again."
        }
        Error::NotConfirmed { .. } => "confirm it first, or release it.",
        Error::Fulfilled { .. } => "`holdctl reservation return` takes shipped units back.",
        Error::QuantityExceeded { .. } => "`holdctl reservation get` shows what is left; nothing was changed.",
        Error::OwnerMismatch { .. } => "replace a hold of the same owner; nothing was changed.",
        Error::AlreadyDecided { .. } => "`get` shows what was decided, by whom and why.",
        Error::ResumeTokenExpired { .. } | Error::InvalidResumeToken { .. } => {
            "leave --resume away: the watch begins with everything."
        }
        Error::TooSlow { .. } => "go on with --resume and the last token; a pipe that is read slowly ends the watch.",
        Error::BeforeRecord { .. } => "`holdctl stock ledger SKU` shows from when on there are entries.",
        Error::Overloaded { .. } => "wait a moment and repeat; nothing was done.",
        Error::TooLarge { .. } => "send less at once.",
        Error::Unauthenticated { .. } => "give --token-file, or HOLDFAST_TOKEN.",
        Error::NotAllowed { .. } => {
            "use a caller whose roles allow it; the service's [callers] configuration has them."
        }
        Error::Unreachable { .. } => "is it running? `./dev up` starts it and says where it listens.",
        Error::Unsupported { .. } => "is this the right service? Compare its endpoint and version.",
        Error::Invalid { .. }
        | Error::InvalidPageToken { .. }
        | Error::Confirmed { .. }
        | Error::Cancelled { .. }
        | Error::StockWouldBeNegative { .. }
        | Error::NotFound { .. }
        | Error::Unknown { .. } => return None,
    })
}

/// How to reserve the same again, or to make sure of the contrary.
fn hold_again(program: &str, words: Vec<String>, key: ReservationKey, attempt: u32) -> String {
    let options = [("--key", key.to_string()), ("--attempt", attempt.saturating_add(1).to_string())];
    let again = again(program, words, &options);
    format!("{again}\nOr make sure that it holds nothing:\n  {program} release {key}")
}

/// The same command with these options, as it can be pasted into a shell.
fn again(program: &str, mut words: Vec<String>, options: &[(&str, String)]) -> String {
    for (option, value) in options {
        give(&mut words, option, value);
    }
    command(program, words).join(" ")
}

/// Gives an option its value: where it stands already, else at the end of what can be options.
fn give(words: &mut Vec<String>, option: &str, value: &str) {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let joined = format!("{option}=");
    let stands = words[..end].iter().position(|word| word == option || word.starts_with(&joined));
    match stands {
        Some(at) if words[at] == option => drop(words.splice(at + 1..end.min(at + 2), [value.to_owned()])),
        Some(at) => words[at] = joined + value,
        None => drop(words.splice(end..end, [option.to_owned(), value.to_owned()])),
    }
}

/// The words of a command, each quoted as a shell needs it.
fn command(program: &str, words: Vec<String>) -> Vec<String> {
    std::iter::once(program.to_owned()).chain(words.into_iter().map(|word| quoted(&word))).collect()
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_client::{ShortLine, Violation};

    use super::*;

    #[test]
    fn the_command_to_repeat_has_the_key_once_and_survives_a_shell() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let again = |program: &str, given: &[&str]| again(program, words(given), &[("--key", "K".to_owned())]);
        assert_eq!(again("holdfast ctl", &["confirm", "ID"]), "holdfast ctl confirm ID --key K");
        assert_eq!(again("holdctl", &["confirm", "ID", "--key", "K"]), "holdctl confirm ID --key K");
        assert_eq!(
            again("holdctl", &["stock", "adjust", "--note", "it's broken"]),
            r"holdctl stock adjust --note 'it'\''s broken' --key K"
        );
        // What stands behind two dashes is no option.
        assert_eq!(
            again("holdctl", &["stock", "adjust", "A", "B", "--", "-1"]),
            "holdctl stock adjust A B --key K -- -1"
        );
    }

    #[test]
    fn the_reserve_to_repeat_is_marked_as_a_retry_however_it_was_called() {
        let key = ReservationKey::new();
        let first = |given: &[&str], attempt: u32| {
            let words = given.iter().map(ToString::to_string).collect();
            let text = hold_again("holdfast ctl", words, key, attempt);
            let (command, or) = text.split_once('\n').unwrap();
            assert_eq!(or, format!("Or make sure that it holds nothing:\n  holdfast ctl release {key}"));
            command.replace(&key.to_string(), "K")
        };
        assert_eq!(first(&["reserve", "A=1"], 1), "holdfast ctl reserve A=1 --key K --attempt 2");
        assert_eq!(
            first(&["reserve", "--key", "old", "--attempt", "2", "A=1"], 2),
            "holdfast ctl reserve --key K --attempt 3 A=1"
        );
        assert_eq!(
            first(&["reserve", "--attempt=1", "--", "A=1"], 1),
            "holdfast ctl reserve --attempt=2 --key K -- A=1"
        );
        assert_eq!(
            first(&["reserve", "A=1"], u32::MAX),
            format!("holdfast ctl reserve A=1 --key K --attempt {}", u32::MAX)
        );
    }

    #[test]
    fn an_unknown_outcome_of_a_change_is_code_3_and_says_how_to_repeat_it() {
        let error = Error::Unknown { attempts: 2, message: "no answer".to_owned() };
        let failure = Failure::changing("K")(error.clone());
        assert_eq!(failure.exit_code(), ExitCode::from(3));
        assert!(failure.to_string().contains("--key K"), "{failure}");
        assert_eq!(Failure::reading(error).exit_code(), ExitCode::from(1));
    }

    #[test]
    fn violations_are_listed_with_how_many_more_there_are() {
        let violations = vec![Violation { field: "lines[0].quantity".into(), description: "must be 1 or more".into() }];
        let error = Error::Invalid { violations, total: 7, message: "7 fields are wrong".into() };
        let text = Failure::reading(error).to_string();
        assert!(text.contains("lines[0].quantity: must be 1 or more") && text.contains("and 6 more"), "{text}");
        assert!(text.contains("INVALID_FIELD"), "{text}");
    }

    #[test]
    fn a_short_line_is_shown_with_what_to_do() {
        let line = ShortLine {
            subject: "sku/CHAIR".into(),
            requested: Some(3),
            available: Some(1),
            description: "requested 3, available 1".into(),
        };
        let error = Error::Insufficient { lines: vec![line], message: "1 line is short".into() };
        let text = Failure::reading(error).to_string();
        assert!(text.contains("sku/CHAIR: requested 3, available 1") && text.contains("Next:"), "{text}");
    }
}
