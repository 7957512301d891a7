//! W3C trace context out: what joins a caller's trace with Holdfast's spans.

use tonic::metadata::MetadataMap;

/// Writes the current span's context into `metadata`, by the process's propagator. Without a propagator, or without the feature, nothing.
#[cfg(feature = "trace-context")]
pub(crate) fn inject(metadata: &mut MetadataMap) {
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let context = tracing::Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Carrier(metadata));
    });
}

#[cfg(not(feature = "trace-context"))]
pub(crate) fn inject(_: &mut MetadataMap) {}

#[cfg(feature = "trace-context")]
struct Carrier<'a>(&'a mut MetadataMap);

#[cfg(feature = "trace-context")]
impl opentelemetry::propagation::Injector for Carrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

        // A propagator that writes what no header may carry is not worth failing a reservation for.
        if let (Ok(key), Ok(value)) = (MetadataKey::<Ascii>::from_bytes(key.as_bytes()), MetadataValue::try_from(value))
        {
            self.0.insert(key, value);
        }
    }
}
