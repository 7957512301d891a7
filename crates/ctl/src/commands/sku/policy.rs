//! `holdctl sku policy`: how a SKU may be sold.

use std::time::Duration;

use clap::Args;
use holdfast_client::RequestKey;
use holdfast_client::api::catalog::v1::{ChannelCap, SellingPolicy, Sku};
use prost_types::Timestamp;

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
    ("most per minute", "policy/max_per_minute"),
    ("channel caps", "policy/channel_caps"),
    ("promised for", "policy/promise_time"),
    ("promised within", "policy/promise_lead_duration"),
    ("etag", "etag"),
];

/// What to change; nothing shows the policy.
#[derive(Debug, Args)]
#[command(
    after_help = "Keep two units back everywhere, and sell at most three to one owner:\n  holdctl sku policy CHAIR-1 --safety-stock 2 --max-per-owner 3\n\
                  Sell ten more than there are, promised at HALL-1 within two weeks:\n  holdctl sku policy CHAIR-1 --backorder-limit 10 --locations HALL-1,SHOP --promise-lead 14d\n\
                  Stop the selling when more than a hundred go in a minute, and leave ten at most to a marketplace:\n  holdctl sku policy CHAIR-1 --max-per-minute 100 --channel-cap market=10"
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
    /// Most units that are reserved within any minute: whoever would exceed it pauses the selling until somebody resumes it; 0: no limit.
    #[arg(long, value_name = "UNITS")]
    max_per_minute: Option<i64>,
    /// Most units that a channel may hold and have bought; may be given several times. Those given replace all that there were; none: no caps.
    #[arg(long = "channel-cap", value_name = "CHANNEL=UNITS", value_parser = parse::cap_or_none)]
    channel_caps: Vec<parse::OrNone<(String, i64)>>,
    /// When units promised beyond what is there will be there, for example 2026-03-01T12:00:00Z; replaces --promise-lead; none: not said.
    #[arg(long, value_name = "INSTANT", value_parser = parse::instant_or_none, conflicts_with = "promise_lead")]
    promise_time: Option<parse::OrNone<Timestamp>>,
    /// How long after they are reserved they will be there, for example 14d; replaces --promise-time; none: not said.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration_or_none)]
    promise_lead: Option<parse::OrNone<Duration>>,
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
        max_per_minute: number(args.max_per_minute, "policy.max_per_minute"),
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
    if !args.channel_caps.is_empty() {
        fields.push("policy.channel_caps");
        let caps = args.channel_caps.iter().filter_map(parse::OrNone::as_ref).cloned();
        policy.channel_caps = caps.map(|(channel, quantity)| ChannelCap { channel, quantity }).collect();
    }
    if args.promise_time.is_some() || args.promise_lead.is_some() {
        // Only one of them can be set: whoever gives one means that the other goes.
        fields.extend(["policy.promise_time", "policy.promise_lead_duration"]);
        policy.promise_time = args.promise_time.as_ref().and_then(parse::OrNone::as_ref).copied();
        let lead = args.promise_lead.as_ref().and_then(parse::OrNone::as_ref);
        policy.promise_lead_duration = lead.copied().map(parse::proto_duration);
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

    #[test]
    fn caps_that_are_given_replace_all_that_there_were() {
        let (policy, fields) =
            change_of(&["--channel-cap", "web=5", "--channel-cap", "a=b=0", "--max-per-minute", "9"]);
        assert_eq!(fields, ["policy.max_per_minute", "policy.channel_caps"]);
        let caps: Vec<_> = policy.channel_caps.iter().map(|cap| (cap.channel.as_str(), cap.quantity)).collect();
        assert_eq!((policy.max_per_minute, caps), (9, vec![("web", 5), ("a=b", 0)]));
        let (policy, fields) = change_of(&["--channel-cap", "none"]);
        assert_eq!((fields, policy.channel_caps.len()), (vec!["policy.channel_caps"], 0));
    }

    #[test]
    fn one_promise_replaces_the_other() {
        let both = ["policy.promise_time", "policy.promise_lead_duration"];
        let (policy, fields) = change_of(&["--promise-lead", "14d"]);
        assert_eq!((policy.promise_lead_duration.unwrap().seconds, fields.as_slice()), (14 * 86_400, &both[..]));
        assert_eq!(policy.promise_time, None);
        let (policy, fields) = change_of(&["--promise-time", "2026-03-01T12:00:00Z"]);
        assert_eq!((policy.promise_time.unwrap().seconds, fields.as_slice()), (1_772_366_400, &both[..]));
        let (policy, fields) = change_of(&["--promise-time", "none"]);
        assert_eq!((policy, fields.as_slice()), (SellingPolicy::default(), &both[..]));
        let line = ["policy", "CHAIR", "--promise-time", "none", "--promise-lead", "1d"];
        assert!(Line::try_parse_from(line).is_err());
    }
}
