//! Is it working? The state of the parts in words, and one verdict over all of them. Pure.

use super::chart::of_ms;
use super::format::{self, count, when};
use crate::clerk::Timestamp;
use crate::store::{EventRow, Failed, Recent, Time};

/// What the parts say of themselves.
pub struct State<'a> {
    /// Whether this process takes webhooks.
    pub receives: bool,
    pub is_stopping: bool,
    /// Whether a publish could succeed now, or what is in its way.
    pub queue: Result<(), String>,
    /// Events in the queue, where it could be asked.
    pub waiting: Option<u64>,
    /// When the oldest of them was received, where the queue can tell.
    pub oldest_waiting: Option<Time>,
    pub database: Result<(), String>,
    /// Whether the worker of this process applies events, or why not.
    pub worker: Result<(), String>,
    pub is_postgres: bool,
    pub failed: Option<&'a Failed>,
    /// The last event that is recorded.
    pub last: Option<&'a EventRow>,
    pub recent: Option<&'a Recent>,
    pub now: Timestamp,
}

/// The one line over everything.
pub struct Verdict {
    /// `good`, `warn` or `bad`.
    pub class: &'static str,
    pub heading: String,
    pub lines: Vec<String>,
}

/// A part at a glance.
pub struct Tile {
    pub id: &'static str,
    pub name: &'static str,
    /// `good`, `warn`, `bad` or `idle`.
    pub class: &'static str,
    pub value: String,
    pub note: String,
}

/// A lag that somebody should know of, in milliseconds: a minute, when a sign-up is looked for and not found.
const LAG_WARN_MS: u64 = 60_000;

/// What is said where the database was not asked or has not answered.
const UNKNOWN: &str = "not known now";

/// Points of the lag's series that count as now: up to four minutes.
const NOW_POINTS: usize = 2;

impl State<'_> {
    pub fn verdict(&self) -> Verdict {
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
            lines
                .push(format!("Because {reason}. Events wait in the queue, and are applied by themselves afterwards."));
        }
        let heading = match (&self.queue, &self.database) {
            (Ok(()), Ok(())) if self.worker.is_err() => "The worker applies nothing",
            (Ok(()), Ok(())) => return self.verdict_of_numbers(),
            (Err(_), Ok(())) => "The queue does not work",
            (Ok(()), Err(_)) => "The database does not work",
            (Err(_), Err(_)) => "Neither the queue nor the database works",
        };
        Verdict {
            class: "bad",
            heading: heading.into(),
            lines,
        }
    }

    fn verdict_of_numbers(&self) -> Verdict {
        let failed = self.failed.map_or(0, |failed| failed.count);
        if failed > 0 {
            let heading = format!(
                "Working; {} failed and {} for you",
                format::events(failed),
                if failed == 1 { "waits" } else { "wait" }
            );
            let line = "Each is kept whole, with its reason, until it is replayed or discarded.";
            return Verdict {
                class: "warn",
                heading,
                lines: vec![line.into()],
            };
        }
        if let Some((_, p95)) = self.lag_now().filter(|(_, p95)| *p95 > LAG_WARN_MS) {
            let heading = format!("Working, {} behind", of_ms(p95));
            let line =
                "Events come faster than they are applied, or waited for a database that was away.";
            return Verdict {
                class: "warn",
                heading,
                lines: vec![line.into()],
            };
        }
        let heading = if self.last.is_none() {
            "Ready for the first event"
        } else {
            "Everything works"
        };
        Verdict {
            class: "good",
            heading: heading.into(),
            lines: Vec::new(),
        }
    }

    pub fn tiles(&self) -> Vec<Tile> {
        vec![
            self.receiver(),
            self.queue(),
            self.database(),
            self.last(),
            self.lag(),
            self.failed(),
        ]
    }

    fn receiver(&self) -> Tile {
        let (class, value, note) = match (self.receives, &self.queue) {
            (false, _) => (
                "idle",
                "Elsewhere",
                "this process is a worker; receivers run apart",
            ),
            (true, _) if self.is_stopping => ("warn", "Stopping", "this process ends"),
            (true, Err(_)) => (
                "bad",
                "Refusing",
                "503 until the queue is back; Svix tries again",
            ),
            (true, Ok(())) => ("good", "Receiving", "in this process"),
        };
        Tile {
            id: "receiver",
            name: "Receiver",
            class,
            value: value.into(),
            note: note.into(),
        }
    }

    fn queue(&self) -> Tile {
        let (class, value) = if self.queue.is_ok() {
            ("good", "Ready")
        } else {
            ("bad", "Not ready")
        };
        let oldest = self
            .oldest_waiting
            .map(|time| format!(", the oldest from {}", when(time, self.now).age));
        let note = match self.waiting {
            Some(waiting) => format!("{} waiting{}", count(waiting), oldest.unwrap_or_default()),
            None => "how many wait is not known".into(),
        };
        Tile {
            id: "queue",
            name: "Queue",
            class,
            value: value.into(),
            note,
        }
    }

    fn database(&self) -> Tile {
        let (class, value) = if self.database.is_ok() {
            ("good", "Ready")
        } else {
            ("bad", "Not ready")
        };
        let note = if self.is_postgres {
            "PostgreSQL"
        } else {
            "SQLite"
        };
        Tile {
            id: "database",
            name: "Database",
            class,
            value: value.into(),
            note: note.into(),
        }
    }

    fn last(&self) -> Tile {
        let (class, value, note) = match self.last {
            Some(event) => (
                "none",
                when(event.received_at, self.now).age,
                event.event_type.clone(),
            ),
            None if self.database.is_err() => ("none", "—".into(), UNKNOWN.into()),
            None => ("none", "—".into(), "none yet".into()),
        };
        Tile {
            id: "last",
            name: "Last event",
            class,
            value,
            note,
        }
    }

    /// Median and 95th of 100 of the last minutes.
    fn lag_now(&self) -> Option<(u64, u64)> {
        let points = self.recent?.lag_series.iter().rev().take(NOW_POINTS);
        points
            .filter_map(|point| point.lag.p50_ms.zip(point.lag.p95_ms))
            .next()
    }

    fn lag(&self) -> Tile {
        let (class, value, note) = match self.lag_now() {
            Some((p50, p95)) => {
                let class = if p95 > LAG_WARN_MS { "warn" } else { "none" };
                (
                    class,
                    of_ms(p95),
                    format!("95 of 100; median {}", of_ms(p50)),
                )
            }
            None if self.recent.is_none() => ("none", "—".into(), UNKNOWN.into()),
            None => ("none", "—".into(), "nothing in the last minutes".into()),
        };
        Tile {
            id: "lag",
            name: "Lag now",
            class,
            value,
            note,
        }
    }

    fn failed(&self) -> Tile {
        let (class, value, note) = match self.failed {
            None => ("none", "—".into(), UNKNOWN.into()),
            Some(failed) if failed.count == 0 => {
                ("good", "None".into(), "nothing waits for you".into())
            }
            Some(failed) => ("bad", count(failed.count), "kept until you act".into()),
        };
        Tile {
            id: "failed",
            name: "Failed",
            class,
            value,
            note,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State<'static> {
        State {
            receives: true,
            is_stopping: false,
            queue: Ok(()),
            waiting: Some(3),
            oldest_waiting: None,
            database: Ok(()),
            worker: Ok(()),
            is_postgres: true,
            failed: None,
            last: None,
            recent: None,
            now: Timestamp::from_ms(1_795_400_000_000).unwrap(),
        }
    }

    #[test]
    fn the_worst_is_said_first() {
        assert_eq!(
            (state().verdict().class, state().verdict().heading.as_str()),
            ("good", "Ready for the first event")
        );
        let failed = Failed {
            count: 2,
            ..Failed::default()
        };
        let waiting = State {
            failed: Some(&failed),
            ..state()
        };
        assert_eq!(waiting.verdict().class, "warn");
        let away = State {
            database: Err("the database is not available: gone".into()),
            failed: Some(&failed),
            ..state()
        };
        assert_eq!(
            (away.verdict().class, away.verdict().heading.as_str()),
            ("bad", "The database does not work")
        );
        let idle = State {
            worker: Err("it waits for a migration".into()),
            ..state()
        };
        assert_eq!(
            (idle.verdict().class, idle.verdict().heading.as_str()),
            ("bad", "The worker applies nothing")
        );
        assert!(
            idle.verdict().lines[0]
                .starts_with("Because it waits for a migration. Events wait in the queue")
        );
        let both = State {
            queue: Err("connecting to RabbitMQ".into()),
            ..away
        };
        assert_eq!(both.verdict().lines.len(), 2);
        assert_eq!(both.tiles()[0].value, "Refusing");
    }

    #[test]
    fn a_worker_does_not_say_that_it_receives() {
        let worker = State {
            receives: false,
            ..state()
        };
        assert_eq!(
            (worker.tiles()[0].value.as_str(), worker.tiles()[0].class),
            ("Elsewhere", "idle")
        );
    }
}
