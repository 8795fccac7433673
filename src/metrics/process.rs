//! What the system says of this process, under the names that Prometheus' own libraries use. Linux tells it in `/proc`; of
//! other systems nothing is said.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

/// What is known of this process.
#[derive(Default)]
pub struct Process {
    pub cpu_ms: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub start_ms: Option<u64>,
    pub open_files: Option<u64>,
    pub open_files_max: Option<u64>,
}

/// Places in `/proc/self/stat` after the name of the program, from 0: see proc_pid_stat(5), which counts from 3.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const RESIDENT_PAGES: usize = 21;

impl Process {
    pub fn read() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let open_files = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|files| files.count() as u64);
        let Some(stat) = fs::read_to_string("/proc/self/stat").ok() else {
            return Self {
                open_files,
                open_files_max: limit,
                ..Self::default()
            };
        };
        // The name is in brackets and may hold anything.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| {
                rest.split_whitespace()
                    .map(|field| field.parse().unwrap_or(0))
                    .collect()
            })
            .unwrap_or_default();
        let ticks_ms = |place: usize| {
            fields
                .get(place)
                .map(|ticks| ticks * 1000 / clock_ticks_per_second().max(1))
        };
        Self {
            cpu_ms: ticks_ms(USER_TICKS)
                .zip(ticks_ms(SYSTEM_TICKS))
                .map(|(user, system)| user + system),
            resident_bytes: fields
                .get(RESIDENT_PAGES)
                .map(|pages| pages * page_size() as u64),
            start_ms: ticks_ms(START_TICKS)
                .zip(*BOOT)
                .map(|(after, boot)| boot + after),
            open_files,
            open_files_max: limit,
        }
    }
}

/// When the system started, in milliseconds since 1970.
static BOOT: LazyLock<Option<u64>> = LazyLock::new(|| {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot = Duration::from_secs(seconds.trim().parse().ok()?);
    u64::try_from(boot.as_millis()).ok()
});

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_everything() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 1_000_000 && process.open_files.unwrap() >= 3);
        assert!(process.open_files.unwrap() <= process.open_files_max.unwrap());
        assert!(process.start_ms.unwrap() >= BOOT.unwrap());
        assert!(process.cpu_ms.is_some());
    }
}
