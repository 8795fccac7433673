//! Every table filled from its list: one after the other, resumed in its middle, and skipped where
//! an instance has no organizations.

use std::process::Command;

use clerk_sync::clerk::tables;
use serde_json::Value;

use crate::support::app::{Place, until};
use crate::support::clerk_instance::{Accounts, ClerkInstance};
use crate::support::clerk_lists_run::{Printed, command, live, run, table};

/// Objects on a page.
const PAGE_MAX: usize = 3;

/// Seven users, five organizations with ten memberships, and five invitations.
async fn instance() -> ClerkInstance {
    let clerk = ClerkInstance::with_users(PAGE_MAX, 7).await;
    clerk.change(|accounts| {
        for number in 0..5 {
            found(accounts, number);
        }
    });
    clerk
}

/// An organization with as many members as its number.
fn found(accounts: &mut Accounts, number: i64) {
    let organization = format!("org_{number}");
    accounts.found(&organization, number);
    for user in 0..number {
        let id = format!("orgmem_{number}_{user}");
        accounts.join(
            &id,
            &organization,
            &format!("user_0{user}"),
            10 * number + user,
        );
    }
    accounts.invite(&format!("orginv_{number}"), &organization, number);
    accounts.add_domain(&format!("orgdmn_{number}"), &organization, number);
}

/// Both stores, ready for a first fill.
async fn places() -> [Place; 2] {
    let servers = Place::servers().await;
    servers.succeed(&["migrate"]);
    [Place::embedded(), servers]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_filled_and_a_second_time_changes_nothing() {
    for place in places().await {
        let clerk = instance().await;
        let filled = run(&place, &clerk, &["backfill"]);
        assert_eq!(
            (filled.status, &filled.json["complete"]),
            (0, &true.into()),
            "{}",
            filled.said
        );
        let counts = [
            ("users", 7),
            ("organizations", 5),
            ("memberships", 10),
            ("invitations", 5),
        ];
        let store = place.store();
        for (plural, count) in counts {
            assert_eq!(filled.numbers(plural), [count, count, 0, 0], "{plural}");
            assert_eq!(filled.table(plural)["state"], "complete");
            assert_eq!(
                live(&store, table(plural)).await.len() as u64,
                count,
                "{plural}"
            );
        }
        assert!(
            !place.directory().join("backfill.json").exists(),
            "nothing is left to do"
        );
        let again = run(&place, &clerk, &["backfill"]);
        for (plural, count) in counts {
            assert_eq!(
                again.numbers(plural),
                [count, 0, count, 0],
                "{plural}: {}",
                again.said
            );
        }
        let text = command(&place, &clerk, &["backfill"])
            .output()
            .unwrap()
            .stdout;
        let text = String::from_utf8(text).unwrap();
        for line in [
            "memberships    10 read, 0 changed, 10 unchanged, 0 failed",
            "invitations    5 read, 0 changed, 5 unchanged, 0 failed",
            "of Clerk's lists are in the tables.",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_list_is_read_once_and_whole_and_no_token_is_stored() {
    let (place, clerk) = (Place::embedded(), instance().await);
    assert_eq!(run(&place, &clerk, &["backfill"]).status, 0);
    let targets = clerk.take_targets();
    for table in tables::ALL {
        let path = format!("/{}?", table.list.path);
        let requests: Vec<_> = targets
            .iter()
            .filter(|target| target.starts_with(&path))
            .collect();
        assert!(requests.len() >= 2, "{path}: {targets:?}");
        for request in requests {
            assert!(
                request.contains("limit=500&order_by=%2Bcreated_at"),
                "{request}"
            );
        }
    }
    assert!(
        targets
            .iter()
            .any(|target| target.contains("include_members_count=true")
                && target.starts_with("/organizations?")),
        "{targets:?}"
    );
    assert!(
        !targets
            .iter()
            .any(|target| target.starts_with("/organizations/")),
        "no request for a single organization: {targets:?}"
    );
    for file in ["users.db", "users.db-wal"] {
        let bytes = std::fs::read(place.directory().join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("sesame"),
            "the token of an invitation is in {file}"
        );
        assert!(!text.contains("Copied"), "a copy of a user is in {file}");
    }
    let named = run(
        &place,
        &clerk,
        &["backfill", "memberships", "organizations"],
    );
    let plurals: Vec<_> = named.json["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["table"].clone())
        .collect();
    assert_eq!(
        plurals,
        ["organizations", "memberships"],
        "in the order of the tables"
    );
    assert!(
        clerk
            .take_targets()
            .iter()
            .all(|target| target.starts_with("/organization"))
    );
    let unknown = place.run(&["backfill", "membership"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        unknown.status.code() == Some(2) && said.contains("'memberships'"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_organizations_is_no_error() {
    for place in places().await {
        let clerk = instance().await;
        assert_eq!(run(&place, &clerk, &["backfill"]).status, 0);
        clerk.change(|accounts| accounts.is_without_organizations = true);
        let filled = run(&place, &clerk, &["backfill"]);
        assert_eq!(filled.status, 0, "{}", filled.said);
        let fixed = run(&place, &clerk, &["reconcile", "--fix"]);
        assert_eq!(fixed.status, 0, "{}", fixed.said);
        for printed in [&filled, &fixed] {
            assert_eq!(printed.table("users")["state"], "complete");
            for table in tables::ALL.iter().filter(|table| table.plural != "users") {
                assert_eq!(
                    printed.table(table.plural)["state"],
                    "skipped",
                    "{}",
                    printed.said
                );
            }
        }
        assert_eq!(
            live(&place.store(), table("memberships")).await.len(),
            10,
            "none is deleted"
        );
        for arguments in [["backfill"], ["reconcile"]] {
            let output = command(&place, &clerk, &arguments).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{text}");
            assert!(
                text.contains("memberships    skipped: organizations are not turned on"),
                "{text}"
            );
        }
    }
}

/// Objects of a table that are done, as the file of the progress says.
fn progress(place: &Place, table: &str) -> u64 {
    let text = std::fs::read_to_string(place.directory().join("backfill.json")).unwrap_or_default();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    json["tables"][table]["tally"]["seen"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_stopped_goes_on_in_the_table_where_it_was() {
    for place in places().await {
        let clerk = instance().await;
        clerk.change(|accounts| {
            for number in 0..20 {
                accounts.join(
                    &format!("orgmem_more_{number:02}"),
                    "org_0",
                    "user_01",
                    500 + number,
                );
            }
        });
        // The users take four pages, the organizations two or three, the memberships the rest.
        clerk.hold_after(11);
        let stopped = command(&place, &clerk, &["backfill"]).spawn().unwrap();
        until("memberships are read", async || clerk.pages_left() == 0).await;
        let process = stopped.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &process])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(stopped.wait_with_output().unwrap().status.code(), Some(1));
        let done = progress(&place, "organization_memberships");
        clerk.take_targets();
        clerk.release();
        let output = command(&place, &clerk, &["backfill", "--json"])
            .output()
            .unwrap();
        let resumed = Printed::of(output);
        assert_eq!(resumed.status, 0, "{}", resumed.said);
        for (plural, count, went_on) in [
            ("users", 7, true),
            ("organizations", 5, true),
            ("memberships", 30, true),
            ("invitations", 5, false),
        ] {
            assert_eq!(resumed.numbers(plural)[0], count, "{plural}");
            assert_eq!(resumed.table(plural)["resumed"], went_on, "{plural}");
        }
        let targets = clerk.take_targets();
        assert!(
            !targets.iter().any(
                |target| target.starts_with("/users?") || target.starts_with("/organizations?")
            ),
            "complete lists are not read again: {targets:?}"
        );
        assert!(
            targets[0].starts_with("/organization_memberships?")
                && targets[0].ends_with(&format!("&offset={}", done - 1)),
            "{done} were done: {targets:?}"
        );
        assert_eq!(live(&place.store(), table("memberships")).await.len(), 30);
        assert!(!place.directory().join("backfill.json").exists());
    }
}
