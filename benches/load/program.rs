//! The measured program as a child process: its start, processor time, memory and stop.
//!
//! A child is in a process group of its own, so that Ctrl-C reaches it through us, and is killed
//! when its handle goes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::traffic;

/// Longest wait for a program to listen, to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a program is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

pub struct Program {
    child: Child,
    pub address: SocketAddr,
    pub started: Instant,
}

impl Program {
    /// Starts it and waits until it says where it listens: a line of JSON with `address` on its
    /// standard error.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let stderr = BufReader::new(
            child
                .stderr
                .take()
                .context("a child without its standard error")?,
        );
        let (sender, addresses) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                match entry["address"]
                    .as_str()
                    .and_then(|address| address.parse().ok())
                {
                    Some(address) => drop(sender.send(address)),
                    None if entry["level"] == "INFO" => {}
                    None => eprintln!("  it says: {line}"),
                }
            }
        });
        let Ok(address) = addresses.recv_timeout(PATIENCE) else {
            drop(child.kill());
            drop(child.wait());
            bail!("the program does not say where it listens; its own lines are above");
        };
        Ok(Self {
            child,
            address,
            started,
        })
    }

    /// Waits until `path` is answered with 200; how long that was from the start on.
    pub async fn ready(&self, path: &str) -> anyhow::Result<Duration> {
        while self.started.elapsed() < PATIENCE {
            if traffic::get(self.address, path).await == Some(200) {
                return Ok(self.started.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!("the program does not become ready")
    }

    /// Looks at its processor time and memory until it is asked.
    pub fn watch(&self) -> UsageWatch {
        UsageWatch::over(self.child.id())
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a child without a number")?;
        kill_process(pid, Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                bail!("the program does not stop");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail where it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks at a process until it is dropped.
pub struct UsageWatch {
    id: u32,
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Usage>>>,
}

/// What a process has used.
#[derive(Clone, Copy)]
pub struct Usage {
    at: Instant,
    /// User and system time since its start.
    pub processor: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
}

impl UsageWatch {
    pub fn over(id: u32) -> Self {
        let watch = Self {
            id,
            stop: Arc::default(),
            samples: Arc::new(Mutex::new(usage_of(id).into_iter().collect())),
        };
        let (stop, samples) = (Arc::clone(&watch.stop), Arc::clone(&watch.samples));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let usage = usage_of(id);
                samples
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(usage);
                std::thread::sleep(INTERVAL);
            }
        });
        watch
    }

    /// All samples up to now; empty if the system does not report what a process uses.
    pub fn samples(&self) -> Samples {
        let mut samples = self
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        samples.extend(usage_of(self.id));
        Samples(samples)
    }
}

impl Drop for UsageWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub struct Samples(Vec<Usage>);

impl Samples {
    /// Processor time between the first sample and the last, in microseconds, for each of `events`.
    pub fn micros_each(&self, events: u64) -> Option<f64> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        Some((last.processor - first.processor).as_micros() as f64 / events as f64)
    }

    /// The greatest memory, in MB.
    pub fn memory_peak(&self) -> Option<f64> {
        self.0
            .iter()
            .map(|usage| usage.memory as f64 / 1e6)
            .max_by(f64::total_cmp)
    }

    pub fn memory_last(&self) -> Option<f64> {
        self.0.last().map(|usage| usage.memory as f64 / 1e6)
    }

    /// Processor time and memory of the last third of the time, as multiples of those of the first
    /// third.
    pub fn last_third_over_first(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        let third = (last.at - first.at) / 3;
        let by = |at: Instant| self.0.iter().find(|usage| usage.at >= at);
        let (one, two) = (by(first.at + third)?, by(first.at + 2 * third)?);
        let early = (one.processor - first.processor).as_secs_f64();
        let late = (last.processor - two.processor).as_secs_f64();
        Some((late / early, last.memory as f64 / one.memory as f64))
    }
}

/// User and system time of a process since its start.
pub fn processor_time(id: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, which can hold anything, is in brackets; utime and stime are fields 14 and 15
    // (proc(5)).
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // The kernel says ticks of 1/100 s to every program, whatever its own are (USER_HZ).
    Some(Duration::from_millis(ticks * 10))
}

/// Of all processes with this name.
pub fn processor_time_of_all(name: &str) -> Option<Duration> {
    let mut total = None;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let id = entry
            .file_name()
            .to_str()
            .and_then(|id| id.parse::<u32>().ok());
        if let Some(id) = id
            && std::fs::read_to_string(format!("/proc/{id}/comm"))
                .is_ok_and(|comm| comm.trim() == name)
            && let Some(time) = processor_time(id)
        {
            *total.get_or_insert(Duration::ZERO) += time;
        }
    }
    total
}

fn usage_of(id: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Usage {
        at: Instant::now(),
        processor: processor_time(id)?,
        memory: kib * 1024,
    })
}
