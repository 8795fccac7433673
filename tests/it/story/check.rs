//! `check` says what is there and what is missing, each with its mend, and changes nothing.

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
    /// The findings of a check, as `severity: what → mend`.
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
            "what is not good has its mend: {finding}"
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
            assert!(!stream.contains(secret), "a secret is told: {stream}");
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
async fn servers_that_are_ready_are_found_so() {
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
async fn an_embedded_place_is_asked_and_not_made() {
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
async fn a_schema_that_is_missing_old_or_newer_is_told_with_what_to_do() {
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
async fn a_part_that_is_away_hides_no_other() {
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
    url.set_username("nobody_of_this_name").unwrap();
    url.set_password(Some("sesame")).unwrap();
    url.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_named_and_left_alone() {
    let place = Place::servers().await;
    let name = place.namespace().queue("users");
    let (connection, channel) = broker::connect().await;
    let options = QueueDeclareOptions {
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(7));
    channel
        .queue_declare(name.as_str().into(), options, arguments)
        .await
        .unwrap();
    let said = check(&place, &[], &[]);
    let lines = said.of("topology");
    assert!(
        lines[0].starts_with(&format!(
            "fail: the queue {name} exists with other arguments (PRECONDITION_FAILED"
        )),
        "{lines:#?}"
    );
    assert!(
        lines[0].contains("x-") && lines[0].contains("rabbitmqctl delete_queue"),
        "{lines:#?}"
    );
    assert!(lines[1].starts_with("note: missing: "), "{lines:#?}");
    let left = place.namespace().listed("queues", &["name", "arguments"]);
    assert_eq!(left.len(), 1, "nothing else was made: {left:?}");
    assert!(left[0].to_string().contains("x-max-length"), "{left:?}");
    connection.close(200, "done".into()).await.unwrap();
}

/// A queue that has really lost its leader would take its broker's dead lettering with it, and this broker is shared.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_leader_is_told() {
    let place = Place::servers().await;
    assert!(place.serve().await.stop().success());
    let proxy = Proxy::start().await;
    proxy.have_no_leader();
    let said = check(&place, &[], &[("AMQP_URL", &proxy.url())]);
    let lines = said.of("topology");
    assert!(
        lines[0].starts_with("fail: the queue ") && lines[0].contains("leader"),
        "{lines:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_named_before_they_are_needed() {
    let place = Place::servers().await;
    let namespace = place.namespace().name().to_owned();
    let user = format!("user-of-{namespace}");
    rabbitmqctl(&["add_user", &user, "sesame"]);
    rabbitmqctl(&[
        "set_permissions",
        &user,
        "^other\\.",
        &format!("^{namespace}\\.(events|users)$"),
        ".*",
    ]);
    let mut amqp_url = reqwest::Url::parse(&broker::url()).unwrap();
    amqp_url.set_username(&user).unwrap();
    amqp_url.set_password(Some("sesame")).unwrap();
    let few = check(&place, &[], &[("AMQP_URL", amqp_url.as_str())]);
    let own = format!("^{namespace}\\.");
    rabbitmqctl(&["set_permissions", &user, &own, &own, &own]);
    let enough = check(&place, &[], &[("AMQP_URL", amqp_url.as_str())]);
    rabbitmqctl(&["delete_user", &user]);
    let line = few.one("broker_rights");
    for right in ["configure", "write"] {
        assert!(
            line.contains(&format!("{right} {namespace}.dead")),
            "{line}"
        );
    }
    assert!(
        !line.contains(&format!("write {namespace}.users")) && !line.contains("read"),
        "{line}"
    );
    assert!(
        line.contains("rabbitmqctl set_permissions --vhost VHOST USER '^"),
        "{line}"
    );
    assert!(few.failed().contains(&"broker_rights") && nothing_at_the_broker(&place));
    assert!(
        enough.one("broker_rights").starts_with("ok"),
        "{}",
        enough.one("broker_rights")
    );

    let mut admin = database(&place).connect().await;
    let role: String = sqlx::query_scalar("select current_database() || '_poor'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let make = format!("drop role if exists {role}; create role {role} login password 'sesame'");
    admin.execute(AssertSqlSafe(make)).await.unwrap();
    let mut url = reqwest::Url::parse(&database(&place).url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("sesame")).unwrap();
    let before = check(&place, &[], &[("DATABASE_URL", url.as_str())]);
    place.succeed(&["migrate"]);
    let after = check(&place, &[], &[("DATABASE_URL", url.as_str())]);
    let grants = "grant usage on schema clerk to {role}; grant select on clerk._migrations to {role};
        grant select, insert, update on clerk.settings to {role}; grant select, insert, update, delete on clerk.users, clerk.events to {role}";
    admin
        .execute(AssertSqlSafe(grants.replace("{role}", &role)))
        .await
        .unwrap();
    let granted = check(
        &place,
        &["--role", "worker"],
        &[("DATABASE_URL", url.as_str())],
    );
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
    assert!(
        before
            .one("database_rights")
            .starts_with("fail: the role may not migrate"),
        "{}",
        before.one("database_rights")
    );
    assert!(
        after
            .one("database_rights")
            .starts_with("fail: the role may not read and write the tables")
    );
    assert!(
        after
            .one("schema")
            .starts_with("fail: its version cannot be read")
    );
    assert_eq!(
        granted.one("database_rights"),
        "ok: the role may read and write → "
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_an_alarm_is_told() {
    let place = Place::servers().await;
    let proxy = Proxy::start().await;
    proxy.alarm_publishers("low on disk");
    let said = check(&place, &[], &[("AMQP_URL", &proxy.url())]);
    let line = said.of("broker").pop().unwrap();
    assert!(
        line.starts_with("fail: it accepts no events now: low on disk → free memory or disk"),
        "{line}"
    );
    assert!(
        said.one("topology").starts_with("note"),
        "the rest was asked all the same"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clerks_api_is_asked_with_the_key_and_for_the_time() {
    let place = Place::embedded();
    let asked = |api: &ClerkApi| {
        check(
            &place,
            &[],
            &[("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", &api.url())],
        )
    };
    let date = |ahead_ms: i64| {
        let time = chrono::DateTime::from_timestamp_millis(now().ms() + ahead_ms).unwrap();
        vec![("date", time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())]
    };
    let good = ClerkApi::answering("200 OK", &date(0), r#"[{"id":"user_1"}]"#).await;
    let said = asked(&good);
    assert_eq!(said.status, 0, "{:#?}", said.findings);
    assert!(said.one("clerk_api").ends_with("accepts the secret key → "));
    assert!(
        said.one("clock").starts_with("ok: within"),
        "{}",
        said.one("clock")
    );
    let head = good.heads().remove(0).to_lowercase();
    assert!(
        head.starts_with("get /v1/users?limit=1 ")
            && head.contains(&format!("authorization: bearer {KEY}")),
        "{head}"
    );

    for (status, body, expected) in [
        (
            "200 OK",
            "<html>",
            "answers, but not with users → set CLERK_API_URL",
        ),
        ("302 Found", "", "points elsewhere (302 Found)"),
        (
            "401 Unauthorized",
            "{}",
            "does not accept the secret key (401) → copy the Secret key (sk_…)",
        ),
        ("403 Forbidden", "{}", "forbids it to this key (403)"),
        ("404 Not Found", "{}", "has no /users (404)"),
        ("500 Internal Server Error", "", "answers 500"),
    ] {
        let elsewhere = [("location", good.url())];
        let said = asked(&ClerkApi::answering(status, &elsewhere, body).await);
        let line = said.one("clerk_api");
        assert!(
            line.starts_with("fail: ") && line.contains(expected) && said.status == 1,
            "{status}: {line}"
        );
    }
    assert_eq!(good.heads().len(), 2, "the key follows no redirect");
    let busy = ClerkApi::answering("429 Too Many Requests", &[], "").await;
    assert!(
        asked(&busy).one("clerk_api").starts_with("note: "),
        "it says nothing of the key"
    );

    let silent = ClerkApi::silent().await;
    assert!(
        asked(&silent)
            .one("clerk_api")
            .contains("does not answer within 5 s")
    );
    let away = check(
        &place,
        &[],
        &[
            ("CLERK_SECRET_KEY", KEY),
            ("CLERK_API_URL", "http://127.0.0.1:1/v1"),
        ],
    );
    assert!(
        away.one("clerk_api").contains("cannot be reached: "),
        "{}",
        away.one("clerk_api")
    );

    for ahead in [600_000, -600_000] {
        let said = asked(&ClerkApi::answering("200 OK", &date(ahead), "[]").await);
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        let line = said.one("clock");
        let off = [
            "fail: this machine's is 10 min ",
            "fail: this machine's is 9 min 59 s ",
        ];
        assert!(
            off.iter().any(|off| line.starts_with(off)) && line.contains(side),
            "{line}"
        );
        assert!(
            line.contains("every delivery is refused → set this machine's clock")
                && said.status == 1,
            "{line}"
        );
    }
}

#[tokio::test]
async fn every_setting_that_is_wrong_is_told_at_once() {
    let place = Place::embedded();
    let directory = place.directory();
    let said = check(
        &place,
        &[],
        &[
            ("CLERK_WEBHOOK_SIGNING_SECRET", ""),
            (
                "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
                directory.join("missing").to_str().unwrap(),
            ),
            ("CLERK_SECRET_KEY", "pk_test_sesame"),
            ("DATABASE_URL", "mysql://u:sesame@h/d"),
            ("PORT", "many"),
        ],
    );
    let lines = said.of("configuration");
    assert_eq!((said.status, lines.len()), (1, 4), "{lines:#?}");
    for (name, mend) in [
        (
            "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
            "give the path of a file",
        ),
        (
            "CLERK_SECRET_KEY",
            "copy the Secret key (sk_live_… or sk_test_…)",
        ),
        ("DATABASE_URL", "give a URL such as postgres://"),
        ("PORT", "give a number"),
    ] {
        let is_told =
            |line: &String| line.starts_with(&format!("fail: {name} ")) && line.contains(mend);
        assert!(lines.iter().any(is_told), "{name}: {lines:#?}");
    }
    assert!(
        said.of("database").is_empty() && said.one("queue").starts_with("note"),
        "what is left is asked"
    );

    for malformed in ["sesame", "whsec_!sesame"] {
        let said = check(&place, &[], &[("CLERK_WEBHOOK_SIGNING_SECRET", malformed)]);
        assert!(
            said.one("configuration")
                .starts_with("fail: CLERK_WEBHOOK_SIGNING_SECRET "),
            "{malformed}"
        );
    }
    assert!(
        check(&place, &[], &[("RUST_LOG", "=sesame=")]).of("configuration")[1].contains("RUST_LOG")
    );
    std::fs::write(directory.join(".env"), "ADMIN_TOKEN sesame\n").unwrap();
    assert!(
        check(&place, &[], &[])
            .one("configuration")
            .contains(".env")
    );
    std::fs::remove_file(directory.join(".env")).unwrap();
    let none = check(
        &place,
        &[],
        &[("CLERK_WEBHOOK_SIGNING_SECRET", ""), ("ADMIN_TOKEN", "")],
    );
    assert!(none.one("signing_secrets").starts_with("fail: none is set"));
    assert!(none.one("admin_token").starts_with("note: not set"));
}
