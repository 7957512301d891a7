//! What the catalog wants of a row, and what a row says: the same for CSV and JSON Lines.

use std::borrow::Cow;

use super::problems::RowProblem;
use super::{ImportSpec, PolicyField};
use crate::model::{Attributes, Policy};
use crate::rules::{self, complaint};

/// What stands in a row under a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    /// Nothing: what the SKU has is left alone.
    #[default]
    Absent,
    /// Text; empty text is an empty cell.
    Text(Cow<'a, str>),
    /// Something that is no value, and why.
    Wrong(String),
}

/// What a row says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The SKU's code.
    pub(super) code: String,
    /// Its name, if there is a cell for it.
    pub(super) name: Option<String>,
    /// Its GTIN or that it has none, if there is a cell for it.
    pub(super) gtin: Option<Option<String>>,
    /// Attributes whose cells are not empty.
    pub(super) attributes: Attributes,
    /// Attributes whose cells are empty.
    pub(super) removed: Vec<String>,
    /// Parts of the policy whose cells are not empty.
    pub(super) policy: Policy,
    /// Parts of the policy whose cells are empty.
    pub(super) policy_removed: Vec<&'static str>,
}

impl Row {
    /// About how many bytes it has.
    pub(super) fn bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let removed: usize = self.removed.iter().map(|key| key.len() + 4).sum();
        let locations: usize = self.policy.locations.iter().map(|code| code.len() + 4).sum();
        2 * self.code.len() + self.name.as_ref().map_or(0, String::len) + attributes + removed + locations
    }
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Code,
    Name,
    Gtin,
    Attribute,
    Policy(PolicyField),
}

/// The columns that a specification names, in one order.
#[derive(Debug)]
pub(super) struct Columns(Vec<(Purpose, String)>);

impl Columns {
    pub(super) fn new(spec: &ImportSpec) -> Self {
        let mut columns = vec![(Purpose::Code, spec.code_column.clone())];
        columns.extend(spec.name_column.iter().map(|column| (Purpose::Name, column.clone())));
        columns.extend(spec.gtin_column.iter().map(|column| (Purpose::Gtin, column.clone())));
        columns.extend(spec.attribute_columns.iter().map(|column| (Purpose::Attribute, column.clone())));
        columns.extend(spec.policy_columns.iter().map(|(field, column)| (Purpose::Policy(*field), column.clone())));
        Self(columns)
    }

    /// Their names, in their order; one may stand there twice.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, name)| name.as_str())
    }

    /// What a row says whose cells are in the order of the columns.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn row(&self, line: i64, cells: Vec<Cell<'_>>) -> Result<Row, Vec<RowProblem>> {
        let (mut row, mut problems) = (Row::default(), Vec::new());
        let mut locations_column = None;
        for ((purpose, column), cell) in self.0.iter().zip(cells) {
            if *purpose == Purpose::Policy(PolicyField::Locations) {
                locations_column = Some((column, cell != Cell::Absent));
            }
            let taken = match cell {
                Cell::Wrong(description) => Err(description),
                Cell::Absent if *purpose == Purpose::Code => Err(String::from("is missing")),
                Cell::Absent => Ok(()),
                Cell::Text(text) => row.take(*purpose, column, text),
            };
            if let Err(description) = taken {
                problems.push(RowProblem { line, column: column.clone(), description });
            }
        }
        if let Some((column, true)) = locations_column
            && problems.is_empty()
            && row.policy.backorder_limit > 0
            && row.policy.locations.is_empty()
        {
            let description = rules::BACKORDER_NEEDS_LOCATION.to_owned();
            problems.push(RowProblem { line, column: column.clone(), description });
        }
        if problems.is_empty() { Ok(row) } else { Err(problems) }
    }

    /// The column with the backorder limit or with the locations, if there is one: then it takes the record to say whether the two fit.
    pub(super) fn backorder_column(&self) -> Option<&str> {
        let wanted =
            |purpose| self.0.iter().find(|(of, _)| *of == Purpose::Policy(purpose)).map(|(_, name)| name.as_str());
        wanted(PolicyField::BackorderLimit).or_else(|| wanted(PolicyField::Locations))
    }

    /// The column with the locations.
    pub(super) fn locations_column(&self) -> Option<&str> {
        let locations = |(purpose, _): &&(Purpose, String)| *purpose == Purpose::Policy(PolicyField::Locations);
        self.0.iter().find(locations).map(|(_, name)| name.as_str())
    }
}

impl Row {
    fn take(&mut self, purpose: Purpose, column: &str, text: Cow<'_, str>) -> Result<(), String> {
        match purpose {
            Purpose::Code => {
                pass(complaint(|violations, field| {
                    violations.check_sku(field, &text);
                }))?;
                self.code = text.into_owned();
            }
            Purpose::Name => {
                pass(complaint(|violations, field| rules::check_name(violations, field, &text)))?;
                self.name = Some(text.into_owned());
            }
            Purpose::Gtin => {
                pass(complaint(|violations, field| rules::check_gtin(violations, field, &text)))?;
                self.gtin = Some((!text.is_empty()).then(|| text.into_owned()));
            }
            Purpose::Attribute if text.is_empty() => self.removed.push(column.to_owned()),
            Purpose::Attribute => {
                pass(complaint(|violations, field| {
                    violations.check_text(field, &text, 0..=rules::ATTRIBUTE_VALUE_BYTES_MAX);
                }))?;
                self.attributes.insert(column.to_owned(), text.into_owned());
            }
            Purpose::Policy(field) => self.take_policy(field, text.trim())?,
        }
        Ok(())
    }

    fn take_policy(&mut self, field: PolicyField, text: &str) -> Result<(), String> {
        let (key, max, place) = match field {
            PolicyField::SafetyStock => ("safety_stock", rules::UNITS_MAX, &mut self.policy.safety_stock),
            PolicyField::BackorderLimit => ("backorder_limit", rules::UNITS_MAX, &mut self.policy.backorder_limit),
            PolicyField::MaxPerReservation => {
                ("max_per_reservation", rules::RESERVATION_UNITS_MAX, &mut self.policy.max_per_reservation)
            }
            PolicyField::MaxPerOwner => ("max_per_owner", rules::UNITS_MAX, &mut self.policy.max_per_owner),
            PolicyField::DefaultHold => ("default_hold_ns", rules::HOLD_SECONDS_MAX, &mut self.policy.default_hold_ns),
            PolicyField::Locations => {
                self.policy.locations = locations(text)?;
                if self.policy.locations.is_empty() {
                    self.policy_removed.push("locations");
                }
                return Ok(());
            }
        };
        let number = if text.is_empty() { 0 } else { whole_number(text, max)? };
        *place = if field == PolicyField::DefaultHold { number * rules::NANOS_PER_SECOND } else { number };
        if number == 0 {
            self.policy_removed.push(key);
        }
        Ok(())
    }
}

fn pass(complaint: Option<String>) -> Result<(), String> {
    complaint.map_or(Ok(()), Err)
}

/// A whole number in plain digits: what a spreadsheet made of one (`1,000`, `5.0`, `1e3`) is refused, not guessed at.
fn whole_number(text: &str, max: i64) -> Result<i64, String> {
    let refused = || format!("must be a whole number from 0 to {max}, or empty");
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    text.parse().ok().filter(|number| *number <= max).ok_or_else(refused)
}

fn locations(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let codes: Vec<String> = text.split('|').map(|code| code.trim().to_owned()).collect();
    pass(complaint(|violations, field| rules::check_locations(violations, field, &codes)))?;
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_are_a_number() {
        assert_eq!(whole_number("0", 10), Ok(0));
        assert_eq!(whole_number("007", 10), Ok(7));
        for bad in ["-1", "+1", "1.0", "1,000", "1e3", " 1", "11", "99999999999999999999", "½"] {
            assert!(whole_number(bad, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn locations_are_codes_between_bars_each_once() {
        assert_eq!(locations("a|b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(locations(" a | b "), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(locations(""), Ok(Vec::new()));
        for bad in ["a||b", "a|", "a|a", "a b", &"x|".repeat(20)] {
            assert!(locations(bad).is_err(), "{bad}");
        }
    }
}
