//! The sockets of the program to PostgreSQL, as the system has them: none waits for an
//! acknowledgement before it sends the rest.

use std::net::SocketAddr;

use clerk_sync::store::Status;
use rustix::net::{getpeername, sockopt};
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::support::app::{App, Place, SECRET};

const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

/// Of each socket that is connected to this port, whether `TCP_NODELAY` is on.
fn options(app: &App, port: u16) -> Vec<bool> {
    let process = pidfd_open(
        Pid::from_raw(app.id().cast_signed()).unwrap(),
        PidfdFlags::empty(),
    )
    .unwrap();
    let numbers = std::fs::read_dir(format!("/proc/{}/fd", app.id())).unwrap();
    let numbers = numbers.map(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .parse::<ForeignRawFd>()
            .unwrap()
    });
    // One may have been closed since it was listed.
    let sockets =
        numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok());
    let sockets = sockets.filter(|socket| {
        let peer = getpeername(socket)
            .ok()
            .flatten()
            .and_then(|peer| SocketAddr::try_from(peer).ok());
        peer.is_some_and(|peer| peer.port() == port)
    });
    sockets
        .map(|socket| sockopt::tcp_nodelay(socket).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_socket_to_postgresql_waits_for_an_acknowledgement() {
    for mode in ["prefer", "require", "disable"] {
        let place = Place::servers().await;
        let mut url = reqwest::Url::parse(&place.database().url()).unwrap();
        url.set_query(Some(&format!("sslmode={mode}")));
        let port = url.port().unwrap_or(5432);
        let variables = [
            ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
            ("DATABASE_URL", url.as_str()),
        ];
        let app = place.start(&["serve"], &variables).await;
        assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
        assert_eq!(app.settled("msg_1").await.status, Status::Applied);
        let options = options(&app, port);
        // One for writes and one for questions, at least.
        assert!(
            options.len() >= 2 && options.iter().all(|is_on| *is_on),
            "sslmode={mode}: {options:?}"
        );
        assert!(app.stop().success());
    }
}
