//! Every table compared with its list: what is deleted at Clerk is confirmed object by object, the
//! limit of deletes is that of one table, and invitations that Clerk does not list stay.

use serde_json::json;

use crate::support::app::Place;
use crate::support::clerk_instance::ClerkInstance;
use crate::support::clerk_lists_run::{command, has_row, live, run, table};

/// Two organizations, twelve users who are members of the first one, and two invitations.
async fn instance() -> ClerkInstance {
    let clerk = ClerkInstance::with_users(5, 12).await;
    clerk.change(|accounts| {
        for number in 1..3 {
            accounts.found(&format!("org_{number}"), number);
            accounts.invite(
                &format!("orginv_{number}"),
                &format!("org_{number}"),
                number,
            );
        }
        for number in 0..12 {
            let (id, user) = (format!("orgmem_{number:02}"), format!("user_{number:02}"));
            accounts.join(&id, "org_1", &user, number);
        }
        accounts.join("orgmem_second", "org_2", "user_00", 50);
    });
    clerk
}

/// Tables that equal Clerk's lists.
fn fill(place: &Place, clerk: &ClerkInstance) {
    assert_eq!(run(place, clerk, &["backfill"]).status, 0);
    clerk.take_targets();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_confirmed_by_one_request_for_the_object() {
    let servers = Place::servers().await;
    servers.succeed(&["migrate"]);
    for place in [Place::embedded(), servers] {
        let clerk = instance().await;
        fill(&place, &clerk);
        clerk.change(|accounts| {
            // With its membership and its invitation.
            accounts.delete("org_2");
            // The same user in the same organization, under a new ID.
            accounts.delete("orgmem_03");
            accounts.join("orgmem_again", "org_1", "user_03", 70);
            // Still there, and not on the list.
            accounts.hide_from_list("orgmem_04");
            accounts.hide_from_list("orginv_1");
            accounts.update("orgmem_05", 600, &json!({"role": "org:admin"}));
        });
        let found = run(&place, &clerk, &["reconcile"]);
        assert_eq!(found.status, 1, "{}", found.said);
        for (plural, kind, ids) in [
            ("organizations", "deleted_at_clerk", vec!["org_2"]),
            (
                "memberships",
                "deleted_at_clerk",
                vec!["orgmem_03", "orgmem_second"],
            ),
            ("memberships", "missing", vec!["orgmem_again"]),
            ("memberships", "stale", vec!["orgmem_05"]),
            ("invitations", "deleted_at_clerk", vec![]),
        ] {
            assert_eq!(found.ids(plural, kind), ids, "{plural} {kind}");
        }
        let asked = clerk.take_targets();
        for request in [
            "/organizations/org_2",
            "/organizations/org_1/memberships?user_id=user_03&limit=500&order_by=%2Bcreated_at&offset=0",
            "/organizations/org_1/memberships?user_id=user_04&limit=500&order_by=%2Bcreated_at&offset=0",
            "/organizations/org_2/memberships?user_id=user_00&limit=500&order_by=%2Bcreated_at&offset=0",
        ] {
            assert!(
                asked.iter().any(|target| target == request),
                "{request}: {asked:?}"
            );
        }
        let store = place.store();
        assert_eq!(
            live(&store, table("memberships")).await.len(),
            13,
            "a report changes nothing"
        );

        let fixed = run(&place, &clerk, &["reconcile", "--fix"]);
        assert_eq!(fixed.status, 0, "{}", fixed.said);
        let fixes =
            ["organizations", "memberships"].map(|plural| fixed.table(plural)["fixed"].clone());
        assert_eq!(fixes, [json!(1), json!(4)]);
        let rows = live(&store, table("memberships")).await;
        assert!(
            !rows.contains(&"orgmem_03".into()) && rows.contains(&"orgmem_again".into()),
            "{rows:?}"
        );
        assert!(rows.contains(&"orgmem_04".into()), "{rows:?}");
        assert!(
            has_row(&store, table("memberships"), "orgmem_second").await,
            "a tombstone is left"
        );
        assert_eq!(live(&store, table("organizations")).await, ["org_1"]);
        assert_eq!(
            live(&store, table("invitations")).await,
            ["orginv_1", "orginv_2"]
        );
        let left = run(&place, &clerk, &["reconcile"]);
        assert_eq!(left.status, 0, "{}", left.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_deletes_is_that_of_one_table() {
    let (place, clerk) = (Place::embedded(), instance().await);
    fill(&place, &clerk);
    clerk.change(|accounts| {
        accounts.delete("user_11");
        (0..11).for_each(|number| accounts.delete(&format!("orgmem_{number:02}")));
    });
    let refused = run(&place, &clerk, &["reconcile", "--fix"]);
    assert_eq!(refused.status, 1);
    assert!(
        refused
            .said
            .contains("11 of the table's 13 memberships are not on Clerk's list, more than the 10")
            && refused
                .said
                .contains("`reconcile memberships --fix --max-deletes 11`"),
        "{}",
        refused.said
    );
    assert_eq!(refused.table("memberships")["unconfirmed"], true);
    let store = place.store();
    assert_eq!(
        live(&store, table("users")).await.len(),
        11,
        "another table is fixed"
    );
    assert_eq!(live(&store, table("memberships")).await.len(), 13);
    assert!(
        !clerk
            .take_targets()
            .iter()
            .any(|target| target.contains("/memberships?")),
        "none is even asked for"
    );
    let allowed = run(
        &place,
        &clerk,
        &["reconcile", "memberships", "--fix", "--max-deletes", "11"],
    );
    assert_eq!(allowed.status, 0, "{}", allowed.said);
    assert_eq!(
        live(&store, table("memberships")).await,
        ["orgmem_11", "orgmem_second"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_is_not_clerks_deletes_nothing() {
    let (place, clerk) = (Place::embedded(), instance().await);
    fill(&place, &clerk);
    clerk.change(|accounts| accounts.delete("org_2"));
    clerk.answer_404_strangely();
    let refused = run(&place, &clerk, &["reconcile", "--fix"]);
    assert!(
        refused.status == 1
            && refused
                .said
                .contains("404 for one organization, but not in Clerk's form"),
        "{}",
        refused.said
    );
    let store = place.store();
    for (plural, count) in [
        ("organizations", 2),
        ("memberships", 13),
        ("invitations", 2),
    ] {
        assert_eq!(live(&store, table(plural)).await.len(), count, "{plural}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_listed_by_table() {
    let (place, clerk) = (Place::embedded(), instance().await);
    fill(&place, &clerk);
    clerk.change(|accounts| {
        accounts.delete("org_2");
        accounts.sign_up("user_new", 500);
    });
    let output = command(&place, &clerk, &["reconcile"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "users          13 at Clerk, 12 in the table\n",
        "organizations  1 at Clerk, 2 in the table\n",
        "1 user missing in the table:\n  user_new\n",
        "1 organization deleted at Clerk:\n  org_2\n",
        "1 membership deleted at Clerk:\n  orgmem_second\n",
        "1 user, 1 organization and 1 membership have drifted: `clerk-sync reconcile --fix` fixes it.",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_with_a_user_is_no_drift() {
    let servers = Place::servers().await;
    servers.succeed(&["migrate"]);
    for place in [Place::embedded(), servers] {
        let clerk = instance().await;
        clerk.change(|accounts| {
            let address = json!({"email_address": "user_05@example.com"});
            accounts.update("orginv_1", 600, &address);
        });
        fill(&place, &clerk);
        // Only a user who is deleted is erased for good.
        clerk.change(|accounts| accounts.delete("user_05"));
        assert_eq!(
            run(&place, &clerk, &["reconcile", "users", "--fix"]).status,
            0
        );
        place.succeed(&["users", "erase", "user_05", "--yes"]);
        let tables = ["memberships", "invitations"];
        let store = place.store();
        let id = clerk_sync::clerk::ClerkId::new("orginv_1").unwrap();
        let invitations = table("invitations");
        let row = store.row(invitations, &id).await.unwrap().unwrap();
        assert!(row.erased_at.is_some() && row.text("email_address").is_none());
        let found = run(&place, &clerk, &["reconcile", tables[0], tables[1]]);
        assert_eq!(found.status, 0, "{}", found.json);
        run(&place, &clerk, &["backfill", tables[0], tables[1]]);
        // A newer role comes in, and what was erased does not.
        let admin = json!({"role": "org:admin"});
        clerk.change(|accounts| accounts.update("orginv_1", 700, &admin));
        let fixed = run(&place, &clerk, &["reconcile", "invitations", "--fix"]);
        assert_eq!(fixed.status, 0, "{}", fixed.json);
        let row = store.row(invitations, &id).await.unwrap().unwrap();
        assert_eq!(
            (row.text("role"), row.text("email_address")),
            (Some("org:admin"), None)
        );
        let left = run(&place, &clerk, &["reconcile", tables[0], tables[1]]);
        assert_eq!(left.status, 0, "{}", left.json);
    }
}
