//! The file gate: is the file as a whole to be believed? A file that is held changes nothing; it waits for a person or
//! for a good newer file.

use std::fmt;

use crate::observation::Mode;

/// How much of a file may be wrong before the file is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Codes of the last accepted file that may be absent from a FULL file, in thousandths of them.
    pub keys_gone_permille_max: u32,
    /// Rows that cannot be read, in thousandths of the rows.
    pub rows_unreadable_permille_max: u32,
    /// Below so many keys (or rows) a share says little, and `small_file_rows_max` applies if it is larger.
    pub small_file_keys: u64,
    /// How many keys (or rows) a small file may lack.
    pub small_file_rows_max: u64,
}

impl Default for FileLimits {
    /// The numbers that 735 real feed transitions stayed under: 10 % gone, 0.5 % unreadable, 10 rows below 200 keys.
    fn default() -> Self {
        Self {
            keys_gone_permille_max: 100,
            rows_unreadable_permille_max: 5,
            small_file_keys: 200,
            small_file_rows_max: 10,
        }
    }
}

/// What the gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// What absence means.
    pub mode: Mode,
    /// Rows read, without the header.
    pub rows: u64,
    /// Rows that could not be read at all.
    pub rows_unreadable: u64,
    /// Codes in the connection's last accepted file.
    pub keys_known: u64,
    /// Those of them that this file does not have.
    pub keys_gone: u64,
}

/// Why a file is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Too many known codes are absent from a FULL file: it may be cut off.
    KeysGone {
        /// How many are absent.
        gone: u64,
        /// Of how many.
        known: u64,
    },
    /// Too many rows cannot be read: a column may have shifted.
    RowsUnreadable {
        /// How many.
        unreadable: u64,
        /// Of how many.
        rows: u64,
    },
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeysGone { gone, known } => {
                write!(f, "{gone} of {known} known codes are gone from a FULL file: it may be cut off")
            }
            Self::RowsUnreadable { unreadable, rows } => {
                write!(f, "{unreadable} of {rows} rows cannot be read: a column may have shifted")
            }
        }
    }
}

/// Looks at a file. Empty: it may be applied; otherwise it is to be held, and these are all the reasons.
#[must_use]
pub fn check(limits: &FileLimits, facts: &FileFacts) -> Vec<Suspicion> {
    let mut suspicions = Vec::new();
    let gone_matters = facts.mode == Mode::Full;
    if gone_matters && limits.exceeded(facts.keys_gone, facts.keys_known, limits.keys_gone_permille_max) {
        suspicions.push(Suspicion::KeysGone { gone: facts.keys_gone, known: facts.keys_known });
    }
    if limits.exceeded(facts.rows_unreadable, facts.rows, limits.rows_unreadable_permille_max) {
        suspicions.push(Suspicion::RowsUnreadable { unreadable: facts.rows_unreadable, rows: facts.rows });
    }
    suspicions
}

impl FileLimits {
    fn exceeded(&self, part: u64, whole: u64, permille_max: u32) -> bool {
        let excused = whole < self.small_file_keys && part <= self.small_file_rows_max;
        u128::from(part) * 1000 > u128::from(whole) * u128::from(permille_max) && !excused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(keys_known: u64, keys_gone: u64, rows: u64, rows_unreadable: u64) -> FileFacts {
        FileFacts { mode: Mode::Full, rows, rows_unreadable, keys_known, keys_gone }
    }

    #[test]
    fn a_tenth_of_the_known_codes_may_go_and_not_one_more() {
        let limits = FileLimits::default();
        assert_eq!(check(&limits, &facts(1000, 100, 900, 0)), []);
        assert_eq!(check(&limits, &facts(1000, 101, 899, 0)), [Suspicion::KeysGone { gone: 101, known: 1000 }]);
    }

    #[test]
    fn a_small_file_may_lack_ten_rows() {
        let limits = FileLimits::default();
        assert_eq!(check(&limits, &facts(20, 10, 10, 0)), []);
        assert_eq!(check(&limits, &facts(20, 11, 9, 0)), [Suspicion::KeysGone { gone: 11, known: 20 }]);
        assert_eq!(check(&limits, &facts(199, 19, 180, 0)), [], "the percentage is the larger one here");
        assert_eq!(check(&limits, &facts(199, 20, 179, 0)).len(), 1);
        assert_eq!(check(&limits, &facts(200, 21, 179, 0)).len(), 1);
    }

    #[test]
    fn half_a_percent_of_the_rows_may_be_unreadable() {
        let limits = FileLimits::default();
        assert_eq!(check(&limits, &facts(0, 0, 2000, 10)), []);
        assert_eq!(check(&limits, &facts(0, 0, 2000, 11)), [Suspicion::RowsUnreadable { unreadable: 11, rows: 2000 }]);
        assert_eq!(check(&limits, &facts(0, 0, 30, 10)), []);
        assert_eq!(check(&limits, &facts(0, 0, 30, 11)).len(), 1);
    }

    #[test]
    fn absence_is_nothing_to_a_partial_feed() {
        let facts = FileFacts { mode: Mode::Partial, ..facts(1000, 999, 1, 0) };
        assert_eq!(check(&FileLimits::default(), &facts), []);
    }

    #[test]
    fn every_reason_is_told() {
        assert_eq!(check(&FileLimits::default(), &facts(1000, 500, 500, 100)).len(), 2);
    }
}
