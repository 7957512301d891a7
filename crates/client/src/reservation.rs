//! What a checkout calls: reserve, confirm, release, extend, and reading reservations.

use std::time::Duration;

use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::{
    ConfirmRequest, ConfirmResponse, ExtendRequest, ExtendResponse, GetReservationRequest, GetReservationResponse,
    ListAtRiskRequest, ListAtRiskResponse, ListReservationsRequest, ListReservationsResponse, ReleaseRequest,
    ReleaseResponse, ReservationEventKind, ReserveLine, ReserveRequest, ReserveResponse,
};
use tonic::transport::Channel;

use crate::connection::{ANSWER_BYTES_MAX, Connection, unary};
use crate::error::Error;
use crate::keys::{RequestKey, ReservationKey};
use crate::retry::RetryPolicy;
use crate::watch::ReservationWatch;

/// Makes reservations and changes them.
#[derive(Debug, Clone)]
pub struct ReservationClient {
    connection: Connection,
    grpc: ReservationServiceClient<Channel>,
}

impl ReservationClient {
    /// A handle on the service that `connection` reaches.
    pub fn new(connection: &Connection) -> Self {
        let grpc =
            ReservationServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { connection: connection.clone(), grpc }
    }

    /// The same handle, with calls that may take `deadline` in all.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { connection: self.connection.with_deadline(deadline), grpc: self.grpc.clone() }
    }

    /// The same handle, with another retry policy.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self { connection: self.connection.with_retry(retry), grpc: self.grpc.clone() }
    }

    /// Holds all lines of a cart, or none. An answer with `replayed` means that an earlier attempt had landed; its `current_state` says whether
    /// the hold is still alive.
    ///
    /// Retries are marked as such once an attempt's outcome is open, so that [`Error::Insufficient`] is final then: the key is closed.
    ///
    /// # Errors
    /// [`Error::Insufficient`], [`Error::UnknownSku`], [`Error::Invalid`], [`Error::KeyOutOfWindow`], [`Error::KeyReused`], [`Error::Released`]
    /// (the key was closed), [`Error::Overloaded`]: nothing is held. [`Error::Unknown`]: units may be held; call again with the same key and
    /// [`Reserve::retry_of`], or release.
    pub async fn reserve(&self, reserve: &Reserve) -> Result<ReserveResponse, Error> {
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.reserve(request).await }
        };
        self.connection.call(|open| reserve.message(open), send).await
    }

    /// Turns a hold into a sale. Confirming what is confirmed already succeeds.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Expired`], [`Error::Released`], [`Error::Cancelled`], [`Error::Insufficient`] (the key was closed as refused),
    /// [`Error::KeyReused`]: nothing was sold by this call. As any call, [`Error::Unknown`] among them: then the effect may have happened, call
    /// again with the same key.
    pub async fn confirm(&self, key: RequestKey, reservation: ReservationKey) -> Result<ConfirmResponse, Error> {
        unary!(self, confirm, ConfirmRequest { request_id: key.to_string(), reservation_id: reservation.to_string() })
    }

    /// Gives a hold's units back, or closes a key that no Reserve has used, so that none can land later. Releasing what is released or has
    /// expired succeeds.
    ///
    /// # Errors
    /// [`Error::Confirmed`], [`Error::Cancelled`], [`Error::KeyOutOfWindow`] (an unknown key), [`Error::KeyReused`]: nothing was released. As
    /// any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn release(&self, key: RequestKey, reservation: ReservationKey) -> Result<ReleaseResponse, Error> {
        unary!(self, release, ReleaseRequest { request_id: key.to_string(), reservation_id: reservation.to_string() })
    }

    /// Gives a hold more time, counted from now; never less than it has.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Expired`], [`Error::Released`], [`Error::Confirmed`], [`Error::HoldTooLong`], [`Error::KeyReused`]: the
    /// hold is as it was. As any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn extend(
        &self,
        key: RequestKey,
        reservation: ReservationKey,
        hold: Duration,
    ) -> Result<ExtendResponse, Error> {
        unary!(
            self,
            extend,
            ExtendRequest {
                request_id: key.to_string(),
                reservation_id: reservation.to_string(),
                hold_duration: duration(hold),
            }
        )
    }

    /// Reads one reservation from Postgres.
    ///
    /// # Errors
    /// [`Error::NotFound`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and those of who may call. Reading
    /// changes nothing.
    pub async fn get_reservation(&self, reservation: ReservationKey) -> Result<GetReservationResponse, Error> {
        unary!(self, get_reservation, GetReservationRequest { reservation_id: reservation.to_string() })
    }

    /// Reads a page of reservations, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_reservations(&self, request: ListReservationsRequest) -> Result<ListReservationsResponse, Error> {
        unary!(self, list_reservations, request.clone())
    }

    /// Reads a page of the reservations that lack units now, by row of stock, the newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InvalidPageToken`]. As any call: [`Error::Overloaded`], [`Error::Unreachable`], [`Error::Unknown`], and
    /// those of who may call. Reading changes nothing.
    pub async fn list_at_risk(&self, request: ListAtRiskRequest) -> Result<ListAtRiskResponse, Error> {
        unary!(self, list_at_risk, request.clone())
    }

    /// Watches what happens to reservations, of one owner or (empty) of everybody, of some kinds or (none) of all: what is at risk and then every event, or every
    /// event after `resume_token` if that is not empty. Nothing is sent before the first [`ReservationWatch::next`].
    pub fn watch_reservations(
        &self,
        owner: &str,
        kinds: &[ReservationEventKind],
        resume_token: &str,
    ) -> ReservationWatch {
        ReservationWatch::new(self.connection.clone(), self.grpc.clone(), owner, kinds, resume_token)
    }
}

/// What to hold, for whom, and under which key.
#[derive(Debug, Clone, PartialEq)]
pub struct Reserve {
    key: ReservationKey,
    owner: String,
    lines: Vec<Line>,
    hold: Option<Duration>,
    attempt: u32,
}

impl Reserve {
    /// Asks for these lines, under this key, for this owner (a cart, a customer, an order).
    pub fn new(key: ReservationKey, owner: impl Into<String>, lines: impl IntoIterator<Item = Line>) -> Self {
        Self { key, owner: owner.into(), lines: lines.into_iter().collect(), hold: None, attempt: 1 }
    }

    /// How long to hold; without it, the server's default (15 minutes).
    #[must_use]
    pub fn hold_for(mut self, hold: Duration) -> Self {
        self.hold = Some(hold);
        self
    }

    /// Says that `earlier` attempts with this key were made before this call and that their outcome is open. A refusal then closes the key, so
    /// that none of them can land later.
    #[must_use]
    pub fn retry_of(mut self, earlier: u32) -> Self {
        self.attempt = earlier.saturating_add(1);
        self
    }

    /// The reservation's key.
    pub fn key(&self) -> ReservationKey {
        self.key
    }

    /// What is asked for.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn message(&self, open: u32) -> ReserveRequest {
        ReserveRequest {
            reservation_id: self.key.to_string(),
            owner: self.owner.clone(),
            lines: self.lines.iter().map(Line::message).collect(),
            hold_duration: self.hold.and_then(duration),
            attempt: self.attempt.saturating_add(open),
        }
    }
}

/// Units of a SKU to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The SKU's code.
    pub sku: String,
    /// Units, 1 to 1,000,000.
    pub quantity: i64,
    /// The location to take from; `None` leaves the choice to Holdfast.
    pub location: Option<String>,
}

impl Line {
    /// Units from wherever they are.
    pub fn anywhere(sku: impl Into<String>, quantity: i64) -> Self {
        Self { sku: sku.into(), quantity, location: None }
    }

    /// Units from one location only.
    pub fn at(sku: impl Into<String>, quantity: i64, location: impl Into<String>) -> Self {
        Self { sku: sku.into(), quantity, location: Some(location.into()) }
    }

    fn message(&self) -> ReserveLine {
        ReserveLine {
            sku: self.sku.clone(),
            quantity: self.quantity,
            location: self.location.clone().unwrap_or_default(),
        }
    }
}

/// As protobuf has it. A duration too long for protobuf (300 billion years) is sent as the longest, which the server refuses by name.
fn duration(hold: Duration) -> Option<prost_types::Duration> {
    let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
    Some(prost_types::Duration::try_from(hold).unwrap_or(longest))
}
