//! Login, sessions and forms of the dashboard: who gets a page, and which forms are accepted.

use clerk_sync::clock::now;
use clerk_sync::http::AdminToken;
use clerk_sync::store::Status;

use super::dashboard::{TOKEN, assert_guarded, assert_nothing_inline, log_in, serve};
use crate::support::app::{Place, SECRET, until};
use crate::support::history::{fail, update};
use crate::support::visitor::Visitor;

#[tokio::test]
async fn without_a_token_the_page_explains_how_to_turn_it_on() {
    let place = Place::embedded();
    let app = place.serve().await;
    let mut visitor = Visitor::of(&app);
    for path in [
        "/",
        "/events",
        "/users/user_1",
        "/login",
        "/events/msg_1/payload",
    ] {
        let page = visitor.get(path).await;
        assert_eq!(page.status, 403, "{path}");
        assert!(
            page.body.contains("ADMIN_TOKEN")
                && page.header("content-type").starts_with("text/html"),
            "{path}"
        );
        assert_guarded(&page);
        assert_nothing_inline(&page);
    }
    assert_eq!(visitor.log_in(TOKEN).await.status, 403);
    assert_eq!(visitor.post("/events/msg_1/replay", &[]).await.status, 403);
}

#[tokio::test]
async fn a_visitor_is_redirected_to_the_login_and_back() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = Visitor::of(&app);
    assert_eq!(visitor.get("/").await.location(), "/login");
    let page = visitor.get("/events?status=failed&clerk_id=a%26b").await;
    assert_eq!(
        (page.status, page.location()),
        (
            303,
            "/login?next=%2Fevents%3Fstatus%3Dfailed%26clerk_id%3Da%2526b"
        )
    );
    assert_guarded(&page);

    let wrong = visitor
        .post("/login", &[("token", "wrong"), ("next", "/events")])
        .await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("not the token") && wrong.header("set-cookie").is_empty());
    assert_guarded(&wrong);
    let elsewhere = visitor
        .post("/login", &[("token", TOKEN), ("next", "//evil.example")])
        .await;
    assert_eq!((elsewhere.status, elsewhere.location()), (303, "/"));
    let page = visitor
        .post(
            "/login",
            &[("token", TOKEN), ("next", "/events?status=failed")],
        )
        .await;
    assert_eq!(
        (page.status, page.location()),
        (303, "/events?status=failed")
    );
    let cookie = page.header("set-cookie");
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    assert_eq!(visitor.get("/events").await.status, 200);
    assert_eq!(
        visitor.get("/login").await.location(),
        "/",
        "nothing to do there"
    );

    visitor.set("x-forwarded-proto", "https");
    let cookie = visitor.log_in(TOKEN).await.header("set-cookie").to_owned();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    assert!(
        app.log().iter().all(|line| !line.contains(TOKEN)),
        "the token is in the log"
    );
}

/// A browser holds a strict cookie back on the way from another site, and sends it when the page
/// itself asks.
#[tokio::test]
async fn a_link_on_another_site_leads_to_the_page() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let mut visitor = Visitor::of(&app);
    visitor.set("sec-fetch-site", "cross-site");
    let page = visitor.get("/events?clerk_id=\"><script>").await;
    assert_eq!(page.status, 200);
    assert!(
        page.body
            .contains("http-equiv=\"refresh\" content=\"0; url=/events?clerk_id="),
        "{}",
        page.body
    );
    assert_nothing_inline(&page);
    visitor.set("sec-fetch-site", "same-origin");
    assert_eq!(
        visitor.get("/events").await.status,
        303,
        "and there is no circle"
    );
}

#[tokio::test]
async fn logins_with_a_wrong_token_are_slow_and_few() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let guess = || async {
        Visitor::of(&app)
            .log_in("a wrong token, of some length")
            .await
            .status
    };
    let answers = futures_util::future::join_all((0..24).map(|_| guess())).await;
    assert!(
        answers.iter().all(|status| [401, 429].contains(status)),
        "{answers:?}"
    );
    assert!(answers.contains(&429), "{answers:?}");
    until("the right one gets in again", async || {
        Visitor::of(&app).log_in(TOKEN).await.status == 303
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_accepts_the_session_and_a_rotation_ends_it() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let file = place.directory().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let variables = [("ADMIN_TOKEN_FILE", file.to_str().unwrap())];
    let (first, second) = (
        place.start(&["worker"], &variables).await,
        place.start(&["worker"], &variables).await,
    );
    let mut visitor = log_in(&first).await;
    let mut elsewhere = visitor.at(&second);
    assert_eq!(elsewhere.get("/users").await.status, 200);
    let overview = elsewhere.get("/").await;
    assert!(
        overview.body.contains("this process takes no webhooks"),
        "a worker does not receive"
    );
    std::fs::write(&file, "another-token-of-some-length").unwrap();
    first.signal("HUP");
    until("the session is over", async || {
        visitor.get("/users").await.status == 303
    })
    .await;
    assert_eq!(
        elsewhere.get("/users").await.status,
        200,
        "that process has the old one still"
    );

    let receiver = place
        .start(
            &["receiver"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("ADMIN_TOKEN", TOKEN),
            ],
        )
        .await;
    let page = Visitor::of(&receiver).get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("clerk-sync worker"), "{}", page.body);
}

#[tokio::test]
async fn a_forged_form_does_nothing() {
    let place = Place::embedded();
    let app = serve(&place).await;
    fail(&app.store, &[update("msg_1", "user_1", 10)]).await;
    let mut visitor = log_in(&app).await;
    let token = visitor.form_token("/events/msg_1").await;
    let another = log_in(&app).await.form_token("/events/msg_1").await;
    assert_ne!(token, another, "each session has its own");
    let paths = [
        "/events/msg_1/replay",
        "/events/msg_1/discard",
        "/events/replay",
        "/events/discard",
        "/logout",
    ];
    for path in paths {
        for fields in [
            &[][..],
            &[("form_token", "")],
            &[("form_token", "x")],
            &[("form_token", &*another)],
        ] {
            let page = visitor.post(path, fields).await;
            assert_eq!(page.status, 403, "{path} {fields:?}");
            assert_guarded(&page);
        }
        let good = [("form_token", &*token)];
        for (header, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let mut other = visitor.clone();
            other.set(header, value);
            assert_eq!(
                other.post(path, &good).await.status,
                403,
                "{path} {header}: {value}"
            );
        }
        assert_eq!(
            Visitor::of(&app).post(path, &good).await.status,
            303,
            "without a session: to the login"
        );
    }
    let mut other = Visitor::of(&app);
    other.set("sec-fetch-site", "cross-site");
    assert_eq!(
        other.log_in(TOKEN).await.status,
        403,
        "another site logs no visitor in"
    );
    let event = app.event("msg_1").await.unwrap();
    assert_eq!(
        (event.status, event.attempts),
        (Status::Failed, 1),
        "nothing was done"
    );

    visitor.set("sec-fetch-site", "same-origin");
    visitor.set("origin", &format!("http://{}", app.address));
    assert_eq!(
        visitor
            .post("/logout", &[("form_token", &token)])
            .await
            .location(),
        "/login"
    );
    assert_eq!(visitor.get("/").await.status, 303, "logged out");
}

/// The path of a link that `dev` would print.
fn login_path(token: &str) -> String {
    AdminToken::new(&token.into()).login_path(now())
}

fn value(path: &str) -> &str {
    path.strip_prefix("/login?link=").unwrap()
}

#[tokio::test]
async fn a_link_logs_in_once() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let path = login_path(TOKEN);
    let link = value(&path).to_owned();
    // What fetches links for a preview does not use it up, and gets no session.
    for _ in 0..3 {
        let page = Visitor::of(&app).get(&path).await;
        assert_eq!((page.status, page.header("set-cookie")), (200, ""));
        assert!(page.text().contains("logs you in once"), "{}", page.body);
        assert_eq!(page.header("referrer-policy"), "strict-origin");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_nothing_inline(&page);
        assert_eq!(page.hidden_fields()[1], ("link".into(), link.clone()));
    }
    let mut elsewhere = Visitor::of(&app);
    elsewhere.set("sec-fetch-site", "cross-site");
    let forged = elsewhere.post("/login", &[("link", &link)]).await;
    assert_eq!(forged.status, 403, "another site uses no link up");

    let mut visitor = Visitor::of(&app);
    let page = visitor.get(&format!("{path}&next=%2Fusers")).await;
    let fields = page.hidden_fields();
    let fields: Vec<_> = fields
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let page = visitor.post("/login", &fields).await;
    assert_eq!((page.status, page.location()), (303, "/users"));
    assert_eq!(visitor.get("/users").await.status, 200);
    assert_eq!(
        visitor.get(&path).await.location(),
        "/",
        "nothing to do there"
    );

    let mut second = Visitor::of(&app);
    let page = second.get(&path).await;
    assert!(page.text().contains("was used before"), "{}", page.body);
    assert!(page.text().contains("Admin token"), "{}", page.body);
    let page = second.post("/login", &[("link", &link)]).await;
    assert_eq!((page.status, page.header("set-cookie")), (401, ""));
    assert_guarded(&page);
    assert_eq!(second.get("/users").await.status, 303);

    let log = app.log().join("\n");
    assert!(log.contains("used or too old"), "{log}");
    assert!(!log.contains(&link), "the link is in the log");
}

#[tokio::test]
async fn a_link_of_another_token_or_from_before_the_start_is_refused() {
    let place = Place::embedded();
    let early = login_path(TOKEN);
    // Links have seconds.
    let second = || now().ms() / 1000;
    let made = second();
    until("the next second", async || second() > made).await;
    let app = serve(&place).await;
    let of_another = login_path("another-token-of-some-length");
    for path in [&early, &of_another, "/login?link=", "/login?link=x"] {
        let page = Visitor::of(&app).get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("was used before"), "{path}");
    }
    for link in [value(&early), value(&of_another), "x", "\u{e9}"] {
        let page = Visitor::of(&app).post("/login", &[("link", link)]).await;
        assert_eq!(page.status, 401, "{link}");
    }
    let good = login_path(TOKEN);
    let fields = [("link", value(&good))];
    assert_eq!(Visitor::of(&app).post("/login", &fields).await.status, 303);
}

#[tokio::test]
async fn of_many_who_have_a_link_one_gets_in() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let path = login_path(TOKEN);
    let use_it = || async {
        Visitor::of(&app)
            .post("/login", &[("link", value(&path))])
            .await
            .status
    };
    let answers = futures_util::future::join_all((0..8).map(|_| use_it())).await;
    assert_eq!(
        answers.iter().filter(|status| **status == 303).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers
            .iter()
            .all(|status| [303, 401, 429].contains(status)),
        "{answers:?}"
    );
}
