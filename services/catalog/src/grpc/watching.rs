//! WatchSkus: a place, a token, and a stream that a task of its own fills.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::catalog::v1::watch_skus_response::Event as WireEvent;
use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::Problem;
use holdfast_kit::page::Token;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Grpc;
use crate::changes::Cursor;
use crate::convert;
use crate::problem::bad_resume_token;
use crate::watch::{Event, Watch, WatchEnd};

/// Messages that wait for a slow reader.
const MESSAGES_WAITING_MAX: usize = 16;
/// What a caller is told to wait when all places for watchers are taken.
const RETRY: Duration = Duration::from_secs(2);
/// To what a resume token belongs.
const WATCH: &[&str] = &["WatchSkus"];

/// The stream of a watch.
pub(super) type WatchStream = ReceiverStream<Result<wire::WatchSkusResponse, Status>>;

impl Grpc {
    /// Begins a watch. Its place is free again when its stream has ended.
    ///
    /// # Errors
    /// INVALID_RESUME_TOKEN, OVERLOADED, and what the store says. Once it has begun, errors come in the stream.
    pub(super) async fn watch(&self, request: wire::WatchSkusRequest) -> Result<WatchStream, Status> {
        let token: Option<Cursor> =
            Token::decode(&request.resume_token, WATCH).map_err(|_malformed| bad_resume_token())?;
        let Ok(place) = Arc::clone(&self.watchers).try_acquire_owned() else {
            let message = "too many watch already; watch again later, with the same token";
            return Err(Problem::new(ErrorReason::Overloaded, message).retry_after(RETRY).into());
        };
        let cursor = match token {
            Some(cursor) => cursor,
            None => self.store.beginning().await.map_err(Problem::from)?,
        };
        let watch = Watch {
            store: self.store.clone(),
            bell: self.bell.listen(),
            page_skus: self.config.watch.page_skus,
            checkpoint_after: self.config.watch.checkpoint_after(),
            shutdown: self.shutdown.clone(),
            encode: |event, after| Ok(message(event, after)),
        };
        let (sender, stream) = mpsc::channel(MESSAGES_WAITING_MAX);
        let metrics = Arc::clone(&self.metrics);
        self.tasks.spawn(async move {
            let _place = place;
            metrics.watchers(1);
            let ended = watch.run(cursor, &sender).await;
            metrics.watchers(-1);
            let last: Result<wire::WatchSkusResponse, Status> = Err(match ended {
                WatchEnd::Gone => return,
                WatchEnd::Ending => {
                    let message = "this replica is going away; watch again with the last token";
                    Problem::new(ErrorReason::ShuttingDown, message).into()
                }
                WatchEnd::Store(error) => Problem::from(error).into(),
            });
            // A reader who does not read does not hold up the end.
            let _not_read = tokio::time::timeout(RETRY, sender.send(last)).await;
        });
        Ok(ReceiverStream::new(stream))
    }
}

fn message(event: Event, cursor: &Cursor) -> wire::WatchSkusResponse {
    let event = match event {
        Event::State(state) => WireEvent::State(convert::sku_state(*state)),
        Event::WholeEnd => WireEvent::SnapshotEnd(wire::SnapshotEnd {}),
        Event::Checkpoint => WireEvent::Checkpoint(wire::Checkpoint {}),
    };
    wire::WatchSkusResponse { event: Some(event), resume_token: Token::encode(WATCH, cursor) }
}
