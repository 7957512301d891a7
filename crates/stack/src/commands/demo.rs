//! `./dev demo`: everything is started, and holdfast-loadgen shows what it can do.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use holdfast_loadgen::demo::{self, Backstage, Options};
use sqlx::Row;

use crate::endpoints::Endpoints;
use crate::error::{Result, StackError};
use crate::postgres::connect;
use crate::project::Project;
use crate::redis;
use crate::say::say;
use crate::signals::Interrupts;
use crate::stack::{Ports, Stack};

/// The audit that reservation itself runs: one row for each discrepancy.
const AUDIT: &str = include_str!("../../../../services/reservation/queries/audit.sql");
/// How many discrepancies are shown.
const FINDINGS_MAX: i64 = 20;

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The shop's catalog, CSV (.gz too); a generated one if not given.
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// A vendor's stock file, CSV (.gz too); one that fits the catalog if not given.
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
    /// SKUs of a generated catalog.
    #[arg(long, value_name = "COUNT")]
    skus: Option<usize>,
    /// Buyers who race for one SKU.
    #[arg(long, value_name = "COUNT")]
    buyers: Option<usize>,
    /// Units of that SKU.
    #[arg(long, value_name = "COUNT")]
    units: Option<i64>,
    /// Carts of other SKUs meanwhile.
    #[arg(long, value_name = "COUNT")]
    carts: Option<usize>,
    /// What generated files and the buyers' moods grow from.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs the demo on what `up` started, or else on a stack of its own, which ends with it.
pub(crate) async fn run(project: &Project, flags: Flags) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    if let Ok(endpoints) = Endpoints::read(project) {
        say("Using the Holdfast that ./dev up runs.");
        return tokio::select! {
            () = interrupts.next() => Ok(ExitCode::from(130)),
            code = show(project, flags, &endpoints) => code,
        };
    }
    let mut stack = tokio::select! {
        () = interrupts.next() => return Ok(ExitCode::from(130)),
        stack = Stack::start(project, Ports::default()) => stack?,
    };
    let endpoints = stack.endpoints().clone();
    let shown = tokio::select! {
        () = interrupts.next() => Ok(ExitCode::from(130)),
        error = stack.failed() => Err(error),
        code = show(project, flags, &endpoints) => code,
    };
    tokio::select! {
        () = interrupts.next() => {}
        stopped = stack.stop() => stopped?,
    }
    shown
}

async fn show(project: &Project, flags: Flags, endpoints: &Endpoints) -> Result<ExitCode> {
    let folder = project.state().join("demo");
    project.make(&folder)?;
    let usual = Options::new(folder);
    let options = Options {
        catalog: flags.catalog,
        feed: flags.feed,
        skus: flags.skus.unwrap_or(usual.skus),
        buyers: flags.buyers.unwrap_or(usual.buyers),
        units: flags.units.unwrap_or(usual.units),
        carts: flags.carts.unwrap_or(usual.carts),
        seed: flags.seed.unwrap_or(usual.seed),
        ..usual
    };
    let services = demo::Endpoints {
        catalog: endpoints.catalog.clone(),
        reservation: endpoints.reservation.clone(),
        vendor_sync: endpoints.vendor_sync.clone(),
        token: None,
    };
    let shown = demo::run(&services, &options, &Operator { endpoints }).await;
    let verdict = shown.map_err(|error| StackError::Found(format!("the demo could not go on: {error:#}")))?;
    Ok(if verdict.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whoever has the stores' passwords.
struct Operator<'a> {
    endpoints: &'a Endpoints,
}

impl Backstage for Operator<'_> {
    async fn wipe_redis(&self) -> anyhow::Result<()> {
        Ok(redis::wipe(&self.endpoints.redis).await?)
    }

    async fn audit(&self) -> anyhow::Result<Vec<String>> {
        let url = self.endpoints.postgres.get("reservation").context("reservation's database is not known")?;
        let mut connection = connect(url).await?;
        let rows = sqlx::query(AUDIT).bind(FINDINGS_MAX).fetch_all(&mut connection).await?;
        rows.iter()
            .map(|row| {
                let [invariant, subject, detail]: [String; 3] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
                Ok(format!("{invariant}: {subject}: {detail}"))
            })
            .collect()
    }
}
