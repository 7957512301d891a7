//! WatchAvailability and WatchReservations: a place, a token, and a stream that a task of its own fills.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::page::Token;
use holdfast_kit::{CancellationToken, ErrorReason, Problem, Saturation};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::Stream;
use tonic::Status;

use crate::changes::Cursor;
use crate::committer::Failure;
use crate::convert;
use crate::metrics::WatchMetrics;
use crate::store::Store;
use crate::watch::{Hub, Tails, Told, Topic, Watch, WatchConfig, WatchEnd};

/// Messages on their way to a reader.
const MESSAGES_WAITING_MAX: usize = 16;
/// What a caller is told to wait when all places for watchers are taken, or when it read too slowly.
const RETRY: Duration = Duration::from_secs(2);

/// Begins watches. Clones share their places.
#[derive(Debug, Clone)]
pub struct Watching {
    config: WatchConfig,
    store: Store,
    tails: Tails,
    metrics: WatchMetrics,
    shutdown: CancellationToken,
    places: Arc<Semaphore>,
}

/// The stream of a watch: its messages, and then why it ended, even to a reader who had not read for long.
#[derive(Debug)]
pub struct WatchStream<M> {
    messages: mpsc::Receiver<M>,
    end: Option<oneshot::Receiver<Status>>,
}

impl<M> Stream for WatchStream<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let end = ready!(Pin::new(end).poll(context));
        self.end = None;
        Poll::Ready(end.ok().map(Err))
    }
}

impl Watching {
    pub(crate) fn new(
        config: WatchConfig,
        store: Store,
        tails: Tails,
        metrics: WatchMetrics,
        shutdown: CancellationToken,
    ) -> Self {
        Self { config, store, tails, metrics, shutdown, places: Arc::new(Semaphore::new(config.watchers_max)) }
    }

    /// Lets the watchers' places count for how full the process is.
    pub(crate) fn watch_by(&self, saturation: &Saturation) {
        saturation.watch_permits("watchers", &self.places, self.config.watchers_max);
    }

    /// # Errors
    /// INVALID_FIELD, INVALID_RESUME_TOKEN, OVERLOADED, and what the store says. Once it has begun, errors come in the stream.
    pub(super) async fn availability(
        &self,
        request: &pb::WatchAvailabilityRequest,
    ) -> Result<WatchStream<pb::WatchAvailabilityResponse>, Problem> {
        let interest = convert::availability_interest(request)?;
        let mut filters = vec!["WatchAvailability".to_owned()];
        filters.extend(interest.skus.iter().map(ToString::to_string));
        let hub = self.tails.availability.clone();
        self.begin(interest, filters, hub, &request.resume_token, convert::availability_event).await
    }

    /// # Errors
    /// As [`Watching::availability`].
    pub(super) async fn reservations(
        &self,
        request: &pb::WatchReservationsRequest,
    ) -> Result<WatchStream<pb::WatchReservationsResponse>, Problem> {
        let interest = convert::reservation_interest(request)?;
        let mut filters = vec!["WatchReservations".to_owned(), request.owner.clone()];
        filters.extend(interest.kinds.iter().map(|kind| format!("{kind:?}")));
        let hub = self.tails.reservations.clone();
        self.begin(interest, filters, hub, &request.resume_token, convert::reservation_event).await
    }

    /// Begins a watch. Its place is free again when its stream has ended.
    async fn begin<T: Topic, M: Send + 'static>(
        &self,
        interest: T,
        filters: Vec<String>,
        hub: Hub<T>,
        resume_token: &str,
        encode: fn(Told<'_, T::Item>, String) -> M,
    ) -> Result<WatchStream<M>, Problem> {
        let texts: Vec<&str> = filters.iter().map(String::as_str).collect();
        let token: Option<Cursor> =
            Token::decode(resume_token, &texts).map_err(|_malformed| convert::bad_resume_token())?;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message = "too many watch already; watch again later, with the same token";
            return Err(Problem::new(ErrorReason::Overloaded, message).retry_after(RETRY));
        };
        let cursor = match token {
            Some(cursor) => cursor,
            None => self.store.beginning().await.map_err(|error| convert::problem(Failure::Store(error)))?,
        };
        let (messages, stream) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (ended, end) = oneshot::channel();
        let watch = Watch {
            topic: Arc::new(interest),
            hub,
            store: self.store.clone(),
            config: self.config,
            shutdown: self.shutdown.clone(),
            messages,
            encode,
            token: Box::new(move |cursor| {
                let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
                Token::encode(&filters, cursor)
            }),
        };
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            let _place = place;
            metrics.watchers(T::NAME, 1);
            let end = watch.run(cursor).await;
            metrics.watchers(T::NAME, -1);
            if matches!(end, WatchEnd::TooSlow) {
                metrics.too_slow(T::NAME);
            }
            if let Some(problem) = problem(end) {
                // A reader who has gone does not hear it.
                let _unheard = ended.send(problem.into());
            }
        });
        Ok(WatchStream { messages: stream, end: Some(end) })
    }
}

/// What a watcher is told at the end; nothing if there is nobody.
fn problem(end: WatchEnd) -> Option<Problem> {
    match end {
        WatchEnd::Gone => None,
        WatchEnd::Ending => {
            let message = "this replica is going away; watch again with the last token";
            Some(Problem::new(ErrorReason::ShuttingDown, message))
        }
        WatchEnd::TooSlow => {
            let message = "too many changes wait for this watcher; watch again with the last token";
            Some(Problem::new(ErrorReason::WatcherTooSlow, message).retry_after(RETRY))
        }
        WatchEnd::Store(error) => Some(convert::problem(Failure::Store(error))),
    }
}
