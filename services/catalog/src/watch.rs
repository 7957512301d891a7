//! One watch of the catalog: the whole, its end, and then every change, each with a token to go on from. Holds one page of SKUs at most.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::changes::Cursor;
use crate::model::SkuState;
use crate::store::{Interest, Store, StoreError};

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A SKU as it stands.
    State(Box<SkuState>),
    /// The whole was told; what follows are changes.
    WholeEnd,
    /// Nothing changed for a while.
    Checkpoint,
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher has gone.
    #[error("the watcher has gone")]
    Gone,
    /// The process ends.
    #[error("the process ends")]
    Ending,
    /// The store did not answer, or the watcher was too slow and what he has not read is dropped.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One watch, whose messages are made by `encode` of an event and of where a watcher stands who has dealt with it.
#[derive(Debug)]
pub struct Watch<T> {
    /// From where.
    pub store: Store,
    /// Rings when there are changes.
    pub bell: watch::Receiver<u64>,
    /// SKUs that are read at once.
    pub page_skus: u32,
    /// After how long without a change a checkpoint is sent.
    pub checkpoint_after: Duration,
    /// Cancelled when the process ends.
    pub shutdown: CancellationToken,
    /// Makes a message.
    pub encode: fn(Event, &Cursor) -> T,
}

impl<T> Watch<T> {
    /// Tells everything after a cursor until it cannot go on. Whoever reads slowly is waited for, so nothing piles up.
    pub async fn run(mut self, mut cursor: Cursor, events: &mpsc::Sender<T>) -> WatchEnd {
        let mut told = Instant::now();
        loop {
            self.bell.mark_unchanged();
            let more = match self.page(&mut cursor, events, &mut told).await {
                Ok(more) => more,
                Err(end) => return end,
            };
            if more {
                continue;
            }
            let checkpoint = tokio::time::sleep_until(told + self.checkpoint_after);
            let rung = tokio::select! {
                () = self.shutdown.cancelled() => return WatchEnd::Ending,
                () = events.closed() => return WatchEnd::Gone,
                () = checkpoint => false,
                rung = self.bell.changed() => rung.is_ok(),
            };
            if !rung {
                // What came in between is told first.
                match self.page(&mut cursor, events, &mut told).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(end) => return end,
                }
                if told.elapsed() >= self.checkpoint_after {
                    if let Err(end) = self.tell(events, Event::Checkpoint, &cursor).await {
                        return end;
                    }
                    told = Instant::now();
                }
            }
        }
    }

    /// Tells a page; whether there may be more right now.
    async fn page(&self, cursor: &mut Cursor, events: &mpsc::Sender<T>, told: &mut Instant) -> Result<bool, WatchEnd> {
        let page = self.store.changes(cursor, Interest::All, self.page_skus).await?;
        let codes: Vec<&str> = page.changed.iter().map(|changed| changed.sku.as_str()).collect();
        let states = if codes.is_empty() { Vec::new() } else { self.store.states(&codes).await? };
        let mut states: HashMap<String, SkuState> =
            states.into_iter().map(|state| (state.sku.content.code.clone(), state)).collect();
        for changed in page.changed {
            if let Some(state) = states.remove(&changed.sku) {
                self.tell(events, Event::State(Box::new(state)), &changed.after).await?;
                *told = Instant::now();
            }
        }
        *cursor = page.end;
        if page.whole_ended {
            self.tell(events, Event::WholeEnd, cursor).await?;
            *told = Instant::now();
        }
        Ok(page.more)
    }

    async fn tell(&self, events: &mpsc::Sender<T>, event: Event, after: &Cursor) -> Result<(), WatchEnd> {
        tokio::select! {
            () = self.shutdown.cancelled() => Err(WatchEnd::Ending),
            sent = events.send((self.encode)(event, after)) => sent.map_err(|_gone| WatchEnd::Gone),
        }
    }
}
