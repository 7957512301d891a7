//! Names, keys and numbers of stock, each a type of its own, so that none can stand where another belongs.

use crate::text::{self, TextProblem};
use std::fmt;
use std::sync::Arc;

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $min:literal ..= $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most bytes of UTF-8 that it may have.
            pub const BYTES_MAX: usize = $max;

            /// Takes the text as it is, if it keeps the rules.
            ///
            /// # Errors
            /// [`TextProblem`]: too short, too long, with control or invisible characters, or with white space around it.
            pub fn new(text: &str) -> Result<Self, TextProblem> {
                text::check(text, $min, $max)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_type! {
    /// What the shop sells, by its own code: 1 to 128 bytes.
    Sku, 1..=128
}
text_type! {
    /// The code of a place where units lie: 1 to 64 bytes.
    Location, 1..=64
}
text_type! {
    /// Whose reservation it is, as the caller said: 1 to 128 bytes.
    Owner, 1..=128
}
text_type! {
    /// Who did something or in what course: an actor, a connection, a run. 1 to 128 bytes.
    Name, 1..=128
}
text_type! {
    /// What an actor wrote about an adjustment: 0 to 500 bytes.
    Note, 0..=500
}

impl Location {
    /// Sorts before every location that can be named; only for the lower end of a range.
    pub(crate) fn lowest() -> Self {
        Self("".into())
    }
}

/// The name of one stock row.
pub type RowKey = (Sku, Location);

macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// From the sixteen bytes of a UUID, most significant first.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }

            /// The sixteen bytes of the UUID, most significant first.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            /// The canonical form: lower case, with hyphens.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let v = self.0;
                let (a, b, c) = (v >> 96, v >> 80 & 0xffff, v >> 64 & 0xffff);
                let (d, e) = (v >> 48 & 0xffff, v & 0xffff_ffff_ffff);
                write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
            }
        }
    };
}

uuid_type! {
    /// A reservation's id, which is also the key of its Reserve: a UUIDv7 that the caller made. Ordered by its bytes, as Postgres orders `uuid`.
    ReservationId
}
uuid_type! {
    /// The key of any mutation but Reserve: a UUID that the caller made.
    RequestId
}

impl ReservationId {
    /// Whether it is a UUID of version 7 and of the usual variant.
    #[must_use]
    pub const fn is_v7(self) -> bool {
        self.0 >> 76 & 0xf == 7 && self.0 >> 62 & 0b11 == 0b10
    }

    /// The time that the caller made it, in milliseconds since 1970, as a UUIDv7 carries it; meaningless unless [`is_v7`](Self::is_v7).
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        // 48 bits always fit.
        (self.0 >> 80) as i64
    }
}

/// Units asked for or taken: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i64);

impl Quantity {
    /// The most units of one line, also after summing.
    pub const MAX: i64 = 1_000_000;

    /// Takes 1 to [`Quantity::MAX`] units, nothing else.
    #[must_use]
    pub const fn new(units: i64) -> Option<Self> {
        if units >= 1 && units <= Self::MAX { Some(Self(units)) } else { None }
    }

    /// The number of units.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum, unless it is more than [`Quantity::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An instant: microseconds since 1970 in UTC, the resolution of Postgres's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// The instant so many microseconds later, or none if it does not exist.
    #[must_use]
    pub const fn checked_add(self, micros: i64) -> Option<Self> {
        match self.0.checked_add(micros) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

/// What a request said, hashed by whoever took it, the verb included: the same key with another hash is another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadHash(pub [u8; 32]);
