//! `holdctl stock count` and `stock adjust`: numbers that the shop's own people type. They pass the same guards as a vendor's.

use clap::{Args, ValueEnum};
use holdfast_client::RequestKey;
use holdfast_client::api::vendorsync::v1::{
    HouseAdjustment, HouseCondition, HouseCount, HouseReason, RowOutcome, RunState, SubmitCountsRequest,
};
use prost_types::Timestamp;

use super::{Context, quarantine, runs};
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{called, json, parse};

const LEVELS: &[Column] = &[
    ("SKU", "sku"),
    ("LOCATION", "location"),
    ("AVAILABLE", "available"),
    ("ON HAND", "on_hand"),
    ("SHORTFALL", "shortfall"),
    ("UNSELLABLE", "unsellable"),
];

/// What was counted.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 applied; 1 refused, or something else was on hand than was expected; 4 a guard stopped a number: it waits for a person, the others are applied.\n\
                  Where 140 were on hand before, 150 lie there:\n  holdctl stock count HALL-1 CHAIR-1=150 --expected 140\n\
                  Opening stock, whatever is there:\n  holdctl stock count HALL-1 CHAIR-1=150 TABLE-1=20 --overwrite"
)]
pub(crate) struct Count {
    /// The location.
    location: String,
    /// Sellable units of a SKU that lie there; at most 1,000 at once (`feed upload --connection house` takes more, from a file).
    #[arg(required = true, value_name = "SKU=QUANTITY", value_parser = parse::count)]
    counts: Vec<(String, i64)>,
    /// What was on hand before counting (0 if nothing was): the count is taken only while that is so. With several SKUs, SKU=N for each of them.
    #[arg(long, value_name = "[SKU=]N", value_parser = parse::expected)]
    expected: Vec<(Option<String>, i64)>,
    /// Take the counts whatever is on hand.
    #[arg(long)]
    overwrite: bool,
    /// When it was counted, at most 7 days ago. Without it, now.
    #[arg(long, value_parser = parse::instant, value_name = "INSTANT")]
    as_of: Option<Timestamp>,
    /// Who counted. Without it, the user's name.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    actor: String,
    /// Why, in your words.
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// What to change.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 applied; 1 refused; 4 a guard stopped it: nothing was changed, it waits for a person.\n\
                  Three damaged returns, which are there but cannot be sold:\n  \
                  holdctl stock adjust CHAIR-1 HALL-1 3 --condition damaged --reason returned"
)]
pub(crate) struct Adjust {
    /// The SKU.
    sku: String,
    /// The location.
    location: String,
    /// Units to add, or with a minus to remove.
    #[arg(allow_negative_numbers = true)]
    delta: i64,
    /// Why.
    #[arg(long, value_enum)]
    reason: Reason,
    /// In which condition the units are. Only sellable ones can be reserved.
    #[arg(long, value_enum, default_value_t = State::Sellable)]
    condition: State,
    /// Also take the units out of this condition (or put them back into it, with a minus), so that they are moved and not made.
    #[arg(long, value_enum)]
    from: Option<State>,
    /// Who does it. Without it, the user's name.
    #[arg(long, env = "USER", hide_env_values = true, default_value = "operator")]
    actor: String,
    /// Why, in your words.
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

/// Why stock is changed by hand.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Reason {
    /// Goods came in.
    Received,
    /// Units turned up.
    Found,
    /// Units are missing.
    Lost,
    /// Units broke, or proved broken.
    Damaged,
    /// A customer sent units back.
    Returned,
    /// Units were moved between conditions or locations.
    Moved,
    /// A mistake in an earlier number is put right.
    Correction,
}

/// In what condition units are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// New and for sale.
    Sellable,
    /// Damaged.
    Damaged,
    /// Waiting for inspection.
    QualityHold,
    /// Refurbished, used or opened.
    Refurbished,
}

impl From<State> for HouseCondition {
    fn from(state: State) -> Self {
        match state {
            State::Sellable => Self::Sellable,
            State::Damaged => Self::Damaged,
            State::QualityHold => Self::QualityHold,
            State::Refurbished => Self::Refurbished,
        }
    }
}

impl From<Reason> for HouseReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Received => Self::Received,
            Reason::Found => Self::Found,
            Reason::Lost => Self::Lost,
            Reason::Damaged => Self::Damaged,
            Reason::Returned => Self::Returned,
            Reason::Moved => Self::Moved,
            Reason::Correction => Self::Correction,
        }
    }
}

pub(super) async fn count(context: &Context<'_>, args: Count) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let counts = counts(args.counts, args.expected, args.overwrite).map_err(Failure::Usage)?;
    let request = SubmitCountsRequest {
        // The client fills in the key.
        request_id: String::new(),
        location: args.location,
        counts,
        actor: args.actor,
        note: args.note,
        as_of_time: args.as_of,
    };
    let response = context.services.house()?.submit_counts(key, request).await.map_err(Failure::changing(key))?;
    say_replayed(response.replayed);
    let rows: Vec<_> = response.rows.iter().map(json::run_row).collect();
    output::list(context.format, runs::ROWS, &rows)?;
    let run = response.run.unwrap_or_default();
    let stopped = response.rows.iter().find(|row| !row.quarantine_id.is_empty());
    if let Some(row) = stopped {
        quarantine::how_to_decide(&row.quarantine_id);
    }
    let conflicts = response.rows.iter().filter(|row| row.outcome() == RowOutcome::Conflict).count();
    if conflicts > 0 {
        return Err(Failure::Refused(format!(
            "{conflicts} of {} counts not taken: something else was on hand than was expected; look again (`{} stock get`), and count",
            response.rows.len(),
            called::program()
        )));
    }
    match (run.state(), stopped) {
        (RunState::Applied | RunState::Applying, Some(_)) => Err(Failure::Waits(
            "a guard stopped a number: it waits for a person, and the lower of the old and the new is offered"
                .to_owned(),
        )),
        (RunState::Applying, None) => {
            output::note(&format!("It is still being applied: {} run rows {}", called::program(), run.run_id));
            Ok(())
        }
        (RunState::Applied, None) => Ok(()),
        _ => runs::verdict(context, &run).await,
    }
}

/// The counts with what is expected of each: a choice that has to be made, because a number that overwrites loses what others did meanwhile.
fn counts(
    counts: Vec<(String, i64)>,
    expected: Vec<(Option<String>, i64)>,
    overwrite: bool,
) -> Result<Vec<HouseCount>, String> {
    match (expected.as_slice(), overwrite) {
        ([], false) => {
            let words = "what was on hand before counting? Give --expected N: the count is taken only while that is so. Or --overwrite: whatever is on hand";
            return Err(words.to_owned());
        }
        ([_, ..], true) => return Err("give --expected or --overwrite, not both".to_owned()),
        _ => {}
    }
    let is_one = counts.len() == 1;
    let mut left = expected;
    let counts = counts.into_iter().map(|(sku, quantity)| {
        if overwrite {
            return Ok(HouseCount { sku, quantity, expected_quantity: None, overwrite });
        }
        let is_for = |of: &Option<String>| of.as_ref().map_or(is_one, |of| *of == sku);
        let Some(place) = left.iter().position(|(of, _)| is_for(of)) else {
            return Err(format!("what was on hand of {sku} before counting? Give --expected {sku}=N for it"));
        };
        let (_, units) = left.remove(place);
        Ok(HouseCount { sku, quantity, expected_quantity: Some(units), overwrite })
    });
    let counts = counts.collect::<Result<_, _>>()?;
    match left.first() {
        None => Ok(counts),
        Some((Some(sku), _)) => Err(format!("--expected {sku}=…: {sku} is not counted here, or expected twice")),
        Some((None, units)) => {
            Err(format!("--expected {units} is of which SKU? Give SKU={units}, once for each count"))
        }
    }
}

pub(super) async fn adjust(context: &Context<'_>, args: Adjust) -> Result<(), Failure> {
    let key = args.key.unwrap_or_else(RequestKey::new);
    let adjustments = adjustments(&args);
    let house = context.services.house()?;
    let response =
        house.submit_adjustments(key, adjustments, &args.actor, &args.note).await.map_err(Failure::changing(key))?;
    say_replayed(response.replayed);
    if let Some(stopped) = response.quarantined {
        output::one(context.format, quarantine::FIELDS, &json::quarantined(&stopped))?;
        quarantine::how_to_decide(&stopped.quarantine_id);
        return Err(Failure::Waits("a guard stopped it: nothing was changed, it waits for a person".to_owned()));
    }
    let levels: Vec<_> = response.levels.iter().map(json::house_level).collect();
    output::list(context.format, LEVELS, &levels)
}

fn say_replayed(replayed: bool) {
    if replayed {
        output::note("This key had landed before; nothing was changed now.");
    }
}

/// What is added, and what it is taken from.
fn adjustments(args: &Adjust) -> Vec<HouseAdjustment> {
    let part = |state: State, delta| HouseAdjustment {
        sku: args.sku.clone(),
        location: args.location.clone(),
        condition: HouseCondition::from(state).into(),
        delta,
        reason: HouseReason::from(args.reason).into(),
    };
    let from = args.from.map(|from| part(from, args.delta.saturating_neg()));
    std::iter::once(part(args.condition, args.delta)).chain(from).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        adjust: Adjust,
    }

    #[derive(Parser)]
    struct CountLine {
        #[command(flatten)]
        count: Count,
    }

    fn counted(words: &[&str]) -> Result<Vec<(String, Option<i64>, bool)>, String> {
        let line = CountLine::try_parse_from(["count", "HALL"].iter().chain(words)).unwrap();
        let counts = counts(line.count.counts, line.count.expected, line.count.overwrite)?;
        Ok(counts.into_iter().map(|count| (count.sku, count.expected_quantity, count.overwrite)).collect())
    }

    #[test]
    fn every_count_says_what_it_expects_or_overwrites() {
        let one = |sku: &str, expected: Option<i64>| (sku.to_owned(), expected, expected.is_none());
        assert_eq!(counted(&["A=1", "--expected", "5"]), Ok(vec![one("A", Some(5))]));
        assert_eq!(counted(&["A=1", "--expected", "A=0"]), Ok(vec![one("A", Some(0))]));
        let both = ["A=1", "B=2", "--expected", "B=4", "--expected", "A=3"];
        assert_eq!(counted(&both), Ok(vec![one("A", Some(3)), one("B", Some(4))]));
        assert_eq!(counted(&["A=1", "B=2", "--overwrite"]), Ok(vec![one("A", None), one("B", None)]));
        for (wrong, said) in [
            (&["A=1"][..], "--overwrite"),
            (&["A=1", "--expected", "5", "--overwrite"], "not both"),
            (&["A=1", "B=2", "--expected", "5"], "A=N"),
            (&["A=1", "B=2", "--expected", "A=5"], "B=N"),
            (&["A=1", "--expected", "5", "--expected", "6"], "which SKU"),
            (&["A=1", "--expected", "A=5", "--expected", "A=6"], "twice"),
            (&["A=1", "--expected", "B=5"], "A=N"),
        ] {
            let refused = counted(wrong).unwrap_err();
            assert!(refused.contains(said), "{wrong:?}: {refused}");
        }
    }

    #[test]
    fn units_that_are_moved_leave_one_condition_and_enter_another() {
        let words =
            ["adjust", "CHAIR", "HALL", "3", "--reason", "damaged", "--condition", "damaged", "--from", "sellable"];
        let parts = adjustments(&Line::try_parse_from(words).unwrap().adjust);
        let parts: Vec<_> = parts.iter().map(|part| (part.condition(), part.delta)).collect();
        assert_eq!(parts, [(HouseCondition::Damaged, 3), (HouseCondition::Sellable, -3)]);
    }

    #[test]
    fn the_most_negative_number_is_the_servers_to_refuse() {
        let smallest = i64::MIN.to_string();
        let words = ["adjust", "CHAIR", "HALL", &smallest, "--reason", "lost", "--from", "damaged"];
        let parts = adjustments(&Line::try_parse_from(words).unwrap().adjust);
        assert_eq!(parts[1].delta, i64::MAX);
    }
}
