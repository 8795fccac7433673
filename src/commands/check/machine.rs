//! This machine: the directory of the embedded files, and how many files the system lets the
//! program open.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::finding::{Finding, fail, note, ok};
use super::role::Role;
use crate::config::Config;
use crate::{http, queue, store};

/// Less free space than this, in bytes, is gone with one burst: the queue's log alone grows to 64
/// MiB.
const FREE_MIN: u64 = 128 << 20;

/// Less than this, in bytes, is worth a note.
const FREE_NOTABLE: u64 = 1 << 30;

/// Checks each directory that holds an embedded file of this role.
pub fn directories(config: &Config, role: Role) -> Vec<Finding> {
    let queue =
        matches!(config.queue, queue::Options::Embedded(_)).then(|| config.data_dir.clone());
    let store = match &config.store {
        store::Options::Sqlite(options) if role != Role::Receiver => {
            options.path.parent().map(Path::to_owned)
        }
        store::Options::Sqlite(_) | store::Options::Postgres(_) => None,
    };
    let mut directories: Vec<PathBuf> = queue.into_iter().chain(store).collect();
    directories
        .iter_mut()
        .filter(|path| path.as_os_str().is_empty())
        .for_each(|path| *path = ".".into());
    directories.dedup();
    directories
        .iter()
        .flat_map(|directory| of_directory(directory))
        .collect()
}

fn of_directory(directory: &Path) -> Vec<Finding> {
    let name = directory.display();
    let failure = |what: String, remedy: &str| vec![fail("data_directory", what, remedy)];
    // A directory that does not exist is created in the nearest one that does.
    let Some(nearest) = directory
        .ancestors()
        .map(or_here)
        .find(|path| path.exists())
    else {
        return failure(
            format!("{name} cannot be created"),
            "set DATA_DIR to a directory on a local disk",
        );
    };
    if !nearest.is_dir() {
        return failure(
            format!("{} is no directory", nearest.display()),
            "set DATA_DIR to a directory on a local disk",
        );
    }
    if access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let remedy = "give it to the user that the program runs as (chown), or set DATA_DIR to another directory";
        return failure(format!("{} cannot be written", nearest.display()), remedy);
    }
    if let Some(kind) = network_file_system(nearest) {
        let remedy = "set DATA_DIR to a directory on a local disk, or use RabbitMQ and PostgreSQL";
        return failure(
            format!("{name} is on {kind}: SQLite's files can be damaged there"),
            remedy,
        );
    }
    let free = match statvfs(nearest) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            return failure(
                format!("the free space of {name} cannot be read: {error}"),
                "see whether its disk is there",
            );
        }
    };
    let space = format!("{name}: {:.1} GiB free", free as f64 / (1u64 << 30) as f64);
    if free < FREE_MIN {
        return failure(
            format!("{space}: a full disk refuses events with 503"),
            "free some space, or set DATA_DIR to another disk",
        );
    }
    let mut findings = vec![if free < FREE_NOTABLE {
        note(
            "data_directory",
            space,
            "free some space before the disk is full",
        )
    } else {
        ok("data_directory", space)
    }];
    if nearest == directory && !is_private(directory) {
        let what = format!("others on this machine may read {name}, which holds personal data");
        findings.push(note("data_directory", what, format!("chmod 700 {name}")));
    }
    findings
}

/// The last ancestor of a relative path is an empty one.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

fn is_private(directory: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(directory).map_or(true, |found| found.permissions().mode() & 0o077 == 0)
}

/// SQLite's write-ahead log needs memory that all of its processes share (sqlite.org/wal.html). The
/// numbers are those of statfs(2).
#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    match u32::try_from(found.f_type).ok()? {
        0x6969 => Some("NFS"),
        0x517B | 0xFE53_4D42 | 0xFF53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x00C3_6400 => Some("Ceph"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

/// Checks the limit of open files of this process. A service may have another limit.
pub fn open_files() -> Finding {
    let (files, seats, seats_max) = http::file_and_connection_limits();
    if seats < seats_max {
        let what = format!(
            "this shell may open {files}: {seats} connections are served at once, not {seats_max}"
        );
        return note(
            "open_files",
            what,
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE= in a unit) to 11052",
        );
    }
    ok("open_files", format!("enough for {seats} connections"))
}
