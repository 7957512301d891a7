//! The file gate: is the file as a whole to be believed? A file that is held changes nothing; it waits for a person or
//! for a good newer file.

use std::fmt;

use crate::observation::Mode;

/// How much of something may be wrong, in thousandths of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Above this the file is applied with a warning.
    pub warn_permille: u32,
    /// Above this it is held.
    pub hold_permille: u32,
}

impl Tolerance {
    /// Warns above the first, holds above the second.
    #[must_use]
    pub const fn new(warn_permille: u32, hold_permille: u32) -> Self {
        Self { warn_permille, hold_permille }
    }
}

/// How much of a file may be wrong. What a file is compared with is the last accepted one, or several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Rows that cannot be read, of all rows.
    pub rows_unreadable: Tolerance,
    /// Known codes that a FULL file does not have, of the known codes.
    pub keys_gone: Tolerance,
    /// Codes of a FULL file that are not known, beside the known codes. A rename is both.
    pub keys_unknown: Tolerance,
    /// Codes that were in stock and say 0 in a FULL file, of those in stock.
    pub sold_out: Tolerance,
    /// A number on more than so many thousandths of the rows holds the file …
    pub one_value_permille_max: u32,
    /// … if the commonest number of the last accepted file was on less than so many of its.
    pub one_value_before_permille: u32,
    /// From how many accepted files on the rules below are applied: before, nobody knows how much a feed moves.
    pub accepted_files_min: u64,
    /// Rows that a FULL file lacks beside the median of the last accepted ones.
    pub rows_fewer: Tolerance,
    /// Rows that it has more, in thousandths of that median: held above this.
    pub rows_more_permille_max: u32,
    /// The change of the sum of all numbers, up or down, of the sum before. A number that a row guard stops counts as the
    /// lower of the old and the new one: a single wrong row does not hold the file.
    pub units: Tolerance,
    /// Codes with another number than before, of those that both files have.
    pub rows_changed: Tolerance,
    /// Below so many keys (or rows) a share says little, and `small_file_rows_max` applies if it is larger.
    pub small_file_keys: u64,
    /// How many keys (or rows) may be wrong in a small file.
    pub small_file_rows_max: u64,
}

impl Default for FileLimits {
    /// The numbers that 735 real feed transitions stayed under.
    fn default() -> Self {
        Self {
            rows_unreadable: Tolerance::new(1, 5),
            keys_gone: Tolerance::new(30, 100),
            keys_unknown: Tolerance::new(30, 200),
            sold_out: Tolerance::new(50, 100),
            one_value_permille_max: 900,
            one_value_before_permille: 500,
            accepted_files_min: 5,
            rows_fewer: Tolerance::new(30, 100),
            rows_more_permille_max: 500,
            units: Tolerance::new(80, 200),
            rows_changed: Tolerance::new(200, 400),
            small_file_keys: 200,
            small_file_rows_max: 10,
        }
    }
}

/// What a file is by itself, and beside what its connection said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Rows read, without the header.
    pub rows: u64,
    /// Rows that could not be read at all.
    pub rows_unreadable: u64,
    /// The number that most rows have.
    pub top_value: u64,
    /// How many have it.
    pub top_value_rows: u64,
    /// Codes in the connection's last accepted file.
    pub keys_known: u64,
    /// Those of them that this file does not have.
    pub keys_gone: u64,
    /// Codes of this file that are none of them.
    pub keys_unknown: u64,
    /// Codes that were in stock.
    pub keys_in_stock: u64,
    /// Those of them that say 0 in this file.
    pub keys_sold_out: u64,
    /// Codes with a number before and in this file.
    pub keys_compared: u64,
    /// Those of them whose number changed.
    pub keys_changed: u64,
    /// Codes with a number before, and none that could be read in this file.
    pub keys_unsaid: u64,
    /// All numbers before, in the vendor's units.
    pub units_before: u64,
    /// All numbers of this file, as far as the row guards believe them.
    pub units: u64,
}

impl FileFacts {
    /// The share of the commonest number, in thousandths of the rows.
    #[must_use]
    pub fn top_value_permille(&self) -> u32 {
        let permille = u128::from(self.top_value_rows) * 1000 / u128::from(self.rows.max(1));
        u32::try_from(permille).unwrap_or(1000)
    }
}

/// What the connection's accepted files were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileHistory {
    /// How many of the last ones are remembered.
    pub accepted_files: u64,
    /// The median of their rows.
    pub rows_median: u64,
    /// The share of the commonest number in the last one, in thousandths of its rows; `None` if that is not known.
    pub top_value_permille: Option<u32>,
}

impl FileHistory {
    /// From the rows of the last accepted files, and the share of the commonest number in the newest.
    #[must_use]
    pub fn new(mut rows: Vec<u64>, top_value_permille: Option<u32>) -> Self {
        rows.sort_unstable();
        let rows_median = rows.get(rows.len() / 2).copied().unwrap_or(0);
        Self { accepted_files: rows.len() as u64, rows_median, top_value_permille }
    }
}

/// Something about a file that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Rows cannot be read: a column may have shifted.
    RowsUnreadable {
        /// How many.
        unreadable: u64,
        /// Of how many.
        rows: u64,
    },
    /// Known codes are absent from a FULL file: it may be cut off.
    KeysGone {
        /// How many are absent.
        gone: u64,
        /// Of how many.
        known: u64,
    },
    /// Codes are new: it may be another vendor's file, or the codes were renamed.
    KeysUnknown {
        /// How many are new.
        unknown: u64,
        /// Beside how many.
        known: u64,
    },
    /// Codes in stock fell to 0.
    SoldOut {
        /// How many did.
        sold_out: u64,
        /// Of how many.
        in_stock: u64,
    },
    /// Codes that said a number say none: words in its place, or lower bounds.
    Unsaid {
        /// How many do.
        unsaid: u64,
        /// Of how many.
        of: u64,
    },
    /// Nearly all rows have the same number.
    OneValue {
        /// The number.
        value: u64,
        /// On how many rows it is.
        rows: u64,
        /// Of how many.
        of: u64,
    },
    /// Another number of rows than usual.
    Rows {
        /// How many.
        rows: u64,
        /// How many are usual.
        median: u64,
    },
    /// Another sum than before.
    Units {
        /// The sum, in the vendor's units.
        units: u64,
        /// The sum before.
        before: u64,
    },
    /// Too many numbers changed at once.
    RowsChanged {
        /// How many did.
        changed: u64,
        /// Of how many.
        compared: u64,
    },
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RowsUnreadable { unreadable, rows } => {
                write!(f, "{unreadable} of {rows} rows cannot be read: a column may have shifted")
            }
            Self::KeysGone { gone, known } => {
                write!(f, "{gone} of {known} known codes are gone from a FULL file: it may be cut off")
            }
            Self::KeysUnknown { unknown, known } => {
                write!(f, "{unknown} codes are new beside {known} known ones: it may be another file")
            }
            Self::SoldOut { sold_out, in_stock } => {
                write!(f, "{sold_out} of {in_stock} codes in stock fell to 0")
            }
            Self::Unsaid { unsaid, of } => {
                write!(f, "{unsaid} of {of} codes that said a number say none: the column may mean something else now")
            }
            Self::OneValue { value, rows, of } => {
                write!(f, "{rows} of {of} rows say {value}: a column may have been filled with one number")
            }
            Self::Rows { rows, median } => write!(f, "{rows} rows where {median} are usual"),
            Self::Units { units, before } => write!(f, "{units} units in all where {before} were before"),
            Self::RowsChanged { changed, compared } => {
                write!(f, "{changed} of {compared} numbers changed at once: a column may have shifted")
            }
        }
    }
}

/// What the gate says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why it is to be held; empty: it may be applied.
    pub held: Vec<Suspicion>,
    /// What is to be told though it is applied.
    pub warned: Vec<Suspicion>,
}

/// Looks at a file. A PARTIAL file has whatever changed, so only what is wrong within it speaks against it.
#[must_use]
pub fn check(limits: &FileLimits, mode: Mode, facts: &FileFacts, history: &FileHistory) -> Findings {
    let mut findings = Findings::default();
    let mut judge = |part, whole, tolerance: Tolerance, suspicion| {
        if limits.exceeded(part, whole, tolerance.hold_permille) {
            findings.held.push(suspicion);
        } else if limits.exceeded(part, whole, tolerance.warn_permille) {
            findings.warned.push(suspicion);
        }
    };
    let FileFacts { rows, rows_unreadable: unreadable, .. } = *facts;
    judge(unreadable, rows, limits.rows_unreadable, Suspicion::RowsUnreadable { unreadable, rows });
    if history.top_value_permille.is_some_and(|before| before < limits.one_value_before_permille) {
        let only_hold = Tolerance::new(limits.one_value_permille_max, limits.one_value_permille_max);
        let (value, top) = (facts.top_value, facts.top_value_rows);
        judge(top, rows, only_hold, Suspicion::OneValue { value, rows: top, of: rows });
    }
    let (unsaid, of) = (facts.keys_unsaid, facts.keys_unsaid + facts.keys_compared);
    judge(unsaid, of, limits.sold_out, Suspicion::Unsaid { unsaid, of });
    if mode == Mode::Partial {
        return findings;
    }
    let FileFacts { keys_known: known, keys_gone: gone, keys_unknown: unknown, .. } = *facts;
    if known > 0 {
        judge(gone, known, limits.keys_gone, Suspicion::KeysGone { gone, known });
        judge(unknown, known, limits.keys_unknown, Suspicion::KeysUnknown { unknown, known });
    }
    let FileFacts { keys_sold_out: sold_out, keys_in_stock: in_stock, .. } = *facts;
    judge(sold_out, in_stock, limits.sold_out, Suspicion::SoldOut { sold_out, in_stock });
    if history.accepted_files < limits.accepted_files_min {
        return findings;
    }
    let median = history.rows_median;
    let only_hold = Tolerance::new(limits.rows_more_permille_max, limits.rows_more_permille_max);
    judge(median.saturating_sub(rows), median, limits.rows_fewer, Suspicion::Rows { rows, median });
    judge(rows.saturating_sub(median), median, only_hold, Suspicion::Rows { rows, median });
    let FileFacts { keys_changed: changed, keys_compared: compared, .. } = *facts;
    judge(changed, compared, limits.rows_changed, Suspicion::RowsChanged { changed, compared });
    let FileFacts { units, units_before: before, .. } = *facts;
    let is_small = known < limits.small_file_keys && changed + gone + unknown <= limits.small_file_rows_max;
    if before > 0 && !is_small {
        let beyond = |permille| is_more(units.abs_diff(before), before, permille);
        let suspicion = Suspicion::Units { units, before };
        if beyond(limits.units.hold_permille) {
            findings.held.push(suspicion);
        } else if beyond(limits.units.warn_permille) {
            findings.warned.push(suspicion);
        }
    }
    findings
}

impl FileLimits {
    fn exceeded(&self, part: u64, whole: u64, permille_max: u32) -> bool {
        let excused = whole < self.small_file_keys && part <= self.small_file_rows_max;
        is_more(part, whole, permille_max) && !excused
    }
}

/// Whether a part is more than so many thousandths of a whole.
fn is_more(part: u64, whole: u64, permille: u32) -> bool {
    u128::from(part) * 1000 > u128::from(whole) * u128::from(permille)
}

#[cfg(test)]
mod tests;
