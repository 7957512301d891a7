//! An answer's body: read within bounds, then unpacked within bounds. A few kilobytes of gzip can be gigabytes of zeros.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use http::header::{self, HeaderMap};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::task::spawn_blocking;

use super::PullError;
use crate::fetch::content::Content;

/// What every gzip file begins with, and no CSV, JSON, XML or EDI file.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Reads a body to its end, with at most so long a silence, and unpacks it: where the head says so, and where the file itself is packed.
///
/// # Errors
/// [`PullError::TooLarge`], packed or unpacked; [`PullError::Timeout`]; [`PullError::Body`] when it breaks off or is packed in another way.
pub(super) async fn read(
    body: Incoming,
    headers: &HeaderMap,
    bytes_max: u64,
    idle_max: Duration,
) -> Result<Content, PullError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
    let packed_times = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => 0,
        "gzip" | "x-gzip" => 1,
        other => return Err(PullError::Body(format!("it is packed as {other:?}, and gzip was asked for"))),
    };
    let packed = receive(body, bytes_max, idle_max).await?;
    // As long as a thousand requests: not on the threads that serve them.
    match spawn_blocking(move || unpack(packed, packed_times, bytes_max)).await {
        Ok(unpacked) => unpacked,
        Err(error) => Err(PullError::Body(format!("unpacking it panicked: {error}"))),
    }
}

/// Copied into parts, because a server may send byte by byte, and each piece by itself would cost many times its size.
async fn receive(mut body: Incoming, bytes_max: u64, idle_max: Duration) -> Result<Content, PullError> {
    if body.size_hint().lower() > bytes_max {
        return Err(PullError::TooLarge(bytes_max));
    }
    let mut content = Content::new(bytes_max);
    loop {
        let frame = match tokio::time::timeout(idle_max, body.frame()).await {
            Ok(None) => return Ok(content),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(PullError::Body(error.to_string())),
            Err(_) => {
                let message = format!("nothing came for {} s in the middle of the file", idle_max.as_secs_f64());
                return Err(PullError::Timeout(message));
            }
        };
        if let Ok(piece) = frame.into_data() {
            content.push(&piece).map_err(|_| PullError::TooLarge(bytes_max))?;
        }
    }
}

fn unpack(packed: Content, packed_times: u32, bytes_max: u64) -> Result<Content, PullError> {
    let content = if packed_times == 0 {
        packed
    } else {
        let mut unpacked = Content::new(bytes_max);
        gunzip(packed.parts(), &mut unpacked, bytes_max)?;
        unpacked
    };
    if !content.begins_with(GZIP) {
        return Ok(content);
    }
    let mut unpacked = Content::new(bytes_max);
    gunzip(content.parts(), &mut unpacked, bytes_max)?;
    Ok(unpacked)
}

fn gunzip<'a>(pieces: impl Iterator<Item = &'a [u8]>, into: &mut Content, bytes_max: u64) -> Result<(), PullError> {
    let mut decoder = MultiGzDecoder::new(Bounded { into, is_full: false });
    let write = || {
        for piece in pieces {
            decoder.write_all(piece)?;
        }
        decoder.try_finish()
    };
    let written = write();
    match written {
        Ok(()) => Ok(()),
        Err(_) if decoder.get_ref().is_full => Err(PullError::TooLarge(bytes_max)),
        Err(error) => Err(PullError::Body(format!("gzip: {error}"))),
    }
}

/// Takes what is unpacked, and stops the unpacking when it is too much.
struct Bounded<'c> {
    into: &'c mut Content,
    is_full: bool,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.into.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => {
                self.is_full = true;
                Err(io::Error::other("more than is taken"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8], times: u32, bytes_max: u64) -> Result<Vec<u8>, PullError> {
        let mut content = Content::new(bytes_max);
        for piece in packed.chunks(7) {
            content.push(piece).map_err(|_| PullError::TooLarge(bytes_max))?;
        }
        unpack(content, times, bytes_max).map(|content| content.finish().0.concat())
    }

    #[test]
    fn what_is_packed_is_unpacked_also_where_only_the_file_says_so() {
        let text = b"code,stock\na,3\n".repeat(100);
        assert_eq!(unpacked(&text, 0, 10_000).unwrap(), text);
        assert_eq!(unpacked(&gzip(&text), 1, 10_000).unwrap(), text);
        assert_eq!(unpacked(&gzip(&text), 0, 10_000).unwrap(), text);
        assert_eq!(unpacked(&gzip(&gzip(&text)), 1, 10_000).unwrap(), text);
        let two_members = [gzip(b"code,stock\n"), gzip(b"a,3\n")].concat();
        assert_eq!(unpacked(&two_members, 1, 10_000).unwrap(), b"code,stock\na,3\n");
        assert_eq!(unpacked(b"", 0, 10).unwrap(), b"");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert!(matches!(unpacked(&bomb, 1, 100_000), Err(PullError::TooLarge(100_000))));
        assert!(matches!(unpacked(&gzip(&bomb), 1, 100_000), Err(PullError::TooLarge(100_000))));
        assert!(matches!(unpacked(&bomb, 0, 100_000), Err(PullError::TooLarge(100_000))));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_file() {
        let packed = gzip(&b"code,stock\na,3\n".repeat(100));
        for at in 1..packed.len() {
            assert!(unpacked(&packed[..at], 1, 10_000).is_err(), "cut at {at}");
        }
        let mut damaged = packed.clone();
        let middle = packed.len() / 2;
        damaged[middle] ^= 0xff;
        assert!(unpacked(&damaged, 1, 10_000).is_err());
        assert!(unpacked(b"code,stock\n", 1, 10_000).is_err(), "it is not packed at all");
    }
}
