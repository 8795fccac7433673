//! What a refresh answers when Clerk gives no user, and how often Clerk is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clerk_sync::backfill::{self, ClerkApi};
use clerk_sync::clerk::{OmittedFields, SyncedTables};
use clerk_sync::clock::now;
use clerk_sync::refresh::{Parts, RefreshError, Refresher};
use clerk_sync::tls::Files;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::refresh::{ADMIN, problem_of, refresh, serve};
use crate::support::app::{Place, until};
use crate::support::clerk_instance::{ClerkInstance, KEY, Trouble};
use crate::support::scrape::Scrape;

/// One in this process, so that all calls are made before any answer comes.
fn refresher(place: &Place, clerk: &ClerkInstance, key: &str) -> Refresher {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let [_, (_, url)] = clerk.variables();
    let api = ClerkApi::open(backfill::Options {
        url,
        files: Files::default(),
        key: key.into(),
        omitted: OmittedFields::default(),
        patience: Duration::ZERO,
        now,
    });
    Refresher::new(Parts {
        store: place.store(),
        clerk_api: watch::Sender::new(Some(Arc::new(api.unwrap()))).subscribe(),
        synced: SyncedTables::default(),
        process_id: String::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn clerks_own_404_is_passed_on_and_the_row_is_left_as_it_is() {
    for place in [Place::embedded(), Place::servers().await] {
        let clerk = ClerkInstance::with_users(5, 3).await;
        let app = serve(&place, &clerk, &[]).await;
        let before = refresh(&app, "user_01").await.body;
        clerk.change(|accounts| accounts.delete("user_01"));
        for id in ["user_01", "user_77"] {
            let answer = refresh(&app, id).await;
            assert_eq!(problem_of(&answer), (404, "not_found"), "{id}");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(
                detail.contains("Clerk has no user")
                    && detail.contains("clerk-sync reconcile users --fix"),
                "{detail}"
            );
        }
        let row = app.api(Some(ADMIN), "/api/users/user_01", None).await.body;
        assert_eq!(row, before);
        // That of a proxy proves nothing.
        clerk.answer_404_strangely();
        let strange = refresh(&app, "user_01").await;
        assert_eq!(problem_of(&strange), (503, "clerk_unavailable"));
        assert!(
            strange.body["detail"]
                .as_str()
                .unwrap()
                .contains("CLERK_API_URL"),
            "{}",
            strange.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_of_clerk_is_passed_on_and_obeyed() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let app = serve(&place, &clerk, &[]).await;
    clerk.then_for_objects(&[Trouble::RetryAfter(429, 30)]);
    let answer = refresh(&app, "user_01").await;
    assert_eq!(
        (
            problem_of(&answer),
            answer.headers["retry-after"].to_str().unwrap()
        ),
        ((429, "clerk_rate_limited"), "30")
    );
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("too many requests (429)"),
        "{}",
        answer.body
    );
    // Until then Clerk is left alone.
    let again = refresh(&app, "user_02").await;
    assert_eq!(problem_of(&again), (429, "clerk_rate_limited"));
    let wait: u64 = again.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((20..=30).contains(&wait), "{wait}");
    assert_eq!(clerk.take_targets(), ["/users/user_01"]);
    let scrape = Scrape::of(&app).await;
    assert_eq!(
        scrape.counted("clerk_sync_refreshes_total"),
        [("result=\"clerk_rate_limited\"", 2.0)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_wait_that_clerk_asks_for_ends() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let app = serve(&place, &clerk, &[]).await;
    clerk.then_for_objects(&[Trouble::RetryAfterDate]);
    let answer = refresh(&app, "user_01").await;
    assert_eq!(
        (
            answer.status,
            answer.headers["retry-after"].to_str().unwrap()
        ),
        (429, "2")
    );
    until("the wait is over", async || {
        refresh(&app, "user_01").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_clerk_is_in_the_detail() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let app = serve(&place, &clerk, &[]).await;
    let page = "<html>Welcome to this network</html>";
    for (trouble, detail) in [
        (Trouble::Status(500), "answers 500"),
        (Trouble::Status(503), "answers 503"),
        (Trouble::Status(302), "points elsewhere (302)"),
        (Trouble::Status(403), "(403): copy the Secret key"),
        (Trouble::StatusBody(400, "{}"), "answers 400"),
        (Trouble::Cut, "cannot be reached"),
        (
            Trouble::Body(page),
            "answers with something else than this user",
        ),
        (
            Trouble::Body("[]"),
            "answers with something else than this user",
        ),
        (
            Trouble::Body(r#"{"id":"user_02","updated_at":5}"#),
            "answers with something else than this user",
        ),
    ] {
        clerk.then_for_objects(&[trouble]);
        let answer = refresh(&app, "user_01").await;
        assert_eq!(
            (
                problem_of(&answer),
                answer.headers["retry-after"].to_str().unwrap()
            ),
            ((503, "clerk_unavailable"), "5"),
            "{trouble:?}"
        );
        let said = answer.body["detail"].as_str().unwrap();
        assert!(
            said.contains(detail) && !said.contains(KEY),
            "{trouble:?}: {said}"
        );
    }
    clerk.then_for_objects(&[Trouble::RetryAfter(503, 20)]);
    assert_eq!(refresh(&app, "user_01").await.headers["retry-after"], "20");
    for (body, detail) in [
        (
            r#"{"id":"user_01","updated_at":"soon"}"#,
            "implausible_time",
        ),
        (
            r#"{"id":"user_01","updated_at":5,"first_name":"\u0000secret"}"#,
            "unstorable",
        ),
    ] {
        clerk.then_for_objects(&[Trouble::Body(body)]);
        let answer = refresh(&app, "user_01").await;
        assert_eq!(problem_of(&answer), (502, "clerk_object_invalid"), "{body}");
        let said = answer.body["detail"].as_str().unwrap();
        assert!(said.contains(detail) && !said.contains("secret"), "{said}");
    }
    assert!(app.user("user_01").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_clerk_is_waited_for_a_few_seconds_and_one_that_is_away_not() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let app = serve(&place, &clerk, &[]).await;
    clerk.then_for_objects(&[Trouble::Silence]);
    let started = Instant::now();
    let answer = refresh(&app, "user_01").await;
    assert_eq!(problem_of(&answer), (503, "clerk_unavailable"));
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("does not answer within 5 s"),
        "{}",
        answer.body
    );
    assert!(started.elapsed() >= Duration::from_secs(5));
    drop(clerk);
    until("nothing listens there", async || {
        let answer = refresh(&app, "user_01").await;
        assert_eq!(problem_of(&answer), (503, "clerk_unavailable"));
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be reached")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_is_logged_once_and_replaced_by_a_signal() {
    let place = Place::embedded();
    let clerk = ClerkInstance::with_users(5, 3).await;
    let file = place.directory().join("key");
    std::fs::write(&file, KEY).unwrap();
    let settings = [
        ("CLERK_SECRET_KEY", ""),
        ("CLERK_SECRET_KEY_FILE", file.to_str().unwrap()),
    ];
    let app = serve(&place, &clerk, &settings).await;
    assert_eq!(refresh(&app, "user_01").await.status, 200);
    let other = "sk_live_zyxwvutsrqponmlkjihgfedcba9876543210";
    clerk.set_key(other);
    for _ in 0..2 {
        let answer = refresh(&app, "user_01").await;
        assert_eq!(problem_of(&answer), (503, "clerk_unavailable"));
        assert!(
            answer.body["detail"]
                .as_str()
                .unwrap()
                .contains("does not take the secret key (401)"),
            "{}",
            answer.body
        );
    }
    let logged = |what: &str| app.log().iter().filter(|line| line.contains(what)).count();
    assert_eq!(logged("users cannot be refreshed"), 1);
    std::fs::write(&file, other).unwrap();
    app.signal("HUP");
    until("the new key is in force", async || {
        refresh(&app, "user_01").await.status == 200
    })
    .await;
    assert_eq!(logged("users can be refreshed again"), 1);
    assert!(logged(KEY) + logged(other) == 0, "no key is logged");

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    app.signal("HUP");
    until("an empty file is refused", async || {
        logged("the former ones stay in force") == 1
    })
    .await;
    assert_eq!(refresh(&app, "user_01").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_refreshes_of_one_user_are_one_request() {
    for place in [Place::embedded(), Place::servers().await] {
        place.succeed(&["migrate"]);
        let clerk = ClerkInstance::with_users(5, 3).await;
        let refresher = refresher(&place, &clerk, KEY);
        let rows = join_all((0..20).map(|_| refresher.refresh("user_01"))).await;
        for row in &rows {
            assert!(Arc::ptr_eq(
                row.as_ref().unwrap(),
                rows[0].as_ref().unwrap()
            ));
        }
        assert_eq!(clerk.take_targets(), ["/users/user_01"]);
        // An error is shared as well, and no answer is kept.
        clerk.then_for_objects(&[Trouble::Status(500)]);
        let failed = join_all((0..20).map(|_| refresher.refresh("user_01"))).await;
        assert!(
            failed
                .iter()
                .all(|one| matches!(one, Err(RefreshError::ClerkAway { .. }))),
            "{failed:?}"
        );
        assert!(refresher.refresh("user_01").await.is_ok());
        assert_eq!(clerk.requests(), 2);
        // A client that goes away takes no answer from the others.
        clerk.hold_objects();
        let first = tokio::spawn({
            let refresher = refresher.clone();
            async move { refresher.refresh("user_02").await.is_ok() }
        });
        until("Clerk is asked", async || clerk.requests() == 3).await;
        let second = refresher.refresh("user_02");
        let (second, ()) = tokio::join!(second, async {
            first.abort();
            clerk.release();
        });
        assert_eq!(second.unwrap().text("email"), Some("user_02@example.com"));
        assert_eq!(clerk.requests(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_clerks_rate_limit_is_used_and_more_is_a_429() {
    let place = Place::embedded();
    place.succeed(&["migrate"]);
    let clerk = ClerkInstance::with_users(5, 30).await;
    // Clerk allows an instance in development 10 requests per second.
    let key = "sk_test_abcdefghijklmnopqrstuvwxyz0123456789";
    clerk.set_key(key);
    let refresher = refresher(&place, &clerk, key);
    let ids: Vec<_> = (0..30).map(|number| format!("user_{number:02}")).collect();
    let started = Instant::now();
    let answers = join_all(ids.iter().map(|id| refresher.refresh(id))).await;
    let asked = clerk.take_targets().len();
    let refreshed = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(asked, refreshed);
    // 5 per second for 2 seconds, and the first one.
    assert!((10..=12).contains(&asked), "{asked}");
    assert!(
        started.elapsed() >= Duration::from_millis(1_800),
        "they are spread"
    );
    for refused in answers.into_iter().filter_map(Result::err) {
        let RefreshError::TooMany { what, retry_after } = refused else {
            panic!("{refused:?}")
        };
        assert!(what.contains("their half of Clerk's rate limit"), "{what}");
        assert!((1..=3).contains(&retry_after.as_secs()), "{retry_after:?}");
    }
    // What was refused has taken no turn.
    assert!(refresher.refresh("user_00").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_one_database_share_the_rate_limit() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let clerk = ClerkInstance::with_users(5, 30).await;
    let key = "sk_test_abcdefghijklmnopqrstuvwxyz0123456789";
    clerk.set_key(key);
    // Three workers have given a sign of life; this process is none of them.
    let _workers = [
        place.start(&["worker"], &[]).await,
        place.start(&["worker"], &[]).await,
        place.start(&["worker"], &[]).await,
    ];
    let store = place.store();
    until("three are recorded", async || {
        store.other_workers("").await.unwrap() == 3
    })
    .await;
    let refresher = refresher(&place, &clerk, key);
    let ids: Vec<_> = (0..30).map(|number| format!("user_{number:02}")).collect();
    let answers = join_all(ids.iter().map(|id| refresher.refresh(id))).await;
    let refreshed = answers.iter().filter(|answer| answer.is_ok()).count();
    // A quarter of 5 per second for 2 seconds, and the first one.
    assert!((2..=4).contains(&refreshed), "{refreshed}");
}
