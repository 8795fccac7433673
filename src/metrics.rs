//! Every metric, by name: what is counted where it happens, and the page that Prometheus reads.
//!
//! - No other module names a metric. README's table lists them all, and a test holds the two together.
//! - Label values are from the closed sets below, whatever comes in: a stranger cannot make series.
//! - To count is one addition to a number in a fixed place.
//! - What cannot be known now is left out: an old value would be taken for a new one.

mod primitives;
mod process;
mod prometheus;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

pub use primitives::Entered;
use primitives::{Counters, Histogram, Level};
use process::Process;
pub use prometheus::CONTENT_TYPE;
use prometheus::{Page, decimal};

/// A set of label values.
macro_rules! labels {
    ($(#[$about:meta])* pub enum $set:ident { $($(#[$note:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $set { $($(#[$note])* $value,)+ }

        impl $set {
            pub const ALL: &[Self] = &[$(Self::$value),+];
            const COUNT: usize = Self::ALL.len();

            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $name,)+ }
            }
        }
    };
}

labels! {
    /// The type of an event.
    pub enum EventType {
        UserCreated = "user.created",
        UserUpdated = "user.updated",
        UserDeleted = "user.deleted",
        /// Any other, and one that is not known: nothing of a delivery is read before its signature is good.
        Other = "other",
    }
}

labels! {
    /// What a delivery over HTTP was answered: a 200, or the code of the problem.
    pub enum WebhookResult {
        Queued = "queued",
        Ignored = "ignored",
        MissingHeader = "missing_header",
        InvalidHeader = "invalid_header",
        InvalidSignature = "invalid_signature",
        TimestampOutOfTolerance = "timestamp_out_of_tolerance",
        InvalidRequest = "invalid_request",
        RequestTimeout = "request_timeout",
        BodyTooLarge = "body_too_large",
        QueueUnavailable = "queue_unavailable",
        Overloaded = "overloaded",
        /// A good signature, and a path or method that is not the webhook's.
        NotFound = "not_found",
        Other = "other",
    }
}

labels! {
    /// What became of an event that was taken from the queue, or of a failed one in the hands of a person.
    pub enum EventStatus {
        Applied = "applied",
        Stale = "stale",
        Repeated = "repeated",
        Failed = "failed",
        Discarded = "discarded",
    }
}

labels! {
    /// Why a queue gave an event up; `Other` is what the database says where it refuses even that record.
    pub enum DeadLetterReason {
        DeliveryLimit = "delivery_limit",
        Expired = "expired",
        Maxlen = "maxlen",
        Rejected = "rejected",
        Unrouted = "unrouted",
        Other = "other",
    }
}

impl DeadLetterReason {
    pub fn of(code: &str) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.name() == code)
            .unwrap_or(Self::Other)
    }
}

impl EventType {
    pub fn of(name: &str) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.name() == name)
            .unwrap_or(Self::Other)
    }
}

impl WebhookResult {
    /// A delivery's answer that says that it cannot be trusted.
    const DISTRUST: [Self; 4] = [
        Self::MissingHeader,
        Self::InvalidHeader,
        Self::InvalidSignature,
        Self::TimestampOutOfTolerance,
    ];

    /// Whether it can be the answer to an event of a known type: then the type was read.
    fn has_type(self) -> bool {
        matches!(self, Self::Queued | Self::QueueUnavailable | Self::NotFound)
    }
}

/// Signing secrets that are counted each for itself. A rotation has two.
const SECRETS_MAX: usize = 8;

/// By place in the list, from 1; those after the eighth are one.
const SECRETS: [&str; SECRETS_MAX + 1] = ["1", "2", "3", "4", "5", "6", "7", "8", "more"];

/// Durations are counted in microseconds.
const MICROS: u64 = 1_000_000;
const MS: u64 = MICROS / 1000;

static WEBHOOKS: Counters<{ WebhookResult::COUNT }, { EventType::COUNT }> = Counters::new();
static SECRET_MATCHES: Counters<1, { SECRETS.len() }> = Counters::new();
static SECRETS_IN_FORCE: AtomicUsize = AtomicUsize::new(0);
static EVENTS: Counters<{ EventStatus::COUNT }, { EventType::COUNT }> = Counters::new();
static DEAD_LETTERS: Counters<1, { DeadLetterReason::COUNT }> = Counters::new();
static PUBLISHES_IN_FLIGHT: Level = Level::new();

/// In milliseconds since 1970; 0 where none is known of.
static LAST_EVENT: AtomicI64 = AtomicI64::new(0);

/// A confirmed publish takes 0.5 ms when nothing else is on its way; after 10 s it is given up.
static PUBLISH: Histogram<15> = Histogram::new([
    MS / 4,
    MS / 2,
    MS,
    MS * 5 / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    MICROS,
    MICROS * 5 / 2,
    5 * MICROS,
    10 * MICROS,
]);

/// One row takes 0.5 ms, 500 some 20 ms; a statement is ended after 30 s.
static APPLY: Histogram<15> = Histogram::new([
    MS / 2,
    MS,
    MS * 5 / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    MICROS,
    MICROS * 5 / 2,
    5 * MICROS,
    10 * MICROS,
    30 * MICROS,
]);

/// `WORKER_BATCH` is 10,000 at most.
static BATCH: Histogram<13> =
    Histogram::new([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]);

/// From the millisecond of a quiet minute to the hours of an outage. Times of receipt are whole milliseconds.
static LAG: Histogram<21> = Histogram::new([
    MS,
    2 * MS,
    3 * MS,
    5 * MS,
    10 * MS,
    20 * MS,
    50 * MS,
    100 * MS,
    200 * MS,
    500 * MS,
    MICROS,
    2 * MICROS,
    5 * MICROS,
    10 * MICROS,
    30 * MICROS,
    60 * MICROS,
    300 * MICROS,
    1800 * MICROS,
    3600 * MICROS,
    4 * 3600 * MICROS,
    12 * 3600 * MICROS,
]);

/// A delivery was answered.
pub fn webhook(result: WebhookResult, event_type: EventType) {
    let event_type = if result.has_type() {
        event_type
    } else {
        EventType::Other
    };
    WEBHOOKS.add(result as usize, event_type as usize, 1);
}

/// A delivery answered with a 2xx was signed with the secret in this place, from 0.
pub fn secret_match(place: usize) {
    SECRET_MATCHES.add(0, place.min(SECRETS_MAX), 1);
}

/// So many secrets are in force now.
pub fn secrets_in_force(count: usize) {
    SECRETS_IN_FORCE.store(count, Ordering::Relaxed);
}

/// A publish begins; it ends when what is returned is dropped.
pub fn publish_begins() -> Entered {
    PUBLISHES_IN_FLIGHT.enter()
}

/// The queue has confirmed an event, or did not answer in time.
pub fn published(took: Duration) {
    PUBLISH.observe(micros(took));
}

/// A batch was taken from the queue.
pub fn batch(events: usize) {
    BATCH.observe(events as u64);
}

/// A write was committed.
pub fn applied(took: Duration) {
    APPLY.observe(micros(took));
}

/// So much became of events.
pub fn events(status: EventStatus, event_type: EventType, count: u64) {
    EVENTS.add(status as usize, event_type as usize, count);
}

/// An event that its queue gave up was recorded as failed.
pub fn dead_letter(reason: DeadLetterReason) {
    DEAD_LETTERS.add(0, reason as usize, 1);
}

/// An event was committed so long after its receipt. Clocks of two machines can make it less than nothing.
pub fn lag(ms: i64) {
    LAG.observe(u64::try_from(ms).unwrap_or(0).saturating_mul(MS));
}

/// An event was received then, in milliseconds since 1970.
pub fn event_received(ms: i64) {
    LAST_EVENT.fetch_max(ms, Ordering::Relaxed);
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// What is not counted where it happens but asked for when the page is read.
#[derive(Debug, Default)]
pub struct Readings {
    /// What this process needs, and whether it is there.
    pub ready: Vec<(&'static str, bool)>,
    /// Events that wait in the queue.
    pub queue_depth: Option<u64>,
    /// Lines of `events` that are failed.
    pub failed_events: Option<u64>,
    /// Open connections that are served.
    pub connections: u64,
}

/// The page.
pub fn page(readings: &Readings) -> String {
    let mut page = Page::new();
    of_receiver(&mut page, readings);
    of_worker(&mut page);
    of_state(&mut page, readings);
    of_process(&mut page, &Process::read());
    page.finish()
}

fn of_receiver(page: &mut Page, readings: &Readings) {
    let mut webhooks = page.counter(
        "clerk_sync_webhooks_total",
        "Deliveries over HTTP, by what they were answered (queued, ignored, or the code of the problem) and type of event.",
    );
    for result in WebhookResult::ALL {
        for event_type in EventType::ALL
            .iter()
            .filter(|known| result.has_type() || **known == EventType::Other)
        {
            let labels = [("result", result.name()), ("type", event_type.name())];
            webhooks.sample(
                &labels,
                WEBHOOKS.get(*result as usize, *event_type as usize),
            );
        }
    }
    let mut failures = page.counter(
        "clerk_sync_signature_failures_total",
        "Deliveries that cannot be trusted, by reason. Those of webhooks_total with the same result.",
    );
    for reason in WebhookResult::DISTRUST {
        failures.sample(
            &[("reason", reason.name())],
            WEBHOOKS.get(reason as usize, EventType::Other as usize),
        );
    }
    let mut matches = page.counter(
        "clerk_sync_secret_matches_total",
        "Deliveries answered with a 2xx, by the place of the signing secret in its list, from 1. One that is signed with two counts for both.",
    );
    let in_force = SECRETS_IN_FORCE.load(Ordering::Relaxed);
    for (place, secret) in SECRETS.iter().enumerate() {
        let count = SECRET_MATCHES.get(0, place);
        matches.known(
            &[("secret", secret)],
            (count > 0 || place < in_force).then_some(count),
        );
    }
    page.histogram(
        "clerk_sync_publish_seconds",
        "From handing an event to the queue to its confirmation, or to giving up after 10 s.",
        &PUBLISH,
        MICROS,
    );
    page.gauge(
        "clerk_sync_publishes_in_flight",
        "Events handed to the queue and not confirmed yet.",
    )
    .sample(&[], PUBLISHES_IN_FLIGHT.get());
    page.gauge(
        "clerk_sync_connections",
        "Open connections from clients that are served.",
    )
    .sample(&[], readings.connections);
}

fn of_worker(page: &mut Page) {
    let mut events = page.counter(
        "clerk_sync_events_total",
        "Events taken from the queue, by what became of them, and failed ones that a person discarded.",
    );
    for status in EventStatus::ALL {
        for event_type in EventType::ALL {
            let labels = [("status", status.name()), ("type", event_type.name())];
            events.sample(&labels, EVENTS.get(*status as usize, *event_type as usize));
        }
    }
    let mut dead_letters = page.counter(
        "clerk_sync_dead_letters_total",
        "Events that the queue gave up and that were recorded as failed, by reason: the error_code of each.",
    );
    for reason in DeadLetterReason::ALL {
        dead_letters.sample(
            &[("reason", reason.name())],
            DEAD_LETTERS.get(0, *reason as usize),
        );
    }
    page.histogram(
        "clerk_sync_batch_size",
        "Events taken from the queue together.",
        &BATCH,
        1,
    );
    page.histogram(
        "clerk_sync_apply_seconds",
        "How long the database took for a write, until its commit.",
        &APPLY,
        MICROS,
    );
    page.histogram(
        "clerk_sync_lag_seconds",
        "From the receipt of an event to its commit; of a replay, from the replay.",
        &LAG,
        MICROS,
    );
}

fn of_state(page: &mut Page, readings: &Readings) {
    let last_event = u64::try_from(LAST_EVENT.load(Ordering::Relaxed))
        .ok()
        .filter(|ms| *ms > 0);
    page.gauge(
        "clerk_sync_last_event_timestamp_seconds",
        "When the newest event was received that this process knows of.",
    )
    .known(&[], last_event.map(|ms| decimal(ms, 1000)));
    page.gauge("clerk_sync_queue_depth", "Events that wait in the queue.")
        .known(&[], readings.queue_depth);
    page.gauge(
        "clerk_sync_failed_events",
        "Events that wait as failed for a person; beyond 100000 they are not counted.",
    )
    .known(&[], readings.failed_events);
    let mut ready = page.gauge(
        "clerk_sync_ready",
        "Whether a part that this process needs is there, 1 or 0.",
    );
    for (part, is_ready) in &readings.ready {
        ready.sample(&[("part", part)], u8::from(*is_ready));
    }
}

fn of_process(page: &mut Page, process: &Process) {
    page.gauge("clerk_sync_build_info", "The version that runs; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let seconds = |ms: Option<u64>| ms.map(|ms| decimal(ms, 1000));
    page.counter(
        "process_cpu_seconds_total",
        "User and system time of this process.",
    )
    .known(&[], seconds(process.cpu_ms));
    page.gauge(
        "process_resident_memory_bytes",
        "Memory that this process has.",
    )
    .known(&[], process.resident_bytes);
    page.gauge("process_open_fds", "Open files and connections.")
        .known(&[], process.open_files);
    page.gauge("process_max_fds", "How many there may be.")
        .known(&[], process.open_files_max);
    page.gauge("process_start_time_seconds", "When this process started.")
        .known(&[], seconds(process.start_ms));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_type_it_is_one_of_four() {
        let mut types: Vec<_> = EventType::ALL
            .iter()
            .map(|known| EventType::of(known.name()))
            .collect();
        assert_eq!(types, EventType::ALL);
        types = [
            "",
            "user.created ",
            "USER.CREATED",
            "session.created",
            "\"}\n",
        ]
        .map(EventType::of)
        .to_vec();
        assert!(types.iter().all(|of| *of == EventType::Other));
    }

    #[test]
    fn bounds_rise() {
        fn bounds<const BOUNDS: usize>(histogram: &Histogram<BOUNDS>) -> Vec<u64> {
            histogram
                .spread()
                .up_to
                .into_iter()
                .map(|(bound, _)| bound)
                .collect()
        }
        for bounds in [
            bounds(&PUBLISH),
            bounds(&APPLY),
            bounds(&BATCH),
            bounds(&LAG),
        ] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }

    #[test]
    fn a_secret_far_down_the_list_makes_no_series_of_its_own() {
        secret_match(usize::MAX);
        assert!(
            page(&Readings::default())
                .contains("clerk_sync_secret_matches_total{secret=\"more\"} 1\n")
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let unknown = page(&Readings::default());
        for name in [
            "clerk_sync_queue_depth",
            "clerk_sync_failed_events",
            "clerk_sync_ready",
        ] {
            assert!(!unknown.contains(name), "{name}");
        }
        let readings = Readings {
            queue_depth: Some(0),
            failed_events: Some(7),
            ..Readings::default()
        };
        let known = page(&readings);
        assert!(
            known.contains("\nclerk_sync_queue_depth 0\n")
                && known.contains("\nclerk_sync_failed_events 7\n")
        );
    }
}
