//! Files that are taken by themselves: folders and addresses are looked at when they are due, by whichever process takes the connection.
//!
//! What is found goes the way of every upload: into the record first, under its content and its moment. So a process may die at any instant; the next look finds
//! the same file and makes no second run of it. What a server said of a file, and the archive, come after the record.
//!
//! Architecture invariant: nothing here decides what a file means. A look ends where its file is in the record.

mod address;
mod content;
mod drop_folder;
mod folder;
mod pull;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::{CancellationToken, Problem};
use rand::Rng as _;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::config::{Config, DropConfig, FetchConfig};
use crate::convert;
use crate::fingerprint;
use crate::metrics::Metrics;
use crate::model::{Connection, FileSource, HttpPull, RunOrigin, Upload};
use crate::runs::Runs;
use crate::store::{LookDone, Store, StoreError, Validators};
use content::Content;
use pull::{Puller, Request};

/// The longest status, in bytes.
const STATUS_BYTES_MAX: usize = 1000;
/// The longest pause after a look at a folder that failed: somebody may be making it at this moment.
const DROP_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether another one has ended its look.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What looks at folders and addresses. Clones share the work.
#[derive(Debug, Clone)]
pub struct Fetcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    runs: Runs,
    config: FetchConfig,
    folders: DropConfig,
    file_bytes_max: u64,
    puller: Puller,
    metrics: Arc<Metrics>,
    /// Looks that people ask for, at once.
    places: Semaphore,
    /// What changes the record ends here when its look was broken off.
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// What a look came to.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// In words for people.
    pub status: String,
    /// The runs that it led to, new ones and known ones, in the order of their files.
    pub runs: Vec<Uuid>,
    /// Whether nothing could be looked at.
    failed: bool,
    /// Whether files were seen that have to prove themselves whole.
    is_waiting: bool,
    /// What the server said of what was fetched.
    validators: Option<Validators>,
}

impl Look {
    fn failed(status: String) -> Self {
        Self { status, failed: true, ..Self::default() }
    }
}

impl Fetcher {
    /// Nothing is looked at yet: see [`Fetcher::work`]. `tasks` has what goes on when a look is broken off, as looks are when `shutdown` is cancelled.
    ///
    /// # Errors
    /// When the configured certificates cannot be used.
    pub fn new(
        store: Store,
        runs: Runs,
        config: &Config,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            store,
            runs,
            config: config.fetch.clone(),
            folders: config.drop_folders.clone(),
            file_bytes_max: config.uploads.file_bytes_max,
            puller: Puller::new(&config.pull, config.uploads.file_bytes_max)?,
            metrics,
            places: Semaphore::new(config.fetch.at_once_max),
            tasks,
            shutdown,
        })))
    }

    /// Looks at what is due, one connection at a time, until the shutdown.
    pub async fn work(self) {
        let shutdown = self.0.shutdown.clone();
        let poll = Duration::from_millis(self.0.config.poll_ms);
        let has_drop_root = !self.0.folders.root.as_os_str().is_empty();
        while !shutdown.is_cancelled() {
            let holder = Uuid::now_v7();
            match self.0.store.claim_look(holder, self.lease(), has_drop_root).await {
                Ok(Some(code)) => {
                    let span = tracing::info_span!("look", connection = code);
                    let look = self.look_held(&code, holder, false).instrument(span);
                    if let Err(error) = look.await {
                        tracing::warn!(connection = code, %error, "a look broke off; its lease ends by itself");
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot look what is due; the next look goes on"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// Looks at a connection now, if need be twice, so that files can prove themselves whole. Run it in a task of its own: the connection is held meanwhile.
    ///
    /// # Errors
    /// OVERLOADED when too much is looked at, or somebody else looks at it until `until`; STORE_UNAVAILABLE: what was found until then is in the record.
    pub async fn look_now(self, code: String, until: Instant) -> Result<Look, Problem> {
        let _place = self.place()?;
        let holder = Uuid::now_v7();
        while !self.0.store.claim_look_at(&code, holder, self.lease()).await? {
            if Instant::now() + LOOK_AGAIN > until {
                return Err(busy("the connection is being looked at for a long time; nothing was done"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(self.look_held(&code, holder, true).await?)
    }

    fn place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.0.places.try_acquire().map_err(|_| busy("too many connections are being looked at; nothing was done"))
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.0.config.lease_ms)
    }

    /// Looks at a connection that this process holds, gives signs of life meanwhile, and lets it go.
    async fn look_held(&self, code: &str, holder: Uuid, patient: bool) -> Result<Look, StoreError> {
        let found = self.0.store.connection(code).await?;
        let connection = found.ok_or_else(|| StoreError::NoConnection(code.to_owned()))?.connection;
        let (validators, failures) = self.0.store.validators(code).await?;
        let mut look = std::pin::pin!(self.look(&connection, &validators, patient));
        let look = loop {
            tokio::select! {
                look = &mut look => break look?,
                () = tokio::time::sleep(self.lease() / 3) => {
                    if let Err(error) = self.0.store.renew_look(code, holder, self.lease()).await {
                        tracing::warn!(%error, "cannot give a sign of life");
                    }
                }
            }
        };
        let failures = if look.failed { failures.saturating_add(1) } else { 0 };
        let url = match &connection.content.source {
            Some(FileSource::Pull(HttpPull { url, .. })) => Some(url.as_str()),
            Some(FileSource::Drop(_)) | None => None,
        };
        let done = LookDone {
            code,
            holder,
            revision: connection.revision,
            status: &look.status,
            failures,
            pause: self.pause(&connection, failures),
            fetched: url.zip(look.validators.as_ref()),
        };
        self.0.store.look_done(&done).await?;
        self.0.metrics.looked(origin(&connection), look.failed);
        if look.failed {
            tracing::warn!(status = look.status, failures, "a look failed");
        } else if !look.runs.is_empty() {
            tracing::info!(status = look.status, runs = look.runs.len(), "a look found files");
        }
        Ok(look)
    }

    async fn look(&self, connection: &Connection, validators: &Validators, patient: bool) -> Result<Look, StoreError> {
        let look = match &connection.content.source {
            None => Ok(Look::failed("there is neither a folder nor an address to look at".to_owned())),
            Some(FileSource::Pull(pull)) => self.pull(connection, pull, validators).await,
            Some(FileSource::Drop(folder)) => {
                let first = self.look_into(connection, folder).await?;
                if !patient || !first.is_waiting {
                    return Ok(clean(first));
                }
                tokio::select! {
                    () = self.0.shutdown.cancelled() => return Ok(clean(first)),
                    () = tokio::time::sleep(Duration::from_millis(self.0.folders.settle_ms)) => {}
                }
                let second = self.look_into(connection, folder).await?;
                Ok(Look { runs: [first.runs, second.runs].concat(), ..second })
            }
        };
        look.map(clean)
    }

    /// When to look again: about when it is due, so that connections made together do not stay together; later, after failures.
    fn pause(&self, connection: &Connection, failures: u32) -> Duration {
        let (interval, longest) = match &connection.content.source {
            Some(FileSource::Pull(pull)) => {
                (pull.interval, Duration::from_secs(self.0.config.pause_seconds_max.into()))
            }
            Some(FileSource::Drop(_)) | None => (Duration::from_millis(self.0.folders.look_ms), DROP_PAUSE_MAX),
        };
        let pause = interval.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest.max(interval));
        pause.mul_f64(rand::rng().random_range(0.95..1.05))
    }

    /// Looks at an address.
    async fn pull(
        &self,
        connection: &Connection,
        pull: &HttpPull,
        validators: &Validators,
    ) -> Result<Look, StoreError> {
        let request = Request { url: &pull.url, credential: &pull.credential, validators };
        let pulled = tokio::select! {
            pulled = self.0.puller.pull(request) => pulled,
            () = self.0.shutdown.cancelled() => return Ok(Look::failed("the look was broken off: the service ends".to_owned())),
        };
        let pulled = match pulled {
            Ok(Some(pulled)) => pulled,
            Ok(None) => return Ok(Look { status: "nothing new".to_owned(), ..Look::default() }),
            Err(error) => return Ok(Look::failed(error.to_string())),
        };
        let as_of = pulled.as_of.unwrap_or_else(OffsetDateTime::now_utc);
        let bytes = pulled.content.bytes();
        let upload = upload(connection, RunOrigin::HttpPull, as_of, pulled.file_name, pulled.content);
        let (run_id, is_known) = self.receive(upload).await?;
        let status = if is_known { format!("{bytes} bytes, known already") } else { format!("{bytes} bytes, new") };
        Ok(Look { status, runs: vec![run_id], validators: Some(pulled.validators), ..Look::default() })
    }

    /// Takes a file into the record, like an upload, and has it worked on; answers its run and whether it was known.
    async fn receive(&self, upload: Upload) -> Result<(Uuid, bool), StoreError> {
        let request_id = fingerprint::fetch_key(&upload);
        let (store, runs) = (self.0.store.clone(), self.0.runs.clone());
        let keep = async move {
            let received = store.receive(&convert::upload_key(request_id, &upload), &upload).await?;
            if let Err(error) = store.rouse(received.run_id).await {
                tracing::warn!(%error, "a run could not be roused; it is looked for anyway");
            }
            runs.wake();
            Ok((received.run_id, received.replayed))
        };
        match self.0.tasks.spawn(keep.in_current_span()).await {
            Ok(received) => received,
            Err(error) => Err(StoreError::Unreadable(format!("a file whose receipt panicked: {error}"))),
        }
    }

    fn root(&self) -> PathBuf {
        self.0.folders.root.clone()
    }
}

fn upload(
    connection: &Connection,
    origin: RunOrigin,
    as_of: OffsetDateTime,
    file_name: String,
    content: Content,
) -> Upload {
    // Postgres keeps microseconds, and the same file must be the same moment again.
    let as_of = as_of.replace_nanosecond(as_of.microsecond() * 1000).unwrap_or(as_of);
    let (content, sha256) = content.finish();
    Upload { connection: connection.content.code.clone(), as_of, file_name, sha256, content, origin, house: None }
}

fn origin(connection: &Connection) -> &'static str {
    match &connection.content.source {
        Some(FileSource::Pull(_)) => "address",
        Some(FileSource::Drop(_)) | None => "folder",
    }
}

/// Fit for a column: without control characters, not too long.
fn clean(mut look: Look) -> Look {
    look.status = look.status.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if look.status.len() > STATUS_BYTES_MAX {
        let end = (0..=STATUS_BYTES_MAX - 3).rev().find(|end| look.status.is_char_boundary(*end)).unwrap_or(0);
        look.status.truncate(end);
        look.status.push('…');
    }
    look
}

fn busy(message: &str) -> Problem {
    Problem::new(ErrorReason::Overloaded, message).retry_after(Duration::from_secs(2))
}
