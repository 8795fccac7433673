//! What stops a newcomer at the first start: each is named at once, with what to do.

use sqlx::{AssertSqlSafe, Executor};

use super::schema::said;
use crate::support::app::{Place, SECRET, until};

const SECRETS: (&str, &str) = ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);

/// What the command says on standard error; it must fail.
fn refused(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = place.command(arguments);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} succeeds");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_secret_that_is_not_set_was_looked_for_somewhere() {
    let place = Place::embedded();
    for arguments in [["serve"], ["backfill"]] {
        let error = refused(&place, &arguments, &[]);
        assert!(
            error.contains("is not set (not in the environment, nor in ./.env);"),
            "{error}"
        );
    }
    std::fs::write(place.directory().join(".env.local"), "A=1\n").unwrap();
    for arguments in [["serve"], ["backfill"]] {
        let error = refused(&place, &arguments, &[]);
        assert!(
            error.contains("nor in ./.env; .env.local is not read);"),
            "{error}"
        );
    }
}

#[test]
fn a_secret_as_a_page_shows_it_is_refused_at_once_and_not_repeated() {
    let place = Place::embedded();
    for (name, value, fault) in [
        ("CLERK_SECRET_KEY", "sk_live_…", "is cut off"),
        ("CLERK_SECRET_KEY", "sk_test_...", "is cut off"),
        ("CLERK_SECRET_KEY", "sk_live_abc def", "has a character"),
        ("CLERK_SECRET_KEY", "sk_live_abcé", "has a character"),
        (
            "ADMIN_TOKEN",
            "abcdefghijklmnopqrstuvwx…",
            "ADMIN_TOKEN is cut off",
        ),
        ("READ_TOKEN", "abcdefghijklmnopqrstuvwx…", "is cut off"),
        ("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_…", "is not base64"),
    ] {
        for command in ["backfill", "serve"] {
            let variables = [SECRETS, (name, value)];
            let error = refused(&place, &[command], &variables);
            assert!(
                error.contains(name) && error.contains(fault) && !error.contains(value),
                "{command}: {error}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn started_twice_in_a_folder_says_so_whatever_the_port() {
    let place = Place::embedded();
    let app = place.serve().await;
    let port = app.address.port().to_string();
    for port in [&*port, "0"] {
        let error = refused(&place, &["serve"], &[SECRETS, ("PORT", port)]);
        assert!(
            error.contains("another clerk-sync") && !error.contains("HOST and PORT"),
            "{error}"
        );
    }
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serve_without_a_database_says_where_the_users_go() {
    let place = Place::embedded();
    let app = place.serve().await;
    let file = place.directory().join("users.db");
    let line = format!(
        "DATABASE_URL is not set: users go to SQLite in {}",
        file.display()
    );
    until("it says so", async || said(&app, &line) == 1).await;
    assert!(app.stop().success());

    // Not to one who has named the file, or asked for it.
    let url = format!("sqlite://{}", file.display());
    for (arguments, variables) in [
        (&["serve"][..], &[SECRETS, ("DATABASE_URL", &*url)][..]),
        (&["serve", "--embedded"], &[SECRETS]),
    ] {
        let app = place.start(arguments, variables).await;
        until("it warns of the disk", async || {
            said(&app, "keep DATA_DIR on a disk") == 1
        })
        .await;
        assert_eq!(said(&app, "DATABASE_URL is not set"), 0, "{arguments:?}");
        assert!(app.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_sqlite_names_the_database_and_no_file() {
    let place = Place::embedded();
    let app = place.serve().await;
    let file = place.directory().join("users.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let trigger = "create trigger no before insert on users begin select raise(abort, 'no'); end";
    connection.execute(trigger).await.unwrap();
    let body = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;
    assert_eq!(app.deliver("msg_1", body).await.status, 200);
    let error = app.settled("msg_1").await.error.unwrap();
    assert!(
        error.starts_with("a constraint or trigger of the SQLite database refuses a row"),
        "{error}"
    );
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_missing_is_to_be_created() {
    let place = Place::servers().await;
    let (server, _) = place
        .database()
        .url()
        .rsplit_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let url = format!("{server}/missing_app");
    let app = place.start_unready(&["serve"], &[SECRETS, ("DATABASE_URL", &url)]);
    until("the log says what to do", async || {
        app.log().iter().any(|line| {
            line.contains("could not be brought up to date")
                && line.contains("`clerk-sync check` names the fix")
                && line.contains("create it with createdb")
        })
    })
    .await;
    let output = place
        .command(&["check"])
        .env("DATABASE_URL", &url)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("create it (`createdb missing_app`), or correct the name")
            && !printed.contains("correct the user"),
        "{printed}"
    );
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_create_the_schema_gets_the_remedy_of_check() {
    let place = Place::servers().await;
    let mut admin = place.database().connect().await;
    let role: String = sqlx::query_scalar("select current_database() || '_poor'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let made = format!("create role {role} login password 'x'");
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let mut url = reqwest::Url::parse(&place.database().url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("x")).unwrap();
    let variables = [SECRETS, ("DATABASE_URL", url.as_str())];
    let remedy = "run `clerk-sync migrate` as the owner of the schema clerk, or `grant create on database … to` the role";
    let app = place.start_unready(&["serve"], &variables);
    until("the log says what to do", async || said(&app, remedy) > 0).await;
    let output = place.command(&["check"]).envs(variables).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(remedy), "{printed}");
    assert!(app.stop().success());
    let dropped = format!("drop role {role}");
    admin.execute(AssertSqlSafe(dropped)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_has_one_line_about_the_schema() {
    let place = Place::servers().await;
    let app = place.serve().await;
    let (created, applied) = (
        said(&app, "schema created"),
        said(&app, "migration applied"),
    );
    assert_eq!((created, applied), (1, 0), "{:#?}", app.log());
    assert!(app.stop().success());
}
