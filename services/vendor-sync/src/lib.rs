//! vendor-sync: what vendors say about their stock is read, mapped, checked and applied to reservation as counts.
//!
//! A request passes `grpc` (decode, call, encode), `convert` (wire to own types, all fields checked at once) and `store` (SQL). An upload passes
//! `grpc::upload` and is in the record; `runs` works on it, with `holdfast-feeds` for what a file says and `peers` for what others know. README.md has the
//! way of a file.
//!
//! Architecture invariant: vendor-sync never writes stock. What it says goes to reservation as counts, and reservation decides.

pub mod config;
pub mod convert;
pub mod fetch;
pub mod fingerprint;
pub mod grpc;
pub mod janitor;
pub mod methods;
pub mod metrics;
pub mod model;
pub mod offers;
pub mod peers;
pub mod runs;
pub mod store;

use std::sync::Arc;

use holdfast_api::vendorsync::v1::house_service_server::HouseServiceServer;
use holdfast_api::vendorsync::v1::quarantine_service_server::QuarantineServiceServer;
use holdfast_api::vendorsync::v1::vendor_sync_service_server::VendorSyncServiceServer;
use holdfast_kit::{
    CancellationToken, Ending, Listeners, MethodTable, Readiness, Server, Service, Tasks, WholeStreams, pg,
};
use sqlx::migrate::Migrator;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::fetch::Fetcher;
use crate::grpc::Grpc;
use crate::janitor::Janitor;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::runs::Runs;
use crate::store::{MIGRATOR, Store};

/// The service, as kit runs it.
#[derive(Debug)]
pub struct VendorSync;

impl Service for VendorSync {
    const NAME: &'static str = "holdfast-vendor-sync";
    type Config = Config;

    fn methods() -> &'static MethodTable {
        &methods::METHODS
    }

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    async fn run(config: Config, listeners: Listeners, shutdown: CancellationToken) -> anyhow::Result<()> {
        let pool = pg::connect(&config.common.postgres, Self::NAME).await?;
        pg::check_schema(&pool, Self::migrator(), Self::NAME).await?;
        let registry = holdfast_kit::Metrics::new();
        let metrics = Arc::new(Metrics::new(&registry));
        let store = Store::new(pool.clone());
        let peers = Peers::new(&config)?;
        let runs = Runs::new(store.clone(), peers.clone(), &config, Arc::clone(&metrics));

        let background = Tasks::new(shutdown.clone());
        let janitor = Janitor::new(store.clone(), config.janitor.clone(), Arc::clone(&metrics));
        background.spawn("janitor", janitor.run(background.token().clone()));
        background.spawn("backlog", runs.clone().tell_backlog(background.token().clone()));
        for _ in 0..config.runs.connections_at_once_max {
            background.spawn("runs", runs.clone().work(background.token().clone()));
        }

        // Changes that go on when their callers have gone.
        let changes = TaskTracker::new();
        let shutting_down = background.token().clone();
        let fetcher = Fetcher::new(store.clone(), runs.clone(), &config, metrics, changes.clone(), shutting_down)?;
        for _ in 0..config.fetch.at_once_max {
            background.spawn("fetch", fetcher.clone().work());
        }
        let ending = Ending::watch(&shutdown, config.common.server.drain_max());
        let server = Server::new(&config.common, Self::NAME, Self::methods(), &registry);
        let grpc = Arc::new(Grpc::new(store, peers, runs, fetcher, &config, changes.clone()));
        grpc.watch_by(registry.saturation());
        let server = server
            .add_service(WholeStreams::new(VendorSyncServiceServer::from_arc(Arc::clone(&grpc))))
            .add_service(QuarantineServiceServer::from_arc(Arc::clone(&grpc)))
            .add_service(HouseServiceServer::from_arc(grpc));
        let served = server.serve(listeners, || Readiness::Ready, shutdown).await;

        changes.close();
        if tokio::time::timeout(ending.left(), changes.wait()).await.is_err() {
            tracing::warn!(
                changes = changes.len(),
                "changes were still under way at the end; their outcome is in the record"
            );
        }
        let stopped = background.shutdown(ending.left()).await;
        ending.farewell(pool.close()).await;
        stopped?;
        Ok(served?)
    }
}
