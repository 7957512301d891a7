//! What the demo claims, each claim held against what the services say.

use super::say::Say;

/// Claims that were made, and those that were not true.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    say: &'a Say,
    pub(super) broken: Vec<String>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(say: &'a Say) -> Self {
        Self { say, broken: Vec::new() }
    }

    /// Says a claim, and whether it is true; if not, what was found instead.
    pub(super) fn check(&mut self, is_true: bool, claim: &str, instead: impl FnOnce() -> String) {
        if is_true {
            self.say.line(&format!("  ✓ {claim}"));
        } else {
            let what = format!("not true that {claim}: {}", instead());
            self.say.line(&format!("  ✗ {what}"));
            self.broken.push(what);
        }
    }

    /// The same for a number.
    pub(super) fn equal(&mut self, found: i64, expected: i64, claim: &str) {
        self.check(found == expected, claim, || format!("{found} instead of {expected}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_not_true_is_kept_with_what_was_found() {
        let say = Say::silent();
        let mut claims = Claims::new(&say);
        claims.equal(150, 150, "150 are on offer");
        assert!(claims.broken.is_empty());
        claims.equal(999, 150, "150 are on offer");
        assert_eq!(claims.broken, ["not true that 150 are on offer: 999 instead of 150"]);
    }
}
