//! A Reserve in, alone, in a batch or in the place of an old hold: everything that is wrong with it is found at once.

use std::collections::BTreeMap;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::{ErrorReason, Violations};
use holdfast_stock::{
    Cart, CartProblem, Details, HoldMicros, KeyProblem, Line, Location, Name, Owner, Quantity, ReservationId, Sku,
    Strategy, Terms, UnixMicros,
};

use super::requests::{key, optional_location, text};
use crate::config::HoldsConfig;
use crate::payload::Payload;
use crate::reserve::Ask;

const NEAREST_MAX: usize = 100;
const LABELS_MAX: usize = 16;
const LABEL_KEY_BYTES_MAX: usize = 64;
const LABEL_VALUE_BYTES_MAX: usize = 256;
const BATCH_MAX: usize = 100;
/// The field of a Replace that has the new reservation.
const NEW: &str = "reservation";

/// A line whose codes could be read, with its index in the request.
pub(crate) type ReadableLine = (usize, Sku, Option<Location>);

/// A Reserve, read as far as it could be.
pub(crate) struct ReserveAsk {
    /// Complete, if nothing is wrong.
    pub(crate) complete: Option<Ask>,
    /// What is wrong.
    pub(crate) violations: Violations,
    /// The reason to give if nothing but the violations so far is wrong.
    pub(crate) reason: ErrorReason,
    /// Lines whose codes could be read, with their index in the request: to look for unknown SKUs among them.
    pub(crate) lines: Vec<ReadableLine>,
    /// What stands before the name of a line's field.
    pub(crate) within: &'static str,
}

/// What every reading of a request depends on beside the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) holds: &'a HoldsConfig,
    pub(crate) now: UnixMicros,
    /// Which attempt the transport says that it is.
    pub(crate) transport_attempt: u32,
}

impl Reader<'_> {
    pub(crate) fn reserve(&self, request: &pb::ReserveRequest) -> ReserveAsk {
        let mut violations = Violations::new();
        let id = key(&mut violations, "reservation_id", &request.reservation_id);
        let outside = id.is_some_and(|id| is_outside(&mut violations, "reservation_id", self.holds, id, self.now));
        let owner = text(&mut violations, "owner", &request.owner, Owner::new);
        let hold = hold(&mut violations, request.hold_duration.as_ref(), self.holds);
        let (lines, cart) = cart(&mut violations, &request.lines);
        let terms = terms(&mut violations, request);
        let reason =
            if outside && violations.len() == 1 { ErrorReason::KeyOutOfWindow } else { ErrorReason::InvalidField };
        let complete = match (id, owner, hold, cart) {
            (Some(id), Some(owner), Some((asked, hold)), Some(cart)) if violations.is_empty() => {
                let retry = request.attempt > 1 || self.transport_attempt > 1;
                let (terms, dry) = (Box::new(terms), request.validate_only);
                Some(Ask { id, payload: payload(&owner, asked, &cart, &terms), owner, cart, hold, retry, terms, dry })
            }
            _ => None,
        };
        ReserveAsk { complete, violations, reason, lines, within: "" }
    }

    pub(crate) fn replace(&self, request: &pb::ReplaceRequest) -> ReserveAsk {
        let mut violations = Violations::new();
        let old = key(&mut violations, "replaced_reservation_id", &request.replaced_reservation_id);
        let Some(reservation) = &request.reservation else {
            violations.add(NEW, "is required: what to hold in its place");
            let reason = ErrorReason::InvalidField;
            return ReserveAsk { complete: None, violations, reason, lines: Vec::new(), within: "reservation." };
        };
        let mut new = self.reserve(reservation);
        if reservation.mode() == pb::ReserveMode::BestEffort {
            new.violations
                .add("mode", "must not be BEST_EFFORT: the old hold is given up for all of the new one or kept");
        }
        if let (Some(old), Some(ask)) = (old, &new.complete)
            && ask.id == old
        {
            new.violations.add("reservation_id", "is the one to replace");
        }
        let is_right_but_for_key = violations.is_empty() && new.violations.len() == 1;
        violations.add_within(NEW, new.violations);
        let reason = if is_right_but_for_key { new.reason } else { ErrorReason::InvalidField };
        let complete = new.complete.filter(|_| violations.is_empty()).and_then(|ask| {
            let terms = Box::new(Terms { replaces: Some(old?), ..*ask.terms });
            // A new hold of the default time is another request than one of so long, also here.
            let asked = ask.hold.map_or(0, HoldMicros::get);
            Some(Ask { payload: payload(&ask.owner, asked, &ask.cart, &terms), terms, ..ask })
        });
        ReserveAsk { complete, violations, reason, lines: new.lines, within: "reservation." }
    }
}

/// What is wrong with a batch as a list; nothing of it is to be done then.
pub(crate) fn check_batch(requests: &[pb::ReserveRequest]) -> Violations {
    let mut violations = Violations::new();
    if requests.is_empty() || requests.len() > BATCH_MAX {
        violations.add("requests", format_args!("must have 1 to {BATCH_MAX}, has {}", requests.len()));
    }
    let mut seen = BTreeMap::new();
    for (index, request) in requests.iter().enumerate() {
        // What is no key at all is the one request's own problem.
        let Some(id) = key(&mut Violations::new(), "", &request.reservation_id) else { continue };
        if let Some(first) = seen.insert(id, index) {
            violations.add(
                format_args!("requests[{index}].reservation_id"),
                format_args!("is the key of requests[{first}] too"),
            );
        }
    }
    violations
}

fn payload(owner: &Owner, asked: i64, cart: &Cart, terms: &Terms) -> holdfast_stock::PayloadHash {
    Payload::of("Reserve").text(owner.as_str()).number(asked).cart(cart).terms(cart, terms).hash()
}

/// Whether a key's time lies outside the retry window; whatever is wrong with its time or version is noted.
pub(super) fn is_outside(
    violations: &mut Violations,
    field: &str,
    holds: &HoldsConfig,
    id: ReservationId,
    now: UnixMicros,
) -> bool {
    let Err(error) = holds.window().check(id, now) else { return false };
    violations.add(field, error);
    matches!(error, KeyProblem::TooOld | KeyProblem::TooNew)
}

fn cart(violations: &mut Violations, asked: &[pb::ReserveLine]) -> (Vec<ReadableLine>, Option<Cart>) {
    let mut readable = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in asked.iter().enumerate() {
        let sku = text(violations, format_args!("lines[{index}].sku"), &line.sku, Sku::new);
        let location = optional_location(violations, format_args!("lines[{index}].location"), &line.location);
        let quantity = Quantity::new(line.quantity);
        if quantity.is_none() {
            let field = format_args!("lines[{index}].quantity");
            violations.add(field, format_args!("must be 1 to {}, is {}", Quantity::MAX, line.quantity));
        }
        let may_be_split = match pb::LineSplit::try_from(line.split) {
            Ok(pb::LineSplit::Unspecified | pb::LineSplit::Allowed) => true,
            Ok(pb::LineSplit::Forbidden) => false,
            Err(_) => {
                violations.add(format_args!("lines[{index}].split"), "must be ALLOWED or FORBIDDEN");
                true
            }
        };
        let (Some(sku), Some(location)) = (sku, location) else { continue };
        readable.push((index, sku.clone(), location.clone()));
        if let Some(quantity) = quantity {
            // A line that names its location comes from there in any case.
            let split = may_be_split || location.is_some();
            lines.push((index, Line { sku, location, quantity, split }));
        }
    }
    if asked.is_empty() || asked.len() > Cart::LINES_MAX {
        violations.add("lines", format_args!("must have 1 to {}, has {}", Cart::LINES_MAX, asked.len()));
        return (readable, None);
    }
    // Sums beyond the bound are named one after the other, each with the line that goes over.
    loop {
        match Cart::new(lines.iter().map(|(_, line)| line.clone()).collect()) {
            Ok(cart) => return (readable, Some(cart)),
            Err(CartProblem::TooManyUnits { line, .. }) => {
                let (index, _) = lines.remove(line);
                let field = format_args!("lines[{index}].quantity");
                violations
                    .add(field, format_args!("with the lines before it comes to more than {} units", Quantity::MAX));
            }
            Err(CartProblem::Empty | CartProblem::TooManyLines { .. }) => return (readable, None),
        }
    }
}

fn terms(violations: &mut Violations, request: &pb::ReserveRequest) -> Terms {
    let best_effort = match pb::ReserveMode::try_from(request.mode) {
        Ok(pb::ReserveMode::Unspecified | pb::ReserveMode::AllOrNothing) => false,
        Ok(pb::ReserveMode::BestEffort) => true,
        Err(_) => {
            violations.add("mode", "must be ALL_OR_NOTHING or BEST_EFFORT");
            false
        }
    };
    let strategy = strategy(violations, request);
    let details = Details {
        channel: optional_name(violations, "channel", &request.channel),
        order: optional_name(violations, "order_reference", &request.order_reference),
        labels: labels(violations, request),
    };
    Terms { strategy, best_effort, replaces: None, details }
}

fn strategy(violations: &mut Violations, request: &pb::ReserveRequest) -> Strategy {
    let nearest = &request.nearest_locations;
    let strategy = match pb::LocationStrategy::try_from(request.strategy) {
        Ok(pb::LocationStrategy::Unspecified | pb::LocationStrategy::FixedPriority) => Strategy::FixedPriority,
        Ok(pb::LocationStrategy::FewestParcels) => Strategy::FewestParcels,
        Ok(pb::LocationStrategy::MostStock) => Strategy::MostStock,
        Ok(pb::LocationStrategy::Nearest) => return Strategy::Nearest(nearest_locations(violations, nearest)),
        Err(_) => {
            violations.add("strategy", "must be FIXED_PRIORITY, FEWEST_PARCELS, MOST_STOCK or NEAREST");
            return Strategy::FixedPriority;
        }
    };
    if !nearest.is_empty() {
        violations.add("nearest_locations", "must be empty unless strategy is NEAREST");
    }
    strategy
}

fn nearest_locations(violations: &mut Violations, asked: &[String]) -> Vec<Location> {
    if asked.is_empty() || asked.len() > NEAREST_MAX {
        violations.add("nearest_locations", format_args!("must have 1 to {NEAREST_MAX}, has {}", asked.len()));
        return Vec::new();
    }
    let mut locations: Vec<Location> = Vec::with_capacity(asked.len());
    for (place, code) in asked.iter().enumerate() {
        let field = format!("nearest_locations[{place}]");
        let Some(location) = text(violations, &field, code, Location::new) else { continue };
        if locations.contains(&location) {
            violations.add(field, "is there a second time");
        } else {
            locations.push(location);
        }
    }
    locations
}

pub(super) fn optional_name(violations: &mut Violations, field: &str, value: &str) -> Option<Name> {
    if value.is_empty() { None } else { text(violations, field, value, Name::new) }
}

fn labels(violations: &mut Violations, request: &pb::ReserveRequest) -> BTreeMap<String, String> {
    let asked = &request.labels;
    if asked.len() > LABELS_MAX {
        violations.add("labels", format_args!("must have at most {LABELS_MAX}, has {}", asked.len()));
        return BTreeMap::new();
    }
    let sorted: BTreeMap<_, _> = asked.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for (place, (key, value)) in sorted.iter().enumerate() {
        violations.check_text(format_args!("labels[{place}].key"), key, 1..=LABEL_KEY_BYTES_MAX);
        violations.check_text(format_args!("labels[{place}].value"), value, 0..=LABEL_VALUE_BYTES_MAX);
    }
    sorted
}

/// How long to hold: what was asked in microseconds (0 for the default, so that a change of the default changes no key's payload), and what it means; `None` inside:
/// as the policies or the configuration say.
pub(super) fn hold(
    violations: &mut Violations,
    duration: Option<&prost_types::Duration>,
    holds: &HoldsConfig,
) -> Option<(i64, Option<HoldMicros>)> {
    let Some(duration) = duration.filter(|d| d.seconds != 0 || d.nanos != 0) else {
        return Some((0, None));
    };
    let longest = holds.limits().longest_hold_micros;
    let micros = duration
        .seconds
        .checked_mul(1_000_000)
        .filter(|_| (0..=999_999_999).contains(&duration.nanos))
        .and_then(|micros| micros.checked_add(i64::from(duration.nanos) / 1_000))
        .filter(|micros| (1_000_000..=longest).contains(micros));
    match micros.and_then(HoldMicros::new) {
        Some(hold) => Some((hold.get(), Some(hold))),
        None => {
            violations.add("hold_duration", format_args!("must be 1 to {} s", longest / 1_000_000));
            None
        }
    }
}
