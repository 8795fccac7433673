//! The report of a batch: metrics, spans and the log.
//!
//! At `debug` the log has one line per batch and one per event. A flood of failed events does not
//! fill the log.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::clerk::{ClerkId, ErrorCode, EventId, SignedEvent, error_code};
use crate::clock::now;
use crate::logged_state::LoggedState;
use crate::metrics::{self, DeadLetterReason, EventStatus, EventType};
use crate::queue::Source;
use crate::store::{EventFailure, Outcome, Parsed, Record, Write};
use crate::trace::{EventOutcome, EventSpans, WriteSpan};

/// How often a policy that takes events out of the queues is logged, whatever the number of events.
const EXPIRED_EVERY: Duration = Duration::from_secs(30);

/// One batch, from the time when it was taken.
pub struct Report {
    source: Source,
    since: Instant,
    spans: EventSpans,
    counts: [usize; EventStatus::ALL.len()],
    /// Failed events that expired in a queue.
    expired: usize,
    /// The first event that failed, and why.
    failed: Option<(EventId, EventFailure)>,
}

impl Report {
    /// The report of a batch that was taken at `since`.
    pub fn start(
        events: &[SignedEvent],
        source: Source,
        queue: &'static str,
        since: Instant,
    ) -> Self {
        metrics::batch(events.len());
        let spans = EventSpans::start(events, queue);
        Self {
            source,
            since,
            spans,
            counts: [0; _],
            expired: 0,
            failed: None,
        }
    }

    /// Time since the batch was taken.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The span of a write that starts.
    pub fn write(&self, write: &Write, database: &'static str) -> WriteSpan {
        self.spans.start_write(
            write.records.iter().map(|record| record.event.id()),
            database,
        )
    }

    /// Reports a commit, and how long it took.
    pub fn committed(
        &mut self,
        write: &Write,
        outcomes: &[Outcome],
        took: Duration,
        mut span: WriteSpan,
    ) {
        metrics::applied(took);
        span.end(None);
        let committed_ms = now().ms();
        for (record, outcome) in write.records.iter().zip(outcomes) {
            self.count(record, status_of(*outcome), committed_ms);
            self.log(record, status_of(*outcome), &span);
        }
    }

    fn count(
        &mut self,
        Record {
            event,
            deliveries,
            parsed,
        }: &Record,
        status: EventStatus,
        committed_ms: i64,
    ) {
        self.counts[status as usize] += 1;
        let event_type = EventType::of(event.event_type().as_str());
        metrics::events(status, event_type, 1);
        if *deliveries > 1 {
            metrics::events(EventStatus::Repeated, event_type, u64::from(deliveries - 1));
        }
        if let (true, Parsed::Failed { failure, .. }) = (self.source != Source::Events, parsed) {
            metrics::dead_letter(DeadLetterReason::of(&failure.code));
            self.expired += usize::from(failure.code == ErrorCode::Expired.name());
        }
        // The age of a dead letter does not show how fast events are applied.
        if self.source == Source::Events {
            metrics::lag(committed_ms - event.received_at().ms());
            // Not the time of receipt, which is a new one at a replay.
            metrics::event_received(event.sent_at().ms());
        }
    }

    fn log(
        &mut self,
        Record { event, parsed, .. }: &Record,
        status: EventStatus,
        span: &WriteSpan,
    ) {
        let (clerk_id, failure) = match parsed {
            Parsed::Readable { clerk_id, .. } => (Some(clerk_id), None),
            Parsed::Failed { clerk_id, failure } => (clerk_id.as_ref(), Some(failure)),
        };
        let failure = failure.filter(|_| status == EventStatus::Failed);
        let (id, error_code) = (event.id(), failure.map(|failure| &*failure.code));
        debug!(
            event_id = %id,
            clerk_id = clerk_id.map(ClerkId::as_str),
            event_type = EventType::of(event.event_type().as_str()).name(),
            status = status.name(),
            error_code,
            "event applied or recorded"
        );
        self.spans.end_event(
            id,
            span,
            &EventOutcome {
                status: status.name(),
                clerk_id,
                error_code,
            },
        );
        if let (None, Some(failure)) = (&self.failed, failure) {
            self.failed = Some((id.clone(), failure.clone()));
        }
    }

    /// A policy may take out more than what is recorded: what the broker retains appears nowhere
    /// else.
    fn log_expired(&self) {
        static LOGGED: LoggedState<()> = LoggedState::new(());
        if self.expired > 0 && LOGGED.is_due((), EXPIRED_EVERY) {
            warn!(
                expired = self.expired,
                "a policy's message-ttl takes events out of the queues, and RabbitMQ may retain more: see `rabbitmqctl list_policies`, and `rabbitmqctl list_queues name messages messages_ready`"
            );
        }
    }

    /// Logs the totals.
    pub fn finish(self) {
        self.log_expired();
        let count = |status: EventStatus| self.counts[status as usize];
        let failed = count(EventStatus::Failed);
        debug!(
            events = self.counts.iter().sum::<usize>(),
            applied = count(EventStatus::Applied),
            stale = count(EventStatus::Stale),
            repeated = count(EventStatus::Repeated),
            failed,
            discarded = count(EventStatus::Discarded),
            elapsed_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            "batch applied or recorded"
        );
        if let Some((event_id, EventFailure { code, text })) = &self.failed {
            warn!(%event_id, error_code = %code, reason = %text, help = error_code::page_of(code), failed, "events failed, this one first; see `clerk-sync events list --status failed`");
        }
    }
}

fn status_of(outcome: Outcome) -> EventStatus {
    match outcome {
        Outcome::Applied => EventStatus::Applied,
        Outcome::Stale => EventStatus::Stale,
        Outcome::Repeated => EventStatus::Repeated,
        Outcome::Failed => EventStatus::Failed,
        Outcome::Discarded => EventStatus::Discarded,
    }
}
