//! Refuses messages that are larger than the limit, by the length that stands before each.
//!
//! tonic has such a limit too, but each generated server must be told of it, and its answer has no reason.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use holdfast_api::error::v1::ErrorReason;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::Problem;

/// A flag, and the length as four bytes, most significant first.
const HEADER_BYTES: usize = 5;

/// A request's body whose messages are measured as they pass.
#[derive(Debug)]
pub(super) struct Limited {
    inner: Body,
    messages: Messages,
}

impl Limited {
    pub(super) fn new(inner: Body, bytes_max: usize) -> Self {
        Self { inner, messages: Messages { bytes_max, header: [0; HEADER_BYTES], header_len: 0, message_left: 0 } }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let too_large = frame.data_ref().and_then(|data| self.messages.pass(data).err());
        Poll::Ready(Some(match too_large {
            None => Ok(frame),
            Some(bytes) => Err(too_large_status(bytes, self.messages.bytes_max)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The answer to a message that is too large; a `bytes` of 0 is not known.
pub(super) fn too_large_status(bytes: usize, bytes_max: usize) -> Status {
    Problem::new(ErrorReason::MessageTooLarge, format!("the message has {bytes} bytes, the limit is {bytes_max}"))
        .metadata("bytes", bytes)
        .metadata("bytes_max", bytes_max)
        .into()
}

/// Where in the sequence of headers and messages the bytes are.
#[derive(Debug)]
struct Messages {
    bytes_max: usize,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    message_left: usize,
}

impl Messages {
    /// Notes these bytes; an error is the length of a message that is too large.
    fn pass(&mut self, mut data: &[u8]) -> Result<(), usize> {
        while !data.is_empty() {
            let skipped = data.len().min(self.message_left);
            self.message_left -= skipped;
            data = &data[skipped..];
            let taken = data.len().min(HEADER_BYTES - self.header_len);
            self.header[self.header_len..][..taken].copy_from_slice(&data[..taken]);
            self.header_len += taken;
            data = &data[taken..];
            if self.header_len == HEADER_BYTES {
                let [_, a, b, c, d] = self.header;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length > self.bytes_max {
                    return Err(length);
                }
                (self.header_len, self.message_left) = (0, length);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(HEADER_BYTES + length, 7);
        bytes
    }

    #[test]
    fn a_large_message_is_seen_however_the_bytes_are_cut() {
        let stream = [message(10), message(0), message(3), message(11)].concat();
        let begin_of_last_message = stream.len() - 11;
        for cut in 1..stream.len() {
            let mut limited = Limited::new(Body::empty(), 10);
            let mut seen = 0;
            let refused = stream.chunks(cut).find_map(|chunk| {
                seen += chunk.len();
                limited.messages.pass(chunk).err()
            });
            assert_eq!(refused, Some(11), "chunks of {cut}");
            assert!(seen >= begin_of_last_message && seen < begin_of_last_message + cut, "chunks of {cut}: at {seen}");
        }
    }

    #[test]
    fn messages_at_the_limit_pass() {
        let mut limited = Limited::new(Body::empty(), 10);
        assert_eq!(limited.messages.pass(&[message(10), message(10)].concat()), Ok(()));
    }
}
