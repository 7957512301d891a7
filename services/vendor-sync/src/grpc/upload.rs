//! The stream of an upload: its order and size are checked here. The file is held in memory until it is whole, then it goes into the record; from there
//! on nothing is lost, and the caller only waits.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::upload_feed_request::Part;
use holdfast_kit::{Problem, Violations, deadline};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::{Answer, Grpc, RETRY};
use crate::config::CHUNK_BYTES_MAX;
use crate::convert::{self, Announced};
use crate::model::{RunOrigin, Upload};
use crate::store::{Received, StoreError};

impl Grpc {
    /// Receives a file and waits for its run.
    ///
    /// # Errors
    /// INVALID_FIELD when the stream is not what it should be, UNKNOWN_REFERENCE, KEY_REUSED, MESSAGE_TOO_LARGE, FILE_REFUSED when it has not the size
    /// that was announced, OVERLOADED, DEADLINE_EXCEEDED when the stream falls silent: nothing was kept. After STORE_UNAVAILABLE it is unknown: sent again, it goes on where it stopped.
    pub(super) async fn upload(
        &self,
        request: Request<Streaming<wire::UploadFeedRequest>>,
    ) -> Answer<wire::UploadFeedResponse> {
        let deadline = deadline(&request);
        let mut stream = request.into_inner();
        let received = self.receive(&mut stream).await?;
        let until = self.until(deadline.remaining());
        let run = self.runs.wait(received.run_id, until).await.map_err(received_anyway)?;
        let run = run.ok_or_else(|| convert::no_run(received.run_id))?;
        Ok(Response::new(wire::UploadFeedResponse { run: Some(convert::run(run)), replayed: received.replayed }))
    }

    /// Takes a file into the record and has it worked on.
    async fn receive(&self, stream: &mut Streaming<wire::UploadFeedRequest>) -> Result<Received, Status> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message = "all places for uploads are taken; nothing was done";
            return Err(Problem::new(ErrorReason::Overloaded, message).retry_after(RETRY).into());
        };
        let announced = self.first(stream).await?;
        let found = self.store.connection(&announced.connection).await.map_err(Problem::from)?;
        let found = found.ok_or_else(|| Problem::from(StoreError::UnknownConnection(announced.connection.clone())))?;
        convert::check_as_of(announced.as_of, found.present_time)?;
        if let Some(house) = &announced.house {
            self.check_house(&[house.location.as_str()].into(), "", std::iter::empty()).await?;
        }

        let (content, sha256) = self.content(stream).await?;
        let Announced { request_id, connection, as_of, file_name, size_bytes, house } = announced;
        let upload = Upload { connection, as_of, file_name, sha256, content, origin: RunOrigin::Upload, house };
        if let Some(size) = size_bytes.filter(|size| *size != upload.bytes()) {
            return Err(another_size(size, upload.bytes()).into());
        }
        let (store, runs) = (self.store.clone(), self.runs.clone());
        let keep = async move {
            let _place = place;
            let received = store.receive(&convert::upload_key(request_id, &upload), &upload).await?;
            // The file is in the record: from here on no failure may be told as if nothing had been done.
            if let Err(error) = store.rouse(received.run_id).await {
                tracing::warn!(%error, "a run could not be roused; it is looked for anyway");
            }
            runs.wake();
            Ok::<_, StoreError>(received)
        };
        let kept = self.tasks.spawn(keep.in_current_span()).await.map_err(Problem::defect)?;
        Ok(kept.map_err(Problem::from)?)
    }

    async fn first(&self, stream: &mut Streaming<wire::UploadFeedRequest>) -> Result<Announced, Status> {
        match self.next(stream).await?.and_then(|request| request.part) {
            Some(Part::Spec(spec)) => Ok(convert::announced(spec)?),
            Some(Part::Chunk(_)) | None => Err(misplaced("spec", "is required as the first message").into()),
        }
    }

    /// The file in parts of at most 1 MiB, and its SHA-256.
    async fn content(
        &self,
        stream: &mut Streaming<wire::UploadFeedRequest>,
    ) -> Result<(Vec<Vec<u8>>, [u8; 32]), Status> {
        let (mut content, mut hash, mut bytes) = (Vec::<Vec<u8>>::new(), Sha256::new(), 0_u64);
        while let Some(request) = self.next(stream).await? {
            let chunk = match request.part {
                Some(Part::Chunk(chunk)) => chunk,
                Some(Part::Spec(_)) => return Err(misplaced("spec", "may be in the first message only").into()),
                None => return Err(misplaced("chunk", "is required").into()),
            };
            if chunk.len() > CHUNK_BYTES_MAX {
                let description = format!("must have at most {CHUNK_BYTES_MAX} bytes, has {}", chunk.len());
                return Err(misplaced("chunk", &description).into());
            }
            bytes += chunk.len() as u64;
            if bytes > self.uploads.file_bytes_max {
                return Err(too_large(self.uploads.file_bytes_max).into());
            }
            hash.update(&chunk);
            // Small chunks share a part: a part is a row, and a thousand rows for a thousand bytes would not be bounded by the file's size.
            match content.last_mut() {
                Some(part) if part.len() + chunk.len() <= CHUNK_BYTES_MAX => part.extend_from_slice(&chunk),
                _ => content.push(chunk),
            }
        }
        Ok((content, hash.finalize().into()))
    }

    async fn next(
        &self,
        stream: &mut Streaming<wire::UploadFeedRequest>,
    ) -> Result<Option<wire::UploadFeedRequest>, Status> {
        let idle_max = Duration::from_secs(self.uploads.idle_seconds_max.into());
        match tokio::time::timeout(idle_max, stream.message()).await {
            Ok(message) => message,
            Err(_) => {
                let message = format!("no message came for {} s; nothing was kept", idle_max.as_secs());
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

/// The record failed after it had taken the file.
pub(super) fn received_anyway(error: StoreError) -> Problem {
    let message = "the file was received, and its run cannot be read now; send it again to learn of it";
    Problem::new(ErrorReason::StoreUnavailable, message).because(error)
}

fn another_size(announced: u64, bytes: u64) -> Problem {
    let message = format!("the file has {bytes} bytes instead of the {announced} announced; nothing was kept");
    Problem::new(ErrorReason::FileRefused, message)
}

fn too_large(bytes_max: u64) -> Problem {
    let message = format!("the file has more than {bytes_max} bytes; nothing was kept");
    Problem::new(ErrorReason::MessageTooLarge, message).metadata("bytes_max", bytes_max)
}
