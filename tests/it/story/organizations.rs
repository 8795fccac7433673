//! Organizations, memberships and invitations, as programs and people ask for them: with the API and
//! with commands.

use clerk_sync::clerk::{SignedEvent, tables};
use clerk_sync::clock::now;
use serde_json::{Value, json};

use crate::support::app::{Answer, App, Place, SECRET};
use crate::support::history::{EPOCH_MS, update};
use crate::support::organizations::{about, invitation, leave, membership, organization};

const TOKEN: &str = "correct-horse-battery-staple";
const READER: &str = "reads-and-does-nothing-else";

async fn serve(place: &Place) -> App {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
        ("READ_TOKEN", READER),
    ];
    place.start(&["serve"], &variables).await
}

/// What Clerk sends of two organizations: Bo leaves the first, and joins it again.
pub fn story() -> Vec<SignedEvent> {
    let later = now().ms() + 86_400_000;
    vec![
        update("msg_u1", "user_1", 1),
        organization("msg_o1", "org_1", 1, "Fern & Co", Some("fern-co")),
        organization("msg_o2", "org_2", 1, "Tern", None),
        membership("msg_m1", "orgmem_1", "org_1", "user_1", "org:admin", 1),
        membership("msg_m2", "orgmem_2", "org_1", "user_2", "org:member", 2),
        leave("msg_m3", "orgmem_2", "org_1", "user_2", 2, 5),
        membership("msg_m4", "orgmem_3", "org_1", "user_2", "org:admin", 6),
        membership("msg_m5", "orgmem_4", "org_2", "user_1", "org:member", 7),
        invitation(
            "msg_i1",
            "orginv_1",
            "org_1",
            "Nora@Example.com",
            "pending",
            1,
            later,
        ),
        invitation(
            "msg_i2",
            "orginv_2",
            "org_1",
            "late@example.com",
            "pending",
            1,
            EPOCH_MS,
        ),
        invitation(
            "msg_i3",
            "orginv_3",
            "org_2",
            "bo@example.com",
            "accepted",
            1,
            later,
        ),
        about(
            "msg_o3",
            "organization.deleted",
            9,
            &json!({"id": "org_2", "deleted": true}),
        ),
    ]
}

/// Delivers events, and waits until they are applied.
pub async fn deliver(app: &App, events: &[SignedEvent]) {
    for event in events {
        let answer = app
            .deliver(event.id().as_str(), event.body().to_vec())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for event in events {
        app.settled(event.id().as_str()).await;
    }
}

async fn get(app: &App, path: &str) -> Answer {
    app.api(Some(TOKEN), path, None).await
}

fn ids(answer: &Answer) -> Vec<&str> {
    let rows = answer.body["data"].as_array();
    let rows = rows.unwrap_or_else(|| panic!("no list: {}", answer.body));
    rows.iter()
        .map(|row| row["clerk_id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_over_http_with_postgresql() {
    rows_are_found(Place::servers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_over_http_with_sqlite() {
    rows_are_found(Place::embedded()).await;
}

async fn rows_are_found(place: Place) {
    let app = serve(&place).await;
    deliver(&app, &story()).await;
    for (path, expected) in [
        ("/api/organizations", &["org_2", "org_1"][..]),
        ("/api/organizations?q=fern", &["org_1"]),
        ("/api/organizations?q=FERN%20%26", &["org_1"]),
        ("/api/organizations?slug=fern-co", &["org_1"]),
        ("/api/organizations?deleted=true", &["org_2"]),
        (
            "/api/organizations/org_1/memberships",
            &["orgmem_3", "orgmem_2", "orgmem_1"],
        ),
        (
            "/api/organizations/org_1/memberships?deleted=false",
            &["orgmem_3", "orgmem_1"],
        ),
        (
            "/api/organizations/org_1/memberships?role=org:admin",
            &["orgmem_3", "orgmem_1"],
        ),
        (
            "/api/organizations/org_1/invitations?status=pending&expired=false",
            &["orginv_1"],
        ),
        (
            "/api/memberships?organization_id=org_1&user_id=user_2",
            &["orgmem_3", "orgmem_2"],
        ),
        ("/api/memberships?ids=orgmem_4,orgmem_9", &["orgmem_4"]),
        ("/api/users/user_1/memberships", &["orgmem_4", "orgmem_1"]),
        // Nothing is known of this user but the memberships.
        ("/api/users/user_2/memberships?deleted=true", &["orgmem_2"]),
        (
            "/api/invitations?email_address=nora@example.com",
            &["orginv_1"],
        ),
        (
            "/api/invitations?organization_id=org_1&status=pending",
            &["orginv_2", "orginv_1"],
        ),
        (
            "/api/invitations?status=pending&expired=true",
            &["orginv_2"],
        ),
    ] {
        assert_eq!(ids(&get(&app, path).await), expected, "{path}");
    }
    let list = get(&app, "/api/memberships?limit=3").await;
    assert!(
        list.body["data"][0].get("data").is_none(),
        "a list leaves the object out"
    );
    let next = list.body["next"].as_str().unwrap();
    let rest = get(&app, &format!("/api/memberships?limit=3&cursor={next}")).await;
    assert_eq!(ids(&rest), ["orgmem_1"]);
    assert_eq!(rest.body["next"], Value::Null);

    let one = get(&app, "/api/memberships/orgmem_1").await;
    assert_eq!(one.body["organization_id"], "org_1");
    assert_eq!(one.body["permissions"], json!(["org:sys_profile:manage"]));
    assert_eq!(one.body["data"]["organization"], json!({"id": "org_1"}));
    let tag = one.headers["etag"].to_str().unwrap().to_owned();
    let headers = [
        ("authorization".to_owned(), format!("Bearer {TOKEN}")),
        ("if-none-match".to_owned(), tag),
    ];
    let again = app
        .send("GET", "/api/memberships/orgmem_1", &headers, Vec::new())
        .await;
    assert_eq!(again.unwrap().status(), 304);
    let head = app
        .send(
            "HEAD",
            "/api/organizations/org_1",
            &headers[..1],
            Vec::new(),
        )
        .await;
    assert_eq!(head.unwrap().status(), 200);

    let history = get(&app, "/api/memberships/orgmem_2/history").await.body;
    let why: Vec<_> = history["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["why"])
        .collect();
    assert!(
        why.contains(&&json!("it marked the membership as deleted")),
        "{why:?}"
    );
    for (path, status, detail) in [
        (
            "/api/organizations/org_9",
            404,
            "no organization has this ID",
        ),
        (
            "/api/organizations/org_9/memberships",
            404,
            "no organization has this ID",
        ),
        (
            "/api/invitations/orginv_9/history",
            404,
            "no invitation has this ID",
        ),
        ("/api/users/user_9/memberships", 404, "no user has this ID"),
        ("/api/memberships?deleted=maybe", 400, "deleted is wrong"),
        (
            "/api/memberships?status=pending",
            400,
            "a parameter is unknown; there are organization_id",
        ),
        (
            "/api/organizations/org_1/memberships?organization_id=org_2",
            400,
            "a parameter is unknown",
        ),
        ("/api/memberships?cursor=u.user_1", 400, "cursor is wrong"),
        (
            "/api/users?cursor=r.organizations.org_1",
            400,
            "cursor is wrong",
        ),
        (
            "/api/events?cursor=r.organizations.org_1",
            400,
            "cursor is wrong",
        ),
    ] {
        let refused = get(&app, path).await;
        let said = refused.body["detail"].as_str().unwrap();
        assert_eq!(refused.status, status, "{path}");
        assert!(said.starts_with(detail), "{path}: {said}");
    }
    let stats = get(&app, "/api/stats").await.body;
    assert!(
        stats["totals"]["tables"]["organization_memberships"].is_object(),
        "{stats}"
    );
}

/// Nothing that holds a secret or another person's data is anywhere, whatever token asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_no_private_field_of_any_table_and_no_token_the_url_of_an_invitation() {
    let place = Place::embedded();
    let app = serve(&place).await;
    deliver(&app, &story()).await;
    // Its times are far ahead of its delivery.
    let ahead = 400 * 86_400_000;
    let failed = invitation(
        "msg_i9",
        "orginv_9",
        "org_1",
        "x@example.com",
        "pending",
        ahead,
        EPOCH_MS,
    );
    deliver(&app, &[failed]).await;
    let mut seen_tables = 0;
    for table in tables::ALL {
        let list = format!("/api/{}", table.plural);
        let rows = get(&app, &format!("{list}?fields=clerk_id,data")).await;
        // The story has rows of four tables.
        let Some(first) = ids(&rows).first().copied().map(str::to_owned) else {
            continue;
        };
        seen_tables += 1;
        let one = format!("{list}/{first}");
        for path in [&list, &one, &format!("{one}/history")] {
            let seen = app.api(Some(READER), path, None).await;
            let text = seen.body.to_string();
            assert_eq!(seen.status, 200, "{path}");
            assert!(!text.contains("secret-of-ours"), "{path}: {text}");
            assert!(
                !text.contains("\"data\":{") && !text.contains("private_metadata"),
                "{text}"
            );
            let whole = get(&app, path).await.body.to_string();
            for never in ["TOKEN-OF-THE-TEST", "not-stored"] {
                assert!(!whole.contains(never), "{path}: {whole}");
            }
        }
        for path in [
            format!("{list}?fields=data"),
            format!("{one}?fields=clerk_id,data"),
        ] {
            let refused = app.api(Some(READER), &path, None).await;
            assert_eq!(
                (refused.status, &refused.body["param"]),
                (403, &json!("fields")),
                "{path}"
            );
        }
    }
    assert_eq!(seen_tables, 4);
    let refused = app.api(
        Some(READER),
        "/api/organizations?fields=private_metadata",
        None,
    );
    assert_eq!(refused.await.status, 403);
    let event = get(&app, "/api/events/msg_i9").await.body;
    assert_eq!(event["status"], "failed");
    assert!(!event.to_string().contains("TOKEN-OF-THE-TEST"), "{event}");
    for command in [
        &["invitations", "list", "--json"][..],
        &["events", "show", "msg_i9"],
    ] {
        assert!(!place.succeed(command).contains("TOKEN-OF-THE-TEST"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_command() {
    let place = Place::embedded();
    let app = serve(&place).await;
    deliver(&app, &story()).await;
    let found = |words: &str| -> Vec<String> {
        let words: Vec<_> = words.split(' ').chain(["--json"]).collect();
        let lines = place.succeed(&words);
        let id = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["clerk_id"].as_str().unwrap().to_owned()
        };
        lines.lines().map(id).collect()
    };
    for (words, expected) in [
        ("organizations list", &["org_2", "org_1"][..]),
        ("organizations ls FERN", &["org_1"]),
        ("organizations list --slug fern-co", &["org_1"]),
        ("organizations list --q org_2 --deleted true", &["org_2"]),
        (
            "memberships list --organization org_1 --user user_2",
            &["orgmem_3", "orgmem_2"],
        ),
        (
            "memberships list --organization org_1 --role org:admin",
            &["orgmem_3", "orgmem_1"],
        ),
        ("invitations list --email NORA@example.com", &["orginv_1"]),
        (
            "invitations list --status pending --expired false",
            &["orginv_1"],
        ),
        (
            "memberships list --cursor r.organization_memberships.orgmem_2",
            &["orgmem_1"],
        ),
    ] {
        assert_eq!(found(words), expected, "{words}");
    }
    let shown: Value =
        serde_json::from_str(&place.succeed(&["organizations", "get", "org_1", "--json"])).unwrap();
    assert_eq!(
        (&shown["name"], &shown["data"]["slug"]),
        (&json!("Fern & Co"), &json!("fern-co"))
    );
    let history = place.succeed(&["memberships", "history", "orgmem_2"]);
    assert!(
        history.contains("it marked the membership as deleted"),
        "{history}"
    );
    for (words, status, said) in [
        (
            &["organizations", "show", "org_9"][..],
            1,
            "no organization has the ID org_9",
        ),
        (
            &["invitations", "history", "orginv_9"],
            1,
            "no event is about one",
        ),
        (
            &["organizations", "list", "--role", "x"],
            2,
            "unexpected argument",
        ),
        (
            &["memberships", "list", "--deleted", "maybe"],
            2,
            "possible values: true, false, any",
        ),
        (
            &["memberships", "list", "--cursor", "u.user_1"],
            2,
            "--cursor is of another list",
        ),
        (
            &["users", "list", "--cursor", "r.organizations.org_1"],
            2,
            "--cursor is of another list",
        ),
        (&["organizations", "delete"], 2, "unrecognized subcommand"),
    ] {
        let output = place.run(words);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
    let none = place.run(&["invitations", "list", "--organization", "org_9"]);
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(
        none.status.success() && said.contains("No invitations match"),
        "{said}"
    );
}

/// A receiver says where to ask, for every table.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_has_no_rows() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", TOKEN),
    ];
    let app = place.start(&["receiver"], &variables).await;
    for table in tables::ALL {
        for path in ["", "/x", "/x/history"] {
            let answer = get(&app, &format!("/api/{}{path}", table.plural)).await;
            assert_eq!((answer.status, answer.code()), (404, "not_found"));
            assert!(
                answer.body["detail"]
                    .as_str()
                    .unwrap()
                    .contains("a receiver has no database")
            );
        }
    }
}
