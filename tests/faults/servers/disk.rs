//! A disk of our own that can be filled: a file system in memory, as small as it is wanted.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::is_root;

/// Room for a long run. What is not used takes no memory.
const ROOM: &str = "2g";

/// Bytes that a full disk still has: what is written while it is measured.
const SPARE: u64 = 64 * 1024;

/// Mounted for as long as the value lives.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts a disk at this folder; `None` if that is not allowed, or the system is not Linux.
    pub fn at(folder: &Path) -> Option<Self> {
        let options = format!("size={ROOM},mode=0755");
        let is_mounted = is_root()
            && run(
                "mount",
                &["-t", "tmpfs", "-o", &options, "clerk-sync-test"],
                folder,
            );
        is_mounted.then(|| Self(folder.to_owned()))
    }

    /// Leaves no room.
    pub fn fill(&self) {
        // A writer meanwhile may need what was measured: then it is refused, and measured again.
        let is_full = (0..100).any(|_| self.resize(&(self.used() + SPARE).to_string()));
        assert!(is_full, "the disk cannot be made smaller");
    }

    pub fn make_room(&self) {
        assert!(self.resize(ROOM), "the disk cannot be made larger");
    }

    fn used(&self) -> u64 {
        let printed = Command::new("df")
            .args(["-B1", "--output=used"])
            .arg(&self.0)
            .output()
            .unwrap();
        String::from_utf8(printed.stdout)
            .unwrap()
            .lines()
            .last()
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    fn resize(&self, size: &str) -> bool {
        run("mount", &["-o", &format!("remount,size={size}")], &self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A file that is still open is closed with its process.
        run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    Command::new(program)
        .args(arguments)
        .arg(folder)
        .output()
        .is_ok_and(|output| output.status.success())
}
