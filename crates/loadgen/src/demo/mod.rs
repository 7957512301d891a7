//! The demo: wrong numbers that never reach a buyer, then a flash sale that neither oversells nor turns anybody away wrongly, and the proof.
//!
//! In reading order: [`goods`] finds or makes the files, [`setup`] brings them in, [`story`] tells what happens to numbers (the vendor's [`feed`] and its [`later`]
//! files, each of its [`claims`] held against the services), [`sale`] lets the [`buyers`] loose, [`evidence`] reads what the record has, [`crate::check`] joins the
//! two, [`report`] says what came of it.

mod buyers;
mod claims;
mod evidence;
mod feed;
mod goods;
mod later;
mod orders;
mod report;
mod sale;
mod say;
mod setup;
mod shoppers;
mod story;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_client::{
    CatalogClient, Connection, HouseClient, QuarantineClient, ReservationClient, Settings, StockClient,
    VendorSyncClient,
};

use crate::check::{Evidence, check};
use goods::Goods;
use say::Say;

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
    /// What a generated catalog and the buyers' moods grow from: the same seed, the same files.
    pub seed: u64,
    /// Buyers who race for the one SKU. Default 10,000.
    pub buyers: usize,
    /// Units of that SKU, 1 or more. Default 150.
    pub units: i64,
    /// Carts of other SKUs meanwhile. Default 2,500.
    pub carts: usize,
    /// Calls under way at once, over all buyers. Default 256.
    pub in_flight_max: usize,
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
            seed: 2_026,
            buyers: 10_000,
            units: 150,
            carts: 2_500,
            in_flight_max: 256,
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
    /// Invariants that were broken, and claims of the story that were not true, one sentence each; empty if all held.
    pub broken: Vec<String>,
}

/// The services, as the demo's people use them.
struct Services {
    catalog: CatalogClient,
    vendor_sync: VendorSyncClient,
    quarantine: QuarantineClient,
    house: HouseClient,
    reservations: ReservationClient,
    stock: StockClient,
}

impl Services {
    fn connect(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let connect = |endpoint: &str| {
            let deadline = Duration::from_secs(60);
            let settings = Settings { deadline, attempt_timeout: Duration::from_secs(20), ..Settings::default() };
            let builder = Connection::builder_with([endpoint.to_owned()], settings);
            match &endpoints.token {
                Some(token) => builder.token(token).build(),
                None => builder.build(),
            }
        };
        let reservation = connect(&endpoints.reservation)?;
        let vendor_sync = connect(&endpoints.vendor_sync)?;
        Ok(Self {
            catalog: CatalogClient::new(&connect(&endpoints.catalog)?),
            vendor_sync: VendorSyncClient::new(&vendor_sync),
            quarantine: QuarantineClient::new(&vendor_sync),
            house: HouseClient::new(&vendor_sync),
            reservations: ReservationClient::new(&reservation),
            stock: StockClient::new(&reservation),
        })
    }
}

/// Runs the demo against services that listen, and prints its progress and its report.
///
/// # Errors
/// What kept it from running to its end: a file that cannot be read, a service that does not answer. What it brought in stays. Broken invariants are no
/// error but in the verdict.
pub async fn run<B: Backstage>(endpoints: &Endpoints, options: &Options, backstage: &B) -> anyhow::Result<Verdict> {
    anyhow::ensure!(
        options.units >= 1 && options.buyers >= 1 && options.in_flight_max >= 1,
        "a sale needs units, buyers and calls"
    );
    let say = Say::new();
    let services = Services::connect(endpoints)?;

    say.title("1. A shop's catalog, and which of its vendor's codes is which SKU");
    let goods = Goods::prepare(options, &say)?;
    let place = setup::Place::of(&goods);
    setup::bring_in(&services, &goods, &place, &say).await?;
    say.command(&options.ctl, &format!("sku import {}", report::quoted(&report::near(&goods.catalog.path))));
    let mut broken = story::tell(&services, &goods, &place, options, &say).await?;
    let shelf = setup::shelf(&services, &goods, &place, &say).await?;

    say.title(&format!("The sale: {} buyers, {} units of {}", say::count(options.buyers), options.units, shelf.wanted));
    let sold = sale::run(endpoints, &services, &shelf, options, backstage, &say).await?;

    say.title("What the buyers saw, beside what Postgres has");
    let step = say.step("Reading reservations and ledgers");
    let read = evidence::read(&services, &sold.history, &shelf.wanted).await?;
    step.done(&format!(
        "{} reservations, {} ledger entries",
        say::count(read.records.len()),
        say::count(read.entries())
    ));
    let calls = &sold.history.calls;
    let findings = check(&Evidence { calls, records: &read.records, ledgers: &read.ledgers, clock: sold.clock });
    let step = say.step("Auditing every row of Postgres");
    let audit = backstage.audit().await.context("the auditor could not run")?;
    step.done(if audit.is_empty() { "every invariant holds" } else { "NOT well, see below" });

    broken.extend(findings.broken.iter().cloned());
    broken.extend(audit);
    broken.extend(sold.turned_away(&shelf));
    broken.extend(sold.charged_twice(&read.records));
    report::print(
        &say,
        &report::Report { sold: &sold, shelf: &shelf, findings: &findings, read: &read, broken: &broken },
    );
    report::print_commands(&say, &goods, &shelf, options);
    Ok(Verdict { broken })
}
