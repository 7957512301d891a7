//! The catalog: what the shop sells and who supplies it.
//!
//! A request passes `grpc` (decode, call, encode), `convert` (wire to own types, all fields checked at once) and `store` (SQL). An import passes `grpc::upload`
//! and `import`. README.md has the way of each.
//!
//! Architecture invariant: reservation's hot path never calls this service.

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
pub mod rules;
pub mod store;

use std::sync::Arc;

use holdfast_api::catalog::v1::catalog_service_server::CatalogServiceServer;
use holdfast_kit::{CancellationToken, Listeners, MethodTable, Readiness, Server, Service, Tasks, pg};
use sqlx::migrate::Migrator;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::grpc::{Grpc, WholeStreams};
use crate::janitor::Janitor;
use crate::metrics::Metrics;
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
        let janitor = Janitor::new(store.clone(), config.janitor.clone(), Arc::clone(&metrics));
        background.spawn("janitor", janitor.run(background.token().clone()));

        // Changes that go on when their callers have gone.
        let changes = TaskTracker::new();
        let drain_max = config.common.server.drain_max();
        let server = Server::new(&config.common, Self::NAME, Self::methods(), &registry);
        let grpc = Grpc::new(store, config, &metrics, changes.clone());
        let served = server
            .add_service(WholeStreams::new(CatalogServiceServer::new(grpc)))
            .serve(listeners, || Readiness::Ready, shutdown)
            .await;

        changes.close();
        if tokio::time::timeout(drain_max, changes.wait()).await.is_err() {
            tracing::warn!(
                changes = changes.len(),
                "changes were still under way at the end; their outcome is in the record"
            );
        }
        background.shutdown(drain_max).await?;
        pool.close().await;
        Ok(served?)
    }
}
