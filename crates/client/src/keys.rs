//! Keys: what makes it safe to send a request again.

use std::fmt;
use std::str::FromStr;

use uuid::{Uuid, Variant};

/// A reservation's id, which is also the key of the Reserve request: a `UUIDv7`.
///
/// Make one per cart and keep it until the outcome is known. With a new key, a retry would be a second reservation. Holdfast takes keys whose time
/// lies within its retry window (by default 24 hours back and 5 minutes ahead).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReservationKey(Uuid);

impl ReservationKey {
    /// A new key, with this machine's present time in it.
    #[expect(clippy::new_without_default, reason = "a key is never a default value: each call makes another one")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The key as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for ReservationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for ReservationKey {
    type Err = KeyError;

    /// Reads a key as Holdfast writes it: a `UUIDv7`, hyphenated, in lower case.
    ///
    /// # Errors
    /// [`KeyError`] if the text is anything else. Nothing was sent.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let uuid = canonical(text)?;
        if uuid.get_version_num() != 7 || uuid.get_variant() != Variant::RFC4122 {
            return Err(KeyError { text: text.to_owned(), expected: "a UUID of version 7" });
        }
        Ok(Self(uuid))
    }
}

/// The key of a request that is not a Reserve: a UUID.
///
/// Make one per intent ("confirm this cart") and keep it until the outcome is known. Reservation takes only those of version 7, as [`RequestKey::new`] makes them,
/// whose time lies within its retry window (by default 24 hours back; for counts and adjustments 30 days).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey(Uuid);

impl RequestKey {
    /// A new key.
    #[expect(clippy::new_without_default, reason = "a key is never a default value: each call makes another one")]
    pub fn new() -> Self {
        // Version 7, so that the server's index grows at one end.
        Self(Uuid::now_v7())
    }

    /// The key as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for RequestKey {
    type Err = KeyError;

    /// Reads a key as Holdfast writes it: a UUID, hyphenated, in lower case.
    ///
    /// # Errors
    /// [`KeyError`] if the text is anything else. Nothing was sent.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        canonical(text).map(Self)
    }
}

/// A text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}, hyphenated and in lower case")]
pub struct KeyError {
    text: String,
    expected: &'static str,
}

fn canonical(text: &str) -> Result<Uuid, KeyError> {
    Uuid::try_parse(text)
        .ok()
        .filter(|uuid| uuid.as_hyphenated().to_string() == text)
        .ok_or_else(|| KeyError { text: text.to_owned(), expected: "a UUID" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_key_reads_back_as_it_was_written() {
        let key = ReservationKey::new();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.as_uuid().get_version_num(), 7);
    }

    #[test]
    fn a_key_of_another_version_or_form_is_refused() {
        let v4 = "2f1c9f0e-5f1b-4a57-9d0e-0b8a4e6f2c11";
        assert!(v4.parse::<ReservationKey>().is_err());
        assert!(v4.parse::<RequestKey>().is_ok());
        let upper = ReservationKey::new().to_string().to_uppercase();
        assert!(upper.parse::<ReservationKey>().is_err());
        assert!(ReservationKey::new().as_uuid().simple().to_string().parse::<ReservationKey>().is_err());
        assert!("".parse::<RequestKey>().is_err());
    }
}
