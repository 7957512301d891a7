//! The only writer of stock: reservations, counts, adjustments, availability and the ledger.
//!
//! In reading order: [`grpc`] decodes and calls; [`reserve`] is the use case that the service is for; [`gate`] says which queue, [`looker`] and [`committer`] are the
//! queues, [`store`] is Postgres. Beside the path: [`settler`], [`publisher`], [`sweeper`], [`freshener`], [`reconciler`], [`auditor`]; [`selling`] tells alarms how selling
//! stands; [`watch`] follows the ledger for watchers; [`retention`] says how long the record is kept.
//!
//! Architecture invariant: Redis routes, Postgres speaks every yes and every no. Decisions are `holdfast_stock`'s.

pub mod auditor;
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
pub mod settler;
pub mod store;
pub mod sweeper;
mod trace;
pub mod watch;

use std::sync::Arc;

use anyhow::Context as _;
use holdfast_api::reservation::v1::audit_service_server::AuditServiceServer;
use holdfast_api::reservation::v1::reservation_service_server::ReservationServiceServer;
use holdfast_api::reservation::v1::stock_service_server::StockServiceServer;
use holdfast_kit::{
    CancellationToken, Ending, Listeners, MethodTable, Metrics, PostgresConfig, Readiness, Server, Service, Tasks, pg,
};

use tokio::sync::Semaphore;

use crate::auditor::{AuditorConfig, Checker};
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
use crate::settler::Settler;
use crate::store::{MIGRATOR, Store};

/// Connections of a committer's lane: one at work, one to take its place at once when it breaks.
const LANE_CONNECTIONS: u32 = 2;

/// Connections that look for contradictions: the auditor's, and one for a person who looks.
const AUDIT_CONNECTIONS: u32 = 2;

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
        let reads = pg::Pool::connect(postgres, Self::NAME).await?;
        pg::check_schema(reads.connections(), &MIGRATOR, Self::NAME).await?;
        let checkout = reads.beside(&lane, "holdfast-reservation checkout").await?;
        let bulk = reads.beside(&lane, "holdfast-reservation bulk").await?;
        let audit = reads.beside(&auditing(postgres, &config.auditor), "holdfast-reservation auditor").await?;
        let stores = Stores {
            audit: Store::new(audit.clone()),
            reads: Store::new(reads.clone()),
            checkout: Store::new(checkout.clone()),
            bulk: Store::new(bulk.clone()),
        };

        let registry = Metrics::new();
        // The parts behind the handlers stop after the handlers: what was handed over is answered.
        let tasks = Tasks::new(CancellationToken::new());
        let (reservations, stock, mut audits) = start(&config, stores, &registry, &tasks, &shutdown).await?;
        // A background task that panicked takes the process with it: it must not look healthy.
        let (died, end) = (tasks.token().clone(), shutdown.clone());
        tasks.spawn("watchdog", async move {
            died.cancelled().await;
            end.cancel();
        });
        let gate = stock.gate.clone();
        let ending = Ending::watch(&shutdown, config.common.server.drain_max());
        // A stream ends when the process is told to, not when its handlers have.
        audits.shutdown = shutdown.clone();
        let served = Server::new(&config.common, Self::NAME, &methods::METHODS, &registry)
            .add_service(ReservationServiceServer::new(reservations))
            .add_service(StockServiceServer::new(stock))
            .add_service(AuditServiceServer::new(audits))
            .serve(listeners, move || readiness(&gate), shutdown)
            .await;
        let stopped = tasks.shutdown(ending.left()).await;
        ending
            .farewell(async {
                for pool in [checkout, bulk, audit, reads] {
                    pool.close().await;
                }
            })
            .await;
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
    audit: Store,
}

/// The auditor's connections: statements that take too long end by themselves.
fn auditing(postgres: &PostgresConfig, config: &AuditorConfig) -> PostgresConfig {
    let lock_timeout_ms = postgres.lock_timeout_ms.min(config.statement_timeout_ms);
    PostgresConfig {
        pool_connections_max: AUDIT_CONNECTIONS,
        statement_timeout_ms: config.statement_timeout_ms,
        lock_timeout_ms,
        ..postgres.clone()
    }
}

/// Starts the parts and gives the handlers that use them.
async fn start(
    config: &Config,
    stores: Stores,
    registry: &Metrics,
    tasks: &Tasks,
    shutdown: &CancellationToken,
) -> anyhow::Result<(grpc::Reservations, grpc::Stock, grpc::Audit)> {
    let Stores { reads: store, checkout, bulk, audit } = stores;
    let metrics = ReservationMetrics::register(registry);
    let gate = Gate::connect(&config.gate, metrics.gate.clone()).await;
    let clock = PostgresClock::new(store.due(1).await.context("cannot read Postgres's clock")?.now);
    let publisher = Publisher::start(gate.clone(), metrics.publisher, tasks);
    let limits = config.holds.limits();
    let keys = KeyGuard::new(config.holds, clock.clone());
    let lanes = (checkout, bulk);
    let committer = Committer::start(config.committer, limits, keys, lanes, &publisher, &metrics.committer, tasks);
    let looker = Looker::start(config.looker, store.clone(), publisher.clone(), metrics.looker, tasks);
    let settler = Settler::start(config.looker.queue_max, store.clone(), tasks);
    let asked_for = AskedFor::new(config.reconciler.asked_max);
    sweeper::start(config.sweeper, store.clone(), committer.clone(), clock.clone(), metrics.sweeper, tasks);
    freshener::start(config.freshener, store.clone(), committer.clone(), metrics.freshener, tasks);
    selling::start(store.clone(), metrics.selling, tasks);
    reconciler::start(config.reconciler, store.clone(), gate.clone(), asked_for.clone(), metrics.reconciler, tasks);
    let tails = watch::start(config.watch, &store, &clock, &metrics.watch, tasks);
    let watching = grpc::Watching::new(config.watch, store.clone(), tails, metrics.watch, shutdown.clone());
    retention::start(config.retention, store.clone(), metrics.retention, tasks);
    let checker = Checker::new(audit, gate.clone(), i64::from(config.auditor.open_max));
    auditor::start(config.auditor, checker.clone(), metrics.auditor.clone(), tasks);
    let audits = grpc::Audit {
        checker,
        committer: committer.clone(),
        config: config.auditor,
        metrics: metrics.auditor,
        shutdown: tasks.token().clone(),
        runs: Arc::new(Semaphore::new(1)),
    };
    let limiter = Limiter::new(config.limiter);
    let saturation = registry.saturation();
    committer.watch_by(saturation);
    looker.watch_by(saturation);
    watching.watch_by(saturation);
    let (past_the_gate, turns) = (limiter.clone(), gate.clone());
    saturation.watch("limiter", move || past_the_gate.fill());
    saturation.watch("gate", move || turns.fill());
    let reserver = Reserver {
        gate: gate.clone(),
        looker: looker.clone(),
        settler,
        committer: committer.clone(),
        publisher,
        limiter,
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
    Ok((reservations, stock, audits))
}

/// Without Redis everything still works, through the limiter.
fn readiness(gate: &Gate) -> Readiness {
    match gate.state() {
        GateState::Up => Readiness::Ready,
        GateState::Partly => {
            Readiness::Degraded("some masters of the Redis cluster are not asked at present".to_owned())
        }
        GateState::Down => Readiness::Degraded("Redis is not asked at present".to_owned()),
    }
}
