//! Whether the service works, in words: one headline, and a tile for each part. Pure.

use super::view_models::{When, of_ms};
use crate::clerk::Timestamp;
use crate::format;
use crate::http::service_status::{PartStatus, Waiting};
use crate::store::{EventRow, Failed, Pause, Recent};

/// What the parts report.
pub struct Snapshot<'a> {
    /// Whether this process takes webhooks.
    pub receives: bool,
    pub is_stopping: bool,
    pub queue: PartStatus,
    pub database: PartStatus,
    pub worker: PartStatus,
    /// The pause of applying.
    pub paused: Option<&'a Pause>,
    pub waiting: &'a Waiting,
    /// The name of the database.
    pub database_name: &'static str,
    /// `None` while the database does not answer.
    pub failed: Option<&'a Failed>,
    /// The last event that is recorded.
    pub last: Option<&'a EventRow>,
    /// `None` while it is counted for the first time.
    pub recent: Option<&'a Recent>,
    pub now: Timestamp,
}

/// The summary over everything.
pub struct Headline {
    /// `good`, `warn` or `bad`.
    pub class: &'static str,
    pub heading: String,
    pub lines: Vec<String>,
}

/// A part at a glance.
pub struct Tile {
    pub id: &'static str,
    pub name: &'static str,
    /// `good`, `warn`, `bad`, `idle` or `none`.
    pub class: &'static str,
    pub value: String,
    pub note: String,
}

/// Class, value and note of a tile.
type Reading = (&'static str, String, String);

/// A lag that is a warning, in milliseconds: after a minute a new user is missed.
const LAG_WARN_MS: u64 = 60_000;

/// A tile without a value.
const NO_VALUE: &str = "—";

/// The note of a tile if the database did not answer.
const UNKNOWN: &str = "not known now";

/// Points of the lag's series that count as now: up to four minutes.
const NOW_POINTS: usize = 2;

fn reading(class: &'static str, value: impl Into<String>, note: impl Into<String>) -> Reading {
    (class, value.into(), note.into())
}

fn ready(status: &PartStatus, note: impl Into<String>) -> Reading {
    match status {
        Ok(()) => reading("good", "Ready", note),
        Err(_) => reading("bad", "Not ready", note),
    }
}

impl Snapshot<'_> {
    /// The worst of everything first.
    pub fn headline(&self) -> Headline {
        let headline = |class, heading: String, lines| Headline {
            class,
            heading,
            lines,
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
            lines.push(format!(
                "Because {reason}. Events wait in the queue, and are applied by themselves afterwards."
            ));
        }
        let broken = match (&self.queue, &self.database, &self.worker) {
            (Err(_), Err(_), _) => "Neither the queue nor the database works",
            (Err(_), ..) => "The queue does not work",
            (_, Err(_), _) => "The database does not work",
            (.., Err(_)) => "The worker applies nothing",
            _ => "",
        };
        if !broken.is_empty() {
            return headline("bad", broken.into(), lines);
        }
        if let Some(pause) = self.paused {
            let reason = pause.reason.as_deref();
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            let line =
                "Webhooks are received, and events wait in the queue until a person resumes.";
            let since = When::at(pause.paused_at, self.now).age;
            let heading = format!("Paused, since {since}{reason}");
            return headline("warn", heading, vec![line.into()]);
        }
        let failed = self.failed.map_or(0, |failed| failed.count);
        if failed > 0 {
            let wait = if failed == 1 { "waits" } else { "wait" };
            let heading = format!(
                "Working; {} failed and {wait} for you",
                format::count(failed, "event")
            );
            let line = "Each is kept whole, with its reason, until it is replayed or discarded.";
            return headline("warn", heading, vec![line.into()]);
        }
        if let Some((_, p95)) = self.lag_now().filter(|(_, p95)| *p95 > LAG_WARN_MS) {
            let line =
                "Events come faster than they are applied, or waited for a database that was away.";
            let heading = format!("Working, {} behind", of_ms(p95));
            return headline("warn", heading, vec![line.into()]);
        }
        let heading = match self.last {
            Some(_) => "Everything works",
            None => "Ready for the first event",
        };
        headline("good", heading.into(), Vec::new())
    }

    /// The parts in the order of the page.
    pub fn tiles(&self) -> Vec<Tile> {
        [
            ("receiver", "Receiver", self.receiver()),
            ("queue", "Queue", ready(&self.queue, self.waiting())),
            (
                "database",
                "Database",
                ready(&self.database, self.database_name),
            ),
            ("last", "Last event", self.last()),
            ("lag", "Lag now", self.lag()),
            ("failed", "Failed", self.failed()),
        ]
        .into_iter()
        .map(|(id, name, (class, value, note))| Tile {
            id,
            name,
            class,
            value,
            note,
        })
        .collect()
    }

    fn receiver(&self) -> Reading {
        if !self.receives {
            let note = "this process is a worker; receivers run separately";
            return reading("idle", "Elsewhere", note);
        }
        if self.is_stopping {
            return reading("warn", "Stopping", "this process stops");
        }
        match self.queue {
            Ok(()) => reading("good", "Receiving", "in this process"),
            Err(_) => reading(
                "bad",
                "Refusing",
                "503 until the queue is back; Svix tries again",
            ),
        }
    }

    fn waiting(&self) -> String {
        let Some(depth) = self.waiting.depth else {
            return "how many wait is not known".into();
        };
        let waiting = format!("{} waiting", format::number(depth));
        match self.waiting.oldest_received_at {
            Some(time) => format!(
                "{waiting}, the oldest from {}",
                When::at(time, self.now).age
            ),
            None => waiting,
        }
    }

    fn last(&self) -> Reading {
        match self.last {
            Some(event) => {
                let received = When::at(event.received_at, self.now);
                reading("none", received.age, &*event.event_type)
            }
            None if self.database.is_err() => reading("none", NO_VALUE, UNKNOWN),
            None => reading("none", NO_VALUE, "none yet"),
        }
    }

    /// The median and the 95th percentile of the last minutes.
    fn lag_now(&self) -> Option<(u64, u64)> {
        let points = self.recent?.lag_series.iter().rev().take(NOW_POINTS);
        points
            .filter_map(|point| point.lag.p50_ms.zip(point.lag.p95_ms))
            .next()
    }

    fn lag(&self) -> Reading {
        match self.lag_now() {
            Some((p50, p95)) => {
                let class = if p95 > LAG_WARN_MS { "warn" } else { "none" };
                let note = format!("95 of 100; median {}", of_ms(p50));
                reading(class, of_ms(p95), note)
            }
            None if self.recent.is_none() => reading("none", NO_VALUE, UNKNOWN),
            None => reading("none", NO_VALUE, "nothing in the last minutes"),
        }
    }

    fn failed(&self) -> Reading {
        match self.failed.map(|failed| failed.count) {
            None => reading("none", NO_VALUE, UNKNOWN),
            Some(0) => reading("good", "None", "nothing waits for you"),
            Some(count) => reading("bad", format::number(count), "kept until you act"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WAITING: Waiting = Waiting {
        depth: Some(3),
        oldest_received_at: None,
        unknown: None,
    };

    fn snapshot() -> Snapshot<'static> {
        Snapshot {
            receives: true,
            is_stopping: false,
            queue: Ok(()),
            database: Ok(()),
            worker: Ok(()),
            paused: None,
            waiting: &WAITING,
            database_name: "PostgreSQL",
            failed: None,
            last: None,
            recent: None,
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
        assert_eq!(waiting.headline().class, "warn");
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
            line.starts_with("Because it waits for a migration. Events wait in the queue"),
            "{line}"
        );
        let both = Snapshot {
            queue: Err("connecting to RabbitMQ".into()),
            ..away
        };
        assert_eq!(both.headline().lines.len(), 2);
        assert_eq!(both.tiles()[0].value, "Refusing");
    }

    #[test]
    fn a_worker_is_no_receiver() {
        let worker = Snapshot {
            receives: false,
            ..snapshot()
        };
        let tile = &worker.tiles()[0];
        assert_eq!((tile.value.as_str(), tile.class), ("Elsewhere", "idle"));
    }
}
