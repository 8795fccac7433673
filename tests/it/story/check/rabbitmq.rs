//! `check` and the broker: queues, rights, alarms.

use super::*;
use crate::support::database::synced_tables;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_named_and_left_alone() {
    let place = Place::servers().await;
    let name = place.namespace().queue("events");
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

/// A queue that has really lost its leader would take its broker's dead lettering with it, and this
/// broker is shared.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_a_leader_is_reported() {
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
        &format!("^{namespace}\\.events$"),
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
        !line.contains(&format!("write {namespace}.events")) && !line.contains("read"),
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
        grant select, insert, update on clerk.settings to {role}; grant select, insert, update, delete on {synced}, clerk.events, clerk.audit, clerk.processes to {role}";
    admin
        .execute(AssertSqlSafe(
            grants
                .replace("{role}", &role)
                .replace("{synced}", &synced_tables()),
        ))
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
async fn a_broker_with_an_alarm_is_reported() {
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
