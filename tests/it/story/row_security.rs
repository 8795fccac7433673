//! Row-level security that hides rows from the role is named, not taken for an empty table.

use clerk_sync::store::Status;
use sqlx::{AssertSqlSafe, Executor};

use super::schema::{BODY, SECRETS, failure, readiness, said, stranger};
use crate::support::app::{Place, until};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_row_level_security_hides_are_named_until_they_are_seen() {
    for table in ["users", "events", "_migrations"] {
        let place = Place::servers().await;
        place.succeed(&["migrate"]);
        let mut admin = place.database().connect().await;
        let (role, url) = stranger(&mut admin, &place).await;
        let secure = format!("alter table clerk.{table} enable row level security");
        admin.execute(AssertSqlSafe(secure)).await.unwrap();
        let name = format!("row-level security hides rows of clerk.{table}");
        let variables = [SECRETS[0], ("DATABASE_URL", &*url)];
        let app = place.start_unready(&["serve"], &variables);
        until("the log names it", async || said(&app, &name) > 0).await;
        until("readiness names it", async || {
            readiness(&app).await.contains(&name)
        })
        .await;
        assert!(readiness(&app).await.starts_with("503"));
        assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
        assert!(failure(&place, &["check", "--database-url", &url]).contains(&name));
        if table != "_migrations" {
            let list = format!("{table} list --database-url {url}");
            assert!(failure(&place, &list.split(' ').collect::<Vec<_>>()).contains(&name));
        }
        // A policy that lets some rows pass hides the others; one that lets all pass hides none.
        let policy = |condition: &str| {
            AssertSqlSafe(format!(
                "drop policy if exists ours on clerk.{table}; create policy ours on clerk.{table} to {role} using ({condition})"
            ))
        };
        admin
            .execute(policy("current_user <> session_user"))
            .await
            .unwrap();
        assert!(failure(&place, &["check", "--database-url", &url]).contains(&name));
        admin.execute(policy("true")).await.unwrap();
        until("it is ready", async || {
            readiness(&app).await.starts_with("200")
        })
        .await;
        assert_eq!(app.settled("msg_1").await.status, Status::Applied);
        assert!(app.stop().success());
        admin
            .execute(AssertSqlSafe(format!(
                "drop owned by {role} cascade; drop role {role}"
            )))
            .await
            .unwrap();
    }
}

/// The tables are the role's own, and hide rows from their owner too. Of a superuser nothing is
/// hidden.
#[tokio::test(flavor = "multi_thread")]
async fn forced_row_level_security_is_named_for_the_owner() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let mut admin = place.database().connect().await;
    let (role, url) = stranger(&mut admin, &place).await;
    let own = format!(
        "alter table clerk.users owner to {role}; alter table clerk.users enable row level security;
         alter table clerk.users force row level security"
    );
    admin.execute(AssertSqlSafe(own)).await.unwrap();
    assert!(
        failure(&place, &["check", "--database-url", &url]).contains("hides rows of clerk.users")
    );
    assert!(
        place
            .command(&["check"])
            .envs(SECRETS)
            .output()
            .unwrap()
            .status
            .success(),
        "a superuser sees all"
    );
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
}
