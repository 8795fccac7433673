//! Whether the service works, in words: what its parts report, and one headline over all of them.
//! The overview of the dashboard and the command `status` say the same. Pure.

use super::change_feed_status::ChangeFeedStatus;
use super::deliveries::{Refused, remedy};
use super::service_status::{PartStatus, Waiting};
use crate::clerk::Timestamp;
use crate::format;
use crate::store::{Failed, Pause, Recent, Time};

/// What the parts report.
pub struct Snapshot<'a> {
    /// Whether a publish could succeed.
    pub queue: PartStatus,
    /// Whether the database answers.
    pub database: PartStatus,
    /// Whether the worker applies events.
    pub worker: PartStatus,
    /// The pause of applying; `None` while events are applied.
    pub paused: Option<&'a Pause>,
    /// What is not applied yet.
    pub waiting: &'a Waiting,
    /// `None` while the database does not answer.
    pub failed: Option<&'a Failed>,
    /// When the last event was received that is recorded.
    pub last_received_at: Option<Time>,
    /// The last hour; `None` while it is counted for the first time.
    pub hour: Option<&'a Recent>,
    /// How far the change feed is; `None` if it is off, or not known.
    pub change_feed: Option<ChangeFeedStatus>,
    /// `None` if it is not known, or no deliveries come here.
    pub refused: Option<&'a Refused>,
    /// The time of all of these.
    pub now: Timestamp,
}

/// The summary over everything.
#[derive(Debug)]
pub struct Headline {
    /// `good`, `warn` or `bad`.
    pub class: &'static str,
    /// In some words, without a period.
    pub heading: String,
    /// Sentences that explain it.
    pub lines: Vec<String>,
}

/// A lag that is a warning, in milliseconds: after a minute a new user is missed.
const LAG_WARN_MS: u64 = 60_000;

/// Buckets of the last hour that count as now: up to four minutes.
const NOW_BUCKETS: usize = 4;

impl Headline {
    fn new(class: &'static str, heading: impl Into<String>, lines: Vec<String>) -> Self {
        let heading = heading.into();
        Self {
            class,
            heading,
            lines,
        }
    }
}

impl Snapshot<'_> {
    /// The worst of everything first. A pause is said with whatever is worse.
    pub fn headline(&self) -> Headline {
        let mut worst = self.worst();
        if let Some(pause) = self.paused().filter(|pause| pause.heading != worst.heading) {
            worst.lines.push(format!("{}.", pause.heading));
        }
        worst
    }

    fn worst(&self) -> Headline {
        self.broken()
            .or_else(|| self.refusing())
            .or_else(|| self.not_recording())
            .or_else(|| self.publishing_late())
            .or_else(|| self.paused())
            .or_else(|| self.failing())
            .or_else(|| self.behind())
            .unwrap_or_else(|| {
                let heading = match self.last_received_at {
                    Some(_) => "Everything works",
                    None => "Ready for the first event",
                };
                Headline::new("good", heading, Vec::new())
            })
    }

    fn broken(&self) -> Option<Headline> {
        let heading = match (&self.queue, &self.database, &self.worker) {
            (Err(_), Err(_), _) => "Neither the queue nor the database works",
            (Err(_), ..) => "The queue does not work",
            (_, Err(_), _) => "The database does not work",
            (.., Err(_)) => "The worker applies nothing",
            _ => return None,
        };
        let mut lines = Vec::new();
        if let Err(reason) = &self.queue {
            let reason = reason.trim_end_matches('.');
            lines.push(format!(
                "Because of the queue: {reason}. Until then webhooks are answered 503, and Svix sends them again."
            ));
        }
        // Without its database the worker applies nothing either.
        if let Err(reason) = self.database.as_ref().and(self.worker.as_ref()) {
            let reason = reason.trim_end_matches('.');
            let waiting = self.waiting.summary();
            lines.push(format!(
                "Because {reason}. Events wait in the queue ({waiting}), and are applied by themselves afterwards."
            ));
        }
        Some(Headline::new("bad", heading, lines))
    }

    fn paused(&self) -> Option<Headline> {
        let pause = self.paused?;
        let since = format::age(self.now.ms() - pause.paused_at.0.ms());
        let reason = pause.reason.as_deref();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        let heading = format!("Paused, since {since}{reason}");
        let mut lines = vec!["Events wait in the queue until a person resumes.".to_owned()];
        lines.extend(
            self.failing()
                .map(|failing| format!("{}.", failing.heading)),
        );
        Some(Headline::new("warn", heading, lines))
    }

    fn refusing(&self) -> Option<Headline> {
        let refused = self.refused?;
        let (reason, what, refusals) = refused.alarming(self.now)?;
        let ago = |time: Time| format::age(self.now.ms() - time.0.ms());
        let none_since = match refused.last_accepted_at {
            Some(time) => format!("the last that was accepted came {}", ago(time)),
            None => "none was accepted".into(),
        };
        let line = format!(
            "{}: {} since this process started {}, the last {}, and {none_since}. {}",
            reason,
            format::count(refusals.count, "delivery"),
            ago(refused.since),
            ago(refusals.last_at),
            remedy(reason).replace('`', "")
        );
        let heading = format!("Deliveries are refused: {what}");
        Some(Headline::new("warn", heading, vec![line]))
    }

    fn not_recording(&self) -> Option<Headline> {
        self.change_feed.filter(|feed| !feed.recording)?;
        let line = "A worker runs with CHANGE_FEED=off, and applications do not see what it changes. Set CHANGE_FEED=on for every worker, and restart it. Or set it to off everywhere.";
        let heading = "Working; a worker does not record changes";
        Some(self.with_failing(heading.into(), line.into()))
    }

    fn publishing_late(&self) -> Option<Headline> {
        let (oldest, lag_ms) = self.change_feed?.late()?;
        let oldest = format::to_second(&oldest.to_string());
        let line = format!(
            "The oldest change of a row that is not published was made at {oldest} UTC. None is lost: all are recorded, and published in their order. Run clerk-sync check, then read the logs of the workers with CHANGE_FEED=on: one of them publishes, and says why it cannot."
        );
        let heading = format!("Working; the change feed is {} behind", format::ms(lag_ms));
        Some(self.with_failing(heading, line))
    }

    /// A warning that failed events are less than.
    fn with_failing(&self, heading: String, line: String) -> Headline {
        let failing = self
            .failing()
            .map(|failing| format!("{}.", failing.heading));
        let lines = [line].into_iter().chain(failing).collect();
        Headline::new("warn", heading, lines)
    }

    fn failing(&self) -> Option<Headline> {
        let failed = self.failed.map(|failed| failed.count).filter(|n| *n > 0)?;
        let wait = if failed == 1 { "waits" } else { "wait" };
        let heading = format!(
            "Working; {} failed and {wait} for you",
            format::count(failed, "event")
        );
        let line = "Each is kept whole, with its reason, until it is replayed or discarded.";
        Some(Headline::new("warn", heading, vec![line.into()]))
    }

    fn behind(&self) -> Option<Headline> {
        let (_, p95) = self.lag_now().filter(|(_, p95)| is_slow(*p95))?;
        let line =
            "Events come faster than they are applied, or waited for a database that was away.";
        let heading = format!("Working, {} behind", format::ms(p95));
        Some(Headline::new("warn", heading, vec![line.into()]))
    }

    /// The median and the 95th percentile of the lag in the last minutes.
    pub fn lag_now(&self) -> Option<(u64, u64)> {
        let buckets = self.hour?.buckets.iter().rev().take(NOW_BUCKETS);
        buckets
            .filter_map(|bucket| bucket.lag.p50_ms.zip(bucket.lag.p95_ms))
            .next()
    }
}

/// Whether a lag of so many milliseconds is a warning.
pub fn is_slow(p95_ms: u64) -> bool {
    p95_ms > LAG_WARN_MS
}

impl Waiting {
    /// What is not applied yet, as far as it is known: `3 waiting, 20 taken and not applied yet`.
    pub fn summary(&self) -> String {
        let waiting = match self.depth {
            Some(depth) => format!("{} waiting", format::number(depth)),
            None => "how many wait is not known".into(),
        };
        match self.taken {
            Some(taken @ 1..) => format!(
                "{waiting}, {} taken by this process and not applied yet",
                format::number(taken)
            ),
            _ => waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::http::deliveries::Refusals;
    use crate::store::ChangeFeedState;

    static WAITING: Waiting = Waiting {
        depth: Some(3),
        oldest_received_at: None,
        taken: None,
        unknown: None,
    };

    fn snapshot() -> Snapshot<'static> {
        Snapshot {
            queue: Ok(()),
            database: Ok(()),
            worker: Ok(()),
            paused: None,
            waiting: &WAITING,
            failed: None,
            last_received_at: None,
            hour: None,
            change_feed: None,
            refused: None,
            now: Timestamp::from_ms(1_795_400_000_000).unwrap(),
        }
    }

    fn assert_headline(snapshot: &Snapshot, class: &str, heading: &str) {
        let headline = snapshot.headline();
        assert_eq!((headline.class, &*headline.heading), (class, heading));
    }

    #[test]
    fn the_worst_comes_first() {
        assert_headline(&snapshot(), "good", "Ready for the first event");
        let failed = Failed {
            count: 2,
            ..Failed::default()
        };
        let waiting = Snapshot {
            failed: Some(&failed),
            ..snapshot()
        };
        assert_headline(
            &waiting,
            "warn",
            "Working; 2 events failed and wait for you",
        );
        let away = Snapshot {
            database: Err("the database is not available: gone".into()),
            failed: Some(&failed),
            ..snapshot()
        };
        assert_headline(&away, "bad", "The database does not work");
        let idle = Snapshot {
            worker: Err("it waits for a migration".into()),
            ..snapshot()
        };
        assert_headline(&idle, "bad", "The worker applies nothing");
        let line = &idle.headline().lines[0];
        assert!(
            line.starts_with(
                "Because it waits for a migration. Events wait in the queue (3 waiting)"
            ),
            "{line}"
        );
        let both = Snapshot {
            queue: Err("connecting to RabbitMQ".into()),
            ..away
        };
        assert_eq!(both.headline().lines.len(), 2);
    }

    #[test]
    fn a_wrong_secret_comes_before_failed_events_and_goes_with_an_accepted_delivery() {
        let at = |ms| Time(Timestamp::from_ms(snapshot().now.ms() + ms).unwrap());
        let refusals = Refusals {
            count: 3,
            last_at: at(-60_000),
        };
        let mut refused = Refused {
            since: at(-7_200_000),
            last_accepted_at: None,
            by_reason: BTreeMap::from([("invalid_signature".into(), refusals)]),
        };
        let failed = Failed {
            count: 2,
            ..Failed::default()
        };
        let headline_with = |refused: &Refused| {
            Snapshot {
                failed: Some(&failed),
                refused: Some(refused),
                ..snapshot()
            }
            .headline()
        };
        let headline = headline_with(&refused);
        assert_eq!(
            headline.heading,
            "Deliveries are refused: their signature does not match"
        );
        let line = &headline.lines[0];
        assert!(
            line.starts_with("invalid_signature: 3 deliveries since this process started 2 h 0 min ago, the last 1 min ago, and none was accepted.")
                && line.contains("CLERK_WEBHOOK_SIGNING_SECRET"),
            "{line}"
        );
        refused.last_accepted_at = Some(at(-50_000));
        assert!(
            headline_with(&refused)
                .heading
                .starts_with("Working; 2 events")
        );
    }

    #[test]
    fn changes_that_are_published_late_come_before_what_waits_for_a_person() {
        let oldest = Time(Timestamp::from_ms(snapshot().now.ms() - 120_000).unwrap());
        let state = ChangeFeedState {
            is_on: true,
            oldest_unpublished_at: Some(oldest),
            ..ChangeFeedState::default()
        };
        let feed = |is_published| Some(ChangeFeedStatus::of(&state, is_published, snapshot().now));
        let failed = Failed {
            count: 2,
            ..Failed::default()
        };
        let late = Snapshot {
            change_feed: feed(true),
            failed: Some(&failed),
            ..snapshot()
        };
        assert_headline(&late, "warn", "Working; the change feed is 2 min behind");
        let lines = late.headline().lines;
        assert!(
            lines[0].contains("made at 2026-11-23 02:11:20 UTC.")
                && lines[0].contains("clerk-sync check")
                && lines[1] == "Working; 2 events failed and wait for you.",
            "{lines:?}"
        );
        let away = Snapshot {
            queue: Err("connecting to RabbitMQ".into()),
            ..late
        };
        assert_headline(&away, "bad", "The queue does not work");
        let embedded = Snapshot {
            change_feed: feed(false),
            ..snapshot()
        };
        assert_headline(&embedded, "good", "Ready for the first event");
    }

    #[test]
    fn a_worker_that_records_nothing_comes_before_changes_that_are_published_late() {
        let state = ChangeFeedState {
            oldest_unpublished_at: Some(Time(Timestamp::MIN)),
            ..ChangeFeedState::default()
        };
        let failed = Failed {
            count: 1,
            ..Failed::default()
        };
        let off = Snapshot {
            change_feed: Some(ChangeFeedStatus::of(&state, true, snapshot().now)),
            failed: Some(&failed),
            ..snapshot()
        };
        assert_headline(&off, "warn", "Working; a worker does not record changes");
        let lines = off.headline().lines;
        assert!(
            lines[0].contains("Set CHANGE_FEED=on for every worker")
                && lines[1] == "Working; 1 event failed and waits for you.",
            "{lines:?}"
        );
    }

    #[test]
    fn what_is_taken_is_not_lost_from_sight() {
        let summary = |depth, taken| {
            Waiting {
                depth,
                taken,
                ..Waiting::default()
            }
            .summary()
        };
        assert_eq!(summary(Some(0), None), "0 waiting");
        assert_eq!(summary(Some(1200), Some(0)), "1,200 waiting");
        assert_eq!(
            summary(Some(0), Some(20)),
            "0 waiting, 20 taken by this process and not applied yet"
        );
        assert_eq!(
            summary(None, Some(2)),
            "how many wait is not known, 2 taken by this process and not applied yet"
        );
    }
}
