//! Every metric: what is counted where it happens, and the page that Prometheus reads.
//!
//! - No other module names a metric. docs/observability.md lists them all, and a test compares the two.
//! - To count is one addition to a number in a fixed place.
//! - An unknown value is left out: an old value would be taken for a new one.

mod labels;
mod primitives;
mod process;
mod prometheus;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

pub use labels::{DeadLetterReason, EventStatus, EventType, RefreshResult, WebhookResult};
pub use primitives::InFlight;
use primitives::{Counters, Histogram, Level};
use process::Process;
pub use prometheus::CONTENT_TYPE;
use prometheus::{Page, decimal};

use crate::clerk::{ChangeKind, Table, tables};

/// Signing secrets by their place in the list, from 1; those after the eighth share one series. A
/// rotation has two.
const SECRETS: [&str; 9] = ["1", "2", "3", "4", "5", "6", "7", "8", "more"];

/// Histograms of durations count microseconds.
const MICROS: u64 = 1_000_000;

static WEBHOOKS: Counters<{ WebhookResult::COUNT }, { EventType::COUNT }> = Counters::new();
static SECRET_MATCHES: Counters<1, { SECRETS.len() }> = Counters::new();
static SECRETS_IN_FORCE: AtomicUsize = AtomicUsize::new(0);
static EVENTS: Counters<{ EventStatus::COUNT }, { EventType::COUNT }> = Counters::new();
static DEAD_LETTERS: Counters<1, { DeadLetterReason::COUNT }> = Counters::new();
static REFRESHES: Counters<1, { RefreshResult::COUNT }> = Counters::new();
static CHANGES: Counters<{ tables::ALL.len() }, { ChangeKind::ALL.len() }> = Counters::new();
static PUBLISHES_IN_FLIGHT: Level = Level::new();

/// In milliseconds since 1970; 0 before the first event.
static LAST_EVENT: AtomicI64 = AtomicI64::new(0);

/// A confirmed publish takes 0.5 ms when no other is in flight; it times out after 10 s.
static PUBLISH: Histogram<15> = Histogram::new([
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
]);

/// One row takes 0.5 ms, 500 some 20 ms; a statement times out after 30 s.
static APPLY: Histogram<15> = Histogram::new([
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
]);

/// `WORKER_BATCH` is 10,000 at most.
static BATCH: Histogram<13> =
    Histogram::new([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]);

/// From the millisecond of a quiet minute to the hours of an outage. Times of receipt are whole
/// milliseconds.
static LAG: Histogram<21> = Histogram::new([
    1_000,
    2_000,
    3_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    3_600_000_000,
    14_400_000_000,
    43_200_000_000,
]);

/// Counts the answer to a delivery.
pub fn webhook(result: WebhookResult, event_type: EventType) {
    let known = result.event_types().contains(&event_type);
    let event_type = if known { event_type } else { EventType::OTHER };
    WEBHOOKS.add(result as usize, event_type.place(), 1);
}

/// Counts a delivery that was answered with a 2xx, by the place of its signing secret, from 0.
pub fn secret_match(place: usize) {
    SECRET_MATCHES.add(0, place.min(SECRETS.len() - 1), 1);
}

/// Sets how many secrets are in force.
pub fn secrets_in_force(count: usize) {
    SECRETS_IN_FORCE.store(count, Ordering::Relaxed);
}

/// Counts a publish as in flight until the result is dropped.
pub fn publish_starts() -> InFlight {
    PUBLISHES_IN_FLIGHT.enter()
}

/// Counts a publish that the queue confirmed, or that timed out.
pub fn published(took: Duration) {
    PUBLISH.observe(micros(took));
}

/// Counts a batch from the queue.
pub fn batch(events: usize) {
    BATCH.observe(events as u64);
}

/// Counts a write that was committed.
pub fn applied(took: Duration) {
    APPLY.observe(micros(took));
}

/// Counts events by outcome.
pub fn events(status: EventStatus, event_type: EventType, count: u64) {
    EVENTS.add(status as usize, event_type.place(), count);
}

/// Counts an event that its queue gave up and that was recorded as failed.
pub fn dead_letter(reason: DeadLetterReason) {
    DEAD_LETTERS.add(0, reason as usize, 1);
}

/// Counts a refresh of a user.
pub fn refreshed(result: RefreshResult) {
    REFRESHES.add(0, result as usize, 1);
}

/// Counts changes of rows that were recorded for applications.
pub fn changes(table: &Table, kind: ChangeKind, count: u64) {
    if let Some(place) = tables::ALL.iter().position(|known| *known == table) {
        CHANGES.add(place, kind as usize, count);
    }
}

/// Counts the time from the receipt of an event to its commit. Clocks of two machines can make it
/// negative.
pub fn lag(ms: i64) {
    let micros = ms.saturating_mul(1000);
    LAG.observe(u64::try_from(micros).unwrap_or(0));
}

/// Notes when an event was received, in milliseconds since 1970.
pub fn event_received(ms: i64) {
    LAST_EVENT.fetch_max(ms, Ordering::Relaxed);
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Values that are read when the page is requested.
#[derive(Debug, Default)]
pub struct Readings {
    /// The parts that this process needs, and whether each is ready.
    pub ready: Vec<(&'static str, bool)>,
    /// Events that wait in the queue; `None` if unknown.
    pub queue_depth: Option<u64>,
    /// Failed rows of `events`; `None` if unknown.
    pub failed_events: Option<u64>,
    /// Whether applying is paused; `None` if unknown.
    pub paused: Option<bool>,
    /// Most events per second of all workers together; `None` without a limit.
    pub rate_limit: Option<NonZeroU32>,
    /// Age of the oldest change of a row that is not published yet, 0 if there is none; `None` if
    /// no changes are published, or unknown.
    pub change_feed_lag: Option<Duration>,
    /// Open connections that are served.
    pub connections: u64,
}

/// Returns the page that Prometheus reads.
pub fn page(readings: &Readings) -> String {
    let mut page = Page::new();
    write_receiver(&mut page, readings);
    write_worker(&mut page);
    write_state(&mut page, readings);
    write_process(&mut page, &Process::read());
    page.finish()
}

fn write_receiver(page: &mut Page, readings: &Readings) {
    let mut webhooks = page.counter(
        "clerk_sync_webhooks_total",
        "Deliveries over HTTP, by answer (queued, ignored, or the code of the problem) and type of event.",
    );
    for result in WebhookResult::ALL {
        for event_type in result.event_types() {
            webhooks.sample(
                &[("result", result.name()), ("type", event_type.name())],
                WEBHOOKS.get(*result as usize, event_type.place()),
            );
        }
    }
    let mut failures = page.counter(
        "clerk_sync_signature_failures_total",
        "Deliveries that cannot be trusted, by reason. Those of webhooks_total with the same result.",
    );
    for reason in WebhookResult::DISTRUST {
        let count = WEBHOOKS.get(reason as usize, EventType::OTHER.place());
        failures.sample(&[("reason", reason.name())], count);
    }
    let mut matches = page.counter(
        "clerk_sync_secret_matches_total",
        "Deliveries answered with a 2xx, by the place of the signing secret in its list, from 1. One that is signed with two counts for both.",
    );
    let in_force = SECRETS_IN_FORCE.load(Ordering::Relaxed);
    for (place, secret) in SECRETS.iter().enumerate() {
        let count = SECRET_MATCHES.get(0, place);
        if count > 0 || place < in_force {
            matches.sample(&[("secret", secret)], count);
        }
    }
    page.histogram(
        "clerk_sync_publish_seconds",
        "From publishing an event to its confirm, or to the timeout after 10 s.",
        &PUBLISH,
        MICROS,
    );
    page.gauge(
        "clerk_sync_publishes_in_flight",
        "Events that are published and not confirmed yet.",
        Some(PUBLISHES_IN_FLIGHT.get()),
    );
    page.gauge(
        "clerk_sync_connections",
        "Open connections from clients that are served.",
        Some(readings.connections),
    );
}

fn write_worker(page: &mut Page) {
    let mut events = page.counter(
        "clerk_sync_events_total",
        "Events taken from the queue, by outcome, and failed ones that a person discarded.",
    );
    for status in EventStatus::ALL {
        for event_type in EventType::ALL {
            events.sample(
                &[("status", status.name()), ("type", event_type.name())],
                EVENTS.get(*status as usize, event_type.place()),
            );
        }
    }
    let mut dead_letters = page.counter(
        "clerk_sync_dead_letters_total",
        "Events that the queue gave up and that were recorded as failed, by reason: the error_code of each.",
    );
    for reason in DeadLetterReason::ALL {
        let count = DEAD_LETTERS.get(0, *reason as usize);
        dead_letters.sample(&[("reason", reason.name())], count);
    }
    let mut refreshes = page.counter(
        "clerk_sync_refreshes_total",
        "Refreshes of users, by answer: refreshed, or the code of the problem. Those that share one request to Clerk count each.",
    );
    for result in RefreshResult::ALL {
        let count = REFRESHES.get(0, *result as usize);
        refreshes.sample(&[("result", result.name())], count);
    }
    let mut changes = page.counter(
        "clerk_sync_changes_total",
        "Changes of rows that this process recorded in the change feed, by table and kind.",
    );
    for (place, table) in tables::ALL.iter().enumerate() {
        for kind in ChangeKind::ALL {
            let count = CHANGES.get(place, kind as usize);
            changes.sample(&[("table", table.name), ("change", kind.as_str())], count);
        }
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

fn write_state(page: &mut Page, readings: &Readings) {
    let last_event = u64::try_from(LAST_EVENT.load(Ordering::Relaxed)).unwrap_or(0);
    page.gauge(
        "clerk_sync_last_event_timestamp_seconds",
        "When the newest event was received that this process knows of.",
        (last_event > 0).then(|| decimal(last_event, 1000)),
    );
    page.gauge(
        "clerk_sync_queue_depth",
        "Events that wait in the queue.",
        readings.queue_depth,
    );
    page.gauge(
        "clerk_sync_failed_events",
        "Failed events that wait for a person; beyond 100000 they are not counted.",
        readings.failed_events,
    );
    let lag_ms = readings.change_feed_lag.map(|lag| lag.as_millis());
    page.gauge(
        "clerk_sync_change_feed_lag_seconds",
        "Age of the oldest change of a row that is not published yet, 0 if there is none; absent if no changes are published.",
        lag_ms.map(|ms| decimal(u64::try_from(ms).unwrap_or(u64::MAX), 1000)),
    );
    page.gauge(
        "clerk_sync_paused",
        "Whether an operator has paused the applying of events, 1 or 0.",
        readings.paused.map(u8::from),
    );
    page.gauge(
        "clerk_sync_rate_limit",
        "Most events per second that all workers together apply; absent without a limit.",
        readings.rate_limit,
    );
    let mut ready = page.gauges(
        "clerk_sync_ready",
        "Whether a part that this process needs is ready, 1 or 0.",
    );
    for (part, is_ready) in &readings.ready {
        ready.sample(&[("part", part)], u8::from(*is_ready));
    }
}

fn write_process(page: &mut Page, process: &Process) {
    page.gauges("clerk_sync_build_info", "The version that runs; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(ms) = process.cpu_ms {
        page.counter(
            "process_cpu_seconds_total",
            "User and system time of this process.",
        )
        .sample(&[], decimal(ms, 1000));
    }
    let (resident, open) = (process.resident_bytes, process.open_files);
    page.gauge(
        "process_resident_memory_bytes",
        "Memory of this process.",
        resident,
    );
    page.gauge("process_open_fds", "Open files and connections.", open);
    page.gauge(
        "process_max_fds",
        "How many there may be.",
        process.open_files_max,
    );
    let started = process.start_ms.map(|ms| decimal(ms, 1000));
    page.gauge(
        "process_start_time_seconds",
        "When this process started.",
        started,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_event_is_one_of_four() {
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
        assert!(types.iter().all(|of| *of == EventType::OTHER));
    }

    #[test]
    fn bucket_bounds_rise() {
        fn bounds<const BOUNDS: usize>(histogram: &Histogram<BOUNDS>) -> Vec<u64> {
            histogram
                .distribution()
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
    fn unknown_values_are_left_out() {
        let unknown = page(&Readings::default());
        for name in [
            "clerk_sync_queue_depth",
            "clerk_sync_failed_events",
            "clerk_sync_change_feed_lag_seconds",
            "clerk_sync_ready",
        ] {
            assert!(!unknown.contains(name), "{name}");
        }
        let readings = Readings {
            queue_depth: Some(0),
            failed_events: Some(7),
            change_feed_lag: Some(Duration::from_millis(1500)),
            ..Readings::default()
        };
        let known = page(&readings);
        assert!(
            known.contains("\nclerk_sync_queue_depth 0\n")
                && known.contains("\nclerk_sync_failed_events 7\n")
                && known.contains("\nclerk_sync_change_feed_lag_seconds 1.5\n")
        );
    }
}
