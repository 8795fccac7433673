//! No personal data and no secret leaks: not in the log at any level, not in a response, not in a
//! recorded error.

use clerk_sync::clerk::EventId;
use clerk_sync::clock::now;
use clerk_sync::store::Status;
use serde_json::json;
use sqlx::Executor;

use crate::support::app::{
    Answer, App, Place, SECOND_SECRET, SECRET, headers, signing_secret, until,
};
use crate::support::proxy::Proxy;

const ADMIN_TOKEN: &str = "admin-token-that-must-not-leak";
const PASSWORD: &str = "password-that-must-not-leak";

/// As much as a filter can ask for, of the libraries that carry private things too.
const EVERYTHING: &str =
    "trace,lapin=trace,actix_http=trace,actix_web=trace,actix_server=trace,sqlx=trace";

/// Examples of private values, one of each kind.
const PRIVATE: [&str; 9] = [
    "ada.private@example.com",
    "+15550109876",
    "Adamantina",
    "hobby-of-hers",
    "OTP-918273",
    ADMIN_TOKEN,
    PASSWORD,
    // Without their prefix, in which form a library would have them.
    "C2FVsBQIhrscChlQIMV",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

fn assert_is_clean(what: &str, text: &str) {
    for private in PRIVATE {
        assert!(!text.contains(private), "{what} holds {private}: {text}");
    }
    assert!(!text.contains("v1,"), "{what} holds a signature: {text}");
}

fn user(id: &str, updated_at: i64) -> serde_json::Value {
    json!({
        "id": id, "updated_at": updated_at, "created_at": 1_795_172_400_000_i64, "first_name": "Adamantina",
        "primary_email_address_id": "idn_1",
        "email_addresses": [{"id": "idn_1", "email_address": "ada.private@example.com"}],
        "phone_numbers": [{"id": "idn_2", "phone_number": "+15550109876"}],
        "unsafe_metadata": {"about": "hobby-of-hers"},
    })
}

fn update(data: &serde_json::Value) -> String {
    json!({"data": data, "object": "event", "timestamp": 1_795_172_400_033_i64, "type": "user.updated"}).to_string()
}

/// Deliveries of every fate, with something private in each; the answers.
async fn deliver_all(app: &App) -> Vec<Answer> {
    let good = update(&user("user_1", 1_795_172_400_018));
    let bodies = [
        ("msg_good", good.clone()),
        ("msg_same_address", update(&user("user_2", 1_795_172_400_018))),
        ("msg_cut", good[..good.len() - 2].to_owned()),
        ("msg_nul", good.replace("Adamantina", "Adamantina\\u0000")),
        ("msg_future", update(&user("user_3", 9_000_000_000_000))),
        (
            "msg_other",
            json!({"data": {"otp_code": "OTP-918273", "to_email_address": PRIVATE[0]}, "type": "email.created"})
                .to_string(),
        ),
    ];
    let mut answers = Vec::new();
    for (id, body) in bodies {
        answers.push(app.deliver(id, body).await);
        // It has the address first, whichever part of the worker takes the next one.
        if id == "msg_good" {
            app.settled(id).await;
        }
    }
    // Refused before anything of it is read, with the headers of a good one.
    let signature = signing_secret(SECOND_SECRET).sign(
        &EventId::new("msg_bad").unwrap(),
        now(),
        good.as_bytes(),
    );
    answers.push(
        app.post(
            &headers("msg_bad", now(), &signature),
            good.clone().into_bytes(),
        )
        .await
        .unwrap(),
    );
    answers.push(
        app.post(
            &headers("msg.ada.private@example.com", now(), &signature),
            good.into_bytes(),
        )
        .await
        .unwrap(),
    );
    answers
}

fn log_is_clean(app: &App) {
    let log = app.log();
    assert!(
        log.iter().any(|line| line.contains(r#""level":"DEBUG""#)),
        "the log has the level DEBUG"
    );
    for line in log {
        assert_is_clean("the log", &line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_gets_out_of_a_process_with_servers() {
    let place = Place::servers().await;
    place.succeed(&["migrate"]);
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    // The server's refusal names the value in its detail.
    let mut outside = database.connect().await;
    outside
        .execute("create unique index on clerk.users (email)")
        .await
        .unwrap();
    // A role with that password, since the server may want the right one.
    let role: String = sqlx::query_scalar("select current_database() || '_secret'")
        .fetch_one(&mut outside)
        .await
        .unwrap();
    let made = format!(
        "drop role if exists {role};
         do $$ begin execute format('create role {role} login password ''{PASSWORD}'' in role %I', current_user); end $$"
    );
    outside.execute(sqlx::AssertSqlSafe(made)).await.unwrap();
    let mut url = reqwest::Url::parse(&database.url()).unwrap();
    let proxy = Proxy::before(format!(
        "{}:{}",
        url.host_str().unwrap(),
        url.port().unwrap_or(5432)
    ))
    .await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();

    let secret = place.directory().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let variables = [
        (
            "CLERK_WEBHOOK_SIGNING_SECRET_FILE",
            secret.to_str().unwrap(),
        ),
        ("DATABASE_URL", url.as_str()),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("RUST_LOG", EVERYTHING),
    ];
    let app = place.start(&["serve"], &variables).await;
    for answer in deliver_all(&app).await {
        assert_is_clean("an answer", &answer.body.to_string());
    }
    for (id, code) in [
        ("msg_same_address", "sqlstate_23505"),
        ("msg_cut", "not_json"),
        ("msg_nul", "unstorable"),
        ("msg_future", "implausible_time"),
    ] {
        let line = app.settled(id).await;
        assert_eq!(
            (line.status, line.error_code.as_deref()),
            (Status::Failed, Some(code)),
            "{id}"
        );
        assert_is_clean("a recorded error", &line.error.unwrap());
    }
    assert_eq!(app.settled("msg_good").await.status, Status::Applied);

    assert_eq!(
        app.api(
            Some(ADMIN_TOKEN),
            "/api/users?email=ada.private@example.com",
            None
        )
        .await
        .status,
        200
    );
    let refused = app
        .api(
            Some(PASSWORD),
            "/api/users?email=ada.private@example.com",
            None,
        )
        .await;
    assert_eq!(refused.status, 401);
    assert_is_clean("a refusal", &refused.body.to_string());
    let wrong = app
        .api(
            Some(ADMIN_TOKEN),
            "/api/users?limit=ada.private@example.com",
            None,
        )
        .await;
    assert_eq!(wrong.status, 400);
    assert_is_clean("a refusal", &wrong.body.to_string());

    proxy.cut();
    until("readiness says so", async || {
        app.get("/readyz").await.unwrap().status == 503
    })
    .await;
    assert_is_clean(
        "readiness",
        &app.get("/readyz").await.unwrap().body.to_string(),
    );
    app.deliver("msg_waits", update(&user("user_1", 1_795_172_400_020)))
        .await;
    proxy.restore();
    assert_eq!(app.settled("msg_waits").await.status, Status::Applied);

    std::fs::write(&secret, SECOND_SECRET).unwrap();
    app.signal("HUP");
    until("the secret changes", async || {
        app.deliver("msg_1", "{}").await.status == 400
    })
    .await;
    std::fs::write(&secret, format!("whsec_{PASSWORD}")).unwrap();
    app.signal("HUP");
    until("the log says that it is wrong", async || {
        app.log().iter().any(|line| line.contains("ERROR"))
    })
    .await;
    log_is_clean(&app);
    drop(app);
    outside
        .execute(sqlx::AssertSqlSafe(format!("drop role {role}")))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_gets_out_of_a_process_without_servers() {
    let place = Place::embedded();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("RUST_LOG", EVERYTHING),
    ];
    let app = place.start(&["serve"], &variables).await;
    for answer in deliver_all(&app).await {
        assert_is_clean("an answer", &answer.body.to_string());
    }
    for id in ["msg_cut", "msg_nul", "msg_future"] {
        assert_is_clean("a recorded error", &app.settled(id).await.error.unwrap());
    }
    log_is_clean(&app);
}

/// Passwords of servers that are unavailable, or refuse them; at the start and by command.
#[tokio::test(flavor = "multi_thread")]
async fn no_password_of_a_server_is_printed() {
    let place = Place::embedded();
    let broker = reqwest::Url::parse(&crate::support::broker::url()).unwrap();
    let mut wrong = broker.clone();
    wrong.set_password(Some(PASSWORD)).unwrap();
    let database = format!("postgres://postgres:{PASSWORD}@127.0.0.1:1/app");
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("AMQP_URL", wrong.as_str()),
        ("DATABASE_URL", database.as_str()),
        ("RUST_LOG", EVERYTHING),
    ];
    let app = place.start_unready(&["serve"], &variables);
    let is_logged = |what: &str| {
        app.log()
            .iter()
            .any(|line| line.contains("ERROR") && line.contains(what))
    };
    until("both are away", async || {
        is_logged("RabbitMQ") && is_logged("database")
    })
    .await;
    for line in app.log() {
        assert_is_clean("the log", &line);
    }
    assert_is_clean(
        "readiness",
        &app.get("/readyz").await.unwrap().body.to_string(),
    );

    for url in [database, format!("nonsense://{PASSWORD}")] {
        let output = place
            .command(&["users", "list"])
            .env("DATABASE_URL", url)
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert_is_clean("a command", &String::from_utf8_lossy(&output.stderr));
    }
}
