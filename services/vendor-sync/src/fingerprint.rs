//! What a request asked for, as 32 bytes: the same key with another fingerprint is refused. And keys that follow from what is asked for.

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
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

/// The key of the request with which a batch of a run goes to reservation: the same whoever derives it of the same moment and however often, another one for
/// each batch and for each revision of it. A UUIDv7 whose time is that moment: reservation refuses keys that are older than what it remembers.
#[must_use]
pub fn batch_key(run_id: Uuid, batch: i32, revision: i32, made: OffsetDateTime) -> Uuid {
    let parts = Fingerprint::new()
        .part("holdfast.vendorsync.batch")
        .part(run_id.as_bytes())
        .part(batch.to_be_bytes())
        .part(revision.to_be_bytes());
    timed_key_of(parts, unix_millis(made))
}

/// The key of the next revision of a batch whose counts, not its age, are why it is revised: of the same moment as the key before.
#[must_use]
pub fn revised_key(run_id: Uuid, batch: i32, revision: i32, before: Uuid) -> Uuid {
    let made = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis_of(before)) * 1_000_000);
    batch_key(
        run_id,
        batch,
        revision,
        made.expect("48 bits of milliseconds end in the year 10889, which is an instant"),
    )
}

/// The key of the request with which a decision on a quarantined number goes to reservation: of when it was decided.
#[must_use]
pub fn decision_key(quarantine_id: Uuid, decided: OffsetDateTime) -> Uuid {
    let parts = Fingerprint::new().part("holdfast.vendorsync.decision").part(quarantine_id.as_bytes());
    timed_key_of(parts, unix_millis(decided))
}

/// The key of the request with which typed adjustments go to reservation: of the time in the key of the caller's request, a UUIDv7.
#[must_use]
pub fn adjustment_key(request_id: Uuid) -> Uuid {
    let parts = Fingerprint::new().part("holdfast.vendorsync.adjustment").part(request_id.as_bytes());
    timed_key_of(parts, millis_of(request_id))
}

/// The key of the request with which approved adjustments go to reservation: of when they were approved.
#[must_use]
pub fn approved_key(quarantine_id: Uuid, decided: OffsetDateTime) -> Uuid {
    let parts = Fingerprint::new().part("holdfast.vendorsync.adjustment").part(quarantine_id.as_bytes());
    timed_key_of(parts, unix_millis(decided))
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

/// A UUIDv7 of a moment, its other bits a hash.
fn timed_key_of(parts: Fingerprint, unix_millis: u64) -> Uuid {
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&parts.finish()[..10]);
    uuid::Builder::from_unix_timestamp_millis(unix_millis, &bytes).into_uuid()
}

fn unix_millis(at: OffsetDateTime) -> u64 {
    // Before 1970 nothing was decided.
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// The time in a UUIDv7, in milliseconds since 1970.
fn millis_of(key: Uuid) -> u64 {
    // 48 bits of 128.
    u64::try_from(key.as_u128() >> 80).unwrap_or(0)
}

/// A UUIDv8 (made from a hash, by a rule of our own).
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
        let made = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let batch_key = |run, batch, revision| batch_key(run, batch, revision, made);
        let all = || {
            runs.into_iter().flat_map(|run| {
                (0..10).flat_map(move |batch| (0..3).map(move |revision| batch_key(run, batch, revision)))
            })
        };
        assert_eq!(all().collect::<HashSet<_>>().len(), 60);
        assert!(all().eq(all()));
    }

    #[test]
    fn a_key_for_reservation_has_the_time_of_what_it_follows_from() {
        let decided = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let id = Uuid::from_u128(7);
        let batch = batch_key(id, 0, 0, decided);
        let typed = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_728_000_000, 5_000_000));
        for (key, millis) in [
            (batch, 1_728_000_000_000),
            (revised_key(id, 0, 1, batch), 1_728_000_000_000),
            (decision_key(id, decided), 1_728_000_000_000),
            (approved_key(id, decided), 1_728_000_000_000),
            (adjustment_key(typed), 1_728_000_000_005),
        ] {
            assert_eq!((key.get_version_num(), millis_of(key)), (7, millis), "{key}");
        }
        assert_ne!(revised_key(id, 0, 1, batch), batch);
    }
}
