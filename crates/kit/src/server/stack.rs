//! What happens to every request before and after its handler, in one function that reads from the outside in.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;
use tracing::Instrument as _;

use super::limit::Limited;
use super::observe::{Observed, RpcMetrics};
use super::places::Places;
use super::timeout;
use crate::callers::{Caller, Callers};
use crate::config::ServerConfig;
use crate::methods::{Method, MethodTable, Priority};
use crate::request::{Attempt, Deadline};
use crate::{Problem, Role};

/// What anybody may call: whether we live, and what we speak. They take no place, so that probes see a full server as it is: alive.
pub(super) const OPEN: &[&str] = &[
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) table: &'static MethodTable,
    pub(super) callers: Callers,
    pub(super) metrics: Arc<RpcMetrics>,
    pub(super) places: Places,
    /// Ends open streams with SHUTTING_DOWN.
    pub(super) stopping: CancellationToken,
}

/// The stack around the generated services.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    pub(super) shared: Arc<Shared>,
    pub(super) routes: Routes,
}

impl Service<Request<Body>> for Stack {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // What is full says so (see `admitted`); making callers wait here would only hide it from them.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { shared, routes } = self.clone();
        Box::pin(async move { Ok(shared.answer(request, routes).await) })
    }
}

/// Which row a request falls under.
#[derive(Clone, Copy)]
enum Known {
    Row(&'static Method),
    Open(&'static str),
    Unknown,
}

impl Shared {
    /// 1. Observing is outermost, so that every answer has its span, its numbers and exactly one reason, whoever made it: a handler, a layer below, tonic.
    async fn answer(&self, request: Request<Body>, routes: Routes) -> Response<Body> {
        let known = self.known(request.uri().path());
        let method = match known {
            Known::Row(row) => row.path,
            Known::Open(path) => path,
            Known::Unknown => "unknown",
        };
        let observed = Observed::begin(&self.metrics, method, request.headers());
        let span = observed.span().clone();
        let response = async {
            match self.admitted(request, known, routes).await {
                Ok(response) => response,
                Err(problem) => Status::from(problem).into_http(),
            }
        };
        observed.end(response.instrument(span).await, self.stopping.clone())
    }

    async fn admitted(
        &self,
        mut request: Request<Body>,
        known: Known,
        routes: Routes,
    ) -> Result<Response<Body>, Problem> {
        // 2. Before anything is spent on it: is there such a method, and may this caller call it? An unknown method comes first, for a table cannot say who
        //    may call it.
        let (row, caller) = match known {
            Known::Unknown => return Err(unknown_method(request.uri().path())),
            Known::Open(_) => (None, Caller::nobody()),
            Known::Row(row) => (Some(row), self.authorized(row.roles, request.headers())?),
        };
        tracing::Span::current().record("caller", &*caller.name);

        // 3. A place, after the check, so that strangers cannot fill the server; before the deadline, so that a shed request costs next to nothing.
        let _place = match row {
            None => None,
            Some(row) => Some(self.places.take(row.priority).ok_or_else(|| self.overloaded(row.priority))?),
        };

        // 4. The deadline covers all that follows. tonic's own timeout says CANCELLED, which to a caller means that he did it himself.
        let headers = request.headers();
        let asked = timeout::asked(headers)?.unwrap_or(Duration::from_millis(self.config.deadline_default_ms));
        let deadline = Deadline::after(asked.min(Duration::from_millis(self.config.deadline_max_ms)));
        let attempt = attempt(headers);
        let extensions = request.extensions_mut();
        extensions.insert(caller);
        extensions.insert(deadline);
        extensions.insert(attempt);

        // 5. Messages are measured where they are read: each has its length in front, so a large one is refused before its bytes have come.
        let bytes_max = self.config.message_bytes_max;
        let request = request.map(|body| Body::new(Limited::new(body, bytes_max)));

        // 6. Panics are caught innermost: one bad request must not close the connection under all the others on it.
        match timeout_at(deadline.instant.into(), caught(routes, request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(panicked()),
            Err(_) => Err(Problem::new(
                ErrorReason::DeadlineExceeded,
                "the deadline passed first; whether the effect happened is unknown: retry with the same key",
            )),
        }
    }

    fn known(&self, path: &str) -> Known {
        match (self.table.find(path), OPEN.iter().find(|open| **open == path)) {
            (Some(row), _) => Known::Row(row),
            (None, Some(open)) => Known::Open(open),
            (None, None) => Known::Unknown,
        }
    }

    fn authorized(&self, roles: &[Role], headers: &HeaderMap) -> Result<Caller, Problem> {
        let header = headers.get(AUTHORIZATION);
        let Some(caller) = self.callers.identify(header.map(http::HeaderValue::as_bytes)) else {
            return Err(Problem::new(
                ErrorReason::Unauthenticated,
                "the authorization header has no token that is known here",
            ));
        };
        if caller.has_any(roles) {
            return Ok(caller);
        }
        let needed = roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
        let problem = if header.is_none() {
            Problem::new(
                ErrorReason::Unauthenticated,
                "this method needs a caller: send `authorization: Bearer <token>`",
            )
        } else {
            Problem::new(ErrorReason::MethodNotAllowed, format!("{} may not call this method", caller.name))
        };
        Err(problem.metadata("roles", needed))
    }

    fn overloaded(&self, priority: Priority) -> Problem {
        // Spread, so that those who were shed together do not come back together.
        let delay = Duration::from_millis(self.config.overload_retry_ms).mul_f64(rand::random_range(0.5..1.5));
        Problem::new(ErrorReason::Overloaded, "too many requests are in flight; nothing was done")
            .metadata("limit", "server.requests_in_flight_max")
            .metadata("priority", format_args!("{priority:?}"))
            .retry_after(delay)
    }
}

fn unknown_method(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::new(ErrorReason::UnknownMethod, format!("there is no method {shown:?} here"))
}

/// The panic itself is in the log already, with its place: the panic hook wrote it.
pub(super) fn panicked() -> Problem {
    Problem::defect_known()
}

fn attempt(headers: &HeaderMap) -> Attempt {
    let previous = headers.get("grpc-previous-rpc-attempts").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    Attempt(previous.unwrap_or(0).saturating_add(1))
}

async fn caught(mut routes: Routes, request: Request<Body>) -> Result<Response<Body>, Box<dyn Any + Send>> {
    let mut response = pin!(async move {
        match routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    });
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| response.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
