//! A look into a drop folder: which files are whole, and what becomes of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::folder::{Archived, Candidate, Folder, NotTaken};
use super::{Fetcher, Look, upload};
use crate::model::{Connection, DropFolder, RunOrigin};
use crate::store::{DroppedFile, SeenFile, StoreError};

/// What is told of one look, at most.
const NOTES_MAX: usize = 5;

/// What a look has come to so far.
#[derive(Debug, Default)]
struct Tally {
    look: Look,
    /// New runs.
    new: usize,
    /// Files that are known, or lie there since they were taken.
    known: usize,
    /// Files that have to prove themselves whole.
    waiting: usize,
    notes: Vec<String>,
}

impl Fetcher {
    /// Looks into a folder and takes what is whole, the oldest first, so that a later file comes later.
    pub(super) async fn look_into(&self, connection: &Connection, folder: &DropFolder) -> Result<Look, StoreError> {
        let (root, folder, entries_max) = (self.root(), folder.clone(), self.0.folders.entries_max);
        if root.as_os_str().is_empty() {
            return Ok(Look::failed("this service has no drop root".to_owned()));
        }
        let is_by_marker = !folder.done_suffix.is_empty();
        let opened = blocking(move || {
            let folder = Folder::open(&root, &folder)?;
            let listing = folder.list(entries_max)?;
            Ok::<_, String>((Arc::new(folder), listing))
        });
        let (folder, listing) = match opened.await? {
            Ok(opened) => opened,
            Err(problem) => return Ok(Look::failed(problem)),
        };
        let code = connection.content.code.as_str();
        let known: HashMap<String, DroppedFile> = {
            let known = self.0.store.dropped_files(code).await?.into_iter();
            known.map(|file| (file.file_name.clone(), file)).collect()
        };
        let lying: HashSet<&str> = listing.candidates.iter().map(|file| file.seen.file_name.as_str()).collect();
        let gone: Vec<&str> = known.keys().map(String::as_str).filter(|name| !lying.contains(name)).collect();
        self.0.store.forget_files(code, &gone).await?;
        let unseen: Vec<&SeenFile> = listing.candidates.iter().map(|file| &file.seen).collect();
        let unseen: Vec<&SeenFile> = unseen
            .into_iter()
            .filter(|seen| !known.get(&seen.file_name).is_some_and(|known| same(known, seen)))
            .collect();
        self.0.store.see_files(code, &unseen).await?;

        let mut tally = Tally { notes: listing.notes, ..Tally::default() };
        for Candidate { seen, is_marked } in listing.candidates {
            if self.0.shutdown.is_cancelled() {
                break;
            }
            let known = known.get(&seen.file_name).filter(|known| same(known, &seen));
            let settle_seconds = self.0.folders.settle_ms as f64 / 1000.0;
            let is_settled = known.is_some_and(|known| known.age_seconds >= settle_seconds);
            if let Some(run_id) = known.and_then(|known| known.run_id) {
                // A folder that cannot be written. A marker says nothing new of a file that is the same.
                tally.known += 1;
                tally.look.runs.push(run_id);
            } else if if is_by_marker { is_marked } else { is_settled } {
                self.take(connection, &folder, seen, &mut tally).await?;
            } else {
                tally.waiting += 1;
            }
        }
        Ok(tally.finish(is_by_marker))
    }

    /// Takes a file: into the record, then into the archive.
    async fn take(
        &self,
        connection: &Connection,
        folder: &Arc<Folder>,
        seen: SeenFile,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let (bytes_max, reader, file) = (self.0.file_bytes_max, Arc::clone(folder), seen.clone());
        let content = match blocking(move || reader.read(&file, bytes_max)).await? {
            Ok(content) => content,
            Err(NotTaken::Gone) => return Ok(()),
            Err(NotTaken::Because(note)) => {
                tally.notes.push(note);
                return Ok(());
            }
        };
        if content.bytes() == 0 {
            tally.notes.push(format!("{}: the file is empty", seen.file_name));
        }
        let upload = upload(connection, RunOrigin::DropFolder, seen.modify_time, seen.file_name.clone(), content);
        let sha256 = upload.sha256;
        let (run_id, is_known) = self.receive(upload).await?;
        tally.look.runs.push(run_id);
        if is_known {
            tally.known += 1;
        } else {
            tally.new += 1;
        }
        let (archiver, file) = (Arc::clone(folder), seen.clone());
        match blocking(move || archiver.archive(&file, &sha256)).await? {
            Ok(Archived::Moved) => {
                self.0.store.forget_files(&connection.content.code, &[seen.file_name.as_str()]).await
            }
            Ok(Archived::ReadOnly) => self.0.store.file_taken(&connection.content.code, &seen, run_id).await,
            // What lies there now is another file, for the next look.
            Ok(Archived::Replaced) => Ok(()),
            Err(note) => {
                tally.notes.push(note);
                self.0.store.file_taken(&connection.content.code, &seen, run_id).await
            }
        }
    }
}

impl Tally {
    fn finish(self, is_by_marker: bool) -> Look {
        let files = |number: usize| if number == 1 { "1 file".to_owned() } else { format!("{number} files") };
        let mut parts = Vec::new();
        if self.new > 0 {
            parts.push(format!("{} taken", files(self.new)));
        }
        if self.known > 0 {
            parts.push(format!("{} known already", files(self.known)));
        }
        if self.waiting > 0 {
            let what = if is_by_marker { "without a marker" } else { "seen, to be taken if unchanged" };
            parts.push(format!("{} {what}", files(self.waiting)));
        }
        if parts.is_empty() && self.notes.is_empty() {
            parts.push("nothing new".to_owned());
        }
        let more = self.notes.len().saturating_sub(NOTES_MAX);
        parts.extend(self.notes.into_iter().take(NOTES_MAX));
        if more > 0 {
            parts.push(format!("and {more} more"));
        }
        Look { status: parts.join("; "), is_waiting: self.waiting > 0 && !is_by_marker, ..self.look }
    }
}

fn same(known: &DroppedFile, seen: &SeenFile) -> bool {
    known.size_bytes == seen.size_bytes && known.modify_time == seen.modify_time
}

/// Work on a file system may take as long as a network takes: not on the threads that serve requests.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|error| StoreError::Unreadable(format!("a folder whose look panicked: {error}")))
}
