//! Follows the ledger for everybody on this replica who watches a topic.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use holdfast_kit::{CancellationToken, Tasks};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::{Topic, WatchConfig};
use crate::changes::{Cursor, Place};
use crate::clock::PostgresClock;
use crate::metrics::WatchMetrics;
use crate::store::{Store, StoreError};

/// Where watchers of a topic join its tail. Clones are the same one.
#[derive(Debug)]
pub struct Hub<T: Topic> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T: Topic> {
    inboxes: Mutex<Vec<Weak<Inbox<T>>>>,
    joined: Notify,
    waiting_max: usize,
}

impl<T: Topic> Clone for Hub<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Topic> Hub<T> {
    /// Starts the topic's tail, which reads only while somebody watches.
    pub(super) fn start(
        config: WatchConfig,
        store: Store,
        clock: PostgresClock,
        metrics: WatchMetrics,
        tasks: &Tasks,
    ) -> Self {
        let shared = Shared { inboxes: Mutex::default(), joined: Notify::new(), waiting_max: config.waiting_max };
        let hub = Self { shared: Arc::new(shared) };
        let tail = Tail { hub: hub.clone(), config, store, clock, metrics, stop: tasks.token().clone() };
        tasks.spawn("watch-tail", tail.run());
        hub
    }

    /// A new inbox, filled from now on for as long as it lives.
    pub(super) fn join(&self, topic: &Arc<T>) -> Arc<Inbox<T>> {
        let inbox = Arc::new(Inbox::new(Arc::clone(topic), self.shared.waiting_max));
        self.lock().push(Arc::downgrade(&inbox));
        self.shared.joined.notify_one();
        inbox
    }

    /// The inboxes that are left.
    fn inboxes(&self) -> Vec<Arc<Inbox<T>>> {
        let mut inboxes = self.lock();
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Inbox<T>>>> {
        self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Tail<T: Topic> {
    hub: Hub<T>,
    config: WatchConfig,
    store: Store,
    clock: PostgresClock,
    metrics: WatchMetrics,
    stop: CancellationToken,
}

impl<T: Topic> Tail<T> {
    async fn run(self) {
        let period = Duration::from_millis(self.config.period_ms);
        let (mut position, mut failing) = (None, false);
        let mut at_end = Instant::now();
        loop {
            if self.hub.inboxes().is_empty() {
                position = None;
                self.metrics.behind(T::NAME, Duration::ZERO);
                if self.stop.run_until_cancelled(self.hub.shared.joined.notified()).await.is_none() {
                    return;
                }
                at_end = Instant::now();
            }
            let looked = Instant::now();
            let more = match self.look(&mut position).await {
                Ok(more) => {
                    failing = false;
                    if !more {
                        at_end = looked;
                    }
                    more
                }
                Err(error @ (StoreError::OtherRecord | StoreError::ChangesDropped)) => {
                    tracing::warn!(topic = T::NAME, %error, "the record is not the one that was followed: watches begin anew");
                    self.hub.inboxes().iter().for_each(|inbox| inbox.fail(&error));
                    position = None;
                    false
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(topic = T::NAME, %error, "changes cannot be looked for; trying again until they can");
                    }
                    failing = true;
                    false
                }
            };
            self.metrics.behind(T::NAME, looked.duration_since(at_end));
            if !more && self.stop.run_until_cancelled(tokio::time::sleep(period)).await.is_none() {
                return;
            }
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    /// One page into the inboxes; whether there is more right now. The first look finds nothing and tells from where on the inboxes are complete.
    async fn look(&self, position: &mut Option<Cursor>) -> Result<bool, StoreError> {
        let from = match position.take() {
            Some(from) => from,
            None => Cursor { at: Place::New, ..self.store.beginning().await? },
        };
        // Whatever goes wrong, the next look begins where this one did.
        let from = position.insert(from);
        let page = T::read(&self.store, from, i64::from(self.config.entries_max)).await?;
        let items: Vec<Arc<T::Item>> = page.items.into_iter().map(Arc::new).collect();
        self.metrics.found(T::NAME, items.len());
        for inbox in self.hub.inboxes() {
            inbox.offer(&items, &page.end);
        }
        let now = self.clock.now();
        for at in items.iter().filter_map(|item| T::at(item)) {
            self.metrics.lag(T::NAME, now.0.saturating_sub(at.0));
        }
        *position = Some(page.end);
        Ok(page.more)
    }
}
