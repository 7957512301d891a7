//! The demo: a real stock file applied, then a flash sale that neither oversells nor turns anybody away wrongly, and the proof.

use std::future::Future;
use std::path::PathBuf;

/// Where the services listen.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The catalog service, for example `http://127.0.0.1:7001`.
    pub catalog: String,
    /// The reservation service.
    pub reservation: String,
    /// The vendor-sync service.
    pub vendor_sync: String,
    /// Who calls; `None` where callers without a token may do everything, as under `./dev`.
    pub token: Option<String>,
}

/// What the demo does.
#[derive(Debug, Clone)]
pub struct Options {
    /// The shop's catalog, CSV, `.gz` too; without one, it is derived from the feed, or generated.
    pub catalog: Option<PathBuf>,
    /// The vendor's stock file, CSV, `.gz` too; without one, it is derived from the catalog, or generated.
    pub feed: Option<PathBuf>,
    /// Where files that the demo makes are put, so that its steps can be repeated by hand.
    pub dir: PathBuf,
    /// SKUs of a generated catalog. Default 40,000.
    pub skus: usize,
    /// What a generated catalog grows from: the same seed, the same files.
    pub seed: u64,
    /// Buyers who race for the one SKU. Default 10,000.
    pub buyers: usize,
    /// Units of that SKU. Default 150.
    pub units: i64,
    /// How a person calls the command line: printed before the commands to repeat. Default `./dev ctl`.
    pub ctl: String,
}

impl Options {
    /// The demo as the README shows it, with its files in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            catalog: None,
            feed: None,
            dir: dir.into(),
            skus: 40_000,
            seed: 20_26,
            buyers: 10_000,
            units: 150,
            ctl: "./dev ctl".to_owned(),
        }
    }
}

/// What only the operator of the stores can do.
pub trait Backstage: Send + Sync {
    /// Empties Redis of Holdfast's keys, as a failed replica or a wrong command would.
    fn wipe_redis(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Checks the invariants over all rows of Postgres, and answers with what is broken, one sentence each; empty if all is well. Called when the load has
    /// ended.
    fn audit(&self) -> impl Future<Output = anyhow::Result<Vec<String>>> + Send;
}

/// How the demo ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a broken invariant is worth a non-zero exit code"]
pub struct Verdict {
    /// Invariants that were broken, one sentence each; empty if all held.
    pub broken: Vec<String>,
}

/// Runs the demo and prints its report.
///
/// # Errors
/// What kept it from running to its end: a file that cannot be read, a service that does not answer. Broken invariants are no error but in the verdict.
#[expect(clippy::unused_async, reason = "the public face, ahead of what it shows")]
pub async fn run<B: Backstage>(_endpoints: &Endpoints, _options: &Options, _backstage: &B) -> anyhow::Result<Verdict> {
    anyhow::bail!("the demo is not written yet")
}
