//! What a watcher does and knows.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_api::reservation::v1::reservation_service_client::ReservationServiceClient;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_api::reservation::v1::watch_availability_response::Event as RowEvent;
use holdfast_api::reservation::v1::watch_reservations_response::Event as ReservationEvent;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// How long a message may take that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The next message, or the error that ends the stream.
pub async fn next<M>(stream: &mut Streaming<M>) -> Result<M, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("a message comes");
    Ok(message?.expect("a watch ends only with an error"))
}

/// The error with which a stream ends.
pub async fn end<M>(stream: &mut Streaming<M>) -> Status {
    loop {
        if let Err(status) = next(stream).await {
            return status;
        }
    }
}

pub async fn watch_rows(
    mut client: StockServiceClient<Channel>,
    skus: &[&str],
    token: &str,
) -> Result<Streaming<pb::WatchAvailabilityResponse>, Status> {
    let skus = skus.iter().map(|sku| (*sku).to_owned()).collect();
    let request = pb::WatchAvailabilityRequest { skus, resume_token: token.into() };
    client.watch_availability(request).await.map(tonic::Response::into_inner)
}

/// What a watcher knows of rows of stock.
#[derive(Debug, Default)]
pub struct Rows {
    pub token: String,
    pub known: BTreeMap<(String, String), pb::RowAvailability>,
    /// Every state that was told, in order.
    pub told: Vec<pb::RowAvailability>,
    pub snapshot_ended: bool,
    pub checkpoints: usize,
}

impl Rows {
    pub fn take(&mut self, message: pb::WatchAvailabilityResponse) {
        assert!(!message.resume_token.is_empty());
        self.token = message.resume_token;
        match message.event.expect("an event") {
            RowEvent::Row(row) => {
                let older = self.known.insert((row.sku.clone(), row.location.clone()), row.clone());
                let older = older.map_or(0, |older| older.version);
                assert!(row.version >= older, "{row:?} after version {older}");
                self.told.push(row);
            }
            RowEvent::SnapshotEnd(_) => self.snapshot_ended = true,
            RowEvent::Checkpoint(_) => self.checkpoints += 1,
        }
    }

    pub async fn until(
        &mut self,
        stream: &mut Streaming<pb::WatchAvailabilityResponse>,
        what: &str,
        mut enough: impl FnMut(&Self) -> bool,
    ) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !enough(self) {
            assert!(tokio::time::Instant::now() < end, "{what}: {self:?}");
            let message = next(stream).await.expect("the watch goes on");
            self.take(message);
        }
    }

    pub async fn until_snapshot_end(&mut self, stream: &mut Streaming<pb::WatchAvailabilityResponse>) {
        self.until(stream, "the snapshot ends", |rows| rows.snapshot_ended).await;
    }

    /// Waits for the next checkpoint: what was committed before has been told.
    pub async fn until_checkpoint(&mut self, stream: &mut Streaming<pb::WatchAvailabilityResponse>) {
        let before = self.checkpoints;
        self.until(stream, "a checkpoint", |rows| rows.checkpoints > before).await;
    }

    /// What is known to be available of a SKU in all.
    pub fn total(&self, sku: &str) -> i64 {
        self.known.values().filter(|row| row.sku == sku).map(|row| row.available).sum()
    }
}

pub async fn watch_reservations(
    mut client: ReservationServiceClient<Channel>,
    owner: &str,
    kinds: &[pb::ReservationEventKind],
    token: &str,
) -> Result<Streaming<pb::WatchReservationsResponse>, Status> {
    let kinds = kinds.iter().map(|kind| (*kind).into()).collect();
    let request = pb::WatchReservationsRequest { owner: owner.into(), kinds, resume_token: token.into() };
    client.watch_reservations(request).await.map(tonic::Response::into_inner)
}

/// What a watcher was told of reservations.
#[derive(Debug, Default)]
pub struct Events {
    pub token: String,
    /// At risk when the watch began.
    pub snapshot: Vec<pb::ReservationEvent>,
    pub told: Vec<pb::ReservationEvent>,
    pub snapshot_ended: bool,
    pub checkpoints: usize,
    versions: BTreeMap<String, i64>,
}

impl Events {
    pub fn take(&mut self, message: pb::WatchReservationsResponse) {
        assert!(!message.resume_token.is_empty());
        self.token = message.resume_token;
        match message.event.expect("an event") {
            ReservationEvent::Change(event) => {
                let reservation = event.reservation.as_ref().expect("a reservation");
                let newest = self.versions.entry(reservation.reservation_id.clone()).or_default();
                assert!(reservation.version >= *newest, "{event:?} after version {newest}");
                *newest = reservation.version;
                let list = if self.snapshot_ended { &mut self.told } else { &mut self.snapshot };
                list.push(event);
            }
            ReservationEvent::SnapshotEnd(_) => self.snapshot_ended = true,
            ReservationEvent::Checkpoint(_) => self.checkpoints += 1,
        }
    }

    pub async fn until(
        &mut self,
        stream: &mut Streaming<pb::WatchReservationsResponse>,
        what: &str,
        mut enough: impl FnMut(&Self) -> bool,
    ) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !enough(self) {
            assert!(tokio::time::Instant::now() < end, "{what}: {self:?}");
            let message = next(stream).await.expect("the watch goes on");
            self.take(message);
        }
    }

    pub async fn until_snapshot_end(&mut self, stream: &mut Streaming<pb::WatchReservationsResponse>) {
        self.until(stream, "the snapshot ends", |events| events.snapshot_ended).await;
    }

    pub async fn until_checkpoint(&mut self, stream: &mut Streaming<pb::WatchReservationsResponse>) {
        let before = self.checkpoints;
        self.until(stream, "a checkpoint", |events| events.checkpoints > before).await;
    }

    /// What happened to which reservation, in the order of the telling.
    pub fn happened(&self) -> Vec<(pb::ReservationEventKind, String)> {
        let id = |event: &pb::ReservationEvent| event.reservation.as_ref().unwrap().reservation_id.clone();
        self.told.iter().map(|event| (event.kind(), id(event))).collect()
    }
}
