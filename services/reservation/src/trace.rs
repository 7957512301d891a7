//! Spans that kit's server stack cannot know of: a batch is one span with links to the requests in it.

use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Links that a span may have, by the OpenTelemetry SDK's default limit.
const LINKS_MAX: usize = 128;

/// The span of a batch's commit, linked to its requests' spans.
pub(crate) fn batch_span<'a>(lane: &str, operations: usize, requests: impl Iterator<Item = &'a Span>) -> Span {
    let span = tracing::info_span!(
        "commit",
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.batch.size = operations,
        holdfast.lane = lane
    );
    for request in requests.take(LINKS_MAX) {
        let context = request.context();
        let request = context.span().span_context().clone();
        if request.is_valid() {
            span.add_link(request);
        }
    }
    span
}

/// Notes on a request's span how long it waited and in which batch's span it was committed: either finds the other.
pub(crate) fn note_batch(request: &Span, batch: &Span, waited: Duration) {
    let batch = batch.context().span().span_context().clone();
    if batch.is_valid() {
        request.set_attribute("holdfast.batch.span_id", batch.span_id().to_string());
        request.set_attribute("holdfast.queue.wait_seconds", waited.as_secs_f64());
    }
}

/// The trace that a request belongs to, for the ledger; none if it is not traced.
pub(crate) fn id_of(request: &Span) -> Option<String> {
    let context = request.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.trace_id().to_string())
}
