//! Row guards that look at a number beside the one before it: R2 (several times as many), R3 (many of what nothing is
//! known of), R4 (a number that stands for something else), R5 (a slip of the hand, upwards or downwards).

use std::fmt;

/// The numbers of these guards. All compare units of the SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowLimits {
    /// R2 and R5 believe changes below so many units. Too low: sales and small deliveries wait for a person. Too high:
    /// small wrong numbers are sold.
    pub units_min: u64,
    /// R2 and R5 believe any increase from below so many units: a shelf that was nearly empty is filled.
    pub old_units_min: u64,
    /// R2: so many times as many as before, or more, is not believed.
    pub factor_min: u64,
    /// R3: so many units, or more, of what nothing is known of, or of what there was next to nothing, are not believed.
    pub unknown_units_min: u64,
    /// R4: numbers that stand for "many", "unknown" or "no limit" in vendors' systems.
    pub sentinels: Vec<u64>,
    /// R4: the smallest of them that is not believed where nothing, or nothing in stock, was known before: 99 may be a
    /// count, 999 hardly.
    pub sentinel_unknown_min: u64,
}

impl Default for RowLimits {
    /// The numbers that were quiet on 89,535 real row changes.
    fn default() -> Self {
        Self {
            units_min: 20,
            old_units_min: 5,
            factor_min: 5,
            unknown_units_min: 1000,
            sentinels: vec![99, 999, 9999, 99_999, 100_000, 1_000_000, 2_147_483_647],
            sentinel_unknown_min: 999,
        }
    }
}

/// A rule by which a row was stopped, by its name in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The number can be read in two ways.
    R1,
    /// Several times as many as before.
    R2,
    /// Many, and nothing is known.
    R3,
    /// A number that stands for something else.
    R4,
    /// Exactly a multiple or a fraction of the number before, or its digits twice or swapped.
    R5,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
            Self::R4 => "R4",
            Self::R5 => "R5",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number beside the one before it, in units of the SKU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was known before, without the sold units that the new number reflects; `None` if nothing was.
    pub old: Option<u64>,
    /// What is said now.
    pub new: u64,
    /// How many units of the SKU one of the vendor's units is: a slip of the hand happens in the vendor's number.
    pub pack_size: u64,
    /// Whether R3 looks on: not in a first file, of which nothing can be known.
    pub judge_unknown: bool,
}

/// Why a number is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The rules that stop it, the most telling first; at least one.
    pub rules: Vec<Rule>,
    /// What looks wrong, in words.
    pub explanation: String,
    /// Whether it is lower than before: then the lower number caps the offer, and is believed in the end.
    pub is_decrease: bool,
}

/// The factors of a slipped decimal point.
const POWERS: [u64; 3] = [10, 100, 1000];

/// Looks at a number; `None`: it may be believed.
#[must_use]
pub fn check(limits: &RowLimits, change: &Change) -> Option<Stop> {
    let mut found: Vec<(Rule, String)> = Vec::new();
    let new = change.new;
    if sentinel(limits, change) {
        found.push((Rule::R4, format!("{new} often stands for \"many\" or \"unknown\"")));
    }
    let Some(old) = change.old else {
        if change.judge_unknown && new >= limits.unknown_units_min {
            found.push((Rule::R3, format!("{new} units of what was never counted here")));
        }
        return stop(found, false);
    };
    if old.saturating_sub(new) >= limits.units_min {
        let fraction = factors(change).find(|factor| new > 0 && new.checked_mul(*factor) == Some(old));
        found.extend(fraction.map(|factor| (Rule::R5, format!("exactly one part in {factor} of the {old} before"))));
        return stop(found, true);
    }
    if old < limits.old_units_min && new >= limits.unknown_units_min && change.judge_unknown {
        found.push((Rule::R3, format!("{new} units where {old} were")));
    }
    if old >= limits.old_units_min && new.saturating_sub(old) >= limits.units_min {
        found.extend(slip(change, old).map(|what| (Rule::R5, what)));
        if new >= old.saturating_mul(limits.factor_min) {
            found.push((Rule::R2, format!("{new} is {} times the {old} before, or more", limits.factor_min)));
        }
    }
    stop(found, false)
}

/// R4: whether the number, as the vendor wrote it or in units, stands for something else, and was reached by doubling or
/// more.
fn sentinel(limits: &RowLimits, change: &Change) -> bool {
    let known = change.old.filter(|old| *old > 0);
    let doubled = known.is_none_or(|old| change.new >= old.saturating_mul(2));
    let least = if known.is_none() { limits.sentinel_unknown_min } else { 0 };
    let stands = |number: u64| number >= least && limits.sentinels.contains(&number);
    doubled && (stands(change.new) || written(change, change.new).is_some_and(stands))
}

/// The vendor's own number for so many units, where it is another one.
fn written(change: &Change, units: u64) -> Option<u64> {
    let pack = change.pack_size;
    (pack > 1 && units.is_multiple_of(pack)).then(|| units / pack)
}

fn factors(change: &Change) -> impl Iterator<Item = u64> + use<> {
    let pack = change.pack_size;
    POWERS.into_iter().chain((pack > 1 && !POWERS.contains(&pack)).then_some(pack))
}

/// R5 upwards: what kind of slip would make the old number the new one.
fn slip(change: &Change, old: u64) -> Option<String> {
    let new = change.new;
    if let Some(factor) = factors(change).find(|factor| old.checked_mul(*factor) == Some(new)) {
        return Some(format!("exactly {factor} times the {old} before"));
    }
    let numbers = [Some((old, new)), written(change, old).zip(written(change, new))];
    numbers.into_iter().flatten().find_map(|(old, new)| {
        let (before, after) = (old.to_string(), new.to_string());
        if after == before.repeat(2) {
            return Some(format!("the digits of {before} twice"));
        }
        is_swapped(before.as_bytes(), after.as_bytes()).then(|| format!("two digits of {before} swapped"))
    })
}

/// Whether two neighbouring digits changed places.
fn is_swapped(before: &[u8], after: &[u8]) -> bool {
    if before.len() != after.len() {
        return false;
    }
    let mut places = (0..before.len()).filter(|place| before[*place] != after[*place]);
    match (places.next(), places.next(), places.next()) {
        (Some(one), Some(other), None) => {
            other == one + 1 && before[one] == after[other] && before[other] == after[one]
        }
        _ => false,
    }
}

fn stop(found: Vec<(Rule, String)>, is_decrease: bool) -> Option<Stop> {
    if found.is_empty() {
        return None;
    }
    let (rules, words): (Vec<Rule>, Vec<String>) = found.into_iter().unzip();
    Some(Stop { rules, explanation: words.join("; "), is_decrease })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(old: impl Into<Option<u64>>, new: u64, pack_size: u64) -> Vec<Rule> {
        let change = Change { old: old.into(), new, pack_size, judge_unknown: true };
        check(&RowLimits::default(), &change).map(|stop| stop.rules).unwrap_or_default()
    }

    #[test]
    fn five_times_as_many_from_five_on_and_by_twenty_units_is_stopped() {
        assert_eq!(rules_of(6, 30, 1), [Rule::R2]);
        assert_eq!(rules_of(6, 29, 1), [], "less than five times");
        assert_eq!(rules_of(5, 26, 1), [Rule::R2]);
        assert_eq!(rules_of(5, 24, 1), [], "by less than twenty units");
        assert_eq!(rules_of(4, 400, 1), [], "a shelf that was nearly empty is filled");
    }

    #[test]
    fn a_thousand_units_of_what_was_never_counted_are_stopped_unless_nothing_can_be_known() {
        assert_eq!(rules_of(None, 998, 1), []);
        assert_eq!(rules_of(None, 1001, 1), [Rule::R3]);
        assert_eq!(rules_of(0, 998, 1), [], "a shelf that was empty is filled");
        assert_eq!(rules_of(0, 5000, 1), [Rule::R3]);
        assert_eq!(rules_of(4, 1001, 1), [Rule::R3]);
        let first = Change { old: None, new: 5000, pack_size: 1, judge_unknown: false };
        assert_eq!(check(&RowLimits::default(), &first), None);
    }

    #[test]
    fn a_number_that_stands_for_something_else_is_stopped_if_it_doubles_what_was() {
        assert_eq!(rules_of(150, 999, 1), [Rule::R4, Rule::R2], "the 999 of the seed");
        assert_eq!(rules_of(499, 999, 1), [Rule::R4]);
        assert_eq!(rules_of(500, 999, 1), [], "not doubled");
        assert_eq!(rules_of(49, 99, 1), [Rule::R4]);
        assert_eq!(rules_of(None, 99, 1), [], "99 may be a count");
        assert_eq!(rules_of(0, 99, 1), []);
        assert_eq!(rules_of(None, 999, 1), [Rule::R4]);
        assert_eq!(rules_of(0, 999, 1), [Rule::R4]);
        assert_eq!(rules_of(None, 100_000, 1), [Rule::R4, Rule::R3]);
        assert_eq!(rules_of(150, 1000, 1), [Rule::R2], "a thousand is a count");
        assert_eq!(rules_of(24, 999 * 12, 12), [Rule::R4, Rule::R2], "the vendor wrote 999 dozen");
    }

    #[test]
    fn a_slip_of_the_hand_is_stopped() {
        assert_eq!(rules_of(15, 150, 1), [Rule::R5, Rule::R2]);
        assert_eq!(rules_of(15, 1500, 1), [Rule::R5, Rule::R2]);
        assert_eq!(rules_of(15, 15_000, 1), [Rule::R5, Rule::R2]);
        assert_eq!(rules_of(15, 1515, 1), [Rule::R5, Rule::R2], "typed twice");
        assert_eq!(rules_of(15, 51, 1), [Rule::R5], "two digits swapped");
        assert_eq!(rules_of(115, 151, 1), [Rule::R5]);
        assert_eq!(rules_of(115, 511, 1), [], "three digits moved");
        assert_eq!(rules_of(13, 31, 1), [], "by less than twenty units");
        assert_eq!(rules_of(12, 48, 4), [Rule::R5], "packs counted as units");
        assert_eq!(rules_of(12, 48, 1), []);
        assert_eq!(rules_of(15 * 12, 51 * 12, 12), [Rule::R5], "swapped in the vendor's number");
        assert_eq!(rules_of(4, 40, 1), [], "from below five");
    }

    #[test]
    fn a_decrease_is_only_stopped_if_it_looks_like_a_slip() {
        for (old, new, pack_size) in [(150, 15, 1), (1500, 15, 1), (15_000, 15, 1), (48, 12, 4), (30, 3, 1)] {
            let change = Change { old: Some(old), new, pack_size, judge_unknown: true };
            let stop = check(&RowLimits::default(), &change).unwrap();
            assert!(stop.is_decrease && stop.rules == [Rule::R5], "{old} → {new}: {stop:?}");
        }
        for (old, new) in [(150, 16), (150, 0), (20, 2), (150, 149), (1000, 1), (150, 150)] {
            assert_eq!(rules_of(old, new, 1).is_empty(), (old, new) != (1000, 1), "{old} → {new}");
        }
    }

    #[test]
    fn what_looks_wrong_is_said() {
        let change = Change { old: Some(150), new: 999, pack_size: 1, judge_unknown: true };
        let stop = check(&RowLimits::default(), &change).unwrap();
        assert_eq!(
            stop.explanation,
            "999 often stands for \"many\" or \"unknown\"; 999 is 5 times the 150 before, or more"
        );
    }

    #[test]
    fn no_number_overflows() {
        for old in [None, Some(0), Some(u64::MAX), Some(1)] {
            for new in [0, 1, u64::MAX] {
                for pack_size in [0, 1, u64::MAX] {
                    let change = Change { old, new, pack_size, judge_unknown: true };
                    drop(check(&RowLimits::default(), &change));
                }
            }
        }
    }
}
