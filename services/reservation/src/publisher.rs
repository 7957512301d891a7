//! Tells the gate what was committed or read: in the background, for no answer waits for it.
//!
//! Best effort: what cannot be told is dropped and counted; takes lapse and the reconciler overwrites.

use std::collections::BTreeMap;

use holdfast_kit::{CancellationToken, Tasks};
use holdfast_stock::{Location, Op, ReservationId, Sku, UnixMicros};
use tokio::sync::mpsc;

use crate::gate::{Gate, Publish, Scope};
use crate::metrics::PublisherMetrics;

/// Messages that may wait; each is a batch's.
const QUEUE_MAX: usize = 1_024;
/// Messages that one call to Redis carries at most.
const COALESCED_MAX: usize = 64;

/// A handle to the publisher. Clones share it.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: mpsc::Sender<Vec<Publish>>,
    metrics: PublisherMetrics,
}

impl Publisher {
    /// Starts the publisher.
    #[must_use]
    pub fn start(gate: Gate, metrics: PublisherMetrics, tasks: &Tasks) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        tasks.spawn("publisher", run(gate, receiver, metrics.clone(), tasks.token().clone()));
        Self { queue, metrics }
    }

    /// Publishes what a batch left, and gives back the takes of its reserves, granted or not.
    pub fn publish<'a>(
        &self,
        decided_at: UnixMicros,
        available: &[(Sku, Location, i64)],
        ops: impl Iterator<Item = &'a Op>,
    ) {
        let mut updates = whole(decided_at, available);
        for op in ops {
            let Op::Reserve { id, cart, .. } = op else { continue };
            for (sku, units) in totals(cart) {
                updates.entry(sku.clone()).or_insert_with(|| give_back(sku, decided_at)).taken_back.push((*id, units));
            }
        }
        self.send(updates.into_values().collect());
    }

    /// Publishes what a read found.
    pub fn publish_read(&self, read_at: UnixMicros, available: &[(Sku, Location, i64)]) {
        self.send(whole(read_at, available).into_values().collect());
    }

    /// Gives back the takes of a request that does not go on to the committer.
    pub fn give_back(&self, id: ReservationId, wanted: &BTreeMap<Sku, i64>) {
        let update = |(sku, units): (&Sku, &i64)| Publish {
            taken_back: vec![(id, *units)],
            ..give_back(sku.clone(), UnixMicros::default())
        };
        self.send(wanted.iter().map(update).collect());
    }

    fn send(&self, updates: Vec<Publish>) {
        if !updates.is_empty() && self.queue.try_send(updates).is_err() {
            self.metrics.dropped();
        }
    }
}

/// Units of each SKU of a cart, its lines summed: what the gate takes.
pub(crate) fn totals(cart: &holdfast_stock::Cart) -> BTreeMap<Sku, i64> {
    let mut totals = BTreeMap::new();
    for line in cart.lines() {
        *totals.entry(line.sku.clone()).or_insert(0) += line.quantity.get();
    }
    totals
}

fn give_back(sku: Sku, read_at: UnixMicros) -> Publish {
    Publish { sku, read_at, scope: Scope::Touched, locations: Vec::new(), taken_back: Vec::new() }
}

fn whole(read_at: UnixMicros, available: &[(Sku, Location, i64)]) -> BTreeMap<Sku, Publish> {
    let mut updates = BTreeMap::new();
    for (sku, location, units) in available {
        let update = updates
            .entry(sku.clone())
            .or_insert_with(|| Publish { scope: Scope::Whole, ..give_back(sku.clone(), read_at) });
        update.locations.push((location.clone(), *units));
    }
    updates
}

async fn run(gate: Gate, mut queue: mpsc::Receiver<Vec<Publish>>, metrics: PublisherMetrics, stop: CancellationToken) {
    loop {
        let first = tokio::select! {
            biased;
            next = queue.recv() => next,
            () = stop.cancelled() => None,
        };
        let Some(first) = first else { return };
        let mut updates: BTreeMap<Sku, Publish> = BTreeMap::new();
        merge(&mut updates, first);
        for _ in 1..COALESCED_MAX {
            let Ok(next) = queue.try_recv() else { break };
            merge(&mut updates, next);
        }
        if let Err(error) = gate.publish(updates.into_values().collect()).await {
            tracing::debug!(%error, "the gate was not told of a change; the reconciler will");
            metrics.dropped();
        }
    }
}

/// A later update of a SKU replaces an earlier one, but every take is given back.
fn merge(updates: &mut BTreeMap<Sku, Publish>, next: Vec<Publish>) {
    for mut update in next {
        match updates.entry(update.sku.clone()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(update);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.taken_back.append(&mut update.taken_back);
                if update.scope == Scope::Whole && update.read_at >= known.read_at {
                    update.taken_back = std::mem::take(&mut known.taken_back);
                    *known = update;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(scope: Scope, read_at: i64, units: i64, taken: u8) -> Publish {
        let location = Location::new("w").expect("a code");
        Publish {
            sku: Sku::new("A").expect("a SKU"),
            read_at: UnixMicros(read_at),
            scope,
            locations: if scope == Scope::Whole { vec![(location, units)] } else { Vec::new() },
            taken_back: vec![(ReservationId::from_bytes([taken; 16]), 1)],
        }
    }

    #[test]
    fn merging_keeps_the_newest_availability_and_every_take() {
        let mut updates = BTreeMap::new();
        let all = [(Scope::Whole, 2, 20), (Scope::Whole, 1, 10), (Scope::Touched, 9, 0), (Scope::Whole, 3, 30)];
        for (number, (scope, at, units)) in (0_u8..).zip(all) {
            merge(&mut updates, vec![update(scope, at, units, number)]);
        }
        let [merged] = updates.into_values().collect::<Vec<_>>().try_into().expect("one SKU");
        assert_eq!(merged.locations, [(Location::new("w").expect("a code"), 30)]);
        assert_eq!(merged.taken_back.len(), all.len());
    }
}
