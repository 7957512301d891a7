//! Hears what the gate logs in this thread, so that a test can tell whether an operator is told what is wrong.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// The lines that were logged, as long as it lives.
pub(crate) struct Heard {
    lines: Arc<Mutex<String>>,
    _guard: DefaultGuard,
}

/// Listens to this thread.
pub(crate) fn listen() -> Heard {
    let lines = Arc::default();
    let guard = tracing::subscriber::set_default(Ear(Arc::clone(&lines)));
    Heard { lines, _guard: guard }
}

impl Heard {
    pub(crate) fn text(&self) -> String {
        self.lines.lock().unwrap().clone()
    }
}

struct Ear(Arc<Mutex<String>>);

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("holdfast")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push_str(&(line.0 + "\n"));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}
