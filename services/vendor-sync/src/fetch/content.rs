//! A file's bytes while they come in, bounded.

use sha2::{Digest as _, Sha256};

use crate::config::CHUNK_BYTES_MAX;

/// A file's bytes in parts of at most 1 MiB, as the record keeps them.
#[derive(Debug)]
pub(super) struct Content {
    parts: Vec<Vec<u8>>,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
}

/// The file is larger than files may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Content {
    /// Of nothing yet, of at most so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { parts: Vec::new(), hash: Sha256::new(), bytes: 0, bytes_max }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`TooLarge`]; what was there stays.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        if self.bytes + bytes.len() as u64 > self.bytes_max {
            return Err(TooLarge);
        }
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
        while !bytes.is_empty() {
            if self.parts.last().is_none_or(|part| part.len() == CHUNK_BYTES_MAX) {
                self.parts.push(Vec::new());
            }
            let Some(part) = self.parts.last_mut() else { break };
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES_MAX - part.len()));
            part.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The parts.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(Vec::as_slice)
    }

    /// Whether these are the first bytes.
    pub(super) fn begins_with(&self, bytes: &[u8]) -> bool {
        self.parts.first().is_some_and(|part| part.starts_with(bytes))
    }

    /// The parts, and the SHA-256 of all of them.
    pub(super) fn finish(self) -> (Vec<Vec<u8>>, [u8; 32]) {
        (self.parts, self.hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_parts_of_a_mebibyte_with_their_hash() {
        let mut content = Content::new(3_000_000);
        let all: Vec<u8> = (0..2_500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for piece in all.chunks(777_777) {
            content.push(piece).unwrap();
        }
        assert_eq!(content.push(&[0; 500_001]), Err(TooLarge));
        assert_eq!(content.bytes(), 2_500_000);
        let (parts, hash) = content.finish();
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 402_848]);
        assert_eq!((parts.concat(), hash), (all.clone(), Sha256::digest(&all).into()));
    }
}
