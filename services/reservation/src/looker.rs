//! The read queue: everybody whom the gate did not let through shares one read of the keys and the rows, one read after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_kit::{CancellationToken, Saturation, Tasks};
use holdfast_stock::{Availability, Record, ReservationId, Sku, UnixMicros};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::committer::Failure;
use crate::metrics::LookerMetrics;
use crate::publisher::Publisher;
use crate::store::{Look, Store, StoreError};

/// Bounds of the read queue.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookerConfig {
    /// Requests that may wait for a read; when it is full, callers are told to come back.
    pub queue_max: usize,
    /// Keys in one read.
    pub keys_max: usize,
    /// SKUs in one read, from which no further request joins it.
    pub skus_max: usize,
}

/// What a read found, shared by all who waited for it.
#[derive(Debug)]
pub struct Sight {
    /// Postgres's clock when the read began.
    pub read_at: UnixMicros,
    look: Look,
    availability: Availability,
}

impl Sight {
    /// What stands under a key.
    #[must_use]
    pub fn record(&self, id: ReservationId) -> Option<&Record> {
        self.look.records.get(&id)
    }

    /// Everything that was found.
    #[must_use]
    pub const fn look(&self) -> &Look {
        &self.look
    }

    /// Whether one of these SKUs is not sold any more.
    #[must_use]
    pub fn has_archived<'a>(&self, mut skus: impl Iterator<Item = &'a Sku>) -> bool {
        skus.any(|sku| self.look.archived.contains(sku))
    }

    /// Those of these SKUs that are not sold any more.
    #[must_use]
    pub fn archived<'a>(&self, skus: impl Iterator<Item = &'a Sku>) -> Vec<Sku> {
        skus.filter(|sku| self.look.archived.contains(*sku)).cloned().collect()
    }

    /// The SKUs asked for, by whomever, whose selling is paused.
    #[must_use]
    pub const fn paused(&self) -> &BTreeSet<Sku> {
        &self.look.paused
    }

    /// What the SKUs have, holds that are over not counted.
    #[must_use]
    pub const fn availability(&self) -> &Availability {
        &self.availability
    }
}

struct Asked {
    ids: Vec<ReservationId>,
    skus: Vec<Sku>,
    reply: oneshot::Sender<Result<Arc<Sight>, StoreError>>,
}

/// A handle to the read queue. Clones share it.
#[derive(Debug, Clone)]
pub struct Looker {
    queue: mpsc::Sender<Asked>,
}

impl Looker {
    /// Starts the read queue.
    #[must_use]
    pub fn start(
        config: LookerConfig,
        store: Store,
        publisher: Publisher,
        metrics: LookerMetrics,
        tasks: &Tasks,
    ) -> Self {
        let (queue, receiver) = mpsc::channel(config.queue_max);
        tasks.spawn("looker", run(config, store, publisher, metrics, receiver, tasks.token().clone()));
        Self { queue }
    }

    /// Lets the queue count for how full the process is.
    pub fn watch_by(&self, saturation: &Saturation) {
        saturation.watch_queue("read_queue", &self.queue, self.queue.max_capacity());
    }

    /// Looks at keys, at most two, and SKUs. What is found is also published to the gate.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when the queue is full, [`Failure::Store`] when Postgres gave no result. A look has no effect.
    pub async fn look(
        &self,
        ids: impl IntoIterator<Item = ReservationId>,
        skus: Vec<Sku>,
    ) -> Result<Arc<Sight>, Failure> {
        let (reply, sight) = oneshot::channel();
        let ids = ids.into_iter().collect();
        if self.queue.try_send(Asked { ids, skus, reply }).is_err() {
            return Err(Failure::Overloaded { retry_after: Duration::from_millis(100) });
        }
        match sight.await {
            Ok(sight) => sight.map_err(Failure::Store),
            Err(_) => Err(Failure::Store(StoreError::Unreachable("the read queue stopped".to_owned()))),
        }
    }
}

async fn run(
    config: LookerConfig,
    store: Store,
    publisher: Publisher,
    metrics: LookerMetrics,
    mut queue: mpsc::Receiver<Asked>,
    stop: CancellationToken,
) {
    loop {
        let first = tokio::select! {
            biased;
            next = queue.recv() => next,
            () = stop.cancelled() => None,
        };
        let Some(first) = first else { return };
        let mut skus: BTreeSet<Sku> = first.skus.iter().cloned().collect();
        let mut asked = vec![first];
        while asked.len() < config.keys_max && skus.len() < config.skus_max {
            let Ok(next) = queue.try_recv() else { break };
            skus.extend(next.skus.iter().cloned());
            asked.push(next);
        }
        let ids: Vec<ReservationId> = asked.iter().flat_map(|ask| ask.ids.iter().copied()).collect();
        let skus: Vec<Sku> = skus.into_iter().collect();
        metrics.read(asked.len());
        let sight = store.look(&ids, &skus).await.map(|look| {
            publisher.publish_read(look.read_at, &look.available);
            Arc::new(Sight { read_at: look.read_at, availability: look.availability(), look })
        });
        if let Err(error) = &sight {
            tracing::warn!(%error, waiting = asked.len(), "a shared read failed");
        }
        for ask in asked {
            // Nobody may be waiting any more; a look has no effect.
            let _ = ask.reply.send(sight.clone());
        }
    }
}
