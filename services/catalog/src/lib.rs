//! The catalog: what the shop sells and who supplies it.
//!
//! A request passes `grpc` (decode, call, encode), `convert` (wire to own types, all fields checked at once) and `store` (SQL). An import passes `grpc::upload`
//! and `import`; what changed goes out by `watch` and `relay`. README.md has the way of each.
//!
//! Architecture invariant: reservation's hot path never calls this service.

pub mod changes;
pub mod config;
pub mod convert;
pub mod fingerprint;
pub mod grpc;
pub mod import;
pub mod janitor;
pub mod methods;
pub mod metrics;
pub mod model;
pub mod mutation;
pub mod problem;
pub mod relay;
pub mod rules;
pub mod store;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::catalog::v1::catalog_service_server::CatalogServiceServer;
use holdfast_kit::{
    CancellationToken, Ending, Listeners, MethodTable, Readiness, Server, Service, Tasks, WholeStreams, pg,
};
use sqlx::migrate::Migrator;
use tokio_util::task::TaskTracker;

use crate::changes::Bell;
use crate::config::{Config, PeerConfig};
use crate::grpc::Grpc;
use crate::janitor::Janitor;
use crate::metrics::Metrics;
use crate::relay::{Courier, Destination, Relay};
use crate::store::{MIGRATOR, Store};

/// The service, as kit runs it.
#[derive(Debug)]
pub struct Catalog;

impl Service for Catalog {
    const NAME: &'static str = "holdfast-catalog";
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

        let background = Tasks::new(shutdown.clone());
        let retention_seconds = config.changes.retention_seconds;
        let janitor = Janitor::new(store.clone(), config.janitor.clone(), retention_seconds, Arc::clone(&metrics));
        background.spawn("janitor", janitor.run(background.token().clone()));
        let bell = Arc::new(Bell::default());
        start_relays(&store, &config, &metrics, &bell, &background)?;
        let (ringing, end) = (Arc::clone(&bell), background.token().clone());
        let (looked_in, period) = (store.clone(), Duration::from_millis(config.changes.poll_ms));
        background.spawn("changes", async move { ringing.run(looked_in, period, end).await });

        // Changes that go on when their callers have gone.
        let changes = TaskTracker::new();
        let ending = Ending::watch(&shutdown, config.common.server.drain_max());
        let server = Server::new(&config.common, Self::NAME, Self::methods(), &registry);
        let grpc = Grpc::new(store, config, &metrics, bell, changes.clone(), shutdown.clone());
        grpc.watch_by(registry.saturation());
        let served = server
            .add_service(WholeStreams::new(CatalogServiceServer::new(grpc)))
            .serve(listeners, || Readiness::Ready, shutdown)
            .await;

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

/// Starts what tells the other services of changes. One that has no endpoint is measured only, so that its lag is seen.
fn start_relays(
    store: &Store,
    config: &Config,
    metrics: &Arc<Metrics>,
    bell: &Bell,
    background: &Tasks,
) -> anyhow::Result<()> {
    for (destination, peer) in
        [(Destination::Reservation, &config.reservation), (Destination::VendorSync, &config.vendor_sync)]
    {
        let period = Duration::from_millis(config.relay.measure_ms);
        let (store, metrics, end) = (store.clone(), Arc::clone(metrics), background.token().clone());
        background.spawn("relay-lag", relay::measure(store.clone(), destination, Arc::clone(&metrics), period, end));
        let PeerConfig { endpoint, .. } = peer;
        if endpoint.is_empty() {
            tracing::warn!(destination = destination.name(), "no endpoint is configured: changes wait");
            continue;
        }
        let courier = Courier::new(destination, peer)?;
        let relay = Relay::new(store, courier, config.relay.clone(), metrics, bell.listen());
        background.spawn("relay", relay.run(background.token().clone()));
    }
    Ok(())
}
