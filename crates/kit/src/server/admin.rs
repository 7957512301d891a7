//! The admin port: plain HTTP for those who look after the process.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Readiness;
use crate::metrics::Metrics;

/// Whether the service can serve, asked anew each time.
pub(super) type Ask = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// Serves until `end` is cancelled. It outlives the gRPC port, so that a probe sees why the replica takes no more.
pub(super) async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Ask,
    end: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        // The process answers: that is all that liveness means. A store that is away is no reason to restart us.
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(move || std::future::ready(readyz(&readiness()))))
        .route(
            "/metrics",
            get(move || {
                let text = metrics.encode();
                async { ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text) }
            }),
        );
    axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
}

fn readyz(readiness: &Readiness) -> (StatusCode, String) {
    match readiness {
        Readiness::Ready => (StatusCode::OK, String::from("ready\n")),
        Readiness::Degraded(why) => (StatusCode::OK, format!("degraded: {why}\n")),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}
