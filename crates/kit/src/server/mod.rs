//! The gRPC server that every service runs in: its stack of checks, health, reflection, the admin port, and an orderly end.

mod admin;
mod limit;
mod normalise;
mod observe;
mod places;
mod stack;
mod timeout;
mod whole;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use self::admin::Ask;
use self::observe::RpcMetrics;
use self::places::Places;
use self::stack::{Shared, Stack};
pub use self::whole::WholeStreams;
use crate::callers::{Callers, CallersConfig, CallersError};
use crate::config::{Common, ServerConfig};
use crate::listeners::Listeners;
use crate::methods::MethodTable;
use crate::metrics::Metrics;

/// Whether the service can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Everything is there.
    Ready,
    /// It serves, and something is missing (Redis, say). Counts as ready: one blip must not take every replica out.
    Degraded(String),
    /// It cannot serve, and why.
    NotReady(String),
}

/// A server that failed. Requests in flight were cut off.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configured callers cannot be told apart.
    #[error("callers: {0}")]
    Callers(#[from] CallersError),
    /// Reflection cannot read the descriptors.
    #[error("reflection cannot be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The admin port failed.
    #[error("the admin port failed: {0}")]
    Admin(#[source] std::io::Error),
}

/// How long the admin port may take to answer what it is asked at the end.
const ADMIN_END_MAX: Duration = Duration::from_secs(1);
/// How often gRPC's health follows readiness.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// A server in the making: services are added, then it serves.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    callers: CallersConfig,
    name: &'static str,
    table: &'static MethodTable,
    metrics: Metrics,
    routes: RoutesBuilder,
}

impl Server {
    /// A server without services. `name` is the service's ([`crate::Service::NAME`]); `table` says who may call what; `metrics` is what `/metrics` shows,
    /// and gets the server's own.
    #[must_use]
    pub fn new(common: &Common, name: &'static str, table: &'static MethodTable, metrics: &Metrics) -> Self {
        Self {
            config: common.server.clone(),
            callers: common.callers.clone(),
            name,
            table,
            metrics: metrics.clone(),
            routes: RoutesBuilder::default(),
        }
    }

    /// Adds a generated service: `ReservationServiceServer::new(…)`.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self
    }

    /// Serves until `shutdown` is cancelled, and then until requests in flight have ended, at most `drain_seconds_max`.
    ///
    /// `readiness` is asked by `/readyz` and about once a second for gRPC's health; it must answer at once from what is known. Streams should end
    /// themselves, with their last token, when `shutdown` is cancelled; those that are still open after a third of the time are ended with
    /// SHUTTING_DOWN.
    ///
    /// # Errors
    /// When a port cannot be served. Effects of requests that were in flight are then unknown to their callers.
    pub async fn serve(
        self,
        listeners: Listeners,
        readiness: impl Fn() -> Readiness + Send + Sync + 'static,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let readiness = unless_ending(readiness, shutdown.clone());
        let (reporter, health) = health_reporter();
        let mut names = vec!["", self.name];
        names.extend(self.table.services());
        let routes = with_reflection(self.routes.routes().add_service(health), self.table.services())?;

        let metrics = Arc::new(RpcMetrics::declare(&self.metrics, self.table));
        let stopping = CancellationToken::new();
        let places = Places::new(self.config.requests_in_flight_max, metrics.in_flight.clone());
        let watched = places.clone();
        self.metrics.saturation().watch("requests", move || watched.fill());
        let shared = Arc::new(Shared {
            table: self.table,
            callers: Callers::new(&self.callers)?,
            places,
            metrics,
            stopping: stopping.clone(),
            config: self.config,
        });

        let ended = CancellationToken::new();
        // Whatever way this function ends, the two helpers end with it.
        let _end_helpers = ended.clone().drop_guard();
        let admin = tokio::spawn(admin::serve(listeners.admin, self.metrics, Arc::clone(&readiness), ended.clone()));
        let mut health = Health { reporter, names, readiness, last: None };
        // Before the first connection, which must not hear tonic's default: serving.
        health.tell().await;
        tokio::spawn(health.follow(shutdown.clone(), ended.clone()));

        let incoming = TcpIncoming::from(listeners.grpc).with_nodelay(Some(true));
        let stack = Stack { shared: Arc::clone(&shared), routes: routes.prepare() };
        let serving =
            transport(&shared.config).serve_with_incoming_shutdown(stack, incoming, shutdown.clone().cancelled_owned());
        let drained = tokio::select! {
            done = serving => done,
            () = drain(shutdown, stopping, shared.config.drain_max()) => {
                tracing::warn!(in_flight = shared.places.taken(), "the drain's time is over: what is left is cut off");
                Ok(())
            }
        };
        ended.cancel();
        let abort = admin.abort_handle();
        match timeout(ADMIN_END_MAX, admin).await {
            Ok(Ok(Err(error))) => Err(ServeError::Admin(error)),
            Ok(Ok(Ok(())) | Err(_)) => Ok(drained?),
            // A request that was begun there and never went on.
            Err(_) => {
                abort.abort();
                Ok(drained?)
            }
        }
    }
}

/// The transport's own limits.
fn transport(config: &ServerConfig) -> tonic::transport::Server {
    let nonzero = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    let mut server = tonic::transport::Server::builder()
        // tonic passes none by default, which removes hyper's own limit of 200.
        .max_concurrent_streams(config.concurrent_streams_max)
        .http2_max_header_list_size(config.header_list_bytes_max)
        .http2_keepalive_interval(nonzero(config.keepalive_seconds))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)));
    // Never the grace beside the age: with it connections are cut without a GOAWAY. The age is drawn anew by each process, so that replicas that were
    // started together do not lose all their clients together.
    if let Some(age) = nonzero(config.connection_age_seconds_max) {
        server = server.max_connection_age(age.mul_f64(rand::random_range(0.9..1.1)));
    }
    server
}

/// Both versions of reflection: some clients speak only the older one. They list what this process serves.
fn with_reflection(routes: Routes, services: &[&'static str]) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(holdfast_api::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

/// Readiness that says no from the moment that the process is asked to end.
fn unless_ending(readiness: impl Fn() -> Readiness + Send + Sync + 'static, shutdown: CancellationToken) -> Ask {
    Arc::new(
        move || {
            if shutdown.is_cancelled() { Readiness::NotReady(String::from("shutting down")) } else { readiness() }
        },
    )
}

/// gRPC's health of the process (the empty name) and of each of its services.
struct Health {
    reporter: HealthReporter,
    names: Vec<&'static str>,
    readiness: Ask,
    last: Option<bool>,
}

impl Health {
    /// Asks for readiness and tells of a change.
    async fn tell(&mut self) {
        let now = (self.readiness)();
        let serving = !matches!(now, Readiness::NotReady(_));
        if self.last == Some(serving) {
            return;
        }
        tracing::info!(readiness = ?now, "readiness changed");
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in &self.names {
            self.reporter.set_service_status(*name, status).await;
        }
        self.last = Some(serving);
    }

    /// Follows readiness until `ended`.
    async fn follow(mut self, shutdown: CancellationToken, ended: CancellationToken) {
        let mut ticks = interval(HEALTH_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = shutdown.cancelled(), if self.last != Some(false) => {}
                _ = ticks.tick() => {}
            }
            self.tell().await;
        }
    }
}

/// Waits for the end to be asked for and then for as long as it may take; ends streams after a third of that.
async fn drain(shutdown: CancellationToken, stopping: CancellationToken, max: Duration) {
    shutdown.cancelled().await;
    sleep(max / 3).await;
    stopping.cancel();
    sleep(max - max / 3).await;
}
