//! One import from its first byte to its answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::Problem;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::batch::Batch;
use super::problems::{Problems, RowProblem};
use super::records::RecordLimits;
use super::source::{Read, Source, refused};
use super::{ErrorMode, ImportSpec};
use crate::convert;
use crate::metrics::Metrics;
use crate::model::ATTRIBUTES_MAX;
use crate::mutation::RequestKey;
use crate::store::{Applied, ImportState, Store, StoreError};

/// How many staged rows are dropped at once after an import.
pub const UNSTAGE_ROWS: u32 = 20_000;

/// What is wrong with a row that would leave a SKU with backorders and no location to get them.
const UNLOCATED: &str = "the SKU would have a backorder limit and no location; name one, its first gets the backorders";

/// The method's name under which an import's answer is kept.
const KIND: &str = "ImportSkus";

/// The limits of an import.
#[derive(Debug, Clone, Copy)]
pub struct ImportLimits {
    /// Rows that are staged at once, and applied at once.
    pub batch_rows_max: u32,
    /// Bytes of rows that are staged at once, about.
    pub batch_bytes_max: usize,
    /// Bytes of a file.
    pub file_bytes_max: u64,
    /// Rows of a file.
    pub rows_max: i64,
    /// How long the transaction that applies a file waits for a lock, in milliseconds.
    pub lock_timeout_ms: u32,
    /// Of one record.
    pub record: RecordLimits,
}

/// A piece of a file on its way to the importer. A channel that closes without `End` means that the file broke off.
#[derive(Debug)]
pub enum Part {
    /// The next bytes.
    Chunk(Vec<u8>),
    /// There are no more.
    End,
}

/// What came of a file.
#[derive(Debug)]
pub struct Report {
    /// Rows read, without the header.
    pub rows: i64,
    /// What was written.
    pub applied: Applied,
    /// What was wrong.
    pub problems: Problems,
}

impl Report {
    /// Rows that were not imported.
    #[must_use]
    pub fn failed(&self) -> i64 {
        self.rows - self.applied.created - self.applied.updated - self.applied.unchanged
    }
}

/// Imports files. Clones share what it works on.
#[derive(Debug, Clone)]
pub struct Importer {
    store: Store,
    limits: ImportLimits,
    metrics: Arc<Metrics>,
    /// What goes on after the answer: dropping staged rows.
    tasks: TaskTracker,
}

impl Importer {
    /// Imports into a store.
    #[must_use]
    pub fn new(store: Store, limits: ImportLimits, metrics: Arc<Metrics>, tasks: TaskTracker) -> Self {
        Self { store, limits, metrics, tasks }
    }

    /// Imports one file and answers an encoded ImportSkusResponse; a replay gets the first one. Run it in a task of its own.
    ///
    /// # Errors
    /// FILE_REFUSED, KEY_REUSED, and what the store says. Nothing was imported, except that after a failed commit it is unknown (STORE_UNAVAILABLE).
    pub async fn run(&self, spec: &ImportSpec, mut parts: mpsc::Receiver<Part>) -> Result<Vec<u8>, Problem> {
        if let Some(answered) = self.store.answered(spec.request_id).await? {
            let key = key(spec, self.hash(&mut parts).await?);
            return Ok(answered.to(&key)?);
        }
        let began = Instant::now();
        let import_id = Uuid::now_v7();
        self.store.start_import(import_id, spec.request_id).await?;
        let done = Attempt::new(self, spec, import_id).run(&mut parts).await;
        let (outcome, state, rows) = match &done {
            Ok(Done::Applied(_)) => ("applied", None, 0),
            Ok(Done::Replayed(_)) => ("replayed", Some(ImportState::Abandoned), 0),
            Ok(Done::Refused { rows, .. }) => ("refused", Some(ImportState::Refused), *rows),
            Err(problem) if problem.reason() == ErrorReason::FileRefused => ("refused", Some(ImportState::Refused), 0),
            Err(_) => ("broken_off", Some(ImportState::Abandoned), 0),
        };
        self.metrics.imported(outcome, began.elapsed());
        self.tasks.spawn(clean_up(self.store.clone(), import_id, state.map(|state| (state, rows))));
        done.map(|done| match done {
            Done::Applied(answer) | Done::Replayed(answer) | Done::Refused { answer, .. } => answer,
        })
    }

    /// The hash of a whole file that is not imported, because its request was answered before.
    async fn hash(&self, parts: &mut mpsc::Receiver<Part>) -> Result<Sha256, Problem> {
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        while let Some(chunk) = next(parts).await? {
            self.count_bytes(&mut bytes, &chunk)?;
            hash.update(&chunk);
        }
        Ok(hash)
    }

    fn count_bytes(&self, bytes: &mut u64, chunk: &[u8]) -> Result<(), Problem> {
        *bytes += chunk.len() as u64;
        let bytes_max = self.limits.file_bytes_max;
        if *bytes > bytes_max {
            return Err(refused(format!("the file is larger than {bytes_max} bytes")).metadata("bytes_max", bytes_max));
        }
        Ok(())
    }
}

/// How an attempt ends when nothing went wrong.
enum Done {
    /// With its effect; the answer is kept.
    Applied(Vec<u8>),
    /// Without, because the same request was faster; its answer.
    Replayed(Vec<u8>),
    /// Without, because of bad rows; the answer is not kept, so that a mended file can be sent under the same key.
    Refused { answer: Vec<u8>, rows: i64 },
}

/// One attempt to import a file.
struct Attempt<'a> {
    importer: &'a Importer,
    spec: &'a ImportSpec,
    import_id: Uuid,
    /// The first bytes, until there are enough to see what kind of file it is.
    head: Option<Vec<u8>>,
    source: Source,
    /// Locations that rows named and that there are.
    locations: HashSet<String>,
    batch: Batch,
    problems: Problems,
    hash: Sha256,
    bytes: u64,
    rows: i64,
    staged: i64,
}

impl<'a> Attempt<'a> {
    fn new(importer: &'a Importer, spec: &'a ImportSpec, import_id: Uuid) -> Self {
        Self {
            importer,
            spec,
            import_id,
            head: Some(Vec::new()),
            source: Source::new(spec, importer.limits.record),
            locations: HashSet::new(),
            batch: Batch::default(),
            problems: Problems::default(),
            hash: Sha256::new(),
            bytes: 0,
            rows: 0,
            staged: 0,
        }
    }

    async fn run(mut self, parts: &mut mpsc::Receiver<Part>) -> Result<Done, Problem> {
        while let Some(chunk) = next(parts).await? {
            self.importer.count_bytes(&mut self.bytes, &chunk)?;
            self.hash.update(&chunk);
            match self.head.take() {
                None => self.read(&chunk).await?,
                Some(mut head) => {
                    head.extend_from_slice(&chunk);
                    if head.len() < HEAD_BYTES {
                        self.head = Some(head);
                    } else {
                        self.read(text_of(&head)?).await?;
                    }
                }
            }
        }
        if let Some(size) = self.spec.size_bytes.filter(|size| *size != self.bytes) {
            let message = format!(
                "the file has {} bytes, its sender says {size}: it broke off or changed on its way",
                self.bytes
            );
            return Err(refused(message).metadata("bytes", self.bytes).metadata("size_bytes", size));
        }
        if let Some(head) = self.head.take() {
            self.read(text_of(&head)?).await?;
        }
        if let Some(read) = self.source.finish()? {
            self.take(read);
        }
        self.stage().await?;
        self.apply().await
    }

    /// Reads the rows of a piece.
    async fn read(&mut self, mut input: &[u8]) -> Result<(), Problem> {
        let limits = self.importer.limits;
        while let Some(read) = self.source.next(&mut input)? {
            self.take(read);
            if self.rows > limits.rows_max {
                return Err(refused(format!("the file has more than {} rows", limits.rows_max))
                    .metadata("rows_max", limits.rows_max));
            }
            if self.batch.is_full(limits.batch_rows_max, limits.batch_bytes_max) {
                self.stage().await?;
            }
        }
        Ok(())
    }

    fn take(&mut self, (line, row): Read) {
        self.rows += 1;
        match row {
            Ok(row) => {
                if let Err(first_line) = self.batch.add(line, row) {
                    self.problems.add_row([repeats(&self.spec.code_column, line, first_line)]);
                }
            }
            Err(found) => self.problems.add_row(found),
        }
    }

    /// Stages what was gathered.
    async fn stage(&mut self) -> Result<(), Problem> {
        let mut batch = std::mem::take(&mut self.batch);
        self.check_locations(&mut batch).await?;
        let rows = batch.into_rows();
        if rows.codes.is_empty() {
            return Ok(());
        }
        let repeated = self.importer.store.stage(self.import_id, &rows).await?;
        self.staged += count(rows.codes.len()) - count(repeated.len());
        for again in repeated {
            self.problems.add_row([repeats(&self.spec.code_column, again.line, again.first_line)]);
        }
        Ok(())
    }

    /// Takes rows out of a batch whose policy names a location that there is not.
    async fn check_locations(&mut self, batch: &mut Batch) -> Result<(), Problem> {
        let Some(column) = self.source.columns().locations_column() else { return Ok(()) };
        let asked: HashSet<&String> = batch.locations().filter(|code| !self.locations.contains(*code)).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let asked: Vec<String> = asked.into_iter().cloned().collect();
        let unknown = self.importer.store.unknown_locations(&asked).await?;
        let unknown: HashSet<String> = unknown.into_iter().collect();
        for problem in batch.refuse_locations(&unknown, column) {
            self.problems.add_row([problem]);
        }
        self.locations.extend(asked.into_iter().filter(|code| !unknown.contains(code)));
        Ok(())
    }

    async fn apply(mut self) -> Result<Done, Problem> {
        let all_or_nothing = self.spec.error_mode == ErrorMode::AllOrNothing;
        if all_or_nothing && self.problems.bad_rows() > 0 {
            return Ok(self.refuse());
        }
        let Importer { store, limits, metrics, .. } = self.importer;
        let mut transaction = store.begin_import(self.import_id, self.staged, limits.lock_timeout_ms).await?;
        let backorder_column = self.source.columns().backorder_column();
        let applied = transaction.apply(backorder_column.is_some(), limits.batch_rows_max).await?;
        for line in &applied.unlocated {
            let (column, description) = (backorder_column.unwrap_or_default().to_owned(), UNLOCATED.to_owned());
            self.problems.add_row([RowProblem { line: *line, column, description }]);
        }
        for (line, count) in &applied.overfull {
            let description = format!(
                "would have {count} attributes with those that the SKU has already, at most {ATTRIBUTES_MAX} are possible"
            );
            self.problems.add_row([RowProblem { line: *line, column: String::new(), description }]);
        }
        if all_or_nothing && self.problems.bad_rows() > 0 {
            transaction.rollback().await?;
            return Ok(self.refuse());
        }
        let key = key(self.spec, self.hash);
        let report = Report { rows: self.rows, applied, problems: self.problems };
        let answer = convert::import_answer(&report);
        match transaction.commit(&key, &answer, report.rows, &report.applied).await {
            Ok(()) => {
                metrics.imported_rows(&report);
                Ok(Done::Applied(answer))
            }
            // The one that was faster may have been this very request, sent twice.
            Err(StoreError::KeyReused) => match store.answered(self.spec.request_id).await? {
                Some(answered) => Ok(Done::Replayed(answered.to(&key)?)),
                None => Err(StoreError::KeyReused.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn refuse(self) -> Done {
        let report = Report { rows: self.rows, applied: Applied::default(), problems: self.problems };
        self.importer.metrics.imported_rows(&report);
        Done::Refused { answer: convert::import_answer(&report), rows: report.rows }
    }
}

/// The next piece; `None` at the end of the file.
async fn next(parts: &mut mpsc::Receiver<Part>) -> Result<Option<Vec<u8>>, Problem> {
    match parts.recv().await {
        Some(Part::Chunk(chunk)) => Ok(Some(chunk)),
        Some(Part::End) => Ok(None),
        None => Err(StoreError::ImportLost.into()),
    }
}

fn key(spec: &ImportSpec, file: Sha256) -> RequestKey {
    let payload_hash = spec.fingerprint().part(file.finalize()).finish();
    RequestKey { request_id: spec.request_id, kind: KIND, payload_hash }
}

fn repeats(column: &str, line: i64, first_line: i64) -> RowProblem {
    RowProblem { line, column: column.to_owned(), description: format!("is the code of line {first_line} again") }
}

/// How many bytes tell what kind of file it is.
const HEAD_BYTES: usize = 4;

/// The text of a file without its byte order mark.
fn text_of(head: &[u8]) -> Result<&[u8], Problem> {
    match head {
        [0xef, 0xbb, 0xbf, text @ ..] => Ok(text),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(refused("the file is UTF-16; save it as UTF-8")),
        [0x1f, 0x8b, ..] => Err(refused("the file is compressed with gzip; unpack it first")),
        [b'P', b'K', 3, 4, ..] => Err(refused("the file is a ZIP archive or a spreadsheet; save it as CSV")),
        text => Ok(text),
    }
}

/// Ends an attempt that had no effect, and drops the staged rows. What fails here is left to the janitor.
async fn clean_up(store: Store, import_id: Uuid, ended: Option<(ImportState, i64)>) {
    let cleaned = async {
        if let Some((state, rows)) = ended {
            store.end_import(import_id, state, rows).await?;
        }
        while store.unstage(import_id, UNSTAGE_ROWS).await? > 0 {}
        Ok::<(), StoreError>(())
    };
    if let Err(error) = cleaned.await {
        tracing::warn!(%import_id, %error, "staged rows of an import are left to the janitor");
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
