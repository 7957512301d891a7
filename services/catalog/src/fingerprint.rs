//! What a request asked for, as 32 bytes: the same key with another fingerprint is refused.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// SHA-256 over the parts of a request, each with its length so that no two requests look alike. Made of what the request means (defaults filled in, maps in
/// one order), not of its bytes on the wire, which may differ from attempt to attempt.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part.
    #[must_use]
    pub fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a part that may be missing; missing and empty differ.
    #[must_use]
    pub fn optional(self, bytes: Option<impl AsRef<[u8]>>) -> Self {
        match bytes {
            Some(bytes) => self.part([1]).part(bytes),
            None => self.part([0]),
        }
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Changes with every change of what it stands for. Of the version and the time, so that a database that was set back to a backup does not give out an etag
/// twice.
#[must_use]
pub fn etag(code: &str, version: i64, update_time: OffsetDateTime) -> String {
    let changed = update_time.unix_timestamp_nanos().to_be_bytes();
    let digest = Fingerprint::new().part(code).part(version.to_be_bytes()).part(changed).finish();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_part_ends_matters() {
        let one = Fingerprint::new().part("ab").part("c").finish();
        let other = Fingerprint::new().part("a").part("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn missing_is_not_empty() {
        let missing = Fingerprint::new().optional(None::<&str>).finish();
        let empty = Fingerprint::new().optional(Some("")).finish();
        assert_ne!(missing, empty);
    }
}
