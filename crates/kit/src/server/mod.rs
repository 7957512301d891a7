//! The gRPC server that every service runs in: its stack of checks, health, reflection, the admin port, and an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;

use crate::callers::{Callers, CallersError};
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

/// A server in the making: services are added, then it serves.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    common: Common,
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
            common: common.clone(),
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

    /// Serves until `shutdown` is cancelled, and then until requests in flight have ended, at most `drain_seconds_max`. `readiness` is asked by `/readyz`
    /// and about once a second for gRPC's health; it must answer at once from what is known.
    ///
    /// # Errors
    /// When a port cannot be served. Effects of requests that were in flight are then unknown to their callers.
    pub async fn serve(
        self,
        listeners: Listeners,
        readiness: impl Fn() -> Readiness + Send + Sync + 'static,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let _ = (
            Arc::new(readiness),
            Callers::new(&self.common.callers)?,
            Duration::ZERO,
            self.name,
            self.table,
            &self.metrics,
            &self.config,
        );
        let incoming = tonic::transport::server::TcpIncoming::from(listeners.grpc).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
            .await?;
        Ok(())
    }
}
