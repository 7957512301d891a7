//! The stream of an import: its order is checked here, its pieces go on to the importer.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::catalog::v1::ImportSkusRequest;
use holdfast_api::catalog::v1::import_skus_request::Part as WirePart;
use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::{Problem, Violations};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::Grpc;
use crate::config::CHUNK_BYTES_MAX;
use crate::convert;
use crate::import::{ImportSpec, Part};

/// Pieces on their way to the importer: while it writes one batch, the next piece can arrive.
const PIECES_WAITING_MAX: usize = 2;

/// What a caller is told to wait when all places for imports are taken.
const RETRY: Duration = Duration::from_secs(2);

impl Grpc {
    /// Imports a stream and answers an encoded ImportSkusResponse.
    ///
    /// # Errors
    /// INVALID_FIELD when the stream is not what it should be, OVERLOADED, DEADLINE_EXCEEDED when it falls silent, and what [`crate::import::Importer::run`]
    /// says. Nothing was imported, except that after STORE_UNAVAILABLE it is unknown.
    pub(super) async fn import(&self, mut stream: Streaming<ImportSkusRequest>) -> Result<Vec<u8>, Status> {
        let Ok(place) = Arc::clone(&self.imports).try_acquire_owned() else {
            let message = "all places for imports are taken; nothing was done";
            return Err(Problem::new(ErrorReason::Overloaded, message).retry_after(RETRY).into());
        };
        let spec = self.first(&mut stream).await?;
        let (sender, parts) = mpsc::channel(PIECES_WAITING_MAX);
        let importer = self.importer.clone();
        let import = async move {
            let _place = place;
            importer.run(&spec, parts).await
        };
        let import = self.tasks.spawn(import.in_current_span());
        let forwarded = self.forward(&mut stream, sender).await;
        // The importer is waited for in any case: it gives its place back before the caller hears of an error.
        let imported = import.await.map_err(Problem::defect)?;
        self.bell.ring();
        // When it ended early, forwarding ended because of it, without an error.
        forwarded?;
        Ok(imported?)
    }

    async fn first(&self, stream: &mut Streaming<ImportSkusRequest>) -> Result<ImportSpec, Status> {
        match self.next(stream).await?.and_then(|request| request.part) {
            Some(WirePart::Spec(spec)) => Ok(convert::import_spec(spec)?),
            Some(WirePart::Chunk(_)) | None => Err(misplaced("spec", "is required as the first message").into()),
        }
    }

    /// Hands the file's pieces on. Without an error the importer has all of them, or wants no more. With one it sees that the file broke off.
    async fn forward(
        &self,
        stream: &mut Streaming<ImportSkusRequest>,
        parts: mpsc::Sender<Part>,
    ) -> Result<(), Status> {
        while let Some(request) = self.next(stream).await? {
            match request.part {
                Some(WirePart::Chunk(chunk)) if chunk.len() > CHUNK_BYTES_MAX => {
                    let description = format!("must have at most {CHUNK_BYTES_MAX} bytes, has {}", chunk.len());
                    return Err(misplaced("chunk", &description).into());
                }
                Some(WirePart::Chunk(chunk)) => {
                    if parts.send(Part::Chunk(chunk)).await.is_err() {
                        return Ok(());
                    }
                }
                Some(WirePart::Spec(_)) => return Err(misplaced("spec", "may be in the first message only").into()),
                None => return Err(misplaced("chunk", "is required").into()),
            }
        }
        // The importer may have refused the file already; then it has no use for the end.
        drop(parts.send(Part::End).await);
        Ok(())
    }

    async fn next(&self, stream: &mut Streaming<ImportSkusRequest>) -> Result<Option<ImportSkusRequest>, Status> {
        let idle_max = self.config.import.idle_max();
        match tokio::time::timeout(idle_max, stream.message()).await {
            Ok(message) => message,
            Err(_) => {
                let message = format!("no message came for {} s; nothing was imported", idle_max.as_secs());
                Err(Problem::new(ErrorReason::DeadlineExceeded, message).into())
            }
        }
    }
}

fn misplaced(field: &str, description: &str) -> Problem {
    let mut violations = Violations::new();
    violations.add(field, description);
    violations.into_problem()
}
