//! Servers of our own, on free ports, which may be stopped, killed and started again.

pub mod certificates;
mod disk;
pub mod postgres;
pub mod rabbitmq;

use std::net::TcpListener;

/// A port that no server listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Whether this process is root, which PostgreSQL refuses to run as.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
