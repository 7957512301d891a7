//! What the catalog wants of a row, and what a row says: the same for CSV and JSON Lines.

use std::borrow::Cow;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::problems::RowProblem;
use super::{ImportSpec, PolicyField};
use crate::model::{Attributes, ChannelCap, Policy};
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
        let caps: usize = self.policy.channel_caps.iter().map(|cap| cap.channel.len() + 40).sum();
        2 * self.code.len() + self.name.as_ref().map_or(0, String::len) + attributes + removed + locations + caps
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
        if problems.is_empty() && row.policy.promise_time_ns != 0 && row.policy.promise_lead_seconds != 0 {
            let lead = self.policy_column(PolicyField::PromiseLead).unwrap_or_default().to_owned();
            problems.push(RowProblem { line, column: lead, description: rules::ONE_PROMISE.to_owned() });
        }
        if problems.is_empty() { Ok(row) } else { Err(problems) }
    }

    /// The column with the backorder limit or with the locations, if there is one: then it takes the record to say whether the two fit.
    pub(super) fn backorder_column(&self) -> Option<&str> {
        self.policy_column(PolicyField::BackorderLimit).or_else(|| self.locations_column())
    }

    /// The column with the locations.
    pub(super) fn locations_column(&self) -> Option<&str> {
        self.policy_column(PolicyField::Locations)
    }

    fn policy_column(&self, field: PolicyField) -> Option<&str> {
        self.0.iter().find(|(of, _)| *of == Purpose::Policy(field)).map(|(_, name)| name.as_str())
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
        let policy = &mut self.policy;
        let (key, is_set) = match field {
            PolicyField::SafetyStock => ("safety_stock", number(&mut policy.safety_stock, text, rules::UNITS_MAX)?),
            PolicyField::BackorderLimit => {
                ("backorder_limit", number(&mut policy.backorder_limit, text, rules::UNITS_MAX)?)
            }
            PolicyField::MaxPerReservation => {
                ("max_per_reservation", number(&mut policy.max_per_reservation, text, rules::RESERVATION_UNITS_MAX)?)
            }
            PolicyField::MaxPerOwner => ("max_per_owner", number(&mut policy.max_per_owner, text, rules::UNITS_MAX)?),
            PolicyField::MaxPerMinute => {
                ("max_per_minute", number(&mut policy.max_per_minute, text, rules::UNITS_MAX)?)
            }
            PolicyField::DefaultHold => {
                let is_set = number(&mut policy.default_hold_ns, text, rules::HOLD_SECONDS_MAX)?;
                policy.default_hold_ns *= rules::NANOS_PER_SECOND;
                ("default_hold_ns", is_set)
            }
            PolicyField::Locations => {
                policy.locations = locations(text)?;
                ("locations", !policy.locations.is_empty())
            }
            PolicyField::ChannelCaps => {
                policy.channel_caps = channel_caps(text)?;
                ("channel_caps", !policy.channel_caps.is_empty())
            }
            PolicyField::PromiseTime => {
                policy.promise_time_ns = promise_time(text)?;
                (PROMISE_TIME, policy.promise_time_ns != 0)
            }
            PolicyField::PromiseLead => {
                (PROMISE_LEAD, number(&mut policy.promise_lead_seconds, text, rules::PROMISE_LEAD_SECONDS_MAX)?)
            }
        };
        match (field, is_set) {
            (PolicyField::PromiseTime, true) => self.policy_removed.push(PROMISE_LEAD),
            (PolicyField::PromiseLead, true) => self.policy_removed.push(PROMISE_TIME),
            (_, true) => {}
            (_, false) => self.policy_removed.push(key),
        }
        Ok(())
    }
}

/// The part of a policy that says when promised units will be there, as the record calls it: one of the two takes the place of the other.
const PROMISE_TIME: &str = "promise_time_ns";
/// The part that says how long it takes.
const PROMISE_LEAD: &str = "promise_lead_seconds";

/// Takes a number of a policy; an empty cell is 0. Whether it is more than that.
fn number(place: &mut i64, text: &str, max: i64) -> Result<bool, String> {
    *place = if text.is_empty() { 0 } else { whole_number(text, max)? };
    Ok(*place > 0)
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

/// Caps of channels, `CHANNEL=UNITS` with bars between them, in the order of the channels.
fn channel_caps(text: &str) -> Result<Vec<ChannelCap>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let cap = |part: &str| {
        // From the right: a channel may have an equals sign in it, a quantity has not.
        let (channel, units) = part.trim().rsplit_once('=')?;
        let quantity = whole_number(units.trim(), rules::UNITS_MAX).ok().filter(|_| !units.trim().is_empty())?;
        Some(ChannelCap { channel: channel.trim().to_owned(), quantity })
    };
    let caps: Option<Vec<_>> = text.split('|').map(cap).collect();
    let mut caps = caps.ok_or_else(|| {
        format!("must be CHANNEL=UNITS, with '|' between several, each 0 to {} units, or empty", rules::UNITS_MAX)
    })?;
    caps.sort();
    pass(complaint(|violations, field| rules::check_channel_caps(violations, field, &caps)))?;
    Ok(caps)
}

/// An instant or a date, in nanoseconds since 1970; 0 for an empty cell.
fn promise_time(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let day = || Some(Date::parse(text, DAY).ok()?.midnight().assume_utc());
    let instant = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day);
    let nanos = instant.and_then(|instant| i64::try_from(instant.unix_timestamp_nanos()).ok());
    nanos.filter(|nanos| rules::promisable(*nanos)).ok_or_else(|| {
        "must be an instant with its zone (2026-03-01T12:00:00Z) or a date (2026-03-01) of the years 2000 to 2199, or empty"
            .to_owned()
    })
}

/// A date as ISO 8601 has it.
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

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
    #[test]
    fn caps_are_channels_and_units_between_bars_each_channel_once() {
        let cap = |channel: &str, quantity| ChannelCap { channel: channel.to_owned(), quantity };
        assert_eq!(channel_caps("web=5|app=0"), Ok(vec![cap("app", 0), cap("web", 5)]));
        assert_eq!(channel_caps(" a=b = 7 "), Ok(vec![cap("a=b", 7)]));
        assert_eq!(channel_caps(""), Ok(Vec::new()));
        for bad in ["web", "web=", "=5", "web=-1", "web=1.5", "web=1|web=2", "web=1|", &"c=1|".repeat(21)] {
            assert!(channel_caps(bad).is_err(), "{bad}");
        }
        let many: Vec<_> = (0..21).map(|channel| format!("c{channel}=1")).collect();
        assert!(channel_caps(&many.join("|")).is_err_and(|text| text.contains("at most 20")));
    }

    #[test]
    fn a_promise_is_an_instant_or_the_first_moment_of_a_day() {
        assert_eq!(promise_time("2026-03-01"), Ok(1_772_323_200_000_000_000));
        assert_eq!(promise_time("2026-03-01T01:00:00.5+01:00"), Ok(1_772_323_200_500_000_000));
        assert_eq!(promise_time(""), Ok(0));
        for bad in ["2026-03", "01.03.2026", "2026-02-30", "2026-03-01T12:00:00", "1999-12-31", "2200-01-01", "46082"] {
            assert!(promise_time(bad).is_err(), "{bad}");
        }
    }
}
