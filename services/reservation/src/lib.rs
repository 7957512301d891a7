//! The only writer of stock: reservations, counts, adjustments, availability and the ledger.
//!
//! In reading order: [`grpc`] decodes and calls; [`reserve`] is the use case that the service is for; [`gate`] says which queue, [`looker`] and [`committer`] are the
//! queues, [`store`] is Postgres. Beside the path: [`publisher`], [`sweeper`], [`freshener`], [`reconciler`]; [`selling`] tells alarms how selling stands;
//! [`watch`] follows the ledger for watchers; [`retention`] says how long the record is kept.
//!
//! Architecture invariant: Redis routes, Postgres speaks every yes and every no. Decisions are `holdfast_stock`'s.

pub mod changes;
mod clock;
pub mod committer;
pub mod config;
mod convert;
pub mod freshener;
pub mod gate;
pub mod grpc;
mod keys;
pub mod limiter;
pub mod looker;
pub mod methods;
pub mod metrics;
mod payload;
pub mod publisher;
pub mod reconciler;
pub mod reserve;
pub mod retention;
pub mod selling;
pub mod store;
pub mod sweeper;
mod trace;
pub mod watch;

use anyhow::Context as _;
use holdfast_api::reservation::v1::reservation_service_server::ReservationServiceServer;
use holdfast_api::reservation::v1::stock_service_server::StockServiceServer;
use holdfast_kit::{
    CancellationToken, Listeners, MethodTable, Metrics, PostgresConfig, Readiness, Server, Service, Tasks, pg,
};

use crate::clock::PostgresClock;
use crate::committer::Committer;
use crate::config::Config;
use crate::gate::{Gate, GateState};
use crate::keys::KeyGuard;
use crate::limiter::Limiter;
use crate::looker::Looker;
use crate::metrics::ReservationMetrics;
use crate::publisher::Publisher;
use crate::reconciler::AskedFor;
use crate::reserve::Reserver;
use crate::store::{MIGRATOR, Store};

/// Connections of a committer's lane: one at work, one to take its place at once when it breaks.
const LANE_CONNECTIONS: u32 = 2;

/// The service.
#[derive(Debug)]
pub struct Reservation;

impl Service for Reservation {
    const NAME: &'static str = "holdfast-reservation";
    type Config = Config;

    fn methods() -> &'static MethodTable {
        &methods::METHODS
    }

    fn migrator() -> &'static sqlx::migrate::Migrator {
        &MIGRATOR
    }

    async fn run(config: Config, listeners: Listeners, shutdown: CancellationToken) -> anyhow::Result<()> {
        let postgres = &config.common.postgres;
        let lane = PostgresConfig { pool_connections_max: LANE_CONNECTIONS, ..postgres.clone() };
        let reads = pg::connect(postgres, Self::NAME).await?;
        pg::check_schema(&reads, &MIGRATOR, Self::NAME).await?;
        let checkout = pg::connect(&lane, "holdfast-reservation checkout").await?;
        let bulk = pg::connect(&lane, "holdfast-reservation bulk").await?;
        let stores = Stores {
            reads: Store::new(reads.clone()),
            checkout: Store::new(checkout.clone()),
            bulk: Store::new(bulk.clone()),
        };

        let registry = Metrics::new();
        // The parts behind the handlers stop after the handlers: what was handed over is answered.
        let tasks = Tasks::new(CancellationToken::new());
        let (reservations, stock) = start(&config, stores, &registry, &tasks, &shutdown).await?;
        // A background task that panicked takes the process with it: it must not look healthy.
        let (died, end) = (tasks.token().clone(), shutdown.clone());
        tasks.spawn("watchdog", async move {
            died.cancelled().await;
            end.cancel();
        });
        let gate = stock.gate.clone();
        let served = Server::new(&config.common, Self::NAME, &methods::METHODS, &registry)
            .add_service(ReservationServiceServer::new(reservations))
            .add_service(StockServiceServer::new(stock))
            .serve(listeners, move || readiness(&gate), shutdown)
            .await;
        let stopped = tasks.shutdown(config.common.server.drain_max()).await;
        for pool in [checkout, bulk, reads] {
            pool.close().await;
        }
        served?;
        stopped?;
        Ok(())
    }
}

/// Postgres, as each part may use it.
struct Stores {
    reads: Store,
    checkout: Store,
    bulk: Store,
}

/// Starts the parts and gives the handlers that use them.
async fn start(
    config: &Config,
    stores: Stores,
    registry: &Metrics,
    tasks: &Tasks,
    shutdown: &CancellationToken,
) -> anyhow::Result<(grpc::Reservations, grpc::Stock)> {
    let Stores { reads: store, checkout, bulk } = stores;
    let metrics = ReservationMetrics::register(registry);
    let gate = Gate::connect(&config.gate, metrics.gate.clone()).await;
    let clock = PostgresClock::new(store.due(1).await.context("cannot read Postgres's clock")?.0);
    let publisher = Publisher::start(gate.clone(), metrics.publisher, tasks);
    let limits = config.holds.limits();
    let keys = KeyGuard::new(config.holds, clock.clone());
    let lanes = (checkout, bulk);
    let committer = Committer::start(config.committer, limits, keys, lanes, &publisher, &metrics.committer, tasks);
    let looker = Looker::start(config.looker, store.clone(), publisher.clone(), metrics.looker, tasks);
    let asked_for = AskedFor::new(config.reconciler.asked_max);
    sweeper::start(config.sweeper, store.clone(), committer.clone(), clock.clone(), metrics.sweeper, tasks);
    freshener::start(config.freshener, store.clone(), committer.clone(), metrics.freshener, tasks);
    selling::start(store.clone(), metrics.selling, tasks);
    reconciler::start(config.reconciler, store.clone(), gate.clone(), asked_for.clone(), metrics.reconciler, tasks);
    let tails = watch::start(config.watch, &store, &metrics.watch, tasks);
    let watching = grpc::Watching::new(config.watch, store.clone(), tails, metrics.watch, shutdown.clone());
    retention::start(config.retention, store.clone(), metrics.retention, tasks);
    let reserver = Reserver {
        gate: gate.clone(),
        looker: looker.clone(),
        committer: committer.clone(),
        publisher,
        limiter: Limiter::new(config.limiter),
        asked_for: asked_for.clone(),
        metrics: metrics.reserve,
    };
    let reservations = grpc::Reservations::new(
        reserver,
        committer.clone(),
        store.clone(),
        clock.clone(),
        config.holds,
        watching.clone(),
    );
    let publish_micros_max = config.reconciler.publish_micros_max();
    let stock = grpc::Stock { committer, store, looker, gate, asked_for, clock, publish_micros_max, watching };
    Ok((reservations, stock))
}

/// Without Redis everything still works, through the limiter.
fn readiness(gate: &Gate) -> Readiness {
    match gate.state() {
        GateState::Up => Readiness::Ready,
        GateState::Down => Readiness::Degraded("Redis is not asked at present".to_owned()),
    }
}
