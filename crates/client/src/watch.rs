//! Following the catalog: a stream of changes that resumes by itself, until somebody decides otherwise or it cannot go on.

use std::time::Duration;

use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_api::catalog::v1::watch_skus_response::Event;
use holdfast_api::catalog::v1::{SkuState, WatchSkusRequest, WatchSkusResponse};
use tokio::time::Instant;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::connection::Connection;
use crate::error::{Error, Failure, Outcome};
use crate::retry::RetryPolicy;

/// The pauses between attempts to resume: doubling up to the longest, which bounds how late a change is seen after an outage.
const RESUMING: RetryPolicy = RetryPolicy {
    attempts_max: u32::MAX,
    backoff_first: Duration::from_millis(100),
    backoff_max: Duration::from_secs(5),
    budget: 0,
};

/// How long a watch may be cut off before it ends, if nothing else is said: a restart of every replica takes less.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum SkuEvent {
    /// A SKU as it stands, with its policy and offers: a part of the snapshot, or changed since. It may come more than once; of two, the higher version is
    /// the newer.
    State(Box<SkuState>),
    /// The snapshot is complete: what follows are changes.
    SnapshotEnd,
    /// Nothing changed for a while; only the token is new.
    Checkpoint,
}

/// A watch of the catalog: complete, at least once, in order for each SKU. After a broken stream it goes on with the last token, with growing pauses.
///
/// Dropping it ends the watch. Dropping the future of [`SkuWatch::next`] loses nothing: the next call goes on.
#[derive(Debug)]
pub struct SkuWatch {
    connection: Connection,
    grpc: CatalogServiceClient<Channel>,
    token: String,
    stream: Option<Streaming<WatchSkusResponse>>,
    patience: Duration,
    /// Since when there has been nothing; unset while messages come.
    cut_off_since: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
}

impl SkuWatch {
    pub(crate) fn new(connection: Connection, grpc: CatalogServiceClient<Channel>, resume_token: &str) -> Self {
        Self {
            connection,
            grpc,
            token: resume_token.to_owned(),
            stream: None,
            patience: PATIENCE,
            cut_off_since: None,
            failures: 0,
            not_before: None,
        }
    }

    /// How long the watch may be cut off before it ends with the error that keeps it from going on. Default 2 minutes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Goes on after the last event that [`SkuWatch::next`] gave, also in another process. Keep it once the event is dealt with. Empty before the first.
    pub fn resume_token(&self) -> &str {
        &self.token
    }

    /// Waits for the next event. A broken stream is resumed meanwhile, unseen.
    ///
    /// # Errors
    /// The watch cannot go on, and every further call tries again from the last token. [`Error::ResumeTokenExpired`], [`Error::InvalidResumeToken`]: watch
    /// anew without a token, the snapshot has everything. [`Error::Unauthenticated`], [`Error::NotAllowed`], [`Error::Unsupported`]: trying again is no use.
    /// Anything else: it has been cut off for longer than its patience. Watching changes nothing.
    pub async fn next(&mut self) -> Result<SkuEvent, Error> {
        loop {
            let failure = match self.message().await {
                Ok(response) => {
                    (self.failures, self.cut_off_since) = (0, None);
                    self.token = response.resume_token;
                    match response.event {
                        Some(Event::State(state)) => return Ok(SkuEvent::State(Box::new(state))),
                        Some(Event::SnapshotEnd(_)) => return Ok(SkuEvent::SnapshotEnd),
                        // An event that only a newer server knows: its token counts all the same.
                        Some(Event::Checkpoint(_)) | None => return Ok(SkuEvent::Checkpoint),
                    }
                }
                Err(failure) => failure,
            };
            self.stream = None;
            self.failures = self.failures.saturating_add(1);
            let now = Instant::now();
            let since = *self.cut_off_since.get_or_insert(now);
            // Reading has no effect that could be unknown: whatever another attempt may bring, is tried.
            let may_resume = failure.retryable || failure.error.outcome() == Outcome::Unknown;
            let pause = RESUMING.pause(self.failures, failure.retry_after);
            if !may_resume || now + pause > since + self.patience {
                let attempts = self.failures;
                (self.failures, self.cut_off_since) = (0, None);
                return Err(failure.into_error(attempts, false));
            }
            self.not_before = Some(now + pause);
        }
    }

    async fn message(&mut self) -> Result<WatchSkusResponse, Failure> {
        if self.stream.is_none() {
            if let Some(at) = self.not_before {
                tokio::time::sleep_until(at).await;
            }
            self.stream = Some(self.open().await?);
        }
        let stream = self.stream.as_mut().expect("it was opened above");
        match stream.message().await {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(Failure::ended()),
            Err(status) => Err(Failure::from_status(&status)),
        }
    }

    /// Opens the stream. Only that has a time limit: what follows may be silent for long, and HTTP/2 pings find out if nobody is there any more.
    async fn open(&self) -> Result<Streaming<WatchSkusResponse>, Failure> {
        let request = self.connection.endless(WatchSkusRequest { resume_token: self.token.clone() });
        let timeout = self.connection.settings().deadline;
        let mut grpc = self.grpc.clone();
        match tokio::time::timeout(timeout, grpc.watch_skus(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::from_status(&status)),
            Err(_elapsed) => Err(Failure::no_answer(timeout)),
        }
    }
}
