//! Errors that need an operator: a missing grant, a missing role, a constraint of the application.
//! Each is logged once, readiness shows it, no event is lost, and the work continues by itself once
//! it is fixed.

use std::time::{Duration, Instant};

use clerk_sync::store::Status;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::app::{App, Place, SECRET, until};
use crate::support::database::synced_tables;

fn update(user: &str) -> String {
    format!(
        r#"{{"data":{{"id":"{user}","updated_at":1795172400018}},"timestamp":1795172400033,"type":"user.updated"}}"#
    )
}

async fn readiness(app: &App) -> String {
    app.get("/readyz").await.map_or_else(String::new, |answer| {
        format!("{} {}", answer.status, answer.body)
    })
}

/// A worker whose role is made, and unmade, by the test.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_or_grant_is_logged_once_and_waited_for() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let mut admin = database.connect().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let role = format!("{name}_denied");
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    url.set_username(&role).unwrap();
    // A server that wants a password says of a role that is not there that the password is wrong,
    // and of this one the same as any.
    url.set_password(Some("x")).unwrap();
    admin
        .execute(AssertSqlSafe(format!(
            "create role {role} nologin password 'x'"
        )))
        .await
        .unwrap();

    let receiver = place
        .start(&["receiver"], &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)])
        .await;
    assert_eq!(
        receiver.deliver("msg_1", update("user_1")).await.status,
        200
    );
    let worker = place.start_unready(&["worker"], &[("DATABASE_URL", url.as_str())]);
    let said = |what: &str| {
        worker
            .log()
            .iter()
            .filter(|line| line.contains("ERROR") && line.contains(what))
            .count()
    };
    until("the role is missed", async || {
        said("does not let this role in") > 0
    })
    .await;
    assert!(
        readiness(&worker)
            .await
            .contains("does not let this role in"),
        "{}",
        readiness(&worker).await
    );

    // It is let in, and may read.
    let made = format!(
        "alter role {role} login; grant usage on schema clerk to {role}; grant select on all tables in schema clerk to {role}"
    );
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    until("the grants are missed", async || {
        readiness(&worker)
            .await
            .contains("SECURITY.md lists the grants")
    })
    .await;
    let synced = synced_tables();
    let granted = format!("grant insert, update, delete on {synced}, clerk.events to {role}");
    admin.execute(AssertSqlSafe(granted)).await.unwrap();
    assert_eq!(worker.settled("msg_1").await.status, Status::Applied);

    // It is taken away while the worker runs.
    admin
        .execute(AssertSqlSafe(format!(
            "revoke insert on clerk.users from {role}"
        )))
        .await
        .unwrap();
    // By then the worker may have met the missing grants above, or not.
    let before = said("SECURITY.md lists the grants");
    assert_eq!(
        receiver.deliver("msg_2", update("user_2")).await.status,
        200
    );
    until("the log says so", async || {
        said("SECURITY.md lists the grants") > before
    })
    .await;
    assert!(readiness(&worker).await.starts_with("503"));
    assert!(worker.event("msg_2").await.is_none());
    admin
        .execute(AssertSqlSafe(format!(
            "grant insert on clerk.users to {role}"
        )))
        .await
        .unwrap();
    assert_eq!(worker.settled("msg_2").await.status, Status::Applied);
    until("it is ready", async || {
        readiness(&worker).await.starts_with("200")
    })
    .await;
    assert_eq!(said("does not let this role in"), 1, "{:#?}", worker.log());
    assert_eq!(
        said("SECURITY.md lists the grants"),
        before + 1,
        "{:#?}",
        worker.log()
    );
    assert!(worker.stop().success());
    admin
        .execute(AssertSqlSafe(format!(
            "drop owned by {role} cascade; drop role {role}"
        )))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_of_the_application_rejects_fails_alone() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let trigger = "create function public.refuse() returns trigger language plpgsql as $$
            begin
                if new.clerk_id = 'user_3' then raise exception 'not %, says the application', new.email; end if;
                return new;
            end $$;
        create trigger refuse before insert or update on clerk.users for each row execute function public.refuse()";
    database.connect().await.execute(trigger).await.unwrap();
    let app = place.serve().await;
    for number in 0..6 {
        assert_eq!(
            app.deliver(&format!("msg_{number}"), update(&format!("user_{number}")))
                .await
                .status,
            200
        );
    }
    for number in 0..6 {
        let line = app.settled(&format!("msg_{number}")).await;
        let expected = if number == 3 {
            (Status::Failed, Some("sqlstate_P0001"))
        } else {
            (Status::Applied, None)
        };
        assert_eq!(
            (line.status, line.error_code.as_deref()),
            expected,
            "{number}: {:?}",
            line.error
        );
        assert!(
            line.error
                .is_none_or(|text| !text.contains("says the application")),
            "the text may quote the row"
        );
    }
}

/// Existing rows can still be updated, but no event can be inserted. Readiness must detect that.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_not_ready_while_every_write_is_rejected() {
    let refusing = |table: &str, raise: &str| {
        format!(
            "create function public.refuse() returns trigger language plpgsql as $$ begin raise {raise}; end $$;
             create trigger refuse before insert on clerk.{table} for each row execute function public.refuse()"
        )
    };
    let allow = |table: &str| {
        format!("drop trigger refuse on clerk.{table}; drop function public.refuse()")
    };
    let faults = [
        (
            "alter table clerk.events drop column superseded_by".into(),
            r#"alter table clerk.events add column superseded_by text collate "C""#.into(),
            "changed by hand",
        ),
        (
            "create rule nothing as on insert to clerk.events do instead nothing".into(),
            "drop rule nothing on clerk.events".into(),
            "a rule on a synced table or on events",
        ),
        (
            refusing("users", "insufficient_privilege"),
            allow("users"),
            "SECURITY.md lists the grants",
        ),
        (
            refusing("events", "'no'"),
            allow("events"),
            "a failed event cannot be recorded",
        ),
    ];
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let app = place.serve().await;
    let mut admin = place.database().connect().await;
    assert_eq!(app.deliver("msg_0", update("user_0")).await.status, 200);
    app.settled("msg_0").await;
    for (number, (breaks, fixes, words)) in (1..).zip(faults) {
        admin.execute(AssertSqlSafe(breaks)).await.unwrap();
        let id = format!("msg_{number}");
        assert_eq!(
            app.deliver(&id, update(&format!("user_{number}")))
                .await
                .status,
            200
        );
        until("readiness says why", async || {
            readiness(&app).await.contains(words)
        })
        .await;
        // The database is asked once a second.
        let said = Instant::now();
        until("it is asked again", async || {
            assert!(
                readiness(&app).await.starts_with("503"),
                "{words}: asking must not cure it"
            );
            said.elapsed() > Duration::from_secs(3)
        })
        .await;
        admin.execute(AssertSqlSafe(fixes)).await.unwrap();
        // The same event shows that the database takes writes again.
        until("it is ready", async || {
            readiness(&app).await.starts_with("200")
        })
        .await;
        assert!(app.event(&id).await.is_some(), "{words}");
    }
    assert!(app.stop().success());
}
