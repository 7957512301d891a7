//! Where commits wait for a standby: has it what a read found? Everybody who asks shares one empty commit, one after the other.
//!
//! Architecture invariant: no reservation is answered by a read that a commit's answer would have waited for (I1).

use std::time::Duration;

use holdfast_kit::{CancellationToken, Tasks};
use tokio::sync::{mpsc, oneshot};

use crate::committer::Failure;
use crate::store::{Store, StoreError};

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// A handle to the task that asks. Clones share it.
#[derive(Debug, Clone)]
pub struct Settler {
    queue: mpsc::Sender<Reply>,
}

impl Settler {
    /// Starts the task; so many requests may wait for it.
    #[must_use]
    pub fn start(queue_max: usize, store: Store, tasks: &Tasks) -> Self {
        let (queue, receiver) = mpsc::channel(queue_max);
        tasks.spawn("settler", run(store, receiver, tasks.token().clone()));
        Self { queue }
    }

    /// Ends when everything that was committed before this was called can be lost no more easily than what is committed now.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when too many wait, [`Failure::Store`] when Postgres gave no result: the standby may have it or not.
    pub async fn settled(&self) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        if self.queue.try_send(reply).is_err() {
            return Err(Failure::Overloaded { retry_after: Duration::from_millis(100) });
        }
        let stopped = || StoreError::Unknown("the service is shutting down".to_owned());
        answer.await.unwrap_or_else(|_| Err(stopped())).map_err(Failure::Store)
    }
}

async fn run(store: Store, mut queue: mpsc::Receiver<Reply>, stop: CancellationToken) {
    loop {
        let first = tokio::select! {
            biased;
            next = queue.recv() => next,
            () = stop.cancelled() => None,
        };
        let Some(first) = first else { return };
        let mut asked = vec![first];
        while let Ok(next) = queue.try_recv() {
            asked.push(next);
        }
        let settled = tokio::select! {
            settled = store.settle() => settled,
            // The standby may be long in coming.
            () = stop.cancelled() => return,
        };
        if let Err(error) = &settled {
            tracing::warn!(%error, waiting = asked.len(), "it is not known whether the standby has what was read");
        }
        for reply in asked {
            // Nobody may be waiting any more.
            let _ = reply.send(settled.clone());
        }
    }
}
