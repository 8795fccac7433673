//! `TCP_NODELAY` on the sockets to the database.
//!
//! sqlx 0.9.0 leaves Nagle's algorithm on and does not give its socket away. Over TLS a statement
//! above 16 KiB is two writes then, and the second one waits for the server's delayed
//! acknowledgement, some 40 ms. So the process searches its own file descriptors, once per
//! connection, and sets the option itself.
//!
//! This is the only file of the crate that may have `unsafe`. The way out: a release of sqlx with
//! transact-rs/sqlx#4336 sets the option; then delete this file, and `unsafe_code` in Cargo.toml is
//! `forbid` again.

#![allow(
    unsafe_code,
    reason = "a file descriptor that is known by its number alone, see `set_on`"
)]

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::{getpeername, sockopt};

/// The process's own file descriptors, on Linux and on macOS.
const OWN: [&str; 2] = ["/proc/self/fd", "/dev/fd"];

/// Sets the option on every TCP socket of this process that is connected to this port. To be called
/// after connecting. If the descriptors cannot be listed, the option stays as it is: that is slow,
/// and not wrong.
pub fn set(port: u16) {
    let Some(entries) = OWN.iter().find_map(|folder| std::fs::read_dir(folder).ok()) else {
        return;
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for number in numbers {
        set_on(number, port);
    }
}

fn set_on(number: RawFd, port: u16) {
    if number < 0 {
        return;
    }
    // SAFETY: the number is not -1, and nothing is closed or kept. Another thread may close it
    // meanwhile, and the system may give it to another file: then these calls fail, or set an
    // option on a socket to the same port, which no one minds.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    let peer = getpeername(socket)
        .ok()
        .flatten()
        .and_then(|peer| SocketAddr::try_from(peer).ok());
    if peer.is_some_and(|peer| peer.port() == port) && sockopt::tcp_nodelay(socket) == Ok(false) {
        let _ = sockopt::set_tcp_nodelay(socket, true);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_option_is_set_on_every_socket_to_the_port_and_on_no_other() {
        let listeners = [
            TcpListener::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("127.0.0.1:0").unwrap(),
        ];
        let [database, other] = listeners
            .each_ref()
            .map(|listener| listener.local_addr().unwrap());
        let connect = |to: SocketAddr| TcpStream::connect(to).unwrap();
        let (first, second, elsewhere) = (connect(database), connect(database), connect(other));
        assert!(
            !first.nodelay().unwrap(),
            "this system sets it by itself, so this test would show nothing"
        );
        set(database.port());
        assert!(first.nodelay().unwrap() && second.nodelay().unwrap());
        assert!(!elsewhere.nodelay().unwrap());
    }
}
