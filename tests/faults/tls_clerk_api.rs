//! TLS to Clerk's API.

use std::process::{Child, Command, Stdio};

use super::tls::{Place, text};
use crate::servers::certificates::{Ca, Pair};
use crate::servers::free_port;
use crate::support::app::until;

/// An HTTPS server, which knows no user.
pub(super) struct Https(Child, pub(super) u16);

impl Https {
    pub(super) fn start(pair: &Pair) -> Self {
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            &format!("127.0.0.1:{port}"),
        ]);
        command
            .arg("-cert")
            .arg(&pair.certificate)
            .arg("-key")
            .arg(&pair.key);
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
            port,
        )
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clerk_api_with_a_private_ca_is_trusted_once_the_ca_is_set() {
    let _alone = crate::ALONE.lock().await;
    let (ca, other) = (Ca::new(), Ca::new());
    let (ca_file, other_file) = (ca.certificate(), other.certificate());
    let server = Https::start(&ca.sign("server", 2));
    let url = |host: &str| format!("https://{host}:{}", server.1);
    let place = Place::new(vec![(
        "CLERK_SECRET_KEY",
        "sk_test_abcdefghijklmnopqrstuvwxyz".into(),
    )]);
    let check = |url: &str, variables: &[(&str, &str)]| {
        place.check(
            "clerk_api",
            &[variables, &[("CLERK_API_URL", url)]].concat(),
        )
    };
    until("it listens", async || {
        check(&url("127.0.0.1"), &[]).contains("unknown issuer")
    })
    .await;
    let said = check(
        &url("127.0.0.1"),
        &[("CLERK_API_CA_FILE", text(&other_file))],
    );
    assert!(
        said.contains("unknown issuer") && said.contains("CLERK_API_CA_FILE"),
        "{said}"
    );
    let said = check(&url("localhost"), &[("CLERK_API_CA_FILE", text(&ca_file))]);
    assert!(said.contains("not for the host of the URL"), "{said}");
    for variables in [
        &[("CLERK_API_CA_FILE", text(&ca_file))][..],
        &[
            ("SSL_CERT_FILE", text(&ca_file)),
            ("CLERK_API_CA_FILE", text(&other_file)),
        ],
    ] {
        let said = check(&url("127.0.0.1"), variables);
        assert!(
            said.contains("answers, but not with users") && said.contains("/v1 answers"),
            "{said}"
        );
    }
    // A retry does not fix a certificate, so the command fails at once.
    let output = place
        .command(&["backfill"], &[("CLERK_API_URL", &url("127.0.0.1"))])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("unknown issuer"),
        "{said}"
    );
}
