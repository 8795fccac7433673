//! `SYNC`: only the tables that it names are received, filled and compared.

use serde_json::json;

use crate::support::app::{Place, SECRET};
use crate::support::clerk_instance::ClerkInstance;
use crate::support::clerk_lists_run::command;
use crate::support::history::update;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_tables_are_ignored() {
    let place = Place::embedded();
    let variables = [("SYNC", "users"), ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)];
    let app = place.start(&["serve"], &variables).await;
    let body = json!({
        "type": "organization.created", "timestamp": 1_795_172_400_000_i64,
        "data": {"id": "org_1", "updated_at": 1_795_172_400_000_i64},
    });
    let ignored = app.deliver("msg_org", body.to_string().into_bytes()).await;
    assert_eq!(
        (
            ignored.status,
            &ignored.body["status"],
            &ignored.body["event_type"]
        ),
        (200, &"ignored".into(), &"organization.created".into()),
        "{:?}",
        ignored.body
    );
    let event = update("msg_user", "user_1", 5);
    let queued = app.deliver("msg_user", event.body().to_vec()).await;
    assert_eq!(
        (queued.status, &queued.body["status"]),
        (200, &"queued".into())
    );
    app.settled("msg_user").await;
    assert!(app.user("user_1").await.is_some());
    assert!(app.stop().success());
    let events = place.succeed(&["events", "list", "--json"]);
    assert!(
        events.contains("msg_user") && !events.contains("msg_org"),
        "{events}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_lists_that_it_names_are_read() {
    let (place, clerk) = (Place::embedded(), ClerkInstance::with_users(5, 3).await);
    clerk.change(|accounts| accounts.found("org_1", 1));
    let run = |arguments: &[&str]| {
        let output = command(&place, &clerk, arguments)
            .env("SYNC", "organizations, users")
            .output();
        let output = output.unwrap();
        let [said, printed] = [output.stderr, output.stdout].map(|b| String::from_utf8(b).unwrap());
        (output.status.code(), said, printed)
    };
    for name in ["backfill", "reconcile"] {
        let (status, said, _) = run(&[name]);
        assert_eq!(status, Some(0), "{said}");
        let paths: Vec<_> = clerk
            .take_targets()
            .iter()
            .map(|target| target.split('?').next().unwrap().to_owned())
            .collect();
        assert!(
            paths.contains(&"/users".into()) && paths.contains(&"/organizations".into()),
            "{paths:?}"
        );
        assert!(
            paths.iter().all(|path| !path.starts_with("/organization_")),
            "{paths:?}"
        );
        let (status, said, _) = run(&[name, "memberships"]);
        assert!(
            status == Some(1)
                && said.contains("SYNC does not name memberships: add memberships to it"),
            "{said}"
        );
    }
    let (_, _, check) = run(&["check", "--json"]);
    assert!(
        check.contains("users, organizations; events of all others are answered `ignored`"),
        "{check}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_table_has_is_an_error_with_the_nearest_one() {
    let place = Place::embedded();
    for (value, meant) in [
        ("users,memberhsips", "memberships"),
        ("organization_invitations", "invitations"),
    ] {
        let output = place
            .command(&["backfill"])
            .env("SYNC", value)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("SYNC names") && said.contains(&format!("did you mean {meant}?")),
            "{said}"
        );
    }
}
