//! The calls to Redis: which script with which arguments, and what the answers mean.
//!
//! The scripts' headers in `lua/` are the contract; a test here compares each with its body and with this file.

use super::keys;
use super::metrics::Outcome;
use super::slots;
use super::{Found, Publish, Published, Scope};
use holdfast_stock::{Location, ReservationId, Sku, UnixMicros};
use redis::{Cmd, ServerError, Value};
use std::sync::LazyLock;

/// What Redis is asked to do, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Take,
    Publish,
    Reconcile,
    Read,
    Probe,
    Topology,
}

impl Call {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Publish => "publish",
            Self::Reconcile => "reconcile",
            Self::Read => "read",
            Self::Probe => "probe",
            Self::Topology => "topology",
        }
    }
}

/// A Lua script and the hash by which Redis knows it.
#[derive(Debug)]
struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// A call, its keys to be followed by the arguments.
    fn call(&self, keys: usize) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys);
        command
    }
}

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../lua/take.lua")));
static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../lua/publish.lua")));
static RECONCILE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../lua/reconcile.lua")));

/// More digits than this no script reads: Lua counts in doubles. Far above what a stock row can hold.
const UNITS_MAX: i64 = 999_999_999_999_999_999;

/// The commands that make every script known to Redis.
pub(super) fn load() -> [Cmd; 3] {
    [&TAKE, &PUBLISH, &RECONCILE].map(|script| {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(script.code);
        command
    })
}

/// Asks for all units of a cart.
pub(super) fn take(id: ReservationId, lapse_ms: u64, cart: &[(&Sku, i64)]) -> Cmd {
    let mut command = TAKE.call(2 * cart.len());
    for (sku, _) in cart {
        command.arg(keys::availability(sku)).arg(keys::takes(sku));
    }
    command.arg(keys::id(id)).arg(lapse_ms);
    for (_, units) in cart {
        command.arg(units);
    }
    command
}

/// Publishes what Postgres said about one SKU.
pub(super) fn publish(update: &Publish) -> Cmd {
    let mut command = PUBLISH.call(2);
    command.arg(keys::availability(&update.sku)).arg(keys::takes(&update.sku));
    command.arg(update.read_at.0).arg(update.scope.name()).arg(update.locations.len());
    add_locations(&mut command, &update.locations);
    for (reservation, units) in &update.taken_back {
        command.arg(keys::member(*reservation, *units));
    }
    command
}

/// Overwrites what is published about one SKU.
pub(super) fn reconcile(record: &Published) -> Cmd {
    let mut command = RECONCILE.call(2);
    command.arg(keys::availability(&record.sku)).arg(keys::takes(&record.sku)).arg(record.at.0);
    add_locations(&mut command, &record.locations);
    command
}

/// Reads what is published about one SKU.
pub(super) fn read(sku: &Sku) -> Cmd {
    let mut command = redis::cmd("HGETALL");
    command.arg(keys::availability(sku));
    command
}

/// Asks whether Redis can do the gate's work: a script that writes, but changes nothing, for there is nothing.
pub(super) fn probe(number: u32) -> Cmd {
    let (availability, takes) = keys::probe(number);
    let mut command = PUBLISH.call(2);
    command.arg(availability).arg(takes).arg(0).arg(Scope::Touched.name()).arg(0).arg(":0");
    command
}

/// Asks a node of a cluster who has which slots.
pub(super) fn topology() -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

/// Says that the next command is for a slot that is on its way to this node.
pub(super) fn asking() -> Cmd {
    redis::cmd("ASKING")
}

fn add_locations(command: &mut Cmd, locations: &[(Location, i64)]) {
    for (location, units) in locations {
        command.arg(keys::field(location)).arg((*units).clamp(0, UNITS_MAX));
    }
}

/// The first element of `take`'s answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakeCode {
    Refused,
    Granted,
    Unknown,
}

impl TakeCode {
    const ALL: [(Self, i64, &'static str); 3] =
        [(Self::Refused, 0, "REFUSED"), (Self::Granted, 1, "GRANTED"), (Self::Unknown, 2, "UNKNOWN")];
}

impl Found {
    const ALL: [(Self, i64, &'static str); 3] =
        [(Self::Missing, 0, "MISSING"), (Self::Readable, 1, "READABLE"), (Self::Garbage, 2, "GARBAGE")];
}

/// `publish`'s answer. Nobody needs to know which, but anything else is not an answer.
const PUBLISH_CODES: [(i64, &str); 2] = [(0, "DROPPED"), (1, "PUBLISHED")];

/// A cart's locations and units, SKU by SKU in the order asked; empty unless granted.
pub(super) type TakeReply = (TakeCode, Vec<Vec<(Location, i64)>>);

/// Reads `take`'s answer about a cart of so many SKUs; none if it makes no sense.
pub(super) fn decode_take(answer: &Value, skus: usize) -> Option<TakeReply> {
    let (first, hashes) = items(answer)?.split_first()?;
    let (code, _, _) = TakeCode::ALL.into_iter().find(|(_, number, _)| Value::Int(*number) == *first)?;
    match code {
        TakeCode::Refused | TakeCode::Unknown if hashes.is_empty() => Some((code, Vec::new())),
        TakeCode::Granted if hashes.len() == skus => {
            let hashes: Option<Vec<_>> = hashes.iter().map(|hash| Some(decode_hash(hash)?.0)).collect();
            Some((code, hashes?))
        }
        TakeCode::Refused | TakeCode::Granted | TakeCode::Unknown => None,
    }
}

/// Whether this is an answer of `publish`.
pub(super) fn is_publish_reply(answer: &Value) -> bool {
    PUBLISH_CODES.iter().any(|(number, _)| Value::Int(*number) == *answer)
}

/// What `reconcile` found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReconcileReply {
    pub(super) found: Found,
    pub(super) published: i64,
    pub(super) taken: i64,
    pub(super) taken_drift: i64,
}

/// Reads `reconcile`'s answer; none if it makes no sense.
pub(super) fn decode_reconcile(answer: &Value) -> Option<ReconcileReply> {
    let [Value::Int(found), Value::Int(published), Value::Int(taken), Value::Int(taken_drift)] = items(answer)? else {
        return None;
    };
    let (found, _, _) = Found::ALL.into_iter().find(|(_, number, _)| number == found)?;
    Some(ReconcileReply { found, published: *published, taken: *taken, taken_drift: *taken_drift })
}

/// Reads an availability hash as HGETALL gives it: locations in the hash's order, and when they were read. None if it
/// is missing or makes no sense.
pub(super) fn decode_hash(answer: &Value) -> Option<(Vec<(Location, i64)>, UnixMicros)> {
    let mut locations = Vec::new();
    let mut at = None;
    let (pairs, rest) = items(answer)?.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    for [field, value] in pairs {
        let field = text(field)?;
        if let Some(location) = keys::location_of(field) {
            let units = text(value)?.parse().ok().filter(|units| *units >= 0)?;
            locations.push((Location::new(location).ok()?, units));
        } else if field == keys::FIELD_AT {
            at = Some(UnixMicros(text(value)?.parse().ok()?));
        }
    }
    Some((locations, at?))
}

/// Whether there is nothing under the key that was read.
pub(super) fn is_empty(answer: &Value) -> bool {
    items(answer).is_some_and(<[Value]>::is_empty)
}

/// What kind of error Redis answered with.
pub(super) fn outcome_of(error: &ServerError) -> Outcome {
    match error.code() {
        "OOM" => Outcome::OutOfMemory,
        "READONLY" | "MISCONF" | "NOREPLICAS" => Outcome::ReadOnly,
        _ if slots::redirect(error, None).is_some() => Outcome::Moving,
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" => Outcome::Loading,
        "NOPERM" | "NOAUTH" | "WRONGPASS" => Outcome::Denied,
        _ => Outcome::Failed,
    }
}

/// Whether this says that a slot is on its way, or not here.
pub(super) fn is_moving(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if outcome_of(error) == Outcome::Moving)
}

/// Whether this connection leads to a Redis that has become a replica: behind its name another one may be the master by now.
pub(super) fn is_demoted(error: &ServerError) -> bool {
    error.code() == "READONLY"
}

/// Whether Redis does not know the script: it was restarted or told to forget its scripts.
pub(super) fn is_no_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

fn items(answer: &Value) -> Option<&[Value]> {
    match answer {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn text(answer: &Value) -> Option<&str> {
    match answer {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "scripts_test.rs"]
mod tests;
