//! Guards of what the shop's own people add by hand. What they count passes the row guards like a vendor's number; an
//! addition is another thing: a shelf that is nearly empty is filled from the lorry every day, and only the size of what
//! is typed can look wrong.

use super::jump::{Change, RowLimits, Rule, Stop, check as check_change};

/// Units for sale that somebody adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Units on hand before; `None` if there is no stock row.
    pub old: Option<u64>,
    /// Units added.
    pub added: u64,
    /// Whether goods came in (received, moved here), and not only a number changed (found, returned, corrected).
    pub comes_in: bool,
}

/// Looks at an addition; `None`: it may be believed. What is added is itself judged by R4; what there is afterwards by R2,
/// R4 and R5 beside what was there before, or by R3 if nothing was. Goods that come in multiply what is there as a rule,
/// so R2 and R5 look at them only from R3's size on.
#[must_use]
pub fn check(limits: &RowLimits, addition: &Addition) -> Option<Stop> {
    let Addition { old, added, comes_in } = *addition;
    let old = old.filter(|old| *old > 0);
    let after = Change { old, new: old.unwrap_or(0).saturating_add(added), pack_size: 1, judge_unknown: true };
    let typed = Change { old: None, new: added, pack_size: 1, judge_unknown: false };
    let is_delivery = comes_in && added < limits.unknown_units_min;
    let (mut rules, mut words) = (Vec::new(), Vec::new());
    for stop in [check_change(limits, &typed), check_change(limits, &after)].into_iter().flatten() {
        let mut telling = stop.rules.into_iter().filter(|rule| !(is_delivery && matches!(rule, Rule::R2 | Rule::R5)));
        let first = telling.next();
        if first.is_some() && !words.contains(&stop.explanation) {
            words.push(stop.explanation);
        }
        for rule in first.into_iter().chain(telling) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    (!rules.is_empty()).then(|| Stop { rules, explanation: words.join("; "), is_decrease: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(old: impl Into<Option<u64>>, added: u64, comes_in: bool) -> Vec<Rule> {
        let addition = Addition { old: old.into(), added, comes_in };
        check(&RowLimits::default(), &addition).map(|stop| stop.rules).unwrap_or_default()
    }

    #[test]
    fn a_delivery_fills_a_shelf_and_a_thousand_more_than_that_waits() {
        assert_eq!(rules_of(10, 190, true), []);
        assert_eq!(rules_of(10, 998, true), []);
        assert_eq!(rules_of(10, 1005, true), [Rule::R2]);
        assert_eq!(rules_of(10_000, 1000, true), []);
        assert_eq!(rules_of(None, 998, true), []);
        assert_eq!(rules_of(None, 1000, true), [Rule::R3]);
        assert_eq!(rules_of(0, 1500, true), [Rule::R3], "none there is nothing known");
    }

    #[test]
    fn what_is_only_found_or_put_right_is_judged_like_a_count() {
        assert_eq!(rules_of(10, 90, false), [Rule::R5, Rule::R2], "ten times as many");
        assert_eq!(rules_of(10, 41, false), [Rule::R2]);
        assert_eq!(rules_of(10, 39, false), []);
    }

    #[test]
    fn a_number_that_stands_for_something_else_waits_whoever_types_it() {
        assert_eq!(rules_of(150, 999, true), [Rule::R4]);
        assert_eq!(rules_of(150, 849, true), [Rule::R4], "999 afterwards");
        assert_eq!(rules_of(5000, 999, false), [Rule::R4]);
        assert_eq!(rules_of(None, 999, true), [Rule::R4]);
    }
}
