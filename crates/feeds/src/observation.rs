//! The one record that every source is turned into, whatever its format.

use std::fmt;

/// What a SKU's absence from a file means. There is no default: absent never silently means zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Absent is gone.
    Full,
    /// Absent is unchanged.
    Partial,
}

/// Which of a vendor's quantities a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Everything on the shelf, our unshipped orders included.
    OnHand,
    /// What is left after the orders that the vendor booked.
    Available,
}

/// When a vendor counted, and which of several counts of the same moment this is. A later one replaces an earlier one,
/// whichever arrives first (PROTOCOL.md rule 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark {
    /// The vendor's moment, in microseconds since 1970 UTC.
    pub as_of_unix_micros: i64,
    /// Orders counts of the same moment; 0 or more.
    pub sequence: i64,
}

/// What is the same for every observation of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The vendor's code.
    pub vendor: String,
    /// The connection's code.
    pub connection: String,
    /// The location whose stock is told.
    pub location: String,
    /// What absence means.
    pub mode: Mode,
    /// What the numbers are.
    pub class: Class,
    /// When the vendor counted.
    pub watermark: Watermark,
}

/// How exactly a vendor says a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exactness {
    /// This many.
    Exact,
    /// This many or more: `>50`, `50+`.
    AtLeast,
    /// There are some, or none: `in stock`.
    YesNo,
}

/// What kind of code names the thing that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// The vendor's own code.
    VendorSku,
}

/// What was counted, by a code that the vendor uses. Kept exactly as the file has it: `007` is not `7`, and
/// `9831287423305.0` is not guessed to be `9831287423305`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    value: String,
}

impl Key {
    /// Takes a vendor's code, white space at its ends removed.
    ///
    /// # Errors
    /// [`KeyProblem`] when it is empty, longer than [`crate::VENDOR_SKU_BYTES_MAX`] bytes or has control characters.
    pub fn vendor_sku(raw: &str) -> Result<Self, KeyProblem> {
        let value = raw.trim();
        if value.is_empty() {
            return Err(KeyProblem::Empty);
        }
        if value.len() > crate::VENDOR_SKU_BYTES_MAX {
            return Err(KeyProblem::TooLong);
        }
        if value.chars().any(char::is_control) {
            return Err(KeyProblem::ControlCharacters);
        }
        Ok(Self { value: value.to_owned() })
    }

    /// The code itself.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What kind of code it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        KeyKind::VendorSku
    }
}

/// Why a cell is not a vendor's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// Nothing is in it.
    Empty,
    /// It has more than [`crate::VENDOR_SKU_BYTES_MAX`] bytes.
    TooLong,
    /// It has control characters.
    ControlCharacters,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no vendor's code",
            Self::TooLong => "the vendor's code is longer than 128 bytes",
            Self::ControlCharacters => "the vendor's code has control characters",
        })
    }
}

/// One row of a source after parsing: what was counted and what was written beside it. Whether the number may be
/// believed is for the guards to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The line of the file on which the row begins, the first line being 1.
    pub line: u64,
    /// What was counted.
    pub key: Key,
    /// The quantity as the file has it, fit for a report: control characters replaced, cut after 200 bytes.
    pub raw_quantity: String,
    /// The quantity as guard R1 read it from the whole cell.
    pub reading: crate::guards::row::Reading,
}
