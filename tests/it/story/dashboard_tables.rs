//! The dashboard's lists and pages of the tables beyond users: an operator who looks for an
//! organization, its members and its invitations.

use clerk_sync::clerk::tables;
use serde_json::Value;

use super::dashboard::{assert_guarded, assert_nothing_inline, log_in, serve};
use super::organizations::{deliver, story};
use crate::support::app::{App, Place};
use crate::support::history::{delete, event};
use crate::support::visitor::{Page, Visitor};

/// A server with two organizations, and somebody who is logged in.
async fn visited(place: &Place) -> (App, Visitor) {
    let app = serve(place).await;
    let body = r#"{"data":{"id":"user_1","first_name":"Ada","last_name":"Lovelace","updated_at":1795172400009},"type":"user.created"}"#;
    deliver(&app, &[event("msg_ada", body)]).await;
    deliver(&app, &story()).await;
    let visitor = log_in(&app).await;
    (app, visitor)
}

/// The part of a page that is the section with this ID.
fn section<'p>(page: &'p Page, id: &str) -> &'p str {
    let start = format!("<section id=\"{id}\"");
    let (_, rest) = page
        .body
        .split_once(&start)
        .unwrap_or_else(|| panic!("no section {id} on {}", page.path));
    rest.split("</section>").next().unwrap()
}

/// The IDs of the rows that a part of a page links to, each once, in their order.
fn rows(part: &str, table: &str) -> Vec<String> {
    let start = format!("class=\"open\" href=\"/{table}/");
    let links = part.split(&start).skip(1);
    links
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_list_with_its_filters() {
    let place = Place::embedded();
    let (_app, mut visitor) = visited(&place).await;
    let first = visitor.get("/").await;
    for table in tables::ALL {
        let link = format!("<a href=\"/{}\"", table.plural);
        assert!(first.body.contains(&link), "{link}");
    }
    for (path, table, expected) in [
        ("/organizations", "organizations", &["org_2", "org_1"][..]),
        ("/organizations?q=FERN", "organizations", &["org_1"]),
        ("/organizations?q=fern-co", "organizations", &["org_1"]),
        ("/organizations?deleted=true", "organizations", &["org_2"]),
        (
            "/memberships?organization_id=org_1&deleted=false",
            "memberships",
            &["orgmem_3", "orgmem_1"],
        ),
        (
            "/memberships?user_id=user_1",
            "memberships",
            &["orgmem_4", "orgmem_1"],
        ),
        (
            "/memberships?limit=3",
            "memberships",
            &["orgmem_4", "orgmem_3", "orgmem_2"],
        ),
        (
            "/invitations?status=pending&expired=false",
            "invitations",
            &["orginv_1"],
        ),
        (
            "/invitations?email_address=NORA%40example.com",
            "invitations",
            &["orginv_1"],
        ),
    ] {
        let page = visitor.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_guarded(&page);
        assert_nothing_inline(&page);
        assert_eq!(rows(section(&page, table), table), expected, "{path}");
    }
    let page = visitor.get("/memberships?limit=3").await;
    let next = page
        .links()
        .into_iter()
        .find(|link| link.contains("cursor="))
        .unwrap();
    let rest = visitor.get(&next).await;
    assert_eq!(
        rows(section(&rest, "memberships"), "memberships"),
        ["orgmem_1"]
    );

    // A filter shows what it filters by, and says what is wrong beside the field.
    let page = visitor
        .get("/invitations?status=revoked&organization_id=org_1")
        .await;
    for shown in [
        r#"<option value="revoked" selected>"#,
        r#"name="organization_id" value="org_1""#,
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    assert!(
        page.text().contains("No invitation matches."),
        "{}",
        page.text()
    );
    let page = visitor
        .get("/organizations?q=a%00b&deleted=maybe&role=x")
        .await;
    assert_eq!(page.status, 400);
    assert!(page.body.contains("id=\"q-fault\">") && page.body.contains("id=\"deleted-fault\">"));
    let said = page.text();
    assert!(
        said.contains("role: A parameter is unknown") && said.contains("no organization is shown"),
        "{said}"
    );
    for table in tables::ALL {
        let page = visitor
            .get(&format!("/{}?q=&deleted=any", table.plural))
            .await;
        assert!([200, 400].contains(&page.status), "{}", table.plural);
        let csv = visitor
            .get(&format!("/{}/export?format=csv", table.plural))
            .await;
        let head = csv.body.lines().next().unwrap();
        assert!(
            head.starts_with("clerk_id,") && !head.contains(",data,"),
            "{head}"
        );
        assert!(!csv.body.contains("TOKEN-OF-THE-TEST"));
        let json = visitor
            .get(&format!("/{}/export?format=json&limit=1", table.plural))
            .await;
        let json: Value = serde_json::from_str(&json.body).unwrap();
        let rows = json["data"].as_array().unwrap();
        let is_of_story =
            ["users", "organizations", "memberships", "invitations"].contains(&table.plural);
        assert_eq!(rows.len(), usize::from(is_of_story), "{}", table.plural);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_shows_its_members_and_a_user_the_organizations() {
    let place = Place::embedded();
    let (app, mut visitor) = visited(&place).await;
    let page = visitor.get("/organizations/org_1").await;
    assert_eq!(page.status, 200);
    assert_guarded(&page);
    assert!(
        page.body.contains("<h1><bdi>Fern &#38; Co</bdi></h1>"),
        "{}",
        page.body
    );
    let members = section(&page, "memberships");
    assert_eq!(
        rows(members, "memberships"),
        ["orgmem_3", "orgmem_1"],
        "who has left is not there"
    );
    assert!(
        members.contains(r#"<bdi>Ada Lovelace</bdi> <a class="id" href="/users/user_1">"#),
        "{members}"
    );
    assert!(
        !members.contains("Organization</th>"),
        "it is the same in every row"
    );
    assert!(members.contains("/memberships?organization_id=org_1"));
    let invitations = section(&page, "invitations");
    assert_eq!(rows(invitations, "invitations"), ["orginv_2", "orginv_1"]);
    assert!(!page.body.contains("TOKEN-OF-THE-TEST"));
    let history = section(&page, "history");
    assert!(history.contains("/events/msg_o1") && history.contains("it changed the row"));
    assert!(
        section(&page, "profile").contains("href=\"/users/user_1\""),
        "who made it"
    );

    let user = visitor.get("/users/user_1").await;
    let memberships = section(&user, "memberships");
    assert_eq!(rows(memberships, "memberships"), ["orgmem_4", "orgmem_1"]);
    assert!(
        memberships
            .contains(r#"<bdi>Fern &#38; Co</bdi> <a class="id" href="/organizations/org_1">"#),
        "{memberships}"
    );

    let membership = visitor.get("/memberships/orgmem_2").await;
    let profile = section(&membership, "profile");
    for link in ["/organizations/org_1", "/users/user_2"] {
        assert!(profile.contains(link), "{profile}");
    }
    assert!(
        membership
            .text()
            .contains("it marked the membership as deleted"),
        "{}",
        membership.text()
    );
    assert!(
        membership.text().contains("Membershipdeleted"),
        "{}",
        membership.text()
    );
    let saved = visitor.get("/memberships/orgmem_2/permissions").await;
    assert_eq!(saved.body, r#"["org:sys_profile:manage"]"#);
    assert_eq!(visitor.get("/memberships/orgmem_2/url").await.status, 404);
    let missing = visitor.get("/organizations/org_9").await;
    assert_eq!(missing.status, 404);
    assert!(
        missing.text().contains("no organization has this ID here"),
        "{}",
        missing.text()
    );

    // Of an ID whose first event failed, the events say why.
    deliver(&app, &[delete("msg_gone", "user_8", 1)]).await;
    deliver(
        &app,
        &[event(
            "msg_late",
            r#"{"data":{"id":"org_8","updated_at":99999999999999},"type":"organization.created"}"#,
        )],
    )
    .await;
    let events = visitor.get("/organizations/org_8").await;
    assert_eq!(
        (events.status, events.location()),
        (303, "/events?clerk_id=org_8")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_and_the_events_know_every_table() {
    let place = Place::embedded();
    let (_app, mut visitor) = visited(&place).await;
    for (q, address) in [
        ("org_1", "/organizations/org_1"),
        ("orgmem_2", "/memberships/orgmem_2"),
        ("orginv_1", "/invitations/orginv_1"),
        ("user_1", "/users/user_1"),
        ("fern", "/organizations?q=fern"),
        (
            "organizationMembership.d",
            "/events?event_type=organizationMembership.deleted",
        ),
    ] {
        let found = visitor.get(&format!("/search?q={q}")).await;
        assert_eq!((found.status, found.location()), (303, address), "{q}");
    }
    let nothing = visitor.get("/search?q=zzz").await.text();
    assert!(
        nothing.contains("an organization whose name, slug or Clerk ID begins so"),
        "{nothing}"
    );

    let events = visitor.get("/events?event_type=organization.updated").await;
    let row = r#"<bdi>Fern &#38; Co</bdi> <a class="id" href="/organizations/org_1">"#;
    assert!(events.body.contains(row), "{}", events.body);
    for table in tables::ALL {
        for kind in table.events {
            assert!(
                events
                    .body
                    .contains(&format!("<option value=\"{}\"", kind.name))
            );
        }
    }
    let event = visitor.get("/events/msg_m3").await;
    let facts = section(&event, "event-facts");
    assert!(
        facts.contains("<dt>Membership</dt><dd><a class=\"id\" href=\"/memberships/orgmem_2\">"),
        "{facts}"
    );
    assert!(
        event.text().contains("Other events about this membership"),
        "{}",
        event.text()
    );

    let overview = visitor.get("/").await;
    for (id, number) in [("organizations", 2), ("memberships", 4), ("invitations", 3)] {
        let total = format!("id=\"total-{id}\" data-number=\"{number}\"");
        assert!(overview.body.contains(&total), "{total}");
    }
}
