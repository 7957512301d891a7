//! Files on the wire: a first message that says what comes, then the bytes in chunks.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Bytes in a message: well below the 1 MiB that the services take, and large enough that framing costs nothing.
const CHUNK_BYTES: usize = 256 * 1024;

/// Who hears how many bytes of a file have gone out. An attempt that begins anew begins at 0 again.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(u64) + Send + Sync>>);

impl Progress {
    /// Nobody.
    pub const NONE: Self = Self(None);

    /// Calls `listener` with the bytes that have gone out, after each chunk.
    pub fn new(listener: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    fn report(&self, bytes: usize) {
        if let Some(listener) = &self.0 {
            listener(bytes as u64);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0.is_some()).finish()
    }
}

/// A file as a stream of messages, for one attempt. The bytes are shared, not copied.
pub(crate) fn parts<M, F>(
    first: M,
    file: &Bytes,
    progress: &Progress,
    chunk: F,
) -> impl tokio_stream::Stream<Item = M> + Send + use<M, F>
where
    M: Send + 'static,
    F: Fn(Bytes) -> M + Send + 'static,
{
    let (file, progress) = (file.clone(), progress.clone());
    let chunks = (0..file.len()).step_by(CHUNK_BYTES).map(move |start| {
        let end = (start + CHUNK_BYTES).min(file.len());
        progress.report(end);
        chunk(file.slice(start..end))
    });
    tokio_stream::iter(std::iter::once(first).chain(chunks))
}
