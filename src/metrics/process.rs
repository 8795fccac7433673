//! CPU, memory and files of this process, from Linux's `/proc`; unknown on other systems.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

/// Figures of this process; `None` if unknown.
pub struct Process {
    pub cpu_ms: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub start_ms: Option<u64>,
    pub open_files: Option<u64>,
    pub open_files_max: Option<u64>,
}

/// Places in `/proc/self/stat` after the name of the program, from 0: see proc_pid_stat(5), which
/// counts from 3.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const RESIDENT_PAGES: usize = 21;

impl Process {
    /// Reads the figures.
    pub fn read() -> Self {
        let files = fs::read_dir("/proc/self/fd").ok();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name is in brackets and may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let field = |place| fields.split_whitespace().nth(place)?.parse::<u64>().ok();
        let ms = |place| Some(field(place)? * 1000 / clock_ticks_per_second().max(1));
        let sum = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        Self {
            cpu_ms: sum(ms(USER_TICKS), ms(SYSTEM_TICKS)),
            resident_bytes: field(RESIDENT_PAGES).map(|pages| pages * page_size() as u64),
            start_ms: sum(ms(START_TICKS), *BOOT),
            open_files: files.map(|files| files.count() as u64),
            open_files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
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
    fn linux_knows_everything() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 1_000_000 && process.open_files.unwrap() >= 3);
        assert!(process.open_files.unwrap() <= process.open_files_max.unwrap());
        assert!(process.start_ms.unwrap() >= BOOT.unwrap());
        assert!(process.cpu_ms.is_some());
    }
}
