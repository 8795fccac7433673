//! Addresses as people write them: what can be read works, the rest is refused before a port opens,
//! and no piece of a password is printed by anything.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::app::{App, Place, SECRET};
use crate::support::{broker, database};

/// Runs the command with every log line; returns its output, and all that it printed.
fn run(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = place.command(arguments);
    command
        .env("RUST_LOG", "trace")
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, said)
}

/// Refused as wrong usage, with these words, by every command that reads the settings.
fn is_refused(
    place: &Place,
    commands: &[&[&str]],
    (name, url): (&str, &str),
    words: &str,
    secrets: &[&str],
) {
    for arguments in commands {
        let (output, said) = run(place, arguments, &[(name, url)]);
        let status = if arguments[0] == "check" { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(status), "{url}: {said}");
        assert!(said.contains(name) && said.contains(words), "{url}: {said}");
        for secret in secrets {
            assert!(!said.contains(secret), "{url}: {secret} is printed: {said}");
        }
    }
}

const COMMANDS: [&[&str]; 5] = [
    &["migrate"],
    &["check"],
    &["check", "--json"],
    &["serve"],
    &["events", "replay", "--all"],
];

#[test]
fn no_piece_of_a_password_is_printed_however_the_url_is_cut() {
    let place = Place::embedded();
    for password in [
        "/7M+r?E':dHz",
        "2024/Winter!",
        "2024?Winter!",
        "2024#Winter!",
        "2024%Winter!",
        "2024/Winter?a=dHz&Winter",
    ] {
        for (name, url) in [
            (
                "DATABASE_URL",
                format!("postgres://app:{password}@127.0.0.1:1/db"),
            ),
            (
                "DATABASE_URL",
                format!("postgres://app:{password}@127.0.0.1:1/db?sslmode=require"),
            ),
            ("AMQP_URL", format!("amqp://guest:{password}@127.0.0.1:1")),
            (
                "AMQP_URL",
                format!("amqps://guest:{password}@127.0.0.1:1/%2f?heartbeat=5"),
            ),
        ] {
            is_refused(
                &place,
                &COMMANDS,
                (name, &url),
                "%2F",
                &["7M", "E'", "dHz", "2024", "Winter"],
            );
        }
    }
    for (name, url, words) in [
        (
            "DATABASE_URL",
            "postgres://app:Winter@127.0.0.1:1/db?sslpassword=hunter2",
            "sslpassword",
        ),
        (
            "DATABASE_URL",
            "postgres://app:Winter@127.0.0.1:1/db?sslmode=no-verify",
            "verify-full",
        ),
        (
            "DATABASE_URL",
            "postgres://app:24/hunter2%40127.0.0.1/db",
            "%2F",
        ),
        ("DATABASE_URL", "postgres://app:24/hunter2", "%2F"),
        (
            "DATABASE_URL",
            "postgres://app:Winter@127.0.0.1:1/db?host=hunter2/xx",
            "%2F",
        ),
        (
            "DATABASE_URL",
            "postgres://app:Winter@127.0.0.1:1/db?ssl=require&sslmode=disable",
            "sslmode=disable and ssl",
        ),
        (
            "DATABASE_URL",
            "postgres://app:Winter@127.0.0.1:hunter2/db",
            "port",
        ),
        ("AMQP_URL", "amqp://guest:24/hunter2%40h", "%2F"),
        (
            "AMQP_URL",
            "amqp://app:Winter@127.0.0.1:1/%2f?ssl_options=hunter2",
            "ssl_options",
        ),
        ("AMQP_NAMESPACE", "amqp://app:hunter2@h", "AMQP_NAMESPACE"),
        ("PORT", "postgres://app:hunter2@h/db", "PORT"),
        (
            "AMQP_URL",
            "amqp://app:Winter@127.0.0.1:1/",
            "names the empty virtual host",
        ),
    ] {
        is_refused(
            &place,
            &COMMANDS,
            (name, url),
            words,
            &["Winter", "hunter2", "no-verify"],
        );
    }
    // An unknown parameter is named, and stops nothing.
    let url = "postgres://app:Winter@127.0.0.1:1/db?search_path=hunter2&passwort=hunter2";
    for (arguments, word) in [(&["check"][..], "note"), (&["migrate"], "WARN")] {
        let (_, said) = run(&place, arguments, &[("DATABASE_URL", url)]);
        let line = said
            .lines()
            .find(|line| line.contains("have no effect here: search_path, passwort"));
        assert!(
            line.is_some_and(|line| line.contains(word)) && !said.contains("hunter2"),
            "{said}"
        );
    }
    // An encoded password is decoded, and never printed.
    let good = "postgres://app:%2F7M%2Br%3FE':dHz@127.0.0.1:1/db?schema=public&pgbouncer=true";
    for arguments in [&["check"][..], &["migrate"]] {
        let (_, said) = run(&place, arguments, &[("DATABASE_URL", good)]);
        assert!(
            said.contains("127.0.0.1:1/db") || said.contains("refused"),
            "{said}"
        );
        assert!(
            !["7M", "dHz", "pgbouncer", "WARN"]
                .iter()
                .any(|word| said.contains(word)),
            "{said}"
        );
    }
}

/// sqlx quotes a line of the file that it cannot read.
#[test]
fn a_line_of_a_password_file_is_not_quoted() {
    let place = Place::embedded();
    let file = place.directory().join("pgpass");
    std::fs::write(&file, "127.0.0.1:1:hunter2\nhunter2\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let variables = [
        ("DATABASE_URL", "postgres://app@127.0.0.1:1/db"),
        ("PGPASSFILE", file.to_str().unwrap()),
    ];
    let (output, said) = run(&place, &["migrate"], &variables);
    assert!(
        !output.status.success() && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn several_hosts_and_a_url_without_a_database_are_refused_with_what_to_do() {
    let place = Place::embedded();
    for (url, words) in [
        (
            "postgres://u:p@h1:5432,h2:5432/app",
            "one name that follows the primary",
        ),
        (
            "postgres://u:p@h1,h2/app?target_session_attrs=read-write",
            "one name that follows the primary",
        ),
        ("postgres://u:p@h1", "names no database"),
        ("postgres://u:p@h1/?sslmode=require", "names no database"),
        ("postgres://u:p@::1:5432/app", "in brackets"),
    ] {
        is_refused(&place, &COMMANDS, ("DATABASE_URL", url), words, &[]);
    }
}

fn healthcheck(place: &Place, host: &str, port: u16) -> Output {
    let mut command: Command = place.command(&["healthcheck"]);
    command
        .env("HOST", host)
        .env("PORT", port.to_string())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_listened_on_with_and_without_brackets_and_asked_for_its_health() {
    let place = Place::embedded();
    for (host, asked) in [
        ("[::1]", "::1"),
        ("::1", "[::1]"),
        ("::", "[::]"),
        ("127.0.0.1", "127.0.0.1"),
    ] {
        let app: App = place
            .start(
                &["serve"],
                &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ("HOST", host)],
            )
            .await;
        let output = healthcheck(&place, asked, app.address.port());
        assert!(
            output.status.success(),
            "{host}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(app.stop().success());
    }
    for (host, words) in [
        ("http://127.0.0.1", "HOST is a URL"),
        ("127.0.0.1:3000", "HOST has a port"),
    ] {
        is_refused(
            &place,
            &[&["serve"], &["check"]],
            ("HOST", host),
            words,
            &[],
        );
    }
}

/// A proxy of the test's own would not do: it is the servers' names that are read.
#[tokio::test(flavor = "multi_thread")]
async fn urls_of_every_form_lead_to_the_servers() {
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    url.query_pairs_mut()
        .append_pair("application_name", "a b")
        .append_pair("schema", "public");
    url.query_pairs_mut()
        .append_pair("connection_limit", "1")
        .append_pair("connect_timeout", "10");
    assert!(database::server_url().starts_with("postgres"));
    let (output, said) = run(&place, &["migrate"], &[("DATABASE_URL", url.as_str())]);
    assert!(output.status.success() && !said.contains("WARN"), "{said}");
    let with_parameters = |url: &str| {
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}heartbeat=7&connection_attempts=3&auth_mechanism=plain")
    };
    let amqp = with_parameters(&broker::url());
    let (_, said) = run(
        &place,
        &["check", "--json"],
        &[("AMQP_URL", &amqp), ("RUST_LOG", "info")],
    );
    let report: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    let broker = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["check"] == "broker")
        .unwrap();
    assert!(
        broker["what"].as_str().unwrap().contains("RabbitMQ "),
        "{broker}"
    );
}
