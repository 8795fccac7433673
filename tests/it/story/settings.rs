//! Settings as people have them: in the folder of another application, from Windows, in quotes,
//! empty, misspelled.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::app::{App, Place, SECRET, until};
use crate::support::clerk_instance::ClerkInstance;
use crate::support::database::TestDatabase;

/// A `.env` in the folder where the program is started.
fn dotenv(place: &Place, text: impl AsRef<[u8]>) {
    std::fs::write(place.directory().join(".env"), text).unwrap();
}

/// Exit status and standard error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The program ends as for wrong usage, with one line that has these words and nothing of
/// `hunter2`.
fn refused(command: &mut Command, words: &[&str]) {
    let (status, error) = run(command);
    assert_eq!(status, Some(2), "{command:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        words.iter().all(|word| error.contains(word)),
        "{words:?}: {error}"
    );
    assert!(!error.contains("hunter2"), "a secret in {error}");
}

async fn is_ready(app: &App) {
    until("it is ready", async || {
        app.get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
}

async fn has_tables(database: &TestDatabase) -> bool {
    let asked = "select exists (select 1 from pg_namespace where nspname = 'clerk')";
    sqlx::query_scalar(asked)
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_dotenv_of_a_folder_above_is_another_applications() {
    let (place, database) = (Place::embedded(), TestDatabase::create().await);
    dotenv(&place, format!("DATABASE_URL={}\n", database.url()));
    let below = place.directory().join("below");
    std::fs::create_dir(&below).unwrap();
    let (status, error) = run(place
        .command(&["migrate"])
        .current_dir(&below)
        .env_remove("DATA_DIR"));
    assert_eq!(status, Some(0), "{error}");
    assert!(!has_tables(&database).await && below.join("data/users.db").exists());
    // Its own is read.
    place.succeed(&["migrate"]);
    assert!(has_tables(&database).await);
}

#[tokio::test]
async fn a_dotenv_of_an_application_is_read_as_it_stands() {
    let place = Place::embedded();
    let text = format!(
        "\u{feff}# caf\u{e9} of the app\r\nNEXT_PUBLIC_NAME=My App\r\nTITLE='It\r\nFIREBASE={{\r\n  \"type\": \"x\",\r\n  \"PORT\": 1\r\n}}\r\n\
         KEY=\"-----BEGIN PRIVATE KEY-----\r\nMIIEvQ==\r\n-----END PRIVATE KEY-----\"\r\nurl: nowhere\r\n\
         export CLERK_WEBHOOK_SIGNING_SECRET=\"{SECRET}\" # of the endpoint\r\n\
         ADMIN_TOKEN=sixteen$letters#${{HOME}}$$\r\n"
    );
    dotenv(&place, text);
    let app = place.start(&["serve"], &[]).await;
    let token = "sixteen$letters#${HOME}$$";
    assert_eq!(app.api(Some(token), "/api/users", None).await.status, 200);
    assert_eq!(app.deliver("msg_1", "{}").await.status, 200);
    // The next reading is by the same rules, and one that fails changes nothing.
    dotenv(
        &place,
        format!("CLERK_WEBHOOK_SIGNING_SECRET={SECRET}\nADMIN_TOKEN='pa$$word pa$$word'\n"),
    );
    app.signal("HUP");
    until("the new token counts", async || {
        app.api(Some("pa$$word pa$$word"), "/api/users", None)
            .await
            .status
            == 200
    })
    .await;
    dotenv(&place, "ADMIN_TOKEN='never closed hunter2\n");
    app.signal("HUP");
    until("it is logged", async || {
        app.log().iter().any(|line| line.contains(".env line 1"))
    })
    .await;
    assert_eq!(
        app.api(Some("pa$$word pa$$word"), "/api/users", None)
            .await
            .status,
        200
    );
    assert!(app.log().iter().all(|line| !line.contains("hunter2")));
    assert!(app.stop().success());
}

#[tokio::test]
async fn a_value_for_a_program_that_substitutes_is_named_and_not_shown() {
    let place = Place::embedded();
    dotenv(
        &place,
        "DATABASE_URL=postgres://app:hunter2${DB_PASSWORD}@127.0.0.1:1/db\nADMIN_TOKEN='pa$sword of $letters'\n",
    );
    let (_, error) = run(&mut place.command(&["users", "list"]));
    assert!(
        error.contains("DATABASE_URL in .env has ${…}") && !error.contains("hunter2"),
        "{error}"
    );
    assert!(!error.contains("ADMIN_TOKEN"), "{error}");
    let checked = String::from_utf8(place.run(&["check"]).stdout).unwrap();
    assert!(
        checked.contains("DATABASE_URL in .env has ${…}") && !checked.contains("hunter2"),
        "{checked}"
    );
    // It is not used.
    let (status, error) = run(&mut place.command(&["migrate", "--embedded"]));
    assert!(
        status == Some(0) && !error.contains("DATABASE_URL"),
        "{error}"
    );
    dotenv(&place, "PORT=$HTTP_PORT\n");
    let app = &mut place.command(&["serve"]);
    refused(app.env_remove("PORT"), &["PORT", "nothing is substituted"]);
}

#[tokio::test]
async fn a_dotenv_that_cannot_be_read_is_named_and_not_shown() {
    let place = Place::embedded();
    let utf_16: Vec<u8> = "\u{feff}PORT=1\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let files: [(&[u8], &[&str]); 6] = [
        (
            b"A=1\n\nADMIN_TOKEN='hunter2\n",
            &[".env line 3", "ADMIN_TOKEN", "never closed"],
        ),
        (
            b"DATABASE_URL postgres://u:hunter2@h/d",
            &[".env line 1", "DATABASE_URL", "NAME=value"],
        ),
        (
            b"AMQP_URL=\"amqp://u:hunter2@h\"hunter2",
            &[".env line 1", "AMQP_URL", "quote"],
        ),
        (
            b"ADMIN_TOKEN=hunter2hunter2\xe9",
            &[".env line 1", "ADMIN_TOKEN", "UTF-8"],
        ),
        (&utf_16, &["file .env", "UTF-16", "UTF-8"]),
        (&[b'#'; (1 << 20) + 1], &["file .env", "1 MiB"]),
    ];
    for (text, words) in files {
        dotenv(&place, text);
        refused(&mut place.command(&["serve"]), words);
        let checked = String::from_utf8(place.run(&["check"]).stdout).unwrap();
        assert!(
            words.iter().all(|word| checked.contains(word)) && !checked.contains("hunter2"),
            "{checked}"
        );
    }
    let file = place.directory().join(".env");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    refused(&mut place.command(&["serve"]), &["file .env", "directory"]);
    std::fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    refused(
        &mut place.command(&["serve"]),
        &["file .env", "cannot be read"],
    );
}

/// `docker run --env-file` keeps the quotes of the file, and so do some panels of hosters.
#[tokio::test]
async fn one_pair_of_quotes_around_a_value_is_removed() {
    let token = "a token of letters";
    let quoted = format!("\"{token}\"");
    let secret = format!("'{SECRET}'");
    let place = Place::embedded();
    let check = async |app: App| {
        assert_eq!(app.api(Some(token), "/api/users", None).await.status, 200);
        assert_eq!(app.deliver("msg_1", "{}").await.status, 200);
        assert!(app.stop().success());
    };
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", &*secret),
        ("ADMIN_TOKEN", &quoted),
        ("PORT", "\"0\""),
    ];
    check(place.start(&["serve"], &variables).await).await;
    let flags = [
        "serve",
        "--admin-token",
        &quoted,
        "--clerk-webhook-signing-secret",
        &secret,
    ];
    check(place.start(&flags, &[]).await).await;
    dotenv(
        &place,
        format!("CLERK_WEBHOOK_SIGNING_SECRET=\"{SECRET}\"\nADMIN_TOKEN='{quoted}'\n"),
    );
    check(place.start(&["serve"], &[]).await).await;
    dotenv(&place, "");
    let file = place.directory().join("token");
    std::fs::write(&file, format!("{quoted}\n")).unwrap();
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", &*secret),
        ("ADMIN_TOKEN_FILE", file.to_str().unwrap()),
    ];
    check(place.start(&["serve"], &variables).await).await;
}

#[tokio::test]
async fn a_server_that_is_set_and_empty_is_no_embedded_file() {
    let place = Place::embedded();
    for name in ["DATABASE_URL", "AMQP_URL"] {
        let words = [name, "empty"];
        let file = format!("{name}_FILE");
        for (variable, value) in [(name, ""), (name, "  "), (name, "\"\""), (&*file, "")] {
            refused(place.command(&["migrate"]).env(variable, value), &words);
        }
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        refused(&mut place.command(&["users", "list", &flag, ""]), &words);
        let checked = place.command(&["check"]).env(name, "").output().unwrap();
        assert_eq!(checked.status.code(), Some(1));
        let checked = String::from_utf8(checked.stdout).unwrap();
        assert!(
            checked.contains(&format!("{name} is set, and empty")),
            "{checked}"
        );
        dotenv(&place, format!("{name}=\n"));
        refused(&mut place.command(&["serve"]), &words);
        // The one of the process hides the other, which has a value.
        dotenv(&place, format!("{name}=sqlite://there.db\n"));
        refused(place.command(&["migrate"]).env(name, ""), &words);
        std::fs::remove_file(place.directory().join(".env")).unwrap();
    }
    refused(
        place
            .command(&["migrate"])
            .env("DATABASE_URL_FILE", "/dev/null"),
        &["DATABASE_URL_FILE", "empty"],
    );
    assert_eq!(
        std::fs::read_dir(place.directory()).unwrap().count(),
        0,
        "nothing was made"
    );
    // An empty variable, as Compose passes it, counts as absent; so does one whose `_FILE` has the
    // value.
    let url = place.directory().join("url");
    std::fs::write(&url, "sqlite://there.db").unwrap();
    let mut command = place.command(&["migrate"]);
    let names = [
        "ADMIN_TOKEN",
        "OMIT_FIELDS",
        "WORKER_BATCH",
        "DATA_DIR",
        "CLERK_API_URL",
        "RUST_LOG",
        "DATABASE_URL",
    ];
    let (status, error) = run(command
        .envs(names.map(|name| (name, "")))
        .env("DATABASE_URL_FILE", url));
    assert_eq!(status, Some(0), "{error}");
    assert!(place.directory().join("there.db").exists());
}

#[tokio::test]
async fn a_field_that_clerk_does_not_have_cannot_be_omitted() {
    let place = Place::embedded();
    for (fields, meant) in [
        ("privateMetadata", "private_metadata"),
        ("private_metadata,PrivateMetadata", "private_metadata"),
        (
            " private_metadata;unsafe_metadata",
            "has \";\" between names",
        ),
        ("email_addresses|phone_numbers", "has \"|\" between names"),
        ("email", "email_addresses"),
        ("phone", "phone_numbers"),
        ("fist_name", "first_name"),
        ("a;b", "private_metadata"),
        ("updatedAt", "updated_at"),
        ("id", "id"),
    ] {
        let mut command = place.command(&["serve"]);
        command
            .env("OMIT_FIELDS", fields)
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        refused(&mut command, &["OMIT_FIELDS", meant]);
        let checked = place
            .command(&["check"])
            .env("OMIT_FIELDS", fields)
            .output()
            .unwrap();
        assert!(String::from_utf8(checked.stdout).unwrap().contains(meant));
    }
    assert_eq!(
        std::fs::read_dir(place.directory()).unwrap().count(),
        0,
        "nothing was made"
    );
    place
        .command(&["migrate"])
        .env("OMIT_FIELDS", "private_metadata, phone_numbers\nscim")
        .status()
        .unwrap();
}

#[tokio::test]
async fn what_a_sqlite_url_says_is_read_or_refused() {
    let place = Place::embedded();
    let home = place.directory().join("home");
    for (url, file) in [
        ("sqlite://a.db?mode=rwc", "a.db"),
        ("sqlite:b.db", "b.db"),
        ("sqlite://sub/c%20d.db", "sub/c d.db"),
        ("sqlite://~/e.db", "home/e.db"),
    ] {
        let (status, error) = run(place
            .command(&["migrate"])
            .env("DATABASE_URL", url)
            .env("HOME", &home));
        assert_eq!(status, Some(0), "{url}: {error}");
        assert!(place.directory().join(file).is_file(), "{url}");
    }
    let before = files(&place.directory());
    for (url, word) in [
        ("sqlite::memory:", "memory"),
        ("sqlite://:memory:", "memory"),
        ("sqlite://file:x?mode=memory&cache=shared", "memory"),
        ("sqlite://x.db?mode=ro", "mode"),
        ("file:./dev.db", "file:"),
        ("sqlite://u:hunter2@h/x.db", "host"),
        ("sqlite://~/e.db", "HOME"),
    ] {
        refused(
            place.command(&["migrate"]).env("DATABASE_URL", url),
            &["DATABASE_URL", word],
        );
    }
    refused(
        place.command(&["migrate"]).env("DATA_DIR", "~/data"),
        &["DATA_DIR", "HOME"],
    );
    refused(
        place.command(&["migrate"]).env("DATA_DIR", "$HOME/data"),
        &["DATA_DIR", "substituted"],
    );
    refused(
        place
            .command(&["migrate"])
            .env("ADMIN_TOKEN_FILE", "~/token"),
        &["ADMIN_TOKEN_FILE", "HOME"],
    );
    assert_eq!(files(&place.directory()), before, "nothing was made");
    for command in ["serve", "migrate", "users", "dev"] {
        let arguments = if command == "users" {
            vec!["users", "list"]
        } else {
            vec![command]
        };
        for directory in ["a.db", "a.db/data"] {
            let mut command = place.command(&arguments);
            command
                .env("DATA_DIR", directory)
                .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
            refused(
                &mut command,
                &["DATA_DIR: a.db is a file, not a directory; give another DATA_DIR"],
            );
        }
    }
    let checked = String::from_utf8(
        place
            .command(&["check"])
            .env("DATA_DIR", "a.db")
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert_eq!(
        checked.matches("a.db is a file, not a directory").count(),
        1,
        "{checked}"
    );
    let (status, error) = run(place
        .command(&["migrate"])
        .env("DATA_DIR", "~/data")
        .env("HOME", &home));
    assert_eq!(status, Some(0), "{error}");
    assert!(home.join("data/users.db").is_file());
}

/// Every file and directory, with what others may do with it.
fn files(directory: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.push((
            path.display().to_string(),
            path.metadata().unwrap().permissions().mode() & 0o777,
        ));
        if path.is_dir() {
            found.extend(files(&path));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_directory_is_created_for_one_user() {
    let clerk = ClerkInstance::with_users(2, 3).await;
    let place = Place::embedded();
    let mut running_files = Vec::new();
    let in_directory = |command: &str| place.directory().join(command).join("deep/data");
    for command in ["migrate", "backfill"] {
        let mut running = place.command(&[command]);
        let (status, error) = run(running
            .env("DATA_DIR", in_directory(command))
            .envs(clerk.variables()));
        assert_eq!(status, Some(0), "{error}");
    }
    for command in ["dev", "serve"] {
        let mut running = place.command(&[command]);
        running
            .env("DATA_DIR", in_directory(command))
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        let app = App::spawn(
            running,
            place.store_at(&in_directory(command).join("users.db")),
        );
        is_ready(&app).await;
        // Some are gone when it has stopped.
        running_files.extend(files(&in_directory(command)));
        assert!(app.stop().success());
    }
    let mut found = files(&place.directory());
    found.extend(running_files);
    assert!(found.len() > 12, "{found:?}");
    for (path, mode) in found {
        let expected = if Path::new(&path).is_dir() {
            0o700
        } else {
            0o600
        };
        assert_eq!(mode, expected, "{path}: {mode:o}");
    }
}
