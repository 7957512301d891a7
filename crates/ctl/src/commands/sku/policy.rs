//! `holdctl sku policy`: how a SKU may be sold.

use std::time::Duration;

use clap::Args;
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{SellingPolicy, Sku};

use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{json, parse};

const POLICY: &[Column] = &[
    ("sku", "code"),
    ("safety stock", "policy/safety_stock"),
    ("backorder limit", "policy/backorder_limit"),
    ("most per reservation", "policy/max_per_reservation"),
    ("most per owner", "policy/max_per_owner"),
    ("default hold", "policy/default_hold_duration"),
    ("locations, preferred first", "policy/locations"),
    ("etag", "etag"),
];

/// What to change; nothing shows the policy.
#[derive(Debug, Args)]
#[command(
    after_help = "Keep two units back everywhere, and sell at most three to one owner:\n  holdctl sku policy CHAIR-1 --safety-stock 2 --max-per-owner 3\n\
                  Sell ten more than there are, promised at HALL-1:\n  holdctl sku policy CHAIR-1 --backorder-limit 10 --locations HALL-1,SHOP"
)]
pub(crate) struct Policy {
    /// The SKU's code.
    code: String,
    /// Units not offered, at each location.
    #[arg(long, value_name = "UNITS")]
    safety_stock: Option<i64>,
    /// Units that may be promised beyond what is there; needs --locations, for it counts at the first of them.
    #[arg(long, value_name = "UNITS")]
    backorder_limit: Option<i64>,
    /// Most units in one reservation; 0: no limit.
    #[arg(long, value_name = "UNITS")]
    max_per_reservation: Option<i64>,
    /// Most units that one owner may hold and have bought together; 0: no limit.
    #[arg(long, value_name = "UNITS")]
    max_per_owner: Option<i64>,
    /// How long a hold lasts whose request does not say, for example 10m; none: the service's default.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration_or_none)]
    default_hold: Option<parse::OrNone<Duration>>,
    /// Codes of locations with commas between them, the preferred first; none: no preference.
    #[arg(long, value_name = "CODES", value_parser = parse::codes_or_none)]
    locations: Option<parse::OrNone<Vec<String>>>,
    /// Take the whole policy away first: no limits, nothing kept back.
    #[arg(long)]
    clear: bool,
    /// Only if the SKU still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Say what would become of it, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The request's key, to repeat a command whose outcome is unknown.
    #[arg(long, value_name = "UUID")]
    key: Option<RequestKey>,
}

pub(super) async fn run(context: &Context<'_>, args: Policy) -> Result<(), Failure> {
    let catalog = context.services.catalog()?;
    let (policy, fields) = change(&args);
    let sku = if fields.is_empty() {
        catalog.get_sku(&args.code).await.map_err(Failure::reading)?.sku
    } else {
        let key = args.key.unwrap_or_else(RequestKey::new);
        let sku = Sku { code: args.code, etag: args.etag, policy: Some(policy), ..Sku::default() };
        let response = catalog.update_sku(key, sku, &fields, args.dry_run).await.map_err(Failure::changing(key))?;
        if args.dry_run {
            output::note("Nothing was changed; it would be:");
        } else {
            output::note("Reservation applies it within seconds; holds that exist are not touched.");
        }
        response.sku
    };
    output::one(context.format, POLICY, &json::sku(&sku.unwrap_or_default()))
}

/// The new values, and which fields they are for.
fn change(args: &Policy) -> (SellingPolicy, Vec<&'static str>) {
    let mut fields = Vec::new();
    let mut number = |value: Option<i64>, field| {
        if value.is_some() {
            fields.push(field);
        }
        value.unwrap_or_default()
    };
    let mut policy = SellingPolicy {
        safety_stock: number(args.safety_stock, "policy.safety_stock"),
        backorder_limit: number(args.backorder_limit, "policy.backorder_limit"),
        max_per_reservation: number(args.max_per_reservation, "policy.max_per_reservation"),
        max_per_owner: number(args.max_per_owner, "policy.max_per_owner"),
        ..SellingPolicy::default()
    };
    if let Some(hold) = &args.default_hold {
        fields.push("policy.default_hold_duration");
        policy.default_hold_duration = hold.as_ref().copied().map(parse::proto_duration);
    }
    if let Some(locations) = &args.locations {
        fields.push("policy.locations");
        policy.locations = locations.as_ref().cloned().unwrap_or_default();
    }
    if args.clear {
        fields = vec!["policy"];
    }
    (policy, fields)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        policy: Policy,
    }

    fn change_of(words: &[&str]) -> (SellingPolicy, Vec<&'static str>) {
        let line = Line::try_parse_from(["policy", "CHAIR"].iter().chain(words)).unwrap();
        change(&line.policy)
    }

    #[test]
    fn only_what_was_given_is_changed() {
        let (policy, fields) = change_of(&["--max-per-owner", "2", "--default-hold", "10m"]);
        assert_eq!(fields, ["policy.max_per_owner", "policy.default_hold_duration"]);
        assert_eq!(policy.max_per_owner, 2);
        assert_eq!(policy.default_hold_duration.unwrap().seconds, 600);
        assert!(change_of(&[]).1.is_empty(), "without flags nothing is changed");
    }

    #[test]
    fn a_part_can_be_taken_away_and_the_whole_too() {
        let (policy, fields) = change_of(&["--locations", "none", "--default-hold", "none", "--safety-stock", "0"]);
        assert_eq!(fields, ["policy.safety_stock", "policy.default_hold_duration", "policy.locations"]);
        assert_eq!(policy, SellingPolicy::default());
        let (policy, fields) = change_of(&["--clear", "--locations", "HALL, SHOP"]);
        assert_eq!(fields, ["policy"]);
        assert_eq!(policy.locations, ["HALL", "SHOP"]);
    }
}
