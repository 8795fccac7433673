//! `check` says what is there and what is missing, each with its fix, and changes nothing.

mod clerk_api;
mod rabbitmq;

use std::process::Output;

use clerk_sync::clock::now;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::app::{Place, SECOND_SECRET, SECRET};
use crate::support::broker::{self, rabbitmqctl};
use crate::support::clerk_api::ClerkApi;
use crate::support::wire::Proxy;

const KEY: &str = "sk_test_abcdefghijklmnopqrstuvwxyz0123456789";
const TOKEN: &str = "a-token-of-24-characters";

/// What `check` said, as a program reads it.
struct Said {
    status: i32,
    findings: Vec<Value>,
}

impl Said {
    /// The findings of a check, as `severity: what → fix`.
    fn of(&self, check: &str) -> Vec<String> {
        let of = self
            .findings
            .iter()
            .filter(|finding| finding["check"] == check);
        of.map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {} → {}", text("severity"), text("what"), text("mend"))
        })
        .collect()
    }

    /// The one finding of a check.
    fn one(&self, check: &str) -> String {
        let of = self.of(check);
        assert_eq!(of.len(), 1, "{check}: {:#?}", self.findings);
        of.into_iter().next().unwrap()
    }

    /// The checks that fail.
    fn failed(&self) -> Vec<&str> {
        let failed = self
            .findings
            .iter()
            .filter(|finding| finding["severity"] == "fail");
        failed
            .map(|finding| finding["check"].as_str().unwrap())
            .collect()
    }
}

fn output(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = place.command(arguments);
    command
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .env("ADMIN_TOKEN", TOKEN);
    for (name, value) in variables {
        match *value {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    command.output().unwrap()
}

/// Runs it for a program and for a person, who must read the same; an empty variable is taken out.
fn check(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let json = output(
        place,
        &[&["check", "--json"], arguments].concat(),
        variables,
    );
    let said: Value = serde_json::from_slice(&json.stdout).unwrap();
    let findings = said["findings"].as_array().unwrap().clone();
    let text = output(place, &[&["check"], arguments].concat(), variables);
    let lines = String::from_utf8(text.stdout).unwrap();
    assert_eq!(
        lines.lines().count(),
        findings.len(),
        "one line a finding: {lines}"
    );
    for (line, finding) in lines.lines().zip(&findings) {
        let severity = finding["severity"].as_str().unwrap();
        assert!(line.starts_with(severity), "{line}");
        assert_eq!(
            severity == "ok",
            finding["mend"].is_null(),
            "every finding but `ok` has a fix: {finding}"
        );
    }
    let heads = lines
        .lines()
        .map(|line| line.find("  ").map(|_| &line[4..6]));
    assert!(
        heads.into_iter().all(|gap| gap == Some("  ")),
        "columns: {lines}"
    );
    assert!(!lines.contains('\x1b'), "color is for terminals: {lines}");
    for stream in [
        &json.stdout,
        &json.stderr,
        &text.stderr,
        &lines.clone().into_bytes(),
    ] {
        let stream = String::from_utf8_lossy(stream);
        for secret in [SECRET, SECOND_SECRET, KEY, TOKEN, "sesame"] {
            assert!(!stream.contains(secret), "a secret is printed: {stream}");
        }
    }
    assert_eq!(json.status.code(), text.status.code());
    let fails = findings.iter().any(|finding| finding["severity"] == "fail");
    assert_eq!(
        (json.status.code(), &said["ok"]),
        (Some(i32::from(fails)), &Value::Bool(!fails))
    );
    Said {
        status: json.status.code().unwrap(),
        findings,
    }
}

fn database(place: &Place) -> &crate::support::database::TestDatabase {
    match place {
        Place::Servers { database, .. } => database,
        Place::Embedded { .. } => panic!("there is no server"),
    }
}

/// What may fail on a server that is only for tests: it need not survive a power failure.
async fn excused(place: &Place) -> Vec<&'static str> {
    let mut connection = database(place).connect().await;
    let fsync: String = sqlx::query_scalar("show fsync")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    if fsync == "off" {
        vec!["database"]
    } else {
        Vec::new()
    }
}

fn nothing_at_the_broker(place: &Place) -> bool {
    ["queues", "exchanges"]
        .iter()
        .all(|kind| place.namespace().listed(kind, &["name"]).is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_that_servers_are_ready() {
    let place = Place::servers().await;
    assert!(place.serve().await.stop().success());
    let said = check(&place, &[], &[]);
    assert_eq!(said.failed(), excused(&place).await, "{:#?}", said.findings);
    assert!(said.one("configuration").contains(place.namespace().name()));
    assert_eq!(said.one("signing_secrets"), "ok: 1, well formed → ");
    let wanted = place.store().schema_version().await.unwrap().wanted;
    assert_eq!(
        said.one("schema"),
        format!("ok: version {wanted}, that of this program → ")
    );
    assert_eq!(
        said.one("database_rights"),
        "ok: the role may migrate, read and write → "
    );
    assert_eq!(
        said.one("topology"),
        "ok: every exchange and queue is as it must be; 0 events waiting → "
    );
    assert!(said.one("broker_rights").starts_with("ok"));
    assert!(
        said.one("broker").contains("RabbitMQ "),
        "{}",
        said.one("broker")
    );
    assert!(
        said.one("clock")
            .starts_with("ok: within 1 s of the database's"),
        "{}",
        said.one("clock")
    );
    assert!(
        said.one("clerk_api")
            .starts_with("note: CLERK_SECRET_KEY is not set")
    );
    // Each role is asked for what it needs.
    let receiver = check(
        &place,
        &["--role", "receiver"],
        &[("DATABASE_URL", "postgres://127.0.0.1:1/nowhere")],
    );
    assert_eq!(receiver.failed(), [""; 0], "a receiver needs no database");
    assert!(receiver.of("database").is_empty());
    let receiver = check(
        &place,
        &["--role", "receiver"],
        &[("DATABASE_URL", ""), ("DATA_DIR", "/nowhere")],
    );
    assert!(
        receiver.failed().is_empty() && receiver.of("data_directory").is_empty(),
        "and no directory"
    );
    let worker = check(
        &place,
        &["--role", "worker"],
        &[("CLERK_WEBHOOK_SIGNING_SECRET", "")],
    );
    assert!(
        !worker.failed().contains(&"signing_secrets"),
        "a worker verifies nothing"
    );
    let rotating = check(
        &place,
        &[],
        &[(
            "CLERK_WEBHOOK_SIGNING_SECRET",
            &format!("{SECOND_SECRET},{SECRET}"),
        )],
    );
    assert!(
        rotating
            .one("signing_secrets")
            .starts_with("note: 2, well formed")
    );
}

#[tokio::test]
async fn check_reads_embedded_files_and_creates_none() {
    let place = Place::embedded();
    let said = check(&place, &[], &[]);
    assert_eq!(said.status, 0, "{:#?}", said.findings);
    for check in ["database", "queue"] {
        assert!(
            said.one(check)
                .contains("does not exist yet → nothing to do: it is created at the first start"),
            "{check}"
        );
    }
    assert_eq!(
        std::fs::read_dir(place.directory()).unwrap().count(),
        0,
        "nothing was made"
    );
    assert!(place.serve().await.stop().success());
    let said = check(&place, &[], &[]);
    assert_eq!(said.status, 0, "{:#?}", said.findings);
    assert!(
        said.one("database").starts_with("ok: SQLite: "),
        "{}",
        said.one("database")
    );
    assert!(
        said.one("queue").ends_with("queue.db; 0 events waiting → "),
        "{}",
        said.one("queue")
    );
    assert!(said.of("data_directory")[0].contains("GiB free"));
    assert!(said.one("open_files").contains("connections"));

    use std::os::unix::fs::PermissionsExt;
    let users = place.directory().join("users.db");
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(check(&place, &[], &[]).of("database")[0].contains("others on this machine may read"));
    let split = check(&place, &["--role", "worker"], &[]);
    assert!(
        split
            .of("configuration")
            .last()
            .unwrap()
            .contains("AMQP_URL is not set"),
        "one process alone"
    );
    let file = users.to_str().unwrap();
    let said = check(&place, &[], &[("DATA_DIR", file)]);
    assert!(
        said.of("configuration")[0].contains("is a file, not a directory"),
        "{:#?}",
        said.findings
    );
    std::fs::write(place.directory().join("queue.db"), "not a database").unwrap();
    assert!(
        check(&place, &[], &[])
            .one("queue")
            .contains("is not a SQLite database")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_missing_old_or_newer_is_reported_with_what_to_do() {
    let place = Place::servers().await;
    let said = check(&place, &[], &[]);
    assert_eq!(said.status, 1);
    assert!(
        said.one("schema")
            .starts_with("fail: it is missing → run `clerk-sync migrate`"),
        "{}",
        said.one("schema")
    );
    assert!(
        said.one("topology")
            .ends_with("nothing to do: it is declared at the first start")
    );
    assert!(nothing_at_the_broker(&place), "it asked and made nothing");
    let mut connection = database(&place).connect().await;
    let made: bool = sqlx::query_scalar("select to_regnamespace('clerk') is not null")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(!made, "it asked and made no schema");

    place.succeed(&["migrate"]);
    let wanted = place.store().schema_version().await.unwrap().wanted;
    let forget_newest = "delete from clerk._migrations where version = (select max(version) from clerk._migrations)";
    connection.execute(forget_newest).await.unwrap();
    let old = check(&place, &[], &[]).one("schema");
    assert!(
        old.starts_with(&format!(
            "fail: version {}, and this program needs {wanted} → run",
            wanted - 1
        )),
        "{old}"
    );
    connection
        .execute("update clerk._migrations set version = 9999 where version = 2")
        .await
        .unwrap();
    let said = check(&place, &[], &[]);
    let newer = format!(
        "fail: version 9999 is newer than this program's {wanted} → use a newer clerk-sync"
    );
    assert_eq!(said.one("schema"), newer);
    assert_eq!(said.status, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_server_hides_no_other_finding() {
    let place = Place::servers().await;
    let namespace = place.namespace().name().to_owned();
    place.succeed(&["migrate"]);
    let said = check(
        &place,
        &[],
        &[("DATABASE_URL", "postgres://u:sesame@127.0.0.1:1/nowhere")],
    );
    assert_eq!(said.failed(), ["database"], "{:#?}", said.findings);
    let line = said.one("database");
    assert!(
        line.contains("127.0.0.1:1/nowhere: the connection failed")
            && line.contains("DATABASE_URL"),
        "{line}"
    );
    assert!(said.one("broker_rights").starts_with("ok"));

    let said = check(
        &place,
        &[],
        &[("AMQP_URL", "amqp://u:sesame@127.0.0.1:1/%2f")],
    );
    assert!(
        said.failed().contains(&"broker") && said.one("schema").starts_with("ok"),
        "{:#?}",
        said.findings
    );
    let line = said.one("broker");
    assert!(
        line.contains("127.0.0.1:1//: no connection") && line.contains("AMQP_URL"),
        "{line}"
    );

    // Of a cluster one node is enough, and the other is named.
    let nodes = format!("amqp://u:sesame@127.0.0.1:1/%2f,{}", broker::url());
    let said = check(&place, &[], &[("AMQP_URL", &nodes)]);
    assert!(
        !said.failed().contains(&"broker") && said.of("broker").len() == 2,
        "{:#?}",
        said.findings
    );
    assert!(
        said.one("topology").starts_with("note"),
        "the other node was asked"
    );

    let broker = broker::url().replacen("guest:guest", "guest:sesame", 1);
    let said = check(
        &place,
        &[],
        &[
            ("AMQP_URL", &broker),
            ("DATABASE_URL", &absent_role(&place)),
        ],
    );
    assert_eq!(
        said.failed(),
        ["database", "broker"],
        "{:#?}",
        said.findings
    );
    assert!(
        said.one("broker").contains("RabbitMQ refuses this user")
            && said.one("broker").contains("the password")
    );
    // A server that wants a password does not say which of the two is wrong.
    let refusals = ["does not let this role in", "the password is wrong"];
    assert!(
        refusals
            .iter()
            .any(|refusal| said.one("database").contains(refusal)),
        "{}",
        said.one("database")
    );
    assert!(
        broker::url().contains("guest:guest") && nothing_at_the_broker(&place),
        "{namespace}"
    );
}

/// A role that the server does not know.
fn absent_role(place: &Place) -> String {
    let mut url = reqwest::Url::parse(&database(place).url()).unwrap();
    url.set_username("absent_role").unwrap();
    url.set_password(Some("sesame")).unwrap();
    url.to_string()
}
