//! What vendor-sync and catalog say of whole runs and of selling policies.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{Problem, Violations};
use holdfast_stock::{Freshness, HoldMicros, Location, Name, Policy, Promise, Sku, UnixMicros};

use super::requests::{any_instant, count_time, text};
use super::timestamp;
use crate::store::{Feed, WholeRun};

const MICROS_PER_SECOND: i64 = 1_000_000;
/// The promised interval: a minute to a leap year.
const INTERVAL_SECONDS: std::ops::RangeInclusive<i64> = 60..=366 * 86_400;
const MARGIN_SECONDS_MAX: i64 = 7 * 86_400;
const LAG_SECONDS: std::ops::RangeInclusive<i64> = 60..=60 * 86_400;
const LEAD_SECONDS_MAX: i64 = 366 * 86_400;
const CHANNELS_MAX: usize = 20;
const POLICIES_MAX: usize = 1_000;
const UNITS_MAX: i64 = 1_000_000_000;
const PREFERRED_MAX: usize = 20;

/// # Errors
/// INVALID_FIELD.
pub(crate) fn whole_run(request: &pb::CompleteRunRequest, now: UnixMicros) -> Result<WholeRun, Problem> {
    let mut violations = Violations::new();
    let connection = text(&mut violations, "connection", &request.connection, Name::new);
    let location = text(&mut violations, "location", &request.location, Location::new);
    let as_of = count_time(&mut violations, request.as_of_time.as_ref(), now);
    violations.check_range("sequence", request.sequence, 0..=i64::MAX);
    let promised_interval = request.promised_interval.as_ref().and_then(|interval| {
        let micros = micros_of(interval).filter(|micros| INTERVAL_SECONDS.contains(&(micros / MICROS_PER_SECOND)));
        if micros.is_none() {
            violations.add("promised_interval", "must be 1 minute to 366 days");
        }
        micros
    });
    let clock_margin = request.clock_margin.as_ref().and_then(|margin| {
        let micros = micros_of(margin).filter(|micros| *micros <= MARGIN_SECONDS_MAX * MICROS_PER_SECOND);
        if micros.is_none() {
            violations.add("clock_margin", "must be 0 to 7 days");
        }
        micros
    });
    let reflection_lag = request.reflection_lag.as_ref().and_then(|lag| {
        let micros = micros_of(lag).filter(|micros| LAG_SECONDS.contains(&(micros / MICROS_PER_SECOND)));
        if micros.is_none() {
            violations.add("reflection_lag", "must be 1 minute to 60 days");
        }
        micros
    });
    match (connection, location, as_of) {
        (Some(connection), Some(location), Some(as_of)) if violations.is_empty() => {
            let (sequence, covers_all) = (request.sequence, request.covers_all);
            let clock_margin = clock_margin.unwrap_or_default();
            Ok(WholeRun {
                connection,
                location,
                as_of,
                sequence,
                promised_interval,
                covers_all,
                clock_margin,
                reflection_lag,
            })
        }
        _ => Err(violations.into_problem()),
    }
}

/// # Errors
/// INVALID_FIELD.
pub(crate) fn policies(asked: &[pb::SkuPolicy]) -> Result<Vec<(Sku, Policy)>, Problem> {
    let mut violations = Violations::new();
    if asked.is_empty() || asked.len() > POLICIES_MAX {
        violations.add("policies", format_args!("must have 1 to {POLICIES_MAX}, has {}", asked.len()));
    }
    let mut policies = Vec::with_capacity(asked.len());
    let mut seen = BTreeSet::new();
    for (index, asked) in asked.iter().enumerate() {
        let Some((sku, policy)) = policy(&mut violations, index, asked) else { continue };
        if !seen.insert(sku.clone()) {
            violations.add(format_args!("policies[{index}].sku"), "is there a second time");
        }
        policies.push((sku, policy));
    }
    violations.into_result()?;
    Ok(policies)
}

fn policy(violations: &mut Violations, index: usize, asked: &pb::SkuPolicy) -> Option<(Sku, Policy)> {
    let sku = text(violations, format_args!("policies[{index}].sku"), &asked.sku, Sku::new);
    violations.check_range(format_args!("policies[{index}].version"), asked.version, 1..=i64::MAX);
    for (field, units) in [
        ("safety_stock", asked.safety_stock),
        ("backorder_limit", asked.backorder_limit),
        ("max_per_reservation", asked.max_per_reservation),
        ("max_per_owner", asked.max_per_owner),
        ("max_per_minute", asked.max_per_minute),
    ] {
        violations.check_range(format_args!("policies[{index}].{field}"), units, 0..=UNITS_MAX);
    }
    let default_hold = asked.default_hold_duration.as_ref().and_then(|hold| {
        let micros = micros_of(hold).filter(|micros| *micros >= MICROS_PER_SECOND).and_then(HoldMicros::new);
        if micros.is_none() {
            violations.add(format_args!("policies[{index}].default_hold_duration"), "must be at least 1 s");
        }
        micros
    });
    let locations = preferred(violations, index, asked);
    if asked.backorder_limit > 0 && asked.locations.is_empty() {
        violations.add(format_args!("policies[{index}].locations"), "must name where the backorder limit applies");
    }
    let channel_caps = channel_caps(violations, index, asked);
    let promise = promise(violations, index, asked);
    let limit = |units: i64| (units > 0).then_some(units);
    let policy = Policy {
        version: asked.version,
        safety: asked.safety_stock,
        backorder: asked.backorder_limit,
        max_per_reservation: limit(asked.max_per_reservation),
        max_per_owner: limit(asked.max_per_owner),
        default_hold,
        locations,
        archived: asked.archived,
        max_per_minute: limit(asked.max_per_minute),
        channel_caps,
        promise,
    };
    Some((sku?, policy))
}

fn channel_caps(violations: &mut Violations, index: usize, asked: &pb::SkuPolicy) -> BTreeMap<Name, i64> {
    if asked.channel_caps.len() > CHANNELS_MAX {
        let count = asked.channel_caps.len();
        violations.add(
            format_args!("policies[{index}].channel_caps"),
            format_args!("must have at most {CHANNELS_MAX}, has {count}"),
        );
        return BTreeMap::new();
    }
    let mut caps = BTreeMap::new();
    for (place, cap) in asked.channel_caps.iter().enumerate() {
        let field = format!("policies[{index}].channel_caps[{place}]");
        violations.check_range(format_args!("{field}.quantity"), cap.quantity, 0..=UNITS_MAX);
        let Some(channel) = text(violations, format_args!("{field}.channel"), &cap.channel, Name::new) else {
            continue;
        };
        if caps.insert(channel, cap.quantity).is_some() {
            violations.add(format_args!("{field}.channel"), "is there a second time");
        }
    }
    caps
}

fn promise(violations: &mut Violations, index: usize, asked: &pb::SkuPolicy) -> Option<Promise> {
    let lead = format!("policies[{index}].promise_lead_duration");
    match (&asked.promise_time, &asked.promise_lead_duration) {
        (Some(_), Some(_)) => {
            violations.add(lead, "must not be set beside promise_time");
            None
        }
        (Some(time), None) => {
            any_instant(violations, format_args!("policies[{index}].promise_time"), time).map(Promise::At)
        }
        (None, Some(duration)) => {
            let micros = micros_of(duration).filter(|micros| *micros <= LEAD_SECONDS_MAX * MICROS_PER_SECOND);
            if micros.is_none() {
                violations.add(lead, "must be 0 to 366 days");
            }
            micros.map(Promise::After)
        }
        (None, None) => None,
    }
}

fn preferred(violations: &mut Violations, index: usize, asked: &pb::SkuPolicy) -> Vec<Location> {
    if asked.locations.len() > PREFERRED_MAX {
        let count = asked.locations.len();
        violations.add(
            format_args!("policies[{index}].locations"),
            format_args!("must have at most {PREFERRED_MAX}, has {count}"),
        );
        return Vec::new();
    }
    let mut locations: Vec<Location> = Vec::with_capacity(asked.locations.len());
    for (place, code) in asked.locations.iter().enumerate() {
        let field = format!("policies[{index}].locations[{place}]");
        let Some(location) = text(violations, &field, code, Location::new) else { continue };
        if locations.contains(&location) {
            violations.add(field, "is there a second time");
        } else {
            locations.push(location);
        }
    }
    locations
}

/// A duration in microseconds; none if it is malformed, negative or longer than microseconds can say.
fn micros_of(duration: &prost_types::Duration) -> Option<i64> {
    if duration.seconds < 0 || !(0..=999_999_999).contains(&duration.nanos) {
        return None;
    }
    duration.seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(i64::from(duration.nanos) / 1_000)
}

pub(crate) fn feed(feed: &Feed) -> pb::Feed {
    pb::Feed {
        connection: feed.connection.clone(),
        location: feed.location.clone(),
        as_of_time: Some(timestamp(feed.as_of)),
        sequence: feed.sequence,
        promised_interval: feed.promised_interval.map(|micros| prost_types::Duration {
            seconds: micros / MICROS_PER_SECOND,
            nanos: i32::try_from(micros % MICROS_PER_SECOND * 1_000).unwrap_or(0),
        }),
        freshness: freshness(feed.freshness()).into(),
        late_time: feed.late_at().map(timestamp),
        stale_time: feed.stale_at().map(timestamp),
    }
}

pub(super) fn freshness(freshness: Freshness) -> pb::Freshness {
    match freshness {
        Freshness::Fresh => pb::Freshness::Fresh,
        Freshness::Late => pb::Freshness::Late,
        Freshness::Stale => pb::Freshness::Stale,
    }
}
