//! Operations with terms, portions and pauses, in one line each.

use crate::world::*;
use holdfast_stock::{Answer, Breach, Name, Note, Op, Policy, Portion, Record, Refusal, Shortage, Terms};

/// The same Reserve with other terms.
pub(crate) fn with(op: Op, change: impl FnOnce(&mut Terms)) -> Op {
    match op {
        Op::Reserve { id, owner, payload, cart, hold, retry, mut terms } => {
            change(&mut terms);
            Op::Reserve { id, owner, payload, cart, hold, retry, terms }
        }
        other => other,
    }
}

pub(crate) fn best_effort(n: u8, lines: &[(&str, &str, i64)]) -> Op {
    with(reserve(n, lines), |terms| terms.best_effort = true)
}

pub(crate) fn replacing(n: u8, old: u8, lines: &[(&str, &str, i64)]) -> Op {
    with(reserve(n, lines), |terms| terms.replaces = Some(key(old)))
}

pub(crate) fn by(channel: &str, op: Op) -> Op {
    with(op, |terms| terms.details.channel = Some(name(channel)))
}

/// A part of a reservation; an empty location means wherever it is.
pub(crate) fn portion((code, at, units): (&str, &str, i64)) -> Portion {
    Portion { sku: sku(code), location: (!at.is_empty()).then(|| location(at)), units }
}

/// A Confirm of a part.
pub(crate) fn buy(r: u8, n: u8, portions: &[(&str, &str, i64)]) -> Op {
    purchase(r, n, portions, None, None)
}

/// A Confirm that reserves anew under another key if the hold is over.
pub(crate) fn reacquire(r: u8, n: u8, new: u8, portions: &[(&str, &str, i64)]) -> Op {
    purchase(r, n, portions, Some(new), None)
}

pub(crate) fn purchase(r: u8, n: u8, portions: &[(&str, &str, i64)], reacquire: Option<u8>, order: Option<&str>) -> Op {
    Op::Confirm {
        request: request(r),
        payload: payload(100 + r),
        id: key(n),
        portions: portions.iter().copied().map(portion).collect(),
        reacquire: reacquire.map(key),
        order: order.map(name),
    }
}

pub(crate) fn pause(r: u8, skus: &[&str]) -> Op {
    sell(r, skus, true)
}

pub(crate) fn resume(r: u8, skus: &[&str]) -> Op {
    sell(r, skus, false)
}

fn sell(r: u8, skus: &[&str], pause: bool) -> Op {
    Op::Sell {
        request: request(r),
        payload: payload(100 + r),
        skus: skus.iter().map(|code| sku(code)).collect(),
        pause,
        actor: name("bert"),
        note: Note::new("looks wrong").unwrap(),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Gives a SKU a policy.
pub(crate) fn govern(world: &mut World, code: &str, policy: Policy) {
    let version = world.policies.get(&sku(code)).map_or(1, |known| known.version + 1);
    let policies = vec![(sku(code), Policy { version, ..policy })];
    assert_eq!(world.one(Op::Policies { policies }), Ok(Answer::Policies { applied: 1 }));
}

/// Where a reservation's units lie: SKU, location, units.
pub(crate) fn places(record: &Record) -> Vec<(&str, &str, i64)> {
    record.allocations.iter().map(|a| (a.sku.as_str(), a.location.as_str(), a.quantity)).collect()
}

pub(crate) fn missing((code, at, requested, available): (&str, &str, i64, i64)) -> Shortage {
    Shortage { sku: sku(code), location: (!at.is_empty()).then(|| location(at)), requested, available }
}

/// The breaches in a no.
#[track_caller]
pub(crate) fn breaches(outcome: Outcome) -> Vec<Breach> {
    match outcome {
        Err(Refusal::Limit(breaches)) => breaches,
        other => panic!("not beyond a limit: {other:?}"),
    }
}
