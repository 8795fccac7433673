//! The spans of an event: its request, its publish, its processing, and its write.
//!
//! - If no traces are exported, each function here only reads one variable.
//! - The message on the queue carries the trace context of its publish.
//! - A batch has events of many traces. So a write has a trace of its own, with links to its events
//!   and back.
//! - Spans contain the ID, the type, the user's ID and the outcome of an event, and no other value
//!   of it.

use std::collections::HashMap;
use std::sync::OnceLock;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::clerk::{ClerkId, EventId, EventType, SignedEvent, TraceContext};

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Starts the creation of spans.
pub fn start(tracer: SdkTracer) {
    // Only tests have a second service in one process.
    let _first = TRACER.set(tracer);
}

/// W3C's two headers, as OpenTelemetry's propagator reads and writes them.
#[derive(Default)]
struct Headers {
    parent: String,
    state: String,
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Extractor for Headers {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(&self.parent),
            TRACESTATE => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        Vec::from([TRACEPARENT, TRACESTATE])
    }
}

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.parent = value,
            TRACESTATE => self.state = value,
            _ => {}
        }
    }
}

/// Returns the parent of a new span; an empty context without a trace.
fn parent_of(context: Option<&TraceContext>) -> Context {
    let Some(context) = context else {
        return Context::new();
    };
    let headers = Headers {
        parent: context.parent().to_owned(),
        state: context.state().to_owned(),
    };
    TraceContextPropagator::new().extract_with_context(&Context::new(), &headers)
}

fn context_of(span: &Span) -> Option<TraceContext> {
    let context = Context::new().with_remote_span_context(span.span_context().clone());
    let mut headers = Headers::default();
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    TraceContext::new(&headers.parent, &headers.state)
}

/// Returns the type of an event, or `other`: no text from outside gets into a span.
fn type_name(event_type: &EventType) -> &'static str {
    event_type.known_name().unwrap_or("other")
}

fn of_event(event: &SignedEvent) -> [KeyValue; 2] {
    [
        KeyValue::new("event_id", event.id().to_string()),
        KeyValue::new("event_type", type_name(event.event_type())),
    ]
}

fn fail(span: &mut Span, kind: &'static str) {
    span.set_attribute(KeyValue::new("error.type", kind));
    span.set_status(Status::error(kind));
}

/// The span of a delivery over HTTP.
pub struct RequestSpan(Span);

impl RequestSpan {
    /// Starts the span, as part of the trace in the request's headers. Returns `None` if no traces
    /// are exported.
    pub fn start<'a>(
        route: &'static str,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<Self> {
        let tracer = TRACER.get()?;
        let context = header(TRACEPARENT)
            .and_then(|parent| TraceContext::new(parent, header(TRACESTATE).unwrap_or("")));
        let builder = SpanBuilder::from_name(format!("POST {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("http.route", route),
            ]);
        Some(Self(
            tracer.build_with_context(builder, &parent_of(context.as_ref())),
        ))
    }

    /// Makes the event part of this trace.
    pub fn add_event(&mut self, event: SignedEvent) -> SignedEvent {
        self.0.set_attributes(of_event(&event));
        event.with_trace(context_of(&self.0))
    }

    /// Ends the span with the status of the answer and the code of the problem.
    pub fn end(mut self, status: u16, problem: Option<&'static str>) {
        self.0.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        // An error of the client is no error of a server span (OpenTelemetry's conventions for HTTP
        // spans).
        match problem {
            Some(code) if status >= 500 => fail(&mut self.0, code),
            Some(code) => self.0.set_attribute(KeyValue::new("error.type", code)),
            None => {}
        }
    }
}

/// The span of a publish.
pub struct PublishSpan(Option<Span>);

impl PublishSpan {
    /// Starts the span, as part of the event's trace or of a new one, and adds it to the event.
    pub fn start(event: SignedEvent, system: &'static str) -> (SignedEvent, Self) {
        let Some(tracer) = TRACER.get() else {
            return (event, Self(None));
        };
        let builder = SpanBuilder::from_name("publish")
            .with_kind(SpanKind::Producer)
            .with_attributes(of_event(&event).into_iter().chain([
                KeyValue::new("messaging.system", system),
                KeyValue::new("messaging.operation.type", "send"),
            ]));
        let span = tracer.build_with_context(builder, &parent_of(event.trace()));
        (event.with_trace(context_of(&span)), Self(Some(span)))
    }

    /// Ends the span.
    pub fn end(self, error: Option<&'static str>) {
        if let Some((mut span, kind)) = self.0.zip(error) {
            fail(&mut span, kind);
        }
    }
}

/// The spans of the events of a batch: each until its outcome, or until the event is returned to
/// the queue.
pub struct EventSpans(HashMap<EventId, Vec<Span>>);

/// The outcome of an event.
pub struct EventOutcome<'a> {
    /// `applied`, `stale` …
    pub status: &'static str,
    /// `None` if it cannot be read.
    pub clerk_id: Option<&'a ClerkId>,
    /// `None` unless it failed.
    pub error_code: Option<&'a str>,
}

impl EventSpans {
    /// Starts the spans.
    pub fn start(events: &[SignedEvent], system: &'static str) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self(HashMap::new());
        };
        let mut spans = HashMap::<_, Vec<_>>::with_capacity(events.len());
        for event in events {
            let builder = SpanBuilder::from_name("process")
                .with_kind(SpanKind::Consumer)
                .with_attributes(of_event(event).into_iter().chain([
                    KeyValue::new("messaging.system", system),
                    KeyValue::new("messaging.operation.type", "process"),
                ]));
            let span = tracer.build_with_context(builder, &parent_of(event.trace()));
            spans.entry(event.id().clone()).or_default().push(span);
        }
        Self(spans)
    }

    /// Starts the span of a write of these events, if one of them is recorded.
    pub fn start_write<'a>(
        &self,
        ids: impl Iterator<Item = &'a EventId>,
        database: &'static str,
    ) -> WriteSpan {
        let Some(tracer) = TRACER.get() else {
            return WriteSpan(None);
        };
        let mut events = 0_i64;
        let spans = ids
            .inspect(|_| events += 1)
            .filter_map(|id| self.0.get(id))
            .flatten();
        let recorded = spans.filter(|span| span.is_recording());
        let links: Vec<_> = recorded
            .map(|span| Link::with_context(span.span_context().clone()))
            .collect();
        if links.is_empty() {
            return WriteSpan(None);
        }
        let builder = SpanBuilder::from_name("apply")
            .with_kind(SpanKind::Client)
            .with_links(links)
            .with_attributes([
                KeyValue::new("db.system.name", database),
                KeyValue::new("db.operation.batch.size", events),
            ]);
        WriteSpan(Some(tracer.build_with_context(builder, &Context::new())))
    }

    /// Ends an event's spans. The write contained it.
    pub fn end_event(&mut self, id: &EventId, write: &WriteSpan, outcome: &EventOutcome<'_>) {
        if self.0.is_empty() {
            return;
        }
        for mut span in self.0.remove(id).into_iter().flatten() {
            span.set_attribute(KeyValue::new("status", outcome.status));
            if let Some(clerk_id) = outcome.clerk_id {
                span.set_attribute(KeyValue::new("clerk_id", clerk_id.to_string()));
            }
            if let Some(code) = outcome.error_code {
                span.set_attribute(KeyValue::new("error.type", code.to_owned()));
                span.set_status(Status::error(code.to_owned()));
            }
            if let WriteSpan(Some(write)) = write {
                span.add_link(write.span_context().clone(), Vec::new());
            }
        }
    }
}

impl Drop for EventSpans {
    fn drop(&mut self) {
        for span in self.0.values_mut().flatten() {
            fail(span, "given_back");
        }
    }
}

/// The span of a write.
pub struct WriteSpan(Option<Span>);

impl WriteSpan {
    /// Ends the span.
    pub fn end(&mut self, error: Option<&'static str>) {
        let Some(span) = &mut self.0 else { return };
        if let Some(kind) = error {
            fail(span, kind);
        }
        span.end();
    }
}
