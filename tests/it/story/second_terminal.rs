//! A person works in two terminals of one folder: a command in the second one finds the database of
//! the first, or says that it asks another one.

use crate::support::app::{Place, SECRET, until};

const SECRETS: (&str, &str) = ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);

/// Status, standard output and standard error of a command without DATABASE_URL.
fn asked(place: &Place, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = place.command(arguments);
    let output = command.env_remove("DATABASE_URL").output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_nothing_names_the_file_that_no_setting_chose() {
    let place = Place::embedded();
    let app = place.serve().await;
    let file = place.directory().join("users.db");
    let source = format!("in SQLite {} (DATABASE_URL is not set)", file.display());
    for (arguments, status) in [
        (&["events", "list", "--status", "failed"][..], 0),
        (&["users", "list"], 0),
        (&["events", "show", "msg_1"], 1),
        (&["events", "replay", "msg_1"], 1),
        (&["events", "discard", "msg_1"], 1),
        (&["users", "show", "user_1"], 1),
        (&["users", "history", "user_1"], 1),
        (&["users", "erase", "user_1", "--dry-run"], 1),
    ] {
        let (found, _, error) = asked(&place, arguments);
        assert_eq!(found, Some(status), "{arguments:?}: {error}");
        assert!(error.contains(&source), "{arguments:?}: {error}");
        // Not to one who chose it.
        let chosen = [arguments, &["--embedded"]].concat();
        let (found, _, error) = asked(&place, &chosen);
        assert_eq!(found, Some(status), "{chosen:?}: {error}");
        assert!(!error.contains("DATABASE_URL is not set"), "{error}");
    }
    assert!(app.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_that_serve_uses_another_database() {
    let place = Place::servers().await;
    let url = place.database().url();
    let at = url.split_once('@').unwrap().1.split('?').next().unwrap();
    let note = format!(
        "`clerk-sync serve` of this directory uses PostgreSQL at {at}: set DATABASE_URL to ask that one\n"
    );
    let file = place.directory().join("serve-database");
    let app = place.serve().await;
    until("it says which", async || file.exists()).await;
    // The file is missing.
    let (status, _, error) = asked(&place, &["users", "list"]);
    assert_eq!(status, Some(1));
    assert!(
        error.starts_with(&note) && error.contains("users.db is missing"),
        "{error}"
    );
    // That of an earlier demo is there.
    let (status, _, error) = asked(&place, &["migrate"]);
    assert_eq!(status, Some(0), "{error}");
    for (arguments, text) in [
        (&["events", "list"][..], "No events match, in SQLite "),
        (&["users", "list", "--json"], ""),
    ] {
        let (status, printed, error) = asked(&place, arguments);
        assert_eq!((status, &*printed), (Some(0), ""), "{error}");
        assert!(error.starts_with(&note) && error.contains(text), "{error}");
        assert!(!error.contains("postgres:"), "no user and no password");
    }
    let (_, checked, _) = asked(&place, &["check"]);
    assert!(
        checked.contains("of this directory uses PostgreSQL"),
        "{checked}"
    );
    // A command that uses the same database has nothing to say.
    let listed = place.run(&["users", "list"]);
    assert!(!String::from_utf8_lossy(&listed.stderr).contains("serve"));

    // It is killed.
    drop(app);
    until("nothing is said of one that crashed", async || {
        !asked(&place, &["users", "list"]).2.contains("serve")
    })
    .await;
    let app = place.serve().await;
    until("the next one says it again", async || {
        asked(&place, &["users", "list"]).2.starts_with(&note)
    })
    .await;
    assert!(app.stop().success());
    assert!(!file.exists(), "it goes with the program");
}

/// The demo was stopped; `serve` was given its signing secret.
#[tokio::test(flavor = "multi_thread")]
async fn serve_with_the_secret_of_dev_is_not_dev() {
    let place = Place::embedded();
    let dev = place.start(&["dev"], &[]).await;
    let url_of_dev = std::fs::read_to_string(place.directory().join("dev-url")).unwrap();
    let secret = std::fs::read_to_string(place.directory().join("dev-signing-secret")).unwrap();
    // A crash leaves its files behind.
    drop(dev);
    let port = url_of_dev
        .split('/')
        .nth(2)
        .unwrap()
        .split(':')
        .nth(1)
        .unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", secret.trim()),
        ("PORT", port),
    ];
    let app = place.start(&["serve"], &variables).await;
    let send = |more: &[&str]| {
        let mut command = place.command(&["send", "user.created", "--user", "user_1"]);
        command.args(more).envs([SECRETS]).envs(variables);
        let url = app.webhook_url();
        let output = command.args(["--url", &url]).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(printed).unwrap())
    };
    let (status, printed) = send(&[]);
    assert_eq!(status, Some(2), "{printed}");
    assert!(printed.contains("nothing was sent"), "{printed}");
    assert!(app.user("user_1").await.is_none());
    let (status, printed) = send(&["--yes", "--wait"]);
    assert_eq!(status, Some(0), "{printed}");
    assert!(
        printed.contains("applied") && !printed.contains("--embedded"),
        "{printed}"
    );
    assert!(app.stop().success());
}
