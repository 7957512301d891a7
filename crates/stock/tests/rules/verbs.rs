//! How tests say what becomes of a sale.

use crate::world::*;
use holdfast_stock::{
    Answer, Condition, CountMeaning, CountResult, EvidenceKind, Name, Note, Op, Portion, Progress, Returned, UnixMicros,
};

/// Parts of a reservation from SKU, location (empty: wherever) and units.
pub(crate) fn portions(parts: &[(&str, &str, i64)]) -> Vec<Portion> {
    parts.iter().map(portion).collect()
}

fn portion((code, at, units): &(&str, &str, i64)) -> Portion {
    Portion { sku: sku(code), location: (!at.is_empty()).then(|| location(at)), units: *units }
}

/// Shipped, at that moment of the vendor's clock.
pub(crate) fn fulfil(r: u8, n: u8, parts: &[(&str, &str, i64)], at: i64) -> Op {
    let (request, payload, id) = (request(r), payload(r), key(n));
    Op::Fulfil { request, payload, id, portions: portions(parts), at: Some(UnixMicros(at)) }
}

pub(crate) fn cancel(r: u8, n: u8, parts: &[(&str, &str, i64)]) -> Op {
    called_off(r, n, parts, false)
}

/// Called off, and the units are lost.
pub(crate) fn lose(r: u8, n: u8, parts: &[(&str, &str, i64)]) -> Op {
    called_off(r, n, parts, true)
}

fn called_off(r: u8, n: u8, parts: &[(&str, &str, i64)], lost: bool) -> Op {
    let (request, payload, id, actor) = (request(r), payload(r), key(n), Name::new("bert").unwrap());
    Op::Cancel { request, payload, id, portions: portions(parts), lost, actor, note: Note::new("").unwrap() }
}

/// Came back: SKU, where it was shipped from, units, condition and where it lies now (empty: where it was shipped from).
pub(crate) fn take_back(r: u8, n: u8, returns: &[(&str, &str, i64, Condition, &str)]) -> Op {
    let returned = |(code, at, units, condition, to): &(&str, &str, i64, Condition, &str)| Returned {
        portion: portion(&(code, at, *units)),
        condition: *condition,
        to: (!to.is_empty()).then(|| location(to)),
    };
    Op::Return {
        request: request(r),
        payload: payload(r),
        id: key(n),
        returns: returns.iter().map(returned).collect(),
        actor: Name::new("bert").unwrap(),
        note: Note::new("").unwrap(),
    }
}

pub(crate) fn sent(r: u8, n: u8, parts: &[(&str, &str, i64)], at: i64) -> Op {
    told(r, n, parts, Some(EvidenceKind::Sent), Some(at))
}

pub(crate) fn booked(r: u8, n: u8, parts: &[(&str, &str, i64)], at: i64) -> Op {
    told(r, n, parts, Some(EvidenceKind::Booked), Some(at))
}

/// The vendor took a cancellation.
pub(crate) fn taken(r: u8, n: u8, parts: &[(&str, &str, i64)]) -> Op {
    told(r, n, parts, None, None)
}

pub(crate) fn told(r: u8, n: u8, parts: &[(&str, &str, i64)], kind: Option<EvidenceKind>, at: Option<i64>) -> Op {
    let (request, payload, id, portions) = (request(r), payload(r), key(n), portions(parts));
    Op::Evidence { request, payload, id, portions, kind, at: at.map(UnixMicros) }
}

/// A count of one number, as of then.
pub(crate) fn counted_as(meaning: CountMeaning, r: u8, as_of: i64, units: i64) -> Op {
    with_meaning(count(r, as_of, 0, &[("A", "W1", units)]), meaning)
}

pub(crate) fn with_meaning(op: Op, said: CountMeaning) -> Op {
    match op {
        Op::Count { request, payload, connection, run, as_of, sequence, covers_all, counts, .. } => {
            Op::Count { request, payload, connection, run, as_of, sequence, meaning: said, covers_all, counts }
        }
        other => other,
    }
}

/// The same count, said by another connection.
pub(crate) fn by(name: &str, op: Op) -> Op {
    match op {
        Op::Count { request, payload, run, as_of, sequence, meaning, covers_all, counts, .. } => {
            let connection = Name::new(name).unwrap();
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all, counts }
        }
        other => other,
    }
}

/// The same count, from a run that says something of every row.
pub(crate) fn covering(op: Op) -> Op {
    match op {
        Op::Count { request, payload, connection, run, as_of, sequence, meaning, counts, .. } => {
            Op::Count { request, payload, connection, run, as_of, sequence, meaning, covers_all: true, counts }
        }
        other => other,
    }
}

#[track_caller]
pub(crate) fn results(outcome: Outcome) -> Vec<CountResult> {
    match outcome {
        Ok(Answer::Counted { results, .. }) => results,
        other => panic!("not counted: {other:?}"),
    }
}

impl World {
    /// A row of the SKU A at W1 that a feed has counted so, with a confirmed reservation for each number of units: keys from 1.
    pub(crate) fn with_sales(meaning: CountMeaning, as_of: i64, units: i64, sales: &[i64]) -> Self {
        let mut world = Self::with(&[]);
        // They are bought right after the vendor has counted.
        world.now = as_of;
        world.one(counted_as(meaning, 200, as_of, units)).unwrap();
        for (n, bought) in (1..).zip(sales) {
            world.one(reserve(n, &[("A", "W1", *bought)])).unwrap();
            world.one(confirm(200 + n, n)).unwrap();
        }
        world
    }

    /// What became of the reservation's units of A at W1.
    pub(crate) fn progress(&self, n: u8) -> &Progress {
        self.progress_at(n, "A", "W1")
    }

    pub(crate) fn progress_at(&self, n: u8, code: &str, at: &str) -> &Progress {
        let here = |allocation: &&holdfast_stock::Allocation| allocation.row() == row(code, at);
        &self.records[&key(n)].allocations.iter().find(here).unwrap().progress
    }

    /// On hand, committed and available of A at W1.
    pub(crate) fn stock(&self) -> (i64, i64, i64) {
        let level = self.level("A", "W1");
        (level.on_hand, level.committed, level.available())
    }
}
