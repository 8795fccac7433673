//! Each role works with the rights that SECURITY.md lists: a receiver without a database, a worker
//! that may not create tables, and a user of the broker with access to the namespace alone.

use clerk_sync::store::Status;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::app::{Place, SECRET, until};
use crate::support::broker::{self, rabbitmqctl};

/// The grants of SECURITY.md for this role.
fn grants(role: &str) -> String {
    let page = include_str!("../../../SECURITY.md");
    let start = page.find("grant usage on schema clerk").unwrap();
    let grants = page[start..].split("```").next().unwrap();
    grants.replace("to clerk_sync;", &format!("to {role};"))
}

const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

/// A user of the broker, who goes with the value.
struct BrokerUser(String);

impl BrokerUser {
    fn may_use(namespace: &str) -> Self {
        let name = format!("user-of-{namespace}");
        let own = format!("^{}\\.", namespace.replace('.', "\\."));
        rabbitmqctl(&["add_user", &name, "x"]);
        rabbitmqctl(&["set_permissions", &name, &own, &own, &own]);
        Self(name)
    }
}

impl Drop for BrokerUser {
    fn drop(&mut self) {
        rabbitmqctl(&["delete_user", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_works_with_the_least_rights() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers {
        database,
        namespace,
        ..
    } = &place
    else {
        unreachable!()
    };
    let mut admin = database.connect().await;
    let role: String = sqlx::query_scalar("select current_database() || '_worker'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let made = format!(
        "drop role if exists {role}; create role {role} login password 'x'; {}",
        grants(&role)
    );
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let mut database_url = reqwest::Url::parse(&database.url()).unwrap();
    database_url.set_username(&role).unwrap();
    database_url.set_password(Some("x")).unwrap();
    let user = BrokerUser::may_use(namespace.name());
    let mut broker_url = reqwest::Url::parse(&broker::url()).unwrap();
    broker_url.set_username(&user.0).unwrap();
    broker_url.set_password(Some("x")).unwrap();

    let nowhere = ("DATABASE_URL", "postgres://127.0.0.1:1/nowhere");
    let receiver = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("AMQP_URL", broker_url.as_str()),
        nowhere,
    ];
    let receiver = place.start(&["receiver"], &receiver).await;
    assert_eq!(receiver.deliver("msg_1", BODY).await.status, 200);
    assert_eq!(
        receiver
            .deliver("msg_2", BODY.replace("user_1", ""))
            .await
            .status,
        200
    );
    let worker = [
        ("AMQP_URL", broker_url.as_str()),
        ("DATABASE_URL", database_url.as_str()),
        ("CHANGE_FEED", "on"),
    ];
    let worker = place.start(&["worker"], &worker).await;
    assert_eq!(worker.settled("msg_1").await.status, Status::Applied);
    assert_eq!(worker.settled("msg_2").await.status, Status::Failed);
    until("the change of the row is published", async || {
        let state = place.store().change_feed_state().await.unwrap();
        state.newest_at.is_some() && state.oldest_unpublished_at.is_none()
    })
    .await;
    // The commands have the same rights.
    for arguments in [
        &["events", "discard", "msg_2"][..],
        &["users", "erase", "user_1", "--yes"],
        &["users", "list"],
    ] {
        let mut command = place.command(arguments);
        command
            .env("AMQP_URL", broker_url.as_str())
            .env("DATABASE_URL", database_url.as_str())
            .env("CHANGE_FEED", "on");
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(worker.stop().success() && receiver.stop().success());
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
}
