//! Logs and traces: set up at start, W3C trace context in and out, flushed at the end.

mod json;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::config::{LogFormat, TelemetryConfig};

/// How long sending the last spans may take.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// What carries spans to the collector.
const TRANSPORT: &[&str] = &["h2", "hyper", "tonic", "tower", "opentelemetry"];

/// Logs or traces that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("telemetry.log_filter is not understood: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter cannot be made.
    #[error("telemetry.otlp_endpoint cannot be used: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Something has set a subscriber already.
    #[error("telemetry is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps traces flowing; [`Guard::shutdown`] sends the last of them.
#[derive(Debug)]
#[must_use = "shut it down before the process ends, or the last spans are lost"]
pub struct Guard {
    provider: SdkTracerProvider,
}

/// Sets up logs and traces for the process. With an endpoint it must run within a tokio runtime.
///
/// Trace contexts are kept and passed on without an endpoint too, so that a trace does not end at a replica that records none.
///
/// # Errors
/// When the filter or the endpoint is not understood, or telemetry is set up already.
pub fn init(config: &TelemetryConfig, service: &'static str) -> Result<Guard, TelemetryError> {
    let provider = provider(config, service)?;
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("holdfast"))
        // Sending spans makes no spans, however much is logged.
        .with_filter(filter_fn(|metadata| !TRANSPORT.iter().any(|name| metadata.target().starts_with(name))));
    let json = match config.log_format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    // To standard error: standard output belongs to commands that print something.
    let (lines, text) = if json {
        (Some(json::JsonLines), None)
    } else {
        let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
        (None, Some(text.with_ansi(std::io::stderr().is_terminal())))
    };
    let filter = EnvFilter::try_new(&config.log_filter)?;
    Registry::default().with(filter).with(traces).with(lines).with(text).try_init()?;
    log_panics();
    Ok(Guard { provider })
}

/// Panics go to the log like everything else, with their place and within the span that they happened in. Whoever catches one need not log it again.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without a text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(place, %backtrace, "panic: {message}");
    }));
}

fn provider(config: &TelemetryConfig, service: &'static str) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new(names::SERVICE_NAME, service),
            KeyValue::new(names::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            KeyValue::new(names::SERVICE_INSTANCE_ID, instance(config)),
        ])
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    if config.otlp_endpoint.is_empty() {
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_endpoint)
        .with_timeout(FLUSH_MAX)
        .build()?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sampling_ratio)));
    Ok(builder.with_sampler(sampler).with_batch_exporter(exporter).build())
}

fn instance(config: &TelemetryConfig) -> String {
    if !config.instance.is_empty() {
        return config.instance.clone();
    }
    std::env::var("HOSTNAME").unwrap_or_else(|_| std::process::id().to_string())
}

impl Guard {
    /// Sends the last spans; bounded. A collector that does not listen is logged and forgiven.
    pub async fn shutdown(self) {
        let provider = self.provider;
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_MAX));
        match tokio::time::timeout(FLUSH_MAX + Duration::from_secs(1), flushed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans could not be sent"),
            Ok(Err(error)) => tracing::warn!(%error, "sending the last spans panicked"),
            Err(_) => tracing::warn!("the last spans could not be sent in time"),
        }
    }
}

/// A tonic client's interceptor: sends the current span's trace context with the call.
///
/// `CatalogServiceClient::with_interceptor(channel, holdfast_kit::propagate)`
///
/// # Errors
/// None; interceptors have this shape.
pub fn propagate(mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
    inject(&tracing::Span::current().context(), request.metadata_mut());
    Ok(request)
}

/// Writes a trace context into metadata.
pub(crate) fn inject(context: &Context, metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(context, &mut Metadata(metadata));
}

/// The trace context that came with a request.
pub(crate) fn extract(headers: &http::HeaderMap) -> Context {
    TraceContextPropagator::new().extract(&Headers(headers))
}

/// The trace id of a span, if it has one: 32 hexadecimal digits.
pub(crate) fn trace_id(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

/// The same, if the trace is recorded.
pub(crate) fn sampled_trace_id(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_sampled().then(|| context.trace_id().to_string())
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value)) {
            self.0.insert(key, value);
        }
    }
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// The names of attributes by OpenTelemetry's semantic conventions 1.44, in one place.
pub mod names {
    /// Which service.
    pub const SERVICE_NAME: &str = "service.name";
    /// Which version of it.
    pub const SERVICE_VERSION: &str = "service.version";
    /// Which replica of it.
    pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
    /// `grpc`.
    pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
    /// The full method without its leading slash.
    pub const RPC_METHOD: &str = "rpc.method";
    /// The gRPC code's name: `OK`, `DEADLINE_EXCEEDED`.
    pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
    /// On errors of ours only: the code's name.
    pub const ERROR_TYPE: &str = "error.type";
    /// `postgresql`, `redis`.
    pub const DB_SYSTEM_NAME: &str = "db.system.name";
    /// The statement's or command's verb.
    pub const DB_OPERATION_NAME: &str = "db.operation.name";
    /// Queries or commands sent together, when more than one.
    pub const DB_OPERATION_BATCH_SIZE: &str = "db.operation.batch.size";
    /// A script's or function's name.
    pub const DB_STORED_PROCEDURE_NAME: &str = "db.stored_procedure.name";
    /// The main table.
    pub const DB_COLLECTION_NAME: &str = "db.collection.name";
}
