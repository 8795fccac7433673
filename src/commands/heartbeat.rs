//! The regular signs of life of a process with a database: it records itself, the receivers that it
//! has had events from, and the queue that it consumes, so that `events replay` can recognize
//! another one. Nothing waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::warn;

use crate::backoff::Backoff;
use crate::clock::now;
use crate::queue::{Identity, Queue};
use crate::replay::worker_queues;
use crate::shutdown::Shutdown;
use crate::store::{ProcessDescription, RECEIVER, SignOfLife, Store, StoreError};

/// The first part of the mark that a receiver puts on its messages; its version follows.
const MARK: &str = "clerk-sync/";

/// Longest wait for the database to forget a process that stops.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest name of a machine that is kept, in bytes. A DNS label has 63.
const HOST_MAX: usize = 100;

/// What gives signs of life.
pub struct Heartbeat {
    pub process: ProcessDescription,
    pub queue: Queue,
    /// `None` if it is not known.
    pub identity: Option<Identity>,
    pub store: Store,
}

impl Heartbeat {
    /// Runs until the stop, and then has the database forget this process.
    pub async fn run(&self, stop: &Shutdown) {
        let (mut repair, mut upkeep) = (Backoff::for_repair(), Backoff::for_upkeep());
        let mut queues = Recorder::new(
            "the worker's queue could not be recorded, so `events replay` cannot compare it",
        );
        let mut processes = Recorder::new(
            "this process could not be recorded, so the list of processes and the shares of a rate limit lack it",
        );
        let mut feed = Recorder::new(
            "it could not be checked whether every worker records changes, so readers of the change feed may miss some",
        );
        let mut others = Vec::new();
        let mut is_recorded = false;
        loop {
            let record = async {
                (
                    self.store.record_processes(&self.signs()).await,
                    self.record_queue(&mut others).await,
                    self.watch_change_feed().await,
                )
            };
            let Some((process, queue, watched)) = stop.or(record).await else {
                break;
            };
            feed.is_done(watched, &self.store).await;
            is_recorded |= process.is_ok();
            let process = processes.is_done(process, &self.store).await;
            let backoff = if queues.is_done(queue, &self.store).await && process {
                repair.reset();
                &mut upkeep
            } else {
                &mut repair
            };
            if stop.or(backoff.wait()).await.is_none() {
                break;
            }
        }
        if is_recorded {
            let remove = self.store.remove_process(&self.process.process_id);
            // If it fails, the row grows old.
            drop(tokio::time::timeout(REMOVE_TIMEOUT, remove).await);
        }
    }

    /// This process, and the receivers that it has had events from.
    fn signs(&self) -> Vec<SignOfLife> {
        let receivers = self.queue.take_heard().into_iter();
        let receivers = receivers.filter_map(|(mark, age)| {
            Some(SignOfLife {
                process: receiver(&mark)?,
                age_ms: u64::try_from(age.as_millis()).ok()?,
                change_feed: None,
            })
        });
        let own = SignOfLife {
            process: self.process.clone(),
            age_ms: 0,
            change_feed: Some(self.store.has_change_feed()),
        };
        // Two marks can name one process, and the database takes each once.
        let signs = receivers
            .chain([own])
            .map(|sign| (sign.process.process_id.clone(), sign));
        signs.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    async fn watch_change_feed(&self) -> Result<(), StoreError> {
        match self.store.has_change_feed() {
            true => self.store.watch_change_feed().await,
            false => Ok(()),
        }
    }

    async fn record_queue(&self, others: &mut Vec<Identity>) -> Result<(), StoreError> {
        let Some(queue) = &self.identity else {
            return Ok(());
        };
        let found = worker_queues::record(&self.store, queue).await?;
        for other in found.iter().filter(|other| !others.contains(*other)) {
            warn!(
                %queue,
                %other,
                "a worker of this database has recorded another queue than this one; `events replay` takes either for some minutes, then the queues of the workers that still run. If both are not meant to run, stop one, or give it another DATABASE_URL"
            );
        }
        *others = found;
        Ok(())
    }
}

/// Logs once that something cannot be recorded.
struct Recorder {
    consequence: &'static str,
    is_logged: bool,
}

impl Recorder {
    fn new(consequence: &'static str) -> Self {
        Self {
            consequence,
            is_logged: false,
        }
    }

    /// Whether it was recorded. The worker itself logs an outage, and an old schema.
    async fn is_done(&mut self, recorded: Result<(), StoreError>, store: &Store) -> bool {
        let Err(error) = recorded else {
            return true;
        };
        if !self.is_logged && matches!(error, StoreError::Incompatible(_)) {
            let version = store.schema_version().await;
            if version.is_ok_and(|version| version.check().is_ok()) {
                warn!(%error, "{}", self.consequence);
                self.is_logged = true;
            }
        }
        false
    }
}

/// This process, in its role.
pub fn this_process(role: &str) -> ProcessDescription {
    let (pid, started_at_ms) = (std::process::id(), now().ms());
    described(role, env!("CARGO_PKG_VERSION"), &host(), pid, started_at_ms)
}

/// The name of this machine, or of the container.
pub fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| is_of_host(*c)).collect();
    match host.is_empty() {
        true => "unknown".into(),
        false => host.chars().take(HOST_MAX).collect(),
    }
}

fn described(
    role: &str,
    version: &str,
    host: &str,
    pid: u32,
    started_at_ms: i64,
) -> ProcessDescription {
    // A mark comes from outside: it must not take the ID of a worker.
    let prefix = if role == RECEIVER { "receiver-" } else { "" };
    ProcessDescription {
        process_id: format!("{prefix}{host}-{pid}-{started_at_ms}"),
        role: role.into(),
        version: version.into(),
        host: host.into(),
        pid,
        started_at_ms,
    }
}

/// The mark of a receiver on its messages.
pub fn mark(process: &ProcessDescription) -> String {
    let ProcessDescription {
        version,
        host,
        pid,
        started_at_ms,
        ..
    } = process;
    format!("{MARK}{version} {host} {pid} {started_at_ms}")
}

/// Reads the mark of a receiver. Returns `None` for any other text: a program that may
/// publish can write what it likes.
fn receiver(mark: &str) -> Option<ProcessDescription> {
    let mut parts = mark.strip_prefix(MARK)?.split(' ');
    let mut next = || parts.next();
    let (version, host, pid, started_at_ms) = (next()?, next()?, next()?, next()?);
    let is_version = (1..=32).contains(&version.len())
        && version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte));
    let is_host = (1..=HOST_MAX).contains(&host.len()) && host.chars().all(is_of_host);
    let started_at_ms = started_at_ms.parse().ok()?;
    let is_time = (0..=now().ms() + 24 * 60 * 60 * 1000).contains(&started_at_ms);
    (is_version && is_host && is_time && next().is_none())
        .then(|| pid.parse().ok())?
        .map(|pid| described(RECEIVER, version, host, pid, started_at_ms))
}

fn is_of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_receiver_is_read_back() {
        let process = this_process(RECEIVER);
        assert_eq!(receiver(&mark(&process)), Some(process));
    }

    #[test]
    fn any_other_mark_is_none() {
        for wrong in [
            "",
            "clerk-sync",
            "clerk-sync/0.1.0",
            "clerk-sync/0.1.0 host 1",
            "clerk-sync/0.1.0 host 1 2 3",
            "clerk-sync/0.1.0 host -1 2",
            "clerk-sync/0.1.0 host 1 99999999999999999",
            "clerk-sync/0.1.0 host 1 -5",
            "clerk-sync/0.1.0 <script> 1 2",
            "clerk-sync/ host 1 2",
            "clerk-sync/é host 1 2",
            "another/0.1.0 host 1 2",
            &format!("clerk-sync/0.1.0 {} 1 2", "h".repeat(HOST_MAX + 1)),
        ] {
            assert_eq!(receiver(wrong), None, "{wrong}");
        }
        assert!(receiver("clerk-sync/0.1.0 host 1 2").is_some());
    }
}
