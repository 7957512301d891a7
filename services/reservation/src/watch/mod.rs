//! Watches: first what there is, then every change, each message with a token to go on from.
//!
//! One tail of the ledger for each topic serves all watchers of this replica ([`tail`]): it puts what it finds into their inboxes ([`inbox`]), so that two hundred of
//! them cost Postgres no more than one. A watcher reads by itself only at its beginning: the whole, and what it missed before it joined.
//!
//! Architecture invariant: nothing in here waits for a reader but the task of its own watch, and nothing grows while that waits beyond the inbox's limit.

mod inbox;
mod oldest;
mod tail;
mod topics;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use holdfast_kit::{CancellationToken, Tasks};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::changes::{Cursor, Place};
use crate::clock::PostgresClock;
use crate::metrics::WatchMetrics;
use crate::store::{Store, StoreError};

use inbox::Inbox;
pub use tail::Hub;
pub use topics::{AvailabilityInterest, Kind, ReservationInterest, Topic};

/// How much and how often.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    /// Watchers at once.
    pub watchers_max: usize,
    /// From the end of one look at the ledger to the next while somebody watches, in milliseconds.
    pub period_ms: u64,
    /// Ledger entries read at once; a look goes on until none is left.
    pub entries_max: u32,
    /// Rows read at once for the snapshot of one watcher.
    pub snapshot_rows_max: u32,
    /// Changes that wait for one reader.
    pub waiting_max: usize,
    /// After how long without a change a checkpoint is sent, in milliseconds.
    pub checkpoint_ms: u64,
    /// From when on a transaction that is still open is logged as a problem, in seconds.
    pub open_transaction_seconds_max: u64,
}

/// The two tails of this replica.
#[derive(Debug, Clone)]
pub struct Tails {
    /// What can be reserved.
    pub availability: Hub<AvailabilityInterest>,
    /// What happens to reservations.
    pub reservations: Hub<ReservationInterest>,
}

/// Starts the tails, which read only while somebody watches, and the look at open transactions.
pub(crate) fn start(
    config: WatchConfig,
    store: &Store,
    clock: &PostgresClock,
    metrics: &WatchMetrics,
    tasks: &Tasks,
) -> Tails {
    oldest::start(config, store.clone(), metrics.clone(), tasks);
    Tails {
        availability: Hub::start(config, store.clone(), clock.clone(), metrics.clone(), tasks),
        reservations: Hub::start(config, store.clone(), clock.clone(), metrics.clone(), tasks),
    }
}

/// What a watcher is told.
#[derive(Debug)]
pub enum Told<'a, T> {
    /// How something stands, or what happened.
    Item(&'a T),
    /// The whole was told; what follows are changes.
    WholeEnd,
    /// Nothing changed for a while.
    Checkpoint,
}

impl<T> Clone for Told<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Whatever is told: it is only pointed at.
impl<T> Copy for Told<'_, T> {}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher has gone.
    #[error("the watcher has gone")]
    Gone,
    /// The process ends.
    #[error("the process ends")]
    Ending,
    /// More changes wait for the watcher than may.
    #[error("the watcher reads too slowly")]
    TooSlow,
    /// The store did not answer, or has not what the watcher's token needs.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One watch, whose messages are made by `encode` of what is told and of the token of a watcher who has dealt with it.
pub struct Watch<T: Topic, M> {
    /// What is watched.
    pub topic: Arc<T>,
    /// Who tells of changes.
    pub hub: Hub<T>,
    /// For the beginning.
    pub store: Store,
    /// The limits.
    pub config: WatchConfig,
    /// Cancelled when the process ends.
    pub shutdown: CancellationToken,
    /// Where the messages go. Whoever reads slowly is waited for.
    pub messages: mpsc::Sender<M>,
    /// Makes a message.
    pub encode: fn(Told<'_, T::Item>, String) -> M,
    /// Makes a token.
    pub token: Box<dyn Fn(&Cursor) -> String + Send + Sync>,
}

impl<T: Topic, M: Send> Watch<T, M> {
    /// Tells everything after a cursor until it cannot go on.
    pub async fn run(self, cursor: Cursor) -> WatchEnd {
        match self.tell_everything(cursor).await {
            Err(end) => end,
        }
    }

    async fn tell_everything(&self, cursor: Cursor) -> Result<Infallible, WatchEnd> {
        let cursor = if let Place::Whole(_) = cursor.at { self.tell_whole(cursor).await? } else { cursor };
        let (inbox, cursor) = self.catch_up(cursor).await?;
        self.follow(&inbox, cursor).await
    }

    async fn tell_whole(&self, mut cursor: Cursor) -> Result<Cursor, WatchEnd> {
        // A token from the middle of a whole may be as old, or of another record, as any.
        T::read(&self.store, &Cursor { at: Place::New, ..cursor.clone() }, 1).await?;
        while let Place::Whole(place) = &cursor.at {
            let (items, next) = self.topic.whole(&self.store, place, self.config.snapshot_rows_max).await?;
            let end = Cursor { at: next.map_or(Place::New, Place::Whole), ..cursor.clone() };
            // Whoever goes on from the last page must still be told that the whole has ended.
            let last = if end.at == Place::New { &cursor } else { &end };
            self.tell_items(&items, &cursor, last, None).await?;
            cursor = end;
        }
        self.tell(Told::WholeEnd, (self.token)(&cursor), None).await?;
        Ok(cursor)
    }

    /// Tells what has changed since the cursor, and joins the tail without a gap: after the tail's first page it looks once more by itself, and from then on drops
    /// of the tail's pages what that look saw. The last look must be one statement, so that nothing in the inbox can be older than what it told.
    async fn catch_up(&self, mut cursor: Cursor) -> Result<(Arc<Inbox<T>>, Cursor), WatchEnd> {
        let mut joined: Option<Arc<Inbox<T>>> = None;
        loop {
            let page = T::read(&self.store, &cursor, i64::from(self.config.entries_max)).await?;
            let one_statement = cursor.at == Place::New && !page.more;
            let items: Vec<_> = page.items.into_iter().filter(|item| self.topic.wants(item)).collect();
            self.tell_items(&items, &cursor, &page.end, joined.as_deref()).await?;
            cursor = page.end;
            match joined {
                _ if page.more => {}
                Some(inbox) if one_statement => return Ok((inbox, cursor)),
                Some(_) => {}
                None => {
                    let inbox = self.hub.join(&self.topic);
                    tokio::select! {
                        () = self.shutdown.cancelled() => return Err(WatchEnd::Ending),
                        () = self.messages.closed() => return Err(WatchEnd::Gone),
                        () = inbox.opened() => {}
                    }
                    joined = Some(inbox);
                }
            }
        }
    }

    async fn follow(&self, inbox: &Inbox<T>, mut cursor: Cursor) -> Result<Infallible, WatchEnd> {
        let (told_before, checkpoint_after) = (cursor.seen.clone(), Duration::from_millis(self.config.checkpoint_ms));
        let mut told = Instant::now();
        loop {
            let (items, upto) = inbox.take()?;
            let items: Vec<_> = items.into_iter().filter(|item| !told_before.sees(T::xid(item))).collect();
            self.tell_items(&items, &cursor, &upto, Some(inbox)).await?;
            cursor = upto;
            if !items.is_empty() {
                told = Instant::now();
                continue;
            }
            if told.elapsed() >= checkpoint_after {
                self.tell(Told::Checkpoint, (self.token)(&cursor), Some(inbox)).await?;
                told = Instant::now();
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(WatchEnd::Ending),
                () = self.messages.closed() => return Err(WatchEnd::Gone),
                () = inbox.changed() => {}
                () = tokio::time::sleep_until(told + checkpoint_after) => {}
            }
        }
    }

    /// Tells items of a page; whoever has dealt with some of them goes on from its start.
    async fn tell_items<I: AsRef<T::Item>>(
        &self,
        items: &[I],
        start: &Cursor,
        end: &Cursor,
        inbox: Option<&Inbox<T>>,
    ) -> Result<(), WatchEnd> {
        let Some((last, others)) = items.split_last() else { return Ok(()) };
        let token = (self.token)(start);
        for item in others {
            self.tell(Told::Item(item.as_ref()), token.clone(), inbox).await?;
        }
        self.tell(Told::Item(last.as_ref()), (self.token)(end), inbox).await
    }

    async fn tell(&self, told: Told<'_, T::Item>, token: String, inbox: Option<&Inbox<T>>) -> Result<(), WatchEnd> {
        let message = (self.encode)(told, token);
        let overflow = async {
            match inbox {
                Some(inbox) => inbox.overflowed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(WatchEnd::Ending),
            sent = self.messages.send(message) => sent.map_err(|_gone| WatchEnd::Gone),
            () = overflow => Err(WatchEnd::TooSlow),
        }
    }
}
