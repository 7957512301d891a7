//! What waits for one watcher: bounded, of each row only the newest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_kit::CancellationToken;
use holdfast_stock::RowKey;
use tokio::sync::Notify;

use super::{Topic, WatchEnd};
use crate::changes::Cursor;
use crate::store::{ReservationChange, RowAvailability, StoreError};

/// Changes that wait.
pub trait Waiting<I>: Default + Send + 'static {
    /// Takes one more.
    fn put(&mut self, item: Arc<I>);
    /// How many wait.
    fn len(&self) -> usize;
    /// Gives all, in the order in which they are to be told.
    fn take(&mut self) -> Vec<Arc<I>>;
}

/// The newest state of each row: what it was in between is nobody's concern.
#[derive(Debug, Default)]
pub struct NewestOfEachRow(BTreeMap<RowKey, Arc<RowAvailability>>);

impl Waiting<RowAvailability> for NewestOfEachRow {
    fn put(&mut self, item: Arc<RowAvailability>) {
        self.0.insert((item.sku.clone(), item.location.clone()), item);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self) -> Vec<Arc<RowAvailability>> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// Each event, for each is told.
#[derive(Debug, Default)]
pub struct Each(Vec<Arc<ReservationChange>>);

impl Waiting<ReservationChange> for Each {
    fn put(&mut self, item: Arc<ReservationChange>) {
        self.0.push(item);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self) -> Vec<Arc<ReservationChange>> {
        std::mem::take(&mut self.0)
    }
}

/// What waited, and where a watcher stands who has dealt with it.
pub(super) type Taken<I> = (Vec<Arc<I>>, Cursor);

/// The inbox of one watcher.
#[derive(Debug)]
pub(super) struct Inbox<T: Topic> {
    topic: Arc<T>,
    waiting_max: usize,
    state: Mutex<State<T::Waiting>>,
    changed: Notify,
    opened: CancellationToken,
    overflowed: CancellationToken,
}

#[derive(Debug)]
struct State<W> {
    waiting: W,
    /// Where a watcher stands who has dealt with all that waits; none before the first page.
    upto: Option<Cursor>,
    failed: Option<StoreError>,
}

impl<T: Topic> Inbox<T> {
    pub(super) fn new(topic: Arc<T>, waiting_max: usize) -> Self {
        Self {
            topic,
            waiting_max,
            state: Mutex::new(State { waiting: T::Waiting::default(), upto: None, failed: None }),
            changed: Notify::new(),
            opened: CancellationToken::new(),
            overflowed: CancellationToken::new(),
        }
    }

    /// Takes of a page what the watcher wants. Never waits.
    pub(super) fn offer(&self, items: &[Arc<T::Item>], end: &Cursor) {
        if self.overflowed.is_cancelled() {
            return;
        }
        let mut state = self.lock();
        let mut wanted = false;
        for item in items.iter().filter(|item| self.topic.wants(item)) {
            state.waiting.put(Arc::clone(item));
            wanted = true;
        }
        state.upto = Some(end.clone());
        let is_full = state.waiting.len() > self.waiting_max;
        if is_full {
            state.waiting = T::Waiting::default();
            self.overflowed.cancel();
        }
        drop(state);
        self.opened.cancel();
        if wanted {
            self.changed.notify_one();
        }
    }

    /// The tail cannot go on.
    pub(super) fn fail(&self, error: &StoreError) {
        self.lock().failed = Some(error.clone());
        self.opened.cancel();
        self.changed.notify_one();
    }

    /// Waits for the first page: from its beginning on, everything comes by this inbox.
    pub(super) async fn opened(&self) {
        self.opened.cancelled().await;
    }

    /// Waits until something may wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until more would wait than may.
    pub(super) async fn overflowed(&self) {
        self.overflowed.cancelled().await;
    }

    /// What waits, and where a watcher stands who has dealt with it.
    ///
    /// # Errors
    /// [`WatchEnd::TooSlow`]: more would wait than may, and nothing does any more. [`WatchEnd::Store`]: the tail cannot go on.
    pub(super) fn take(&self) -> Result<Taken<T::Item>, WatchEnd> {
        let mut state = self.lock();
        if let Some(error) = &state.failed {
            return Err(WatchEnd::Store(error.clone()));
        }
        if self.overflowed.is_cancelled() {
            return Err(WatchEnd::TooSlow);
        }
        let upto = state.upto.clone().expect("whoever takes has waited for the first page");
        Ok((state.waiting.take(), upto))
    }

    fn lock(&self) -> MutexGuard<'_, State<T::Waiting>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
