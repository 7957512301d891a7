//! What a code, a name or a note may look like, so that two texts that look alike are alike.

use thiserror::Error;

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextProblem {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More bytes of UTF-8 than allowed.
    #[error("is {bytes} bytes long, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A control character, a line or paragraph separator among them.
    #[error("must not contain control characters")]
    Control,
    /// A character that cannot be seen or that changes the direction of writing: two different codes could look the same.
    #[error("must not contain invisible characters")]
    Invisible,
    /// White space at the beginning or the end.
    #[error("must not begin or end with white space")]
    SurroundingSpace,
}

/// Checks a text of `min` to `max` bytes.
///
/// # Errors
/// The first [`TextProblem`] found; nothing is changed or trimmed.
pub(crate) fn check(text: &str, min: usize, max: usize) -> Result<(), TextProblem> {
    if text.len() < min {
        return Err(TextProblem::Empty);
    }
    if text.len() > max {
        return Err(TextProblem::TooLong { bytes: text.len(), max });
    }
    if text.chars().any(is_control) {
        return Err(TextProblem::Control);
    }
    if text.chars().any(is_invisible) {
        return Err(TextProblem::Invisible);
    }
    if text.trim() != text {
        return Err(TextProblem::SurroundingSpace);
    }
    Ok(())
}

fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The default-ignorable and bidirectional format characters, and the fillers that are drawn as nothing.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}
