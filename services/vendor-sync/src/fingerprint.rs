//! What a request asked for, as 32 bytes: the same key with another fingerprint is refused. And keys that follow from what is asked for.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::model::Upload;

/// SHA-256 over the parts of a request, each with its length so that no two requests look alike. Made of what the request means (defaults filled in), not
/// of its bytes on the wire, which may differ from attempt to attempt.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of nothing yet.
    #[must_use]
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

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The key of the request with which a batch of a run goes to reservation: the same whoever derives it and however often, another one for each batch and
/// for each revision of it. A UUIDv8 (made from a hash, by a rule of our own).
#[must_use]
pub fn batch_key(run_id: Uuid, batch: i32, revision: i32) -> Uuid {
    let parts = Fingerprint::new()
        .part("holdfast.vendorsync.batch")
        .part(run_id.as_bytes())
        .part(batch.to_be_bytes())
        .part(revision.to_be_bytes());
    key_of(parts)
}

/// The key of the request with which a decision on a quarantined number goes to reservation.
#[must_use]
pub fn decision_key(quarantine_id: Uuid) -> Uuid {
    key_of(Fingerprint::new().part("holdfast.vendorsync.decision").part(quarantine_id.as_bytes()))
}

/// The key of the request with which adjustments go to reservation: by the key of the caller's request, or by the id of what became of it.
#[must_use]
pub fn adjustment_key(id: Uuid) -> Uuid {
    key_of(Fingerprint::new().part("holdfast.vendorsync.adjustment").part(id.as_bytes()))
}

/// The key under which a file that was found is received: the same whoever finds it and however often.
#[must_use]
pub fn fetch_key(upload: &Upload) -> Uuid {
    let parts = Fingerprint::new()
        .part("holdfast.vendorsync.fetch")
        .part(&upload.connection)
        .part(upload.as_of.unix_timestamp_nanos().to_be_bytes())
        .part(&upload.file_name)
        .part(upload.sha256);
    key_of(parts)
}

fn key_of(parts: Fingerprint) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&parts.finish()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn where_a_part_ends_matters() {
        let one = Fingerprint::new().part("ab").part("c").finish();
        let other = Fingerprint::new().part("a").part("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn a_batch_has_one_key_and_shares_it_with_no_other() {
        let runs = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let all = || {
            runs.into_iter().flat_map(|run| {
                (0..10).flat_map(move |batch| (0..3).map(move |revision| batch_key(run, batch, revision)))
            })
        };
        assert_eq!(all().collect::<HashSet<_>>().len(), 60);
        assert!(all().eq(all()));
        assert_eq!(batch_key(runs[0], 0, 0).get_version_num(), 8);
    }
}
