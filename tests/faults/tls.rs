//! Servers with TLS and certificates of their own: each fault is called what it is, at once, by
//! `check`, the log and `/readyz`, with the setting that fixes it. A setting that is right works.

use std::path::Path;
use std::process::Command;

use clerk_sync::store::Store;
use serde_json::Value;
use sqlx::Executor;

use crate::servers::certificates::{Ca, Pair};
use crate::servers::free_port;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::{Family, Node, Settings};
use crate::support::app::tempdir::TempDir;
use crate::support::app::{App, SECRET, until};
use crate::system::store;

/// Where the program runs, and what is set for it.
pub(super) struct Place {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Place {
    pub(super) fn new(variables: Vec<(&'static str, String)>) -> Self {
        Self {
            directory: TempDir::new(),
            variables,
        }
    }

    pub(super) fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear();
        command
            .env("PORT", "0")
            .env("LOG_FORMAT", "json")
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.envs(variables.iter().copied());
        command
    }

    /// The findings of one check, as `severity: what → fix`.
    pub(super) fn check(&self, part: &str, variables: &[(&str, &str)]) -> String {
        let output = self
            .command(&["check", "--json"], variables)
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let of_part = findings.iter().filter(|finding| finding["check"] == part);
        let lines: Vec<_> = of_part
            .map(|finding| {
                let text = |key: &str| finding[key].as_str().unwrap_or_default();
                format!("{}: {} → {}", text("severity"), text("what"), text("mend"))
            })
            .collect();
        assert!(!lines.is_empty(), "{part}: {report}");
        lines.join("\n")
    }

    /// Starts a role and waits until the log and `/readyz` have these words.
    pub(super) async fn reports_error(
        &self,
        role: &str,
        store: Store,
        variables: &[(&str, &str)],
        words: &str,
    ) {
        let app = App::spawn(self.command(&[role], variables), store);
        until(&format!("the log has {words}"), async || {
            app.log()
                .iter()
                .any(|line| line.contains(r#""level":"ERROR""#) && line.contains(words))
        })
        .await;
        until(&format!("/readyz has {words}"), async || {
            app.get("/readyz")
                .await
                .is_some_and(|said| said.status == 503 && said.body.to_string().contains(words))
        })
        .await;
        assert!(app.stop().success());
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tls_to_postgresql_is_verified_as_it_is_set_and_each_fault_is_named() {
    let _alone = crate::ALONE.lock().await;
    let (ca, other) = (Ca::new(), Ca::new());
    let (ca_file, other_file) = (ca.certificate(), other.certificate());
    let server = ca.sign("server", 2);
    let access = "hostssl wants_certificate all 127.0.0.1/32 trust clientcert=verify-ca\nhostssl only_tls all 127.0.0.1/32 trust\nhostnossl only_tls all 127.0.0.1/32 reject";
    let mut postgres = Postgres::start_with_tls(&ca, &server, access).await;
    let mut connection = postgres.connect().await;
    for database in [
        "create database wants_certificate",
        "create database only_tls",
    ] {
        connection.execute(database).await.unwrap();
    }
    drop(connection);
    let port = postgres.port();
    let url =
        |host: &str, query: &str| format!("postgres://postgres@{host}:{port}/postgres?{query}");
    let place = Place::new(Vec::new());
    let check = |url: &str, variables: &[(&str, &str)]| {
        let variables = [variables, &[("DATABASE_URL", url)]].concat();
        place.check("database", &variables)
    };
    let ca_pem = [("DATABASE_CA_FILE", text(&ca_file))];

    // Verified, with the CA from each of its places, beside the system's roots and as one of them.
    let with_root = format!("sslmode=verify-full&sslrootcert={}", ca_file.display());
    let of_system = [("SSL_CERT_FILE", text(&ca_file))];
    for (url, variables) in [
        (url("127.0.0.1", ""), &ca_pem[..]),
        (url("127.0.0.1", "sslmode=require"), &ca_pem),
        (url("127.0.0.1", "sslmode=verify-full"), &ca_pem),
        (url("127.0.0.1", &with_root), &[]),
        (
            url("127.0.0.1", "sslmode=verify-full&sslrootcert=system"),
            &of_system,
        ),
        (
            url("127.0.0.1", "sslrootcert=system"),
            &[
                ("SSL_CERT_FILE", text(&ca_file)),
                ("DATABASE_CA_FILE", text(&other_file)),
            ],
        ),
        (url("localhost", "sslmode=verify-ca"), &ca_pem),
        (url("127.0.0.1", "sslmode=require"), &[]),
        (url("127.0.0.1", "channel_binding=require"), &[]),
        (url("[::1]", "sslmode=require"), &[]),
        (url("[::1]", "sslmode=disable"), &[]),
        (
            format!(
                "postgres://postgres@/postgres?host={}&port={port}",
                postgres.socket_folder().display()
            ),
            &[],
        ),
    ] {
        let said = check(&url, variables);
        assert!(
            said.contains("PostgreSQL 1") || said.contains("fsync is off"),
            "{url}: {said}"
        );
        assert!(!said.contains("TLS"), "{url}: {said}");
    }
    // Neither the wrong CA nor an absent one verifies this server.
    let wrong_root = format!("sslmode=require&sslrootcert={}", other_file.display());
    for (url, variables, what, fix) in [
        (
            url("127.0.0.1", "sslmode=verify-full"),
            &[][..],
            "unknown issuer",
            "DATABASE_CA_FILE",
        ),
        (
            url("127.0.0.1", "sslrootcert=system"),
            &[],
            "unknown issuer",
            "DATABASE_CA_FILE",
        ),
        (
            url("127.0.0.1", &wrong_root),
            &[],
            "unknown issuer",
            "DATABASE_CA_FILE",
        ),
        (
            url("127.0.0.1", "sslmode=verify-ca"),
            &[],
            "unknown issuer",
            "DATABASE_CA_FILE",
        ),
        (
            url("localhost", ""),
            &ca_pem,
            "not for the host of the URL, but for ",
            "sslmode=verify-ca",
        ),
        (
            url("[::1]", "sslmode=verify-full"),
            &ca_pem,
            "not for the host of the URL",
            "sslmode=verify-ca",
        ),
    ] {
        let said = check(&url, variables);
        assert!(
            said.starts_with("fail: ") && said.contains(what),
            "{url}: {said}"
        );
        assert!(
            said.split(" → ").nth(1).unwrap().contains(fix),
            "{url}: {said}"
        );
    }
    place
        .reports_error(
            "serve",
            store(&Postgres::url(port)),
            &[("DATABASE_URL", &url("127.0.0.1", "sslmode=verify-full"))],
            "unknown issuer",
        )
        .await;

    // The server's own wishes.
    let of = |database: &str, query: &str| {
        format!("postgres://postgres@127.0.0.1:{port}/{database}?{query}")
    };
    let said = check(&of("only_tls", "sslmode=disable"), &[]);
    assert!(
        said.contains("asks for TLS") && said.contains("sslmode=require"),
        "{said}"
    );
    assert!(!check(&of("only_tls", ""), &[]).contains("asks for TLS"));
    let said = check(&of("wants_certificate", "sslmode=require"), &[]);
    assert!(
        said.contains("asks for a client certificate") && said.contains("sslcert and sslkey"),
        "{said}"
    );
    let mine = |pair: &Pair| {
        of(
            "wants_certificate",
            &format!(
                "sslmode=require&sslcert={}&sslkey={}",
                pair.certificate.display(),
                pair.key.display()
            ),
        )
    };
    let said = check(&mine(&ca.sign("postgres", 2)), &[]);
    assert!(!said.contains("certificate"), "{said}");
    let said = check(&mine(&other.sign("stranger", 2)), &[]);
    assert!(said.contains("client certificate"), "{said}");

    // Files that are not there, and an odd pair, stop every command before it asks anybody.
    let (one, two) = (ca.sign("one", 2), ca.sign("two", 2));
    let odd = Pair {
        certificate: one.certificate,
        key: two.key,
    };
    for (url, variables, words) in [
        (
            url("127.0.0.1", ""),
            &[("DATABASE_CA_FILE", "/nowhere/ca.pem")][..],
            "DATABASE_CA_FILE names a file that cannot be read",
        ),
        (
            url("127.0.0.1", "sslrootcert=/nowhere/ca.pem"),
            &[],
            "DATABASE_URL has sslrootcert, which names a file that cannot be read",
        ),
        (
            url("127.0.0.1", ""),
            &[("DATABASE_CA_FILE", text(&server.key))],
            "DATABASE_CA_FILE names a file without a PEM certificate",
        ),
        (
            mine(&odd),
            &[],
            "DATABASE_URL has sslkey, which names the key of another certificate",
        ),
    ] {
        let variables = [variables, &[("DATABASE_URL", url.as_str())]].concat();
        let output = place.command(&["migrate"], &variables).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && said.contains(words),
            "{said}"
        );
        assert!(place.check("configuration", &variables).contains(words));
    }

    // A certificate that has expired.
    postgres.end("INT");
    postgres.use_certificate(&ca, &ca.sign("expired", 0));
    postgres.start_again().await;
    let strict = url("127.0.0.1", "sslmode=verify-full");
    until("it has expired", async || {
        check(&strict, &ca_pem).contains("has expired")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tls_to_rabbitmq_is_verified_as_it_is_set_and_each_fault_is_named() {
    let _alone = crate::ALONE.lock().await;
    let (ca, other) = (Ca::new(), Ca::new());
    let (ca_file, other_file) = (ca.certificate(), other.certificate());
    let (server, mine, stranger) = (
        ca.sign("server", 2),
        ca.sign("client", 2),
        other.sign("stranger", 2),
    );
    let (family, port) = (Family::new(), free_port());
    let configuration = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nlisteners.ssl.2 = ::1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
        ca_file.display(),
        server.certificate.display(),
        server.key.display(),
    );
    let node = family
        .start_with(
            "tls",
            Settings {
                lines: configuration,
                ..Settings::default()
            },
        )
        .await;
    let place = Place::new(Vec::new());
    let url = |host: &str, rest: &str| format!("amqps://guest:guest@{host}:{port}{rest}");
    let check = |url: &str, variables: &[(&str, &str)]| {
        let variables = [variables, &[("AMQP_URL", url)]].concat();
        place.check("broker", &variables)
    };
    let client = [
        ("AMQP_CLIENT_CERT_FILE", text(&mine.certificate)),
        ("AMQP_CLIENT_KEY_FILE", text(&mine.key)),
    ];
    let ca_pem = [("AMQP_CA_FILE", text(&ca_file))];
    let all = [&ca_pem[..], &client].concat();
    let in_url = format!(
        "/%2f?cacertfile={}&certfile={}&keyfile={}&verify=verify_peer",
        ca_file.display(),
        mine.certificate.display(),
        mine.key.display()
    );
    let beside = [
        &client[..],
        &[
            ("SSL_CERT_FILE", text(&ca_file)),
            ("AMQP_CA_FILE", text(&other_file)),
        ],
    ]
    .concat();
    for (url, variables) in [
        (url("127.0.0.1", ""), &all[..]),
        (url("127.0.0.1", &in_url), &[]),
        (url("127.0.0.1", "/%2f"), &beside),
    ] {
        let said = check(&url, variables);
        assert!(
            said.contains("RabbitMQ ") && !said.contains("fail: "),
            "{url}: {said}"
        );
    }
    let strange = [
        ("AMQP_CA_FILE", text(&ca_file)),
        ("AMQP_CLIENT_CERT_FILE", text(&stranger.certificate)),
        ("AMQP_CLIENT_KEY_FILE", text(&stranger.key)),
    ];
    let wrong = [&[("AMQP_CA_FILE", text(&other_file))][..], &client].concat();
    let plain = |port: u16| format!("amqp://guest:guest@127.0.0.1:{port}");
    for (url, variables, what, fix) in [
        (
            url("127.0.0.1", ""),
            &[][..],
            "unknown issuer",
            "AMQP_CA_FILE",
        ),
        (
            url("127.0.0.1", ""),
            &wrong,
            "unknown issuer",
            "AMQP_CA_FILE",
        ),
        (
            url("localhost", ""),
            &all,
            "not for the host of the URL, but for ",
            "a name that it is for",
        ),
        (
            url("[::1]", ""),
            &all,
            "not for the host of the URL",
            "a name that it is for",
        ),
        (
            url("127.0.0.1", ""),
            &ca_pem,
            "client certificate",
            "AMQP_CLIENT_CERT_FILE",
        ),
        (
            url("127.0.0.1", ""),
            &strange,
            "client certificate",
            "AMQP_CLIENT_CERT_FILE",
        ),
        (
            plain(port),
            &[],
            "does not speak AMQP",
            "is it the TLS port?",
        ),
        (
            format!("amqps://guest:guest@127.0.0.1:{}", node.port()),
            &all,
            "does not speak TLS",
            "5671",
        ),
    ] {
        // A broker that refuses may reset the connection before its reason is read: then the next
        // look finds it.
        let mut said = check(&url, variables);
        for _ in 0..10 {
            if !said.contains(what) {
                said = check(&url, variables);
            }
        }
        assert!(
            said.starts_with("fail: ") && said.contains(what),
            "{url}: {said}"
        );
        assert!(
            said.split(" → ").nth(1).unwrap().contains(fix),
            "{url}: {said}"
        );
        let variables = [variables, &[("AMQP_URL", url.as_str())]].concat();
        let postgres = Store::open(&clerk_sync::store::Options::Sqlite(
            clerk_sync::store::sqlite::Options {
                path: place.directory.path().join("users.db"),
                keep: clerk_sync::store::Keep::default(),
                change_feed: false,
            },
        ));
        place
            .reports_error("receiver", postgres.unwrap(), &variables, what)
            .await;
    }
    for (url, variables, words) in [
        (
            plain(port),
            &ca_pem[..],
            "AMQP_URL begins with amqp://, which is not encrypted",
        ),
        (
            url("127.0.0.1", ""),
            &client[..1],
            "AMQP_CLIENT_CERT_FILE is set without its key",
        ),
        (
            url("127.0.0.1", ""),
            &[("AMQP_CA_FILE", "/nowhere/ca.pem")],
            "AMQP_CA_FILE names a file that cannot be read",
        ),
    ] {
        let variables = [variables, &[("AMQP_URL", url.as_str())]].concat();
        let output = place.command(&["receiver"], &variables).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && said.contains(words),
            "{said}"
        );
    }
    assert_eq!(Node::url(1).split(':').next(), Some("amqp"));
}
