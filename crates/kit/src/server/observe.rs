//! Watches a request from its head to the last byte of its answer: its span, its numbers, and the status that it ends with.

use std::any::Any;
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use holdfast_api::error::v1::ErrorReason;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::normalise::normalised;
use super::stack::panicked;
use crate::methods::MethodTable;
use crate::metrics::{Metrics, SECONDS};
use crate::telemetry::{self, names};
use crate::{Problem, problem};

/// The numbers of the server itself.
#[derive(Debug)]
pub(super) struct RpcMetrics {
    requests: Family<Outcome, Counter>,
    seconds: Family<OfMethod, HistogramWithExemplars<OfTrace>, Seconds>,
    /// Requests that have a place.
    pub(super) in_flight: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    code: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMethod {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrace {
    trace_id: String,
}

#[derive(Debug, Clone)]
struct Seconds;

impl MetricConstructor<HistogramWithExemplars<OfTrace>> for Seconds {
    fn new_metric(&self) -> HistogramWithExemplars<OfTrace> {
        HistogramWithExemplars::new(SECONDS.iter().copied())
    }
}

impl RpcMetrics {
    /// Declares them.
    pub(super) fn declare(metrics: &Metrics, table: &MethodTable) -> Self {
        let started: Gauge<f64, AtomicU64> = metrics.register(
            "holdfast_process_start_time_seconds",
            "When the process started, in seconds since 1970: it changes when a replica is started anew",
            Gauge::default(),
        );
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        started.set(since_1970.as_secs_f64());
        let declared = Self::declare_own(metrics);
        // Counts that begin at 0 can be seen to grow by their first failure; a count that appears with it cannot.
        for row in table.rows() {
            for (code, reason) in FORESEEN {
                let labels = Outcome { method: row.path, code: code_name(*code), reason };
                declared.requests.get_or_create(&labels).inc_by(0);
            }
        }
        declared
    }

    fn declare_own(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.register(
                "holdfast_rpc_server_requests",
                "Requests answered, by full method, gRPC code and reason (empty for OK)",
                Family::default(),
            ),
            seconds: metrics.register(
                "holdfast_rpc_server_duration_seconds",
                "Time from a request's head to the end of its answer, by full method; a stream's whole life",
                Family::new_with_constructor(Seconds),
            ),
            in_flight: metrics.gauge("holdfast_rpc_server_in_flight", "Requests whose handlers are at work"),
        }
    }
}

/// Answers that are counted from 0 on for every method: the good one, and those that are the service's fault.
const FORESEEN: &[(Code, &str)] = &[
    (Code::Ok, ""),
    (Code::ResourceExhausted, "OVERLOADED"),
    (Code::Unavailable, "STORE_UNAVAILABLE"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::Internal, "INTERNAL"),
];

/// A request that is being watched. If it is dropped before its end, the caller has gone: CANCELLED.
#[derive(Debug)]
pub(super) struct Observed {
    metrics: Arc<RpcMetrics>,
    method: &'static str,
    span: tracing::Span,
    started: Instant,
    ended: bool,
}

impl Observed {
    pub(super) fn begin(metrics: &Arc<RpcMetrics>, method: &'static str, headers: &HeaderMap) -> Self {
        let name = method.trim_start_matches('/');
        let span = tracing::info_span!(
            "rpc",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            { names::RPC_SYSTEM_NAME } = "grpc",
            { names::RPC_METHOD } = name,
            { names::RPC_RESPONSE_STATUS_CODE } = Empty,
            { names::ERROR_TYPE } = Empty,
            trace_id = Empty,
            caller = Empty,
        );
        // Fails only where no layer keeps traces.
        drop(span.set_parent(telemetry::extract(headers)));
        if let Some(id) = telemetry::trace_id(&span) {
            span.record("trace_id", id);
        }
        Self { metrics: Arc::clone(metrics), method, span, started: Instant::now(), ended: false }
    }

    pub(super) fn span(&self) -> &tracing::Span {
        &self.span
    }

    /// The answer as it leaves. One without a message has its status in the headers, others behind the last message.
    pub(super) fn end(mut self, mut response: Response<Body>, stopping: CancellationToken) -> Response<Body> {
        if self.ends_with(response.headers_mut()) {
            return response;
        }
        response
            .map(|inner| Body::new(Answer { inner, observed: self, stopping: Stopping::Token(stopping), done: false }))
    }

    /// Looks for the final status in headers or trailers, gives it a reason, and notes the end.
    fn ends_with(&mut self, headers: &mut HeaderMap) -> bool {
        let Some(status) = Status::from_header_map(headers) else { return false };
        if status.code() == Code::Ok {
            self.note(Code::Ok, "");
            return true;
        }
        let status = self.span.in_scope(|| normalised(status));
        for header in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            headers.remove(header);
        }
        if status.add_header(headers).is_err() {
            headers.insert("grpc-status", http::HeaderValue::from_static("13"));
        }
        self.note(status.code(), problem::reason_of(&status).map_or("", problem::reason_name));
        true
    }

    /// Trailers for a problem that ends a stream from outside.
    fn trailers_of(&mut self, problem: Problem) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        drop(self.span.in_scope(|| Status::from(problem)).add_header(&mut trailers));
        self.ends_with(&mut trailers);
        trailers
    }

    fn note(&mut self, code: Code, reason: &'static str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let code_text = code_name(code);
        self.span.record(names::RPC_RESPONSE_STATUS_CODE, code_text);
        if is_our_error(code) {
            self.span.record(names::ERROR_TYPE, code_text);
            self.span.record("otel.status_code", "ERROR");
        }
        let elapsed = self.started.elapsed();
        let trace = telemetry::sampled_trace_id(&self.span).map(|trace_id| OfTrace { trace_id });
        let Self { metrics, method, .. } = self;
        metrics.requests.get_or_create(&Outcome { method, code: code_text, reason }).inc();
        metrics.seconds.get_or_create(&OfMethod { method }).observe(elapsed.as_secs_f64(), trace, None);
        self.span.in_scope(|| {
            tracing::debug!(method, code = code_text, reason, elapsed_us = elapsed.as_micros(), "answered");
        });
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.note(Code::Cancelled, "");
    }
}

/// The body of an answer that is being watched.
struct Answer {
    inner: Body,
    observed: Observed,
    stopping: Stopping,
    done: bool,
}

/// What ends a stream from outside. Most answers never wait, so the waiting is made when the first one does.
enum Stopping {
    Token(CancellationToken),
    Waiting(Pin<Box<WaitForCancellationFutureOwned>>),
}

impl Stopping {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Waiting(waiting) => return waiting.as_mut().poll(context),
                Self::Token(token) => *self = Self::Waiting(Box::pin(token.clone().cancelled_owned())),
            }
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let polled = {
            let this = &mut *self;
            let _entered = this.observed.span.enter();
            catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.inner).poll_frame(context)))
        };
        match polled {
            Ok(Poll::Pending) if self.stopping.poll(context).is_ready() => {
                let problem =
                    Problem::new(ErrorReason::ShuttingDown, "this replica is going away; another one will answer");
                Poll::Ready(Some(Ok(self.ended_by(problem))))
            }
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Some(Ok(frame)))) => Poll::Ready(Some(Ok(self.passed(frame)))),
            Ok(Poll::Ready(Some(Err(error)))) => Poll::Ready(Some(Ok(self.ended_by(Problem::defect(error))))),
            Ok(Poll::Ready(None)) => {
                self.done = true;
                self.observed.note(Code::Ok, "");
                Poll::Ready(None)
            }
            Err(panic) => {
                let _: Box<dyn Any + Send> = panic;
                Poll::Ready(Some(Ok(self.ended_by(panicked()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Answer {
    fn passed(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                self.done = true;
                if !self.observed.ends_with(&mut trailers) {
                    self.observed.note(Code::Ok, "");
                }
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }
    }

    fn ended_by(&mut self, problem: Problem) -> Frame<Bytes> {
        self.done = true;
        // Nothing of the handler's stays behind a finished answer.
        self.inner = Body::empty();
        Frame::trailers(self.observed.trailers_of(problem))
    }
}

/// On a server only these are errors of the server's; sold out does not redden our spans.
fn is_our_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code's name in the specification.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
