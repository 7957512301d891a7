//! Following what changes: streams that resume by themselves, until somebody decides otherwise or they cannot go on.

use std::future::Future;
use std::time::Duration;

use holdfast_api::catalog::v1::catalog_service_client::CatalogServiceClient;
use holdfast_api::catalog::v1::watch_skus_response::Event as SkuWireEvent;
use holdfast_api::catalog::v1::{SkuState, WatchSkusRequest, WatchSkusResponse};
use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_api::reservation::v1::watch_availability_response::Event as AvailabilityWireEvent;
use holdfast_api::reservation::v1::watch_reservations_response::Event as ReservationWireEvent;
use holdfast_api::reservation::v1::{
    ReservationEvent as Happened, ReservationEventKind, RowAvailability, WatchAvailabilityRequest,
    WatchAvailabilityResponse, WatchReservationsRequest, WatchReservationsResponse,
};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

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

/// A stream that can be opened at a token.
trait Follow {
    /// What asks for it.
    type Request: Send;
    /// What it sends.
    type Message: Send;

    /// The request for everything after a token.
    fn request(&self, resume_token: &str) -> Self::Request;

    /// Opens the stream.
    fn open(
        &self,
        request: Request<Self::Request>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Message>>, Status>> + Send;

    /// The token of a message.
    fn token(message: &mut Self::Message) -> String;
}

/// A watch of whatever kind: the next message, and the token to go on from.
#[derive(Debug)]
struct Resuming<F: Follow> {
    connection: Connection,
    follow: F,
    token: String,
    stream: Option<Streaming<F::Message>>,
    patience: Duration,
    /// Since when there has been nothing; unset while messages come.
    cut_off_since: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
}

impl<F: Follow> Resuming<F> {
    fn new(connection: Connection, follow: F, resume_token: &str) -> Self {
        Self {
            connection,
            follow,
            token: resume_token.to_owned(),
            stream: None,
            patience: PATIENCE,
            cut_off_since: None,
            failures: 0,
            not_before: None,
        }
    }

    /// The next message. A broken stream is resumed meanwhile.
    async fn next(&mut self) -> Result<F::Message, Error> {
        loop {
            let failure = match self.message().await {
                Ok(mut message) => {
                    (self.failures, self.cut_off_since) = (0, None);
                    self.token = F::token(&mut message);
                    return Ok(message);
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

    async fn message(&mut self) -> Result<F::Message, Failure> {
        if self.stream.is_none() {
            if let Some(at) = self.not_before {
                tokio::time::sleep_until(at).await;
            }
            self.stream = Some(self.open().await?);
        }
        let stream = self.stream.as_mut().expect("it was opened above");
        match stream.message().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Failure::ended()),
            Err(status) => Err(Failure::from_status(&status)),
        }
    }

    /// Opens the stream. Only that has a time limit: what follows may be silent for long, and HTTP/2 pings find out if nobody is there any more.
    async fn open(&self) -> Result<Streaming<F::Message>, Failure> {
        let request = self.connection.endless(self.follow.request(&self.token));
        let timeout = self.connection.settings().deadline;
        match tokio::time::timeout(timeout, self.follow.open(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::from_status(&status)),
            Err(_elapsed) => Err(Failure::no_answer(timeout)),
        }
    }
}

/// Declares a watch that people hold, around [`Resuming`].
macro_rules! watch {
    ($(#[$doc:meta])* $name:ident, $follow:ident, $event:ident) => {
        $(#[$doc])*
        ///
        /// After a broken stream, or one that the server ended because it was read too slowly, it goes on with the last token, with growing pauses. Dropping it
        /// ends the watch. Dropping the future of `next` loses nothing: the next call goes on.
        #[derive(Debug)]
        pub struct $name(Resuming<$follow>);

        impl $name {
            /// How long the watch may be cut off before it ends with the error that keeps it from going on. Default 2 minutes.
            #[must_use]
            pub fn patience(mut self, patience: Duration) -> Self {
                self.0.patience = patience;
                self
            }

            /// Goes on after the last event that `next` gave, also in another process. Keep it once the event is dealt with. Empty before the first.
            pub fn resume_token(&self) -> &str {
                &self.0.token
            }

            /// Waits for the next event. A stream that broke, or that was read too slowly, is resumed meanwhile, unseen.
            ///
            /// # Errors
            /// The watch cannot go on, and every further call tries again from the last token. [`Error::ResumeTokenExpired`], [`Error::InvalidResumeToken`]:
            /// watch anew without a token, the snapshot has everything. [`Error::Invalid`], [`Error::Unauthenticated`], [`Error::NotAllowed`],
            /// [`Error::Unsupported`]: trying again is no use. Anything else: it has been cut off for longer than its patience. Watching changes nothing.
            pub async fn next(&mut self) -> Result<$event, Error> {
                Ok($event::of(self.0.next().await?))
            }
        }
    };
}

/// What a watch of the catalog says.
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

watch! {
    /// A watch of the catalog: complete, at least once, in order for each SKU.
    SkuWatch, Skus, SkuEvent
}

impl SkuEvent {
    fn of(message: WatchSkusResponse) -> Self {
        match message.event {
            Some(SkuWireEvent::State(state)) => Self::State(Box::new(state)),
            Some(SkuWireEvent::SnapshotEnd(_)) => Self::SnapshotEnd,
            // An event that only a newer server knows: its token counts all the same.
            Some(SkuWireEvent::Checkpoint(_)) | None => Self::Checkpoint,
        }
    }
}

impl SkuWatch {
    pub(crate) fn new(connection: Connection, grpc: CatalogServiceClient<Channel>, resume_token: &str) -> Self {
        Self(Resuming::new(connection, Skus { grpc }, resume_token))
    }
}

#[derive(Debug)]
struct Skus {
    grpc: CatalogServiceClient<Channel>,
}

impl Follow for Skus {
    type Request = WatchSkusRequest;
    type Message = WatchSkusResponse;

    fn request(&self, resume_token: &str) -> WatchSkusRequest {
        WatchSkusRequest { resume_token: resume_token.to_owned() }
    }

    async fn open(&self, request: Request<WatchSkusRequest>) -> Result<Response<Streaming<WatchSkusResponse>>, Status> {
        self.grpc.clone().watch_skus(request).await
    }

    fn token(message: &mut WatchSkusResponse) -> String {
        std::mem::take(&mut message.resume_token)
    }
}

/// What a watch of availability says.
#[derive(Debug, Clone, PartialEq)]
pub enum AvailabilityEvent {
    /// What can be reserved of a row of stock: a part of the snapshot, or changed since. It may come more than once; of two, the higher version is the newer. A
    /// SKU's total is the sum of its rows.
    Row(RowAvailability),
    /// The snapshot is complete: what follows are changes.
    SnapshotEnd,
    /// Nothing changed for a while; only the token is new.
    Checkpoint,
}

watch! {
    /// A watch of what can be reserved: complete, at least once, in order for each row of stock. Only a Reserve decides.
    AvailabilityWatch, Availability, AvailabilityEvent
}

impl AvailabilityEvent {
    fn of(message: WatchAvailabilityResponse) -> Self {
        match message.event {
            Some(AvailabilityWireEvent::Row(row)) => Self::Row(row),
            Some(AvailabilityWireEvent::SnapshotEnd(_)) => Self::SnapshotEnd,
            Some(AvailabilityWireEvent::Checkpoint(_)) | None => Self::Checkpoint,
        }
    }
}

impl AvailabilityWatch {
    pub(crate) fn new(
        connection: Connection,
        grpc: StockServiceClient<Channel>,
        skus: Vec<String>,
        resume_token: &str,
    ) -> Self {
        Self(Resuming::new(connection, Availability { grpc, skus }, resume_token))
    }
}

#[derive(Debug)]
struct Availability {
    grpc: StockServiceClient<Channel>,
    skus: Vec<String>,
}

impl Follow for Availability {
    type Request = WatchAvailabilityRequest;
    type Message = WatchAvailabilityResponse;

    fn request(&self, resume_token: &str) -> WatchAvailabilityRequest {
        WatchAvailabilityRequest { skus: self.skus.clone(), resume_token: resume_token.to_owned() }
    }

    async fn open(
        &self,
        request: Request<WatchAvailabilityRequest>,
    ) -> Result<Response<Streaming<WatchAvailabilityResponse>>, Status> {
        self.grpc.clone().watch_availability(request).await
    }

    fn token(message: &mut WatchAvailabilityResponse) -> String {
        std::mem::take(&mut message.resume_token)
    }
}

/// What a watch of reservations says.
#[derive(Debug, Clone, PartialEq)]
pub enum ReservationEvent {
    /// Something happened to a reservation; before the snapshot's end: it is at risk. It may come more than once.
    Happened(Box<Happened>),
    /// The snapshot is complete: what follows is what happens.
    SnapshotEnd,
    /// Nothing happened for a while; only the token is new.
    Checkpoint,
}

watch! {
    /// A watch of what happens to reservations: complete, at least once, in order for each reservation.
    ReservationWatch, Reservations, ReservationEvent
}

impl ReservationEvent {
    fn of(message: WatchReservationsResponse) -> Self {
        match message.event {
            Some(ReservationWireEvent::Change(change)) => Self::Happened(Box::new(change)),
            Some(ReservationWireEvent::SnapshotEnd(_)) => Self::SnapshotEnd,
            Some(ReservationWireEvent::Checkpoint(_)) | None => Self::Checkpoint,
        }
    }
}

impl ReservationWatch {
    pub(crate) fn new(
        connection: Connection,
        grpc: ReservationServiceClient<Channel>,
        owner: &str,
        kinds: &[ReservationEventKind],
        resume_token: &str,
    ) -> Self {
        let (owner, kinds) = (owner.to_owned(), kinds.iter().map(|kind| (*kind).into()).collect());
        Self(Resuming::new(connection, Reservations { grpc, owner, kinds }, resume_token))
    }
}

#[derive(Debug)]
struct Reservations {
    grpc: ReservationServiceClient<Channel>,
    owner: String,
    kinds: Vec<i32>,
}

impl Follow for Reservations {
    type Request = WatchReservationsRequest;
    type Message = WatchReservationsResponse;

    fn request(&self, resume_token: &str) -> WatchReservationsRequest {
        let (owner, kinds) = (self.owner.clone(), self.kinds.clone());
        WatchReservationsRequest { owner, kinds, resume_token: resume_token.to_owned() }
    }

    async fn open(
        &self,
        request: Request<WatchReservationsRequest>,
    ) -> Result<Response<Streaming<WatchReservationsResponse>>, Status> {
        self.grpc.clone().watch_reservations(request).await
    }

    fn token(message: &mut WatchReservationsResponse) -> String {
        std::mem::take(&mut message.resume_token)
    }
}
