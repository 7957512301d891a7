//! Row guards: R1 (is it a whole number of units?) and R7 (one code on several rows).

use std::{collections::HashMap, fmt};

use crate::{
    UNITS_MAX,
    observation::{Exactness, Observation},
};

/// What guard R1 makes of a quantity cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A whole number, as it stands in the cell.
    Exact(u64),
    /// A whole number below zero; it counts as 0, with a note.
    Negative,
    /// `>50`, `50+`: a lower bound. A row guard of its own will cap it; until then the row is rejected.
    AtLeast(u64),
    /// `in stock`, `no`: says whether, not how many. Rejected like [`Reading::AtLeast`].
    YesNo(bool),
    /// Not a number of units.
    Unreadable(QuantityProblem),
}

/// Why a cell is not a number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityProblem {
    /// Nothing is in it. Missing never means zero.
    Empty,
    /// It has a point or a comma: `1.5`, or `1,000` and `1.000`, which mean one thing to some people and another thing
    /// to others.
    PointOrComma,
    /// `1e3`: a spreadsheet's way of writing.
    Exponent,
    /// More than [`UNITS_MAX`].
    TooLarge,
    /// Anything else.
    NotANumber,
}

impl fmt::Display for QuantityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "R1: no quantity; missing never means zero",
            Self::PointOrComma => "R1: a point or comma in the quantity: one and a half, or a thousand?",
            Self::Exponent => "R1: the quantity is written with an exponent",
            Self::TooLarge => "R1: the quantity is above 1,000,000,000",
            Self::NotANumber => "R1: the quantity is not a whole number",
        })
    }
}

impl Reading {
    /// R1: reads a quantity cell. White space at its ends is ignored; nothing else is.
    #[must_use]
    pub fn of(cell: &str) -> Self {
        let cell = cell.trim();
        if cell.is_empty() {
            return Self::Unreadable(QuantityProblem::Empty);
        }
        if is_digits(cell) {
            return whole(cell).map_or(Self::Unreadable(QuantityProblem::TooLarge), Self::Exact);
        }
        if let Some(digits) = cell.strip_prefix('-').filter(|rest| is_digits(rest)) {
            return if digits.bytes().all(|digit| digit == b'0') { Self::Exact(0) } else { Self::Negative };
        }
        if let Some(bound) = lower_bound(cell) {
            return whole(bound).map_or(Self::Unreadable(QuantityProblem::TooLarge), Self::AtLeast);
        }
        yes_or_no(cell).map_or_else(|| Self::Unreadable(problem_of(cell)), Self::YesNo)
    }

    /// How exactly the vendor said it; `None` if it cannot be read.
    #[must_use]
    pub fn exactness(&self) -> Option<Exactness> {
        match self {
            Self::Exact(_) | Self::Negative => Some(Exactness::Exact),
            Self::AtLeast(_) => Some(Exactness::AtLeast),
            Self::YesNo(_) => Some(Exactness::YesNo),
            Self::Unreadable(_) => None,
        }
    }

    /// The vendor's units that the row counts, or why the row is rejected.
    ///
    /// # Errors
    /// The reason, for the report.
    pub fn quantity(&self) -> Result<u64, String> {
        match self {
            Self::Exact(quantity) => Ok(*quantity),
            Self::Negative => Ok(0),
            Self::AtLeast(bound) => {
                Err(format!("R10: a lower bound, at least {bound}; how many there are is not said"))
            }
            Self::YesNo(_) => Err("R10: yes or no; how many there are is not said".to_owned()),
            Self::Unreadable(problem) => Err(problem.to_string()),
        }
    }

    /// Whether the cell is a number that could be two: a person can say which. Such a row is quarantined, not rejected.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unreadable(QuantityProblem::PointOrComma | QuantityProblem::Exponent))
    }

    /// Whether the cell is none of the ways in which vendors write quantities. Such rows count against the whole file:
    /// many of them are a shifted column, not a vendor's habit.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number that the digits say, if it is at most [`UNITS_MAX`].
fn whole(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number| *number <= UNITS_MAX)
}

/// The digits of `>50`, `> 50`, `>=50`, `50+`. A `<` is no lower bound.
fn lower_bound(cell: &str) -> Option<&str> {
    let digits = match cell.strip_prefix('>') {
        Some(rest) => rest.strip_prefix('=').unwrap_or(rest).trim_start(),
        None => cell.strip_suffix('+')?.trim_end(),
    };
    is_digits(digits).then_some(digits)
}

fn yes_or_no(cell: &str) -> Option<bool> {
    match cell.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "in stock" | "instock" | "in_stock" | "available" => Some(true),
        "no" | "n" | "false" | "out of stock" | "outofstock" | "out_of_stock" | "unavailable" | "sold out" => {
            Some(false)
        }
        _ => None,
    }
}

fn problem_of(cell: &str) -> QuantityProblem {
    let numeric = |extra: &[u8]| {
        cell.bytes().any(|byte| byte.is_ascii_digit())
            && cell.bytes().all(|byte| byte.is_ascii_digit() || b"+-".contains(&byte) || extra.contains(&byte))
    };
    if numeric(b".,") {
        let marked = cell.contains(['.', ',']);
        return if marked { QuantityProblem::PointOrComma } else { QuantityProblem::NotANumber };
    }
    if numeric(b".,eE") { QuantityProblem::Exponent } else { QuantityProblem::NotANumber }
}

/// What is known of one vendor's code after all its rows were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReading {
    /// The vendor's units; `None` if none of the rows could be read.
    pub quantity: Option<u64>,
    /// What is to be told about it in the report, or empty.
    pub note: String,
}

/// R7: one code on several rows. The same number counts once; of different numbers the smallest counts, with a note.
/// A row that cannot be read is rejected by itself and takes no part. The result is by the code.
#[must_use]
pub fn by_key(observations: &[Observation]) -> HashMap<&str, KeyReading> {
    let mut rows: HashMap<&str, Vec<(u64, u64, bool)>> = HashMap::with_capacity(observations.len());
    for observation in observations {
        let of_key = rows.entry(observation.key.value()).or_default();
        if let Ok(quantity) = observation.reading.quantity() {
            of_key.push((quantity, observation.line, observation.reading == Reading::Negative));
        }
    }
    rows.into_iter().map(|(key, rows)| (key, settle(&rows))).collect()
}

/// Settles what one code's readable rows (quantity, line, whether it was negative) say together.
fn settle(rows: &[(u64, u64, bool)]) -> KeyReading {
    let Some(&(quantity, _, negative)) = rows.iter().min() else {
        return KeyReading { quantity: None, note: String::new() };
    };
    let mut notes = Vec::new();
    if negative {
        notes.push("R1: below zero, counted as 0".to_owned());
    }
    if rows.len() > 1 {
        let lines: Vec<String> = rows.iter().take(5).map(|(_, line, _)| line.to_string()).collect();
        let more = if rows.len() > 5 { " …" } else { "" };
        let differ = rows.iter().any(|(other, _, _)| *other != quantity);
        let rule = if differ { "different numbers, the smallest was taken" } else { "the same number, counted once" };
        notes.push(format!("R7: on lines {}{more}: {rule}", lines.join(", ")));
    }
    KeyReading { quantity: Some(quantity), note: notes.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Key;

    fn observations(rows: &[(&str, &str)]) -> Vec<Observation> {
        rows.iter()
            .zip(2..)
            .map(|((key, quantity), line)| Observation {
                line,
                key: Key::vendor_sku(key).unwrap(),
                raw_quantity: (*quantity).to_owned(),
                reading: Reading::of(quantity),
            })
            .collect()
    }

    #[test]
    fn a_whole_number_is_itself() {
        for (cell, number) in [("0", 0), ("7", 7), (" 12 ", 12), ("007", 7), ("1000000000", 1_000_000_000), ("-0", 0)] {
            assert_eq!(Reading::of(cell), Reading::Exact(number), "{cell:?}");
        }
    }

    #[test]
    fn a_negative_number_counts_as_zero_and_says_so() {
        for cell in ["-1", "-999", " -5", "-99999999999999999999999"] {
            assert_eq!(Reading::of(cell), Reading::Negative, "{cell:?}");
        }
        let rows = observations(&[("a", "-5")]);
        let reading = &by_key(&rows)["a"];
        assert_eq!(reading.quantity, Some(0));
        assert!(reading.note.contains("below zero"), "{}", reading.note);
    }

    #[test]
    fn what_could_mean_two_numbers_is_never_read_as_one() {
        use QuantityProblem::{Empty, Exponent, NotANumber, PointOrComma, TooLarge};
        for (cell, problem) in [
            ("", Empty),
            ("  ", Empty),
            ("1.5", PointOrComma),
            ("1,000", PointOrComma),
            ("1.000", PointOrComma),
            ("5.0", PointOrComma),
            ("-1.5", PointOrComma),
            ("1e3", Exponent),
            ("9.83E+12", Exponent),
            ("1000000001", TooLarge),
            ("18446744073709551616", TooLarge),
            ("+5", NotANumber),
            ("--5", NotANumber),
            ("1 000", NotANumber),
            ("1\u{a0}000", NotANumber),
            ("٣", NotANumber),
            ("5 pcs", NotANumber),
            ("0x10", NotANumber),
            ("NaN", NotANumber),
            ("<5", NotANumber),
            ("-", NotANumber),
        ] {
            assert_eq!(Reading::of(cell), Reading::Unreadable(problem), "{cell:?}");
        }
    }

    #[test]
    fn lower_bounds_and_words_are_understood_but_not_counted() {
        for (cell, reading) in [
            (">50", Reading::AtLeast(50)),
            (">= 50", Reading::AtLeast(50)),
            ("50+", Reading::AtLeast(50)),
            ("In Stock", Reading::YesNo(true)),
            ("no", Reading::YesNo(false)),
        ] {
            assert_eq!(Reading::of(cell), reading, "{cell:?}");
            assert!(reading.quantity().is_err() && !reading.is_unreadable(), "{cell:?}");
        }
    }

    #[test]
    fn of_two_numbers_for_one_code_the_smaller_counts_with_a_note() {
        let rows = observations(&[("a", "7"), ("b", "1"), ("a", "5")]);
        let keys = by_key(&rows);
        assert_eq!(keys["a"].quantity, Some(5));
        assert_eq!(keys["a"].note, "R7: on lines 2, 4: different numbers, the smallest was taken");
        assert_eq!(keys["b"], KeyReading { quantity: Some(1), note: String::new() });
    }

    #[test]
    fn the_same_number_twice_counts_once() {
        let rows = observations(&[("a", "7"), ("a", "7")]);
        let reading = &by_key(&rows)["a"];
        assert_eq!(reading.quantity, Some(7));
        assert!(reading.note.ends_with("the same number, counted once"), "{}", reading.note);
    }

    #[test]
    fn an_unreadable_row_does_not_take_its_readable_twin_with_it() {
        let rows = observations(&[("a", "7"), ("a", "n/a"), ("b", "n/a")]);
        let keys = by_key(&rows);
        assert_eq!(keys["a"].quantity, Some(7));
        assert_eq!(keys["b"].quantity, None);
    }
}
