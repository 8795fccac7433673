//! `check` and Clerk's API, and wrong settings.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn clerks_api_is_asked_with_the_key_and_for_the_time() {
    let place = Place::embedded();
    let asked = |api: &ClerkApi| {
        check(
            &place,
            &[],
            &[("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", &api.url())],
        )
    };
    let date = |ahead_ms: i64| {
        let time = chrono::DateTime::from_timestamp_millis(now().ms() + ahead_ms).unwrap();
        vec![("date", time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())]
    };
    let good = ClerkApi::answering("200 OK", &date(0), r#"[{"id":"user_1"}]"#).await;
    let said = asked(&good);
    assert_eq!(said.status, 0, "{:#?}", said.findings);
    assert!(said.one("clerk_api").ends_with("accepts the secret key → "));
    assert!(
        said.one("clock").starts_with("ok: within"),
        "{}",
        said.one("clock")
    );
    let head = good.heads().remove(0).to_lowercase();
    assert!(
        head.starts_with("get /v1/users?limit=1 ")
            && head.contains(&format!("authorization: bearer {KEY}"))
            && head.contains("clerk-api-version: 2025-11-10\r\n"),
        "{head}"
    );

    for (status, body, expected) in [
        (
            "200 OK",
            "<html>",
            "answers, but not with users → set CLERK_API_URL",
        ),
        ("302 Found", "", "points elsewhere (302 Found)"),
        (
            "401 Unauthorized",
            "{}",
            "does not accept the secret key (401) → copy the Secret key (sk_…)",
        ),
        ("403 Forbidden", "{}", "forbids it to this key (403)"),
        ("404 Not Found", "{}", "has no /users (404)"),
        ("500 Internal Server Error", "", "answers 500"),
    ] {
        let elsewhere = [("location", good.url())];
        let said = asked(&ClerkApi::answering(status, &elsewhere, body).await);
        let line = said.one("clerk_api");
        assert!(
            line.starts_with("fail: ") && line.contains(expected) && said.status == 1,
            "{status}: {line}"
        );
    }
    assert_eq!(good.heads().len(), 2, "the key follows no redirect");
    let busy = ClerkApi::answering("429 Too Many Requests", &[], "").await;
    assert!(
        asked(&busy).one("clerk_api").starts_with("note: "),
        "it says nothing of the key"
    );

    let silent = ClerkApi::silent().await;
    assert!(
        asked(&silent)
            .one("clerk_api")
            .contains("does not answer within 5 s")
    );
    let away = check(
        &place,
        &[],
        &[
            ("CLERK_SECRET_KEY", KEY),
            ("CLERK_API_URL", "http://127.0.0.1:1/v1"),
        ],
    );
    assert!(
        away.one("clerk_api").contains("cannot be reached: "),
        "{}",
        away.one("clerk_api")
    );

    for ahead in [600_000, -600_000] {
        let said = asked(&ClerkApi::answering("200 OK", &date(ahead), "[]").await);
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        let line = said.one("clock");
        let off = [
            "fail: this machine's is 10 min ",
            "fail: this machine's is 9 min 59 s ",
        ];
        assert!(
            off.iter().any(|off| line.starts_with(off)) && line.contains(side),
            "{line}"
        );
        assert!(
            line.contains("every delivery is refused → set this machine's clock")
                && said.status == 1,
            "{line}"
        );
    }
}

#[tokio::test]
async fn every_wrong_setting_is_reported_at_once() {
    let place = Place::embedded();
    let directory = place.directory();
    let said = check(
        &place,
        &[],
        &[
            ("CLERK_WEBHOOK_SIGNING_SECRET", ""),
            (
                "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
                directory.join("missing").to_str().unwrap(),
            ),
            ("CLERK_SECRET_KEY", "pk_test_sesame"),
            ("DATABASE_URL", "mysql://u:sesame@h/d"),
            ("PORT", "many"),
        ],
    );
    let lines = said.of("configuration");
    assert_eq!((said.status, lines.len()), (1, 4), "{lines:#?}");
    for (name, fix) in [
        (
            "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
            "give the path of a file",
        ),
        (
            "CLERK_SECRET_KEY",
            "copy the Secret key (sk_live_… or sk_test_…)",
        ),
        ("DATABASE_URL", "give a URL such as postgres://"),
        ("PORT", "give a number"),
    ] {
        let is_finding =
            |line: &String| line.starts_with(&format!("fail: {name} ")) && line.contains(fix);
        assert!(lines.iter().any(is_finding), "{name}: {lines:#?}");
    }
    assert!(
        said.of("database").is_empty() && said.one("queue").starts_with("note"),
        "what is left is asked"
    );

    for malformed in ["sesame", "whsec_!sesame"] {
        let said = check(&place, &[], &[("CLERK_WEBHOOK_SIGNING_SECRET", malformed)]);
        assert!(
            said.one("configuration")
                .starts_with("fail: CLERK_WEBHOOK_SIGNING_SECRET "),
            "{malformed}"
        );
    }
    assert!(
        check(&place, &[], &[("RUST_LOG", "=sesame=")]).of("configuration")[1].contains("RUST_LOG")
    );
    std::fs::write(directory.join(".env"), "ADMIN_TOKEN sesame\n").unwrap();
    assert!(
        check(&place, &[], &[])
            .one("configuration")
            .contains(".env")
    );
    std::fs::remove_file(directory.join(".env")).unwrap();
    let none = check(
        &place,
        &[],
        &[("CLERK_WEBHOOK_SIGNING_SECRET", ""), ("ADMIN_TOKEN", "")],
    );
    assert!(none.one("signing_secrets").starts_with("fail: none is set"));
    assert!(none.one("admin_token").starts_with("note: not set"));
    let reader = ("READ_TOKEN", "reads-and-does-nothing-else");
    for (private, said) in [("false", "does not see"), ("true", "sees everything")] {
        let found = check(&place, &[], &[reader, ("READ_PRIVATE", private)]).one("read_token");
        assert!(
            found.starts_with("ok: set; ") && found.contains(said),
            "{found}"
        );
    }
    let wrong = check(&place, &[], &[("READ_PRIVATE", "yes")]).one("configuration");
    assert!(wrong.starts_with("fail: READ_PRIVATE "), "{wrong}");
}
