//! Spans that kit's server stack cannot know of: a batch is one span with links to the requests in it.

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
