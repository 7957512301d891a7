//! Log lines as JSON: one object a line that reads alone, with the trace it belongs to and the fields of the spans around it.
//!
//! tracing-subscriber's own JSON parses and prints a span's fields anew whenever one is recorded, which every request would pay for several times; and it
//! does not know traces.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;

use opentelemetry::trace::TraceContextExt as _;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Writes each event to standard error.
pub(super) struct JsonLines;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let around = context.event_scope(event);
        for span in around.into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add_missing(outer);
            }
        }
        let mut line = line(event.metadata(), &fields);
        line.push('\n');
        // Whoever reads standard error may have gone; there is nowhere to complain.
        drop(std::io::stderr().lock().write_all(line.as_bytes()));
    }
}

fn line(metadata: &tracing::Metadata<'_>, fields: &Fields) -> String {
    let mut line = String::with_capacity(256);
    line.push_str("{\"time\":\"");
    SystemTime.format_time(&mut Writer::new(&mut line)).expect("writing into a String does not fail");
    line.push('"');
    let mut add = |name: &str, value: &Value| {
        write!(line, ",{}:{value}", Value::from(name)).expect("writing into a String does not fail");
    };
    let message = fields.0.iter().find(|(name, _)| *name == "message").map_or(&Value::Null, |(_, value)| value);
    let context = opentelemetry::Context::current();
    let trace = context.span().span_context().clone();
    add("level", &metadata.level().as_str().into());
    add("message", message);
    add("target", &metadata.target().into());
    for (name, value) in fields.0.iter().filter(|(name, _)| *name != "message") {
        add(name, value);
    }
    if trace.is_valid() {
        add("trace_id", &trace.trace_id().to_string().into());
        add("span_id", &trace.span_id().to_string().into());
    }
    line.push('}');
    line
}

/// Fields of an event or a span, in their order.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // Those speak to tracing-opentelemetry; the trace's id comes from the trace itself.
        if name.starts_with("otel.") || name == "trace_id" {
            return;
        }
        match self.0.iter_mut().find(|(there, _)| *there == name) {
            Some((_, there)) => *there = value,
            None => self.0.push((name, value)),
        }
    }

    /// What is said within counts more than what is said around.
    fn add_missing(&mut self, outer: &Self) {
        for (name, value) in &outer.0 {
            if !self.0.iter().any(|(there, _)| there == name) {
                self.0.push((name, value.clone()));
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}
