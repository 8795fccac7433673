//! A trace leads from the request over the queue to the commit, to a collector that may be away or
//! hang.

use clerk_sync::clerk::EventId;
use clerk_sync::clock::now;
use clerk_sync::store::Status;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use serde_json::json;

use crate::support::app::{App, Place, SECRET, headers, signing_secret, until};
use crate::support::broker::connect;
use crate::support::collector::{Collector, Manner, Span};
use crate::support::proxy::Proxy;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn update(user: &str, ms: i64) -> String {
    let ms = 1_795_172_400_000 + ms;
    let data = json!({
        "id": user, "updated_at": ms, "first_name": "Adamantina", "primary_email_address_id": "idn_1",
        "email_addresses": [{"id": "idn_1", "email_address": "ada.private@example.com"}],
    });
    json!({"data": data, "timestamp": ms, "type": "user.updated"}).to_string()
}

/// Delivers as somebody whose own trace it is a part of.
async fn deliver_traced(app: &App, id: &str, body: String, is_sampled: bool) {
    let signature = signing_secret(SECRET).sign(&EventId::new(id).unwrap(), now(), body.as_bytes());
    let mut headers = headers(id, now(), &signature);
    headers.push((
        "traceparent".into(),
        format!("00-{TRACE}-{CALLER}-0{}", u8::from(is_sampled)),
    ));
    headers.push(("tracestate".into(), "vendor=opaque".into()));
    until("it is queued", async || {
        app.post(&headers, body.clone().into_bytes())
            .await
            .unwrap()
            .status
            == 200
    })
    .await;
}

/// What a process is started with: its spans are sent soon.
fn variables<'a>(url: &'a str, service: &'a str) -> Vec<(&'a str, &'a str)> {
    Vec::from([
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_SERVICE_NAME", service),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb%3Dc%20d"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ])
}

async fn spans_until(
    collector: &Collector,
    what: &str,
    holds: impl Fn(&[Span]) -> bool,
) -> Vec<Span> {
    until(what, async || holds(&collector.spans())).await;
    collector.spans()
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found
        .next()
        .unwrap_or_else(|| panic!("no span {name} in {spans:#?}"));
    assert!(found.next().is_none(), "two spans {name}");
    span
}

const REQUEST: &str = "POST /api/webhooks/clerk";

/// The four spans of one event that was delivered by `deliver_traced` and applied.
fn lead_from_the_request_to_the_commit(
    spans: &[Span],
    receiver: &str,
    worker: &str,
    systems: [&str; 2],
) {
    let [request, publish, process, apply] =
        [REQUEST, "publish", "process", "apply"].map(|name| one(spans, name));
    assert_eq!(request.parent, CALLER, "the caller's trace goes on");
    assert_eq!(publish.parent, request.id);
    assert_eq!(process.parent, publish.id, "over the queue");
    for (span, service, kind) in [
        (request, receiver, 2),
        (publish, receiver, 4),
        (process, worker, 5),
    ] {
        assert_eq!(
            (span.trace.as_str(), span.state.as_str()),
            (TRACE, "vendor=opaque"),
            "{}",
            span.name
        );
        assert_eq!(
            (span.service.as_str(), span.kind, span.is_error),
            (service, kind, false),
            "{}",
            span.name
        );
        assert_eq!(span.team.as_deref(), Some("a,b=c d"));
        assert_eq!(span.attributes["event_id"], "msg_1");
        assert_eq!(span.attributes["event_type"], "user.updated");
    }
    assert_eq!(request.attributes["http.response.status_code"], "200");
    assert_eq!(publish.attributes["messaging.system"], systems[0]);
    assert_eq!(
        (
            process.attributes["status"].as_str(),
            process.attributes["clerk_id"].as_str()
        ),
        ("applied", "user_1")
    );

    assert!(
        apply.parent.is_empty() && apply.trace != TRACE,
        "a write has events of many traces"
    );
    assert_eq!(
        (
            apply.service.as_str(),
            apply.attributes["db.system.name"].as_str()
        ),
        (worker, systems[1])
    );
    assert_eq!(
        (&apply.links, &process.links),
        (&vec![process.id.clone()], &vec![apply.id.clone()])
    );
    assert!(
        apply.took_ns > 0 && process.took_ns >= apply.took_ns,
        "an event is processed until its commit"
    );
    let text = format!("{spans:?}");
    for private in [
        "ada.private",
        "Adamantina",
        "whsec",
        "postgres://",
        "amqp://",
    ] {
        assert!(!text.contains(private), "{private} is sent: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_over_rabbitmq() {
    let (place, collector) = (Place::servers().await, Collector::start().await);
    place.succeed(&["migrate"]);
    let url = collector.url();
    let file = place.directory().join("headers");
    std::fs::write(&file, "authorization=Bearer%20let-me-in,x-tenant=acme\n").unwrap();
    let mut of_receiver = variables(&url, "receiver");
    of_receiver.push(("OTEL_EXPORTER_OTLP_HEADERS_FILE", file.to_str().unwrap()));
    let receiver = place.start(&["receiver"], &of_receiver).await;
    let worker = place.start(&["worker"], &variables(&url, "worker")).await;

    deliver_traced(&receiver, "msg_1", update("user_1", 0), true).await;
    assert_eq!(worker.settled("msg_1").await.status, Status::Applied);
    let spans = spans_until(&collector, "all spans are there", |spans| spans.len() >= 4).await;
    lead_from_the_request_to_the_commit(&spans, "receiver", "worker", ["rabbitmq", "postgresql"]);

    let requests = collector.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.line == "POST /v1/traces HTTP/1.1")
    );
    assert!(
        requests
            .iter()
            .all(|request| request.headers["content-type"] == "application/x-protobuf")
    );
    let of_receiver = requests
        .iter()
        .find(|request| request.headers.contains_key("x-tenant"))
        .unwrap();
    assert_eq!(of_receiver.headers["authorization"], "Bearer let-me-in");
    for app in [receiver, worker] {
        assert!(app.log().iter().all(|line| !line.contains("let-me-in")));
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_crosses_the_embedded_queue_and_errors_are_recorded() {
    let (place, collector) = (Place::embedded(), Collector::start().await);
    // A variable may stand in the file as well.
    std::fs::write(
        place.directory().join(".env"),
        format!("OTEL_EXPORTER_OTLP_ENDPOINT={}/", collector.url()),
    )
    .unwrap();
    let mut variables = variables("", "one");
    variables.retain(|(_, value)| !value.is_empty());
    let app = place.start(&["serve"], &variables).await;
    deliver_traced(&app, "msg_1", update("user_1", 0), true).await;
    app.settled("msg_1").await;
    let spans = spans_until(&collector, "all spans are there", |spans| spans.len() >= 4).await;
    lead_from_the_request_to_the_commit(&spans, "one", "one", ["sqlite", "sqlite"]);

    // Without a trace of the caller's, one begins here.
    app.deliver("msg_2", "no JSON").await;
    app.deliver("msg_3", r#"{"type":"ada.private@example.com"}"#)
        .await;
    app.post(&headers("msg_4", now(), "v1,AAAA"), Vec::new())
        .await;
    let complete = |spans: &[Span]| spans.iter().filter(|span| span.name == REQUEST).count() == 4;
    spans_until(&collector, "the requests are there", complete).await;
    until("what failed is there", async || {
        !collector.with("process", "event_id", "msg_2").is_empty()
    })
    .await;
    let failed = &collector.with("process", "event_id", "msg_2")[0];
    assert!(failed.is_error);
    assert_eq!(
        (
            failed.attributes["status"].as_str(),
            failed.attributes["error.type"].as_str()
        ),
        ("failed", "not_json")
    );
    let request = &collector.with(REQUEST, "event_id", "msg_2")[0];
    assert!(request.parent.is_empty() && request.trace == failed.trace && request.trace != TRACE);
    assert_eq!(
        collector.with(REQUEST, "event_id", "msg_3")[0].attributes["event_type"],
        "other"
    );
    let refused = &collector.with(REQUEST, "http.response.status_code", "400")[0];
    assert!(!refused.is_error && !refused.attributes.contains_key("event_id"));
    assert_eq!(refused.attributes["error.type"], "invalid_signature");
    assert!(!format!("{:?}", collector.spans()).contains("ada.private"));
    assert!(app.stop().success());
}

/// The events of a batch come from many traces, and meet in one write.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_write_that_all_its_events_are_linked_to() {
    let (place, collector) = (Place::servers().await, Collector::start().await);
    place.succeed(&["migrate"]);
    let url = collector.url();
    let receiver = place
        .start(&["receiver"], &variables(&url, "receiver"))
        .await;
    for number in 0..40 {
        receiver
            .deliver(
                &format!("msg_{number}"),
                update(&format!("user_{}", number % 7), number),
            )
            .await;
    }
    let mut of_worker = variables(&url, "worker");
    of_worker.extend([("WORKER_CONCURRENCY", "1"), ("RUST_LOG", "debug")]);
    let worker = place.start(&["worker"], &of_worker).await;
    let processed = |spans: &[Span]| spans.iter().filter(|span| span.name == "process").count();
    let spans = spans_until(&collector, "all are there", |spans| processed(spans) == 40).await;
    let writes: Vec<&Span> = spans.iter().filter(|span| span.name == "apply").collect();
    let mut linked = 0;
    for span in spans.iter().filter(|span| span.name == "process") {
        let write = writes
            .iter()
            .find(|write| span.links.contains(&write.id))
            .expect("the write that it was in");
        assert!(write.links.contains(&span.id), "and back");
        linked += 1;
    }
    let events: usize = writes
        .iter()
        .map(|write| {
            write.attributes["db.operation.batch.size"]
                .parse::<usize>()
                .unwrap()
        })
        .sum();
    assert_eq!((linked, events), (40, 40));
    let batches = worker
        .log()
        .iter()
        .filter(|line| line.contains("batch applied or recorded"))
        .count();
    assert_eq!(batches, writes.len());
    assert!(
        writes.len() < 40,
        "{} writes of 40 events that were there before",
        writes.len()
    );
}

/// The database is away, the worker stops: the event goes back to the queue, and its trace with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_returned_stays_in_its_trace() {
    let (place, collector) = (Place::servers().await, Collector::start().await);
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    let proxy = Proxy::before(format!(
        "{}:{}",
        url.host_str().unwrap(),
        url.port().unwrap()
    ))
    .await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    let endpoint = collector.url();
    let mut variables = variables(&endpoint, "one");
    variables.extend([("DATABASE_URL", url.as_str()), ("WORKER_CONCURRENCY", "1")]);

    let app = place.start(&["serve"], &variables).await;
    // From here on the worker takes events: it begins only while the database is there.
    app.deliver("msg_0", update("user_0", 0)).await;
    app.settled("msg_0").await;
    proxy.cut();
    deliver_traced(&app, "msg_1", update("user_1", 0), true).await;
    let tried = |spans: &[Span]| {
        spans
            .iter()
            .any(|span| span.name == "apply" && span.is_error)
    };
    let spans = spans_until(&collector, "it was tried in vain", tried).await;
    let attempt = spans
        .iter()
        .find(|span| span.name == "apply" && span.is_error)
        .unwrap();
    assert_eq!(attempt.attributes["error.type"], "unavailable");
    assert!(app.stop().success());
    let returned = &collector.with("process", "error.type", "given_back")[0];
    assert!(returned.is_error && returned.trace == TRACE);

    proxy.restore();
    let app = place.start(&["serve"], &variables).await;
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    let processed = || collector.with("process", "event_id", "msg_1");
    until("the span arrives", async || processed().len() == 2).await;
    let applied = &processed()[1];
    assert_eq!(applied.attributes["status"], "applied");
    assert_eq!(
        (&applied.trace, &applied.parent),
        (&returned.trace, &returned.parent)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_the_caller_or_the_sampler_declines_are_not_recorded() {
    let (place, collector) = (Place::embedded(), Collector::start().await);
    let url = collector.url();
    let app = place.start(&["serve"], &variables(&url, "one")).await;
    deliver_traced(&app, "msg_quiet", update("user_1", 0), false).await;
    app.settled("msg_quiet").await;
    deliver_traced(&app, "msg_1", update("user_1", 1), true).await;
    app.settled("msg_1").await;
    let spans = spans_until(&collector, "the other is there", |spans| spans.len() >= 4).await;
    assert!(
        spans.iter().all(|span| span
            .attributes
            .get("event_id")
            .is_none_or(|id| id == "msg_1")),
        "{spans:#?}"
    );
    assert!(app.stop().success());

    let mut off = variables(&url, "two");
    off.push(("OTEL_TRACES_SAMPLER", "always_off"));
    let app = place.start(&["serve"], &off).await;
    deliver_traced(&app, "msg_2", update("user_1", 2), true).await;
    app.settled("msg_2").await;
    assert!(app.stop().success(), "which sends what there is");
    assert!(collector.spans().iter().all(|span| span.service != "two"));
}

/// No header is added without a collector.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_added_to_a_message() {
    let (place, collector) = (Place::servers().await, Collector::start().await);
    let (_connection, channel) = connect().await;
    let url = collector.url();
    for (is_on, of_receiver) in [
        (false, Vec::from([("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])),
        (true, variables(&url, "receiver")),
    ] {
        let receiver = place.start(&["receiver"], &of_receiver).await;
        deliver_traced(&receiver, "msg_1", update("user_1", 0), true).await;
        let get = BasicGetOptions { no_ack: true };
        let message = channel
            .basic_get(place.namespace().queue("events").into(), get)
            .await
            .unwrap()
            .unwrap();
        let headers = message.delivery.properties.headers().clone().unwrap();
        let text = |name: &str| match headers.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(text("traceparent").is_some(), is_on);
        if is_on {
            let parent = text("traceparent").unwrap();
            assert!(
                parent.starts_with(&format!("00-{TRACE}-"))
                    && parent.ends_with("-01")
                    && !parent.contains(CALLER)
            );
            assert_eq!(text("tracestate").unwrap(), "vendor=opaque");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_unavailable_or_hangs_delays_nothing() {
    let place = Place::embedded();
    let collector = Collector::start().await;
    let unreachable = "http://127.0.0.1:1";
    for (round, url, manner) in [
        (0, unreachable.to_owned(), Manner::Good),
        (1, collector.url(), Manner::Refuses),
        (2, collector.url(), Manner::Hangs),
    ] {
        collector.behave(manner);
        let mut of_app = variables(&url, "one");
        // Room for fewer than there will be, so that some are dropped.
        of_app.extend([
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
        ]);
        let app = place.start(&["serve"], &of_app).await;
        for number in 0..100 {
            assert_eq!(
                app.deliver(&format!("msg_{round}_{number}"), update("user_1", number))
                    .await
                    .status,
                200
            );
        }
        for number in 0..100 {
            app.settled(&format!("msg_{round}_{number}")).await;
        }
        let warnings = |app: &App| {
            app.log()
                .iter()
                .filter(|line| line.contains("traces cannot be sent"))
                .count()
        };
        // One that hangs is known by the end of its time, 10 s. Nor does a stop wait for that.
        if manner == Manner::Hangs {
            until("it hangs", async || !collector.requests().is_empty()).await;
        } else {
            until("it is said", async || warnings(&app) == 1).await;
        }
        let errors = app
            .log()
            .iter()
            .filter(|line| line.contains(r#""level":"ERROR""#))
            .count();
        assert!(warnings(&app) <= 1 && errors == 0, "once, and as no error");
        assert!(app.stop().success());
    }
    assert!(collector.spans().is_empty() && !collector.requests().is_empty());
}

#[test]
fn a_variable_that_is_wrong_is_named_before_anything_starts() {
    let place = Place::embedded();
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ] {
        let mut command = place.command(&["serve"]);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env(name, value);
        let output = command
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            line.starts_with(&format!("clerk-sync: {name} ")) && line.lines().count() == 1,
            "{line}"
        );
    }
}
