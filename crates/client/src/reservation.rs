//! What a checkout calls: reserve, replace, confirm, release, extend; what follows a sale: fulfil, cancel, return, evidence; and reading reservations.

use std::time::Duration;

use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::{
    BatchReserveRequest, BatchReserveResponse, CancelRequest, CancelResponse, ConfirmRequest, ConfirmResponse,
    ExtendRequest, ExtendResponse, FulfilRequest, FulfilResponse, GetReservationRequest, GetReservationResponse,
    LineSplit, ListAtRiskRequest, ListAtRiskResponse, ListReservationsRequest, ListReservationsResponse,
    LocationStrategy, RecordEvidenceRequest, RecordEvidenceResponse, ReleaseRequest, ReleaseResponse, ReplaceRequest,
    ReplaceResponse, ReservationEventKind, ReserveLine, ReserveMode, ReserveRequest, ReserveResponse, ReturnRequest,
    ReturnResponse,
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

    /// Holds all lines of a cart, or none, or as [`Reserve`] says. An answer with `replayed` means that an earlier attempt had landed; its `current_state` says whether
    /// the hold is still alive.
    ///
    /// Retries are marked as such once an attempt's outcome is open, so that [`Error::Insufficient`] is final then: the key is closed.
    ///
    /// # Errors
    /// [`Error::Insufficient`], [`Error::LimitExceeded`], [`Error::Archived`], [`Error::SellingPaused`], [`Error::UnknownSku`], [`Error::Invalid`],
    /// [`Error::HoldTooLong`], [`Error::KeyOutOfWindow`], [`Error::KeyReused`], [`Error::Released`] (the key was closed), [`Error::Overloaded`]:
    /// nothing is held. [`Error::Unknown`]: units may be held; call again with the same key and
    /// [`Reserve::retry_of`], or release.
    pub async fn reserve(&self, reserve: &Reserve) -> Result<ReserveResponse, Error> {
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.reserve(request).await }
        };
        self.connection.call(|open| reserve.message(open), send).await
    }

    /// Holds 1 to 100 carts with different keys, each with its own outcome, in their order. What fails for one is in its result and is not tried
    /// again by itself: send it again on its own, as [`Reserve::retry_of`] if its code is `UNAVAILABLE`, `DEADLINE_EXCEEDED` or `INTERNAL`.
    ///
    /// # Errors
    /// [`Error::Invalid`] (the list itself): nothing was done. [`Error::Unknown`]: any of them may have landed; call again with the same keys.
    pub async fn batch_reserve(&self, reserves: &[Reserve]) -> Result<BatchReserveResponse, Error> {
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.batch_reserve(request).await }
        };
        let message = |open| BatchReserveRequest { requests: reserves.iter().map(|r| r.message(open)).collect() };
        self.connection.call(message, send).await
    }

    /// Puts a new hold in the place of the owner's old one, in one step: the old one's units count for it. If it cannot be had, the old one stays.
    ///
    /// # Errors
    /// Those of [`reserve`](Self::reserve), and for the old hold [`Error::NotFound`], [`Error::Expired`], [`Error::Released`], [`Error::Confirmed`],
    /// [`Error::Cancelled`], [`Error::OwnerMismatch`]: everything is as it was. [`Error::Unknown`]: it may have been replaced; call again with the
    /// same key and [`Reserve::retry_of`].
    pub async fn replace(&self, replaced: ReservationKey, reserve: &Reserve) -> Result<ReplaceResponse, Error> {
        let send = |request| {
            let mut grpc = self.grpc.clone();
            async move { grpc.replace(request).await }
        };
        let message = |open| ReplaceRequest {
            replaced_reservation_id: replaced.to_string(),
            reservation: Some(reserve.message(open)),
        };
        self.connection.call(message, send).await
    }

    /// Turns a hold into a sale. Confirming what is confirmed already succeeds.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Expired`], [`Error::Released`], [`Error::Cancelled`], [`Error::Insufficient`] (the key was closed as refused),
    /// [`Error::KeyReused`]: nothing was sold by this call. As any call, [`Error::Unknown`] among them: then the effect may have happened, call
    /// again with the same key.
    pub async fn confirm(&self, key: RequestKey, reservation: ReservationKey) -> Result<ConfirmResponse, Error> {
        let request = ConfirmRequest { reservation_id: reservation.to_string(), ..ConfirmRequest::default() };
        self.confirm_as(key, request).await
    }

    /// Confirms as the request says: a part of the hold (the rest is given back), anew if its time is over, with an order reference, or only to see
    /// what would be answered. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// Those of [`confirm`](Self::confirm), and [`Error::Invalid`], [`Error::QuantityExceeded`]; with `reacquire_reservation_id` also
    /// [`Error::LimitExceeded`], [`Error::Archived`], [`Error::SellingPaused`], [`Error::KeyOutOfWindow`]: nothing was sold by this call. As any call,
    /// [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn confirm_as(&self, key: RequestKey, request: ConfirmRequest) -> Result<ConfirmResponse, Error> {
        unary!(self, confirm, ConfirmRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Says that units of a sale were shipped. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::NotConfirmed`], [`Error::Fulfilled`], [`Error::Released`], [`Error::Expired`],
    /// [`Error::Cancelled`], [`Error::QuantityExceeded`], [`Error::KeyReused`]: nothing was changed by this call. As any call, [`Error::Unknown`]
    /// among them: then the effect may have happened, call again with the same key.
    pub async fn fulfil(&self, key: RequestKey, request: FulfilRequest) -> Result<FulfilResponse, Error> {
        unary!(self, fulfil, FulfilRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Calls off units of a sale that were not shipped. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// Those of [`fulfil`](Self::fulfil).
    pub async fn cancel(&self, key: RequestKey, request: CancelRequest) -> Result<CancelResponse, Error> {
        unary!(self, cancel, CancelRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Takes shipped units back into stock. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::NotConfirmed`], [`Error::QuantityExceeded`], [`Error::KeyReused`]: nothing was changed by
    /// this call. As any call, [`Error::Unknown`] among them: then the effect may have happened, call again with the same key.
    pub async fn take_back(&self, key: RequestKey, request: ReturnRequest) -> Result<ReturnResponse, Error> {
        unary!(self, r#return, ReturnRequest { request_id: key.to_string(), ..request.clone() })
    }

    /// Tells what became of an order at the vendor. `request.request_id` is replaced by `key`.
    ///
    /// # Errors
    /// Those of [`take_back`](Self::take_back).
    pub async fn record_evidence(
        &self,
        key: RequestKey,
        request: RecordEvidenceRequest,
    ) -> Result<RecordEvidenceResponse, Error> {
        unary!(self, record_evidence, RecordEvidenceRequest { request_id: key.to_string(), ..request.clone() })
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

/// What to hold, for whom, how, and under which key.
#[derive(Debug, Clone, PartialEq)]
pub struct Reserve {
    key: ReservationKey,
    lines: Vec<Line>,
    attempt: u32,
    /// Everything else.
    message: ReserveRequest,
}

impl Reserve {
    /// Asks for these lines, under this key, for this owner (a cart, a customer, an order).
    pub fn new(key: ReservationKey, owner: impl Into<String>, lines: impl IntoIterator<Item = Line>) -> Self {
        let message = ReserveRequest { owner: owner.into(), ..ReserveRequest::default() };
        Self { key, lines: lines.into_iter().collect(), attempt: 1, message }
    }

    /// How long to hold; without it, as the SKUs' selling policies or else the server (15 minutes) say.
    #[must_use]
    pub fn hold_for(mut self, hold: Duration) -> Self {
        self.message.hold_duration = duration(hold);
        self
    }

    /// Says that `earlier` attempts with this key were made before this call and that their outcome is open. A refusal then closes the key, so
    /// that none of them can land later.
    #[must_use]
    pub fn retry_of(mut self, earlier: u32) -> Self {
        self.attempt = earlier.saturating_add(1);
        self
    }

    /// Takes as much of every line as there is; what is missing is in the reservation's shortages. Nothing at all is [`Error::Insufficient`].
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.message.mode = ReserveMode::BestEffort.into();
        self
    }

    /// How locations are chosen for lines that name none; without it, in the order of the selling policy.
    #[must_use]
    pub fn strategy(mut self, strategy: LocationStrategy) -> Self {
        self.message.strategy = strategy.into();
        self
    }

    /// Takes from the nearest locations first, these being their codes, the nearest first.
    #[must_use]
    pub fn nearest(mut self, locations: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.message.nearest_locations = locations.into_iter().map(Into::into).collect();
        self.strategy(LocationStrategy::Nearest)
    }

    /// The channel that it comes by (a shop, a marketplace): a selling policy can cap what a channel has.
    #[must_use]
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.message.channel = channel.into();
        self
    }

    /// The caller's own name for the order.
    #[must_use]
    pub fn order_reference(mut self, reference: impl Into<String>) -> Self {
        self.message.order_reference = reference.into();
        self
    }

    /// Something to keep with the reservation: at most 16 labels.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.message.labels.insert(key.into(), value.into());
        self
    }

    /// Asks what would be answered, and does nothing. Such an answer promises nothing.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.message.validate_only = true;
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
            lines: self.lines.iter().map(Line::message).collect(),
            attempt: self.attempt.saturating_add(open),
            ..self.message.clone()
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
    /// Whether all of it must come from one location.
    pub in_one_piece: bool,
}

impl Line {
    /// Units from wherever they are, from several locations if need be.
    pub fn anywhere(sku: impl Into<String>, quantity: i64) -> Self {
        Self { sku: sku.into(), quantity, location: None, in_one_piece: false }
    }

    /// Units from one location only.
    pub fn at(sku: impl Into<String>, quantity: i64, location: impl Into<String>) -> Self {
        Self { location: Some(location.into()), ..Self::anywhere(sku, quantity) }
    }

    /// The same, but never from several locations.
    #[must_use]
    pub fn in_one_piece(self) -> Self {
        Self { in_one_piece: true, ..self }
    }

    fn message(&self) -> ReserveLine {
        let split = if self.in_one_piece { LineSplit::Forbidden } else { LineSplit::Unspecified };
        ReserveLine {
            sku: self.sku.clone(),
            quantity: self.quantity,
            location: self.location.clone().unwrap_or_default(),
            split: split.into(),
        }
    }
}

/// As protobuf has it. A duration too long for protobuf (300 billion years) is sent as the longest, which the server refuses by name.
fn duration(hold: Duration) -> Option<prost_types::Duration> {
    let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
    Some(prost_types::Duration::try_from(hold).unwrap_or(longest))
}
