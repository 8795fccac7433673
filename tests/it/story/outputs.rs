//! What commands print, on terminals of 80 and 200 columns: each output is a file of
//! `tests/it/story/outputs`, to be looked at. `UPDATE_OUTPUTS=1` writes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use clerk_sync::clerk::{EventId, EventType, SignedEvent, Timestamp, tables};
use clerk_sync::store::{EventFailure, Store};
use clerk_sync::worker::plan::{plan, plan_failed};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::support::app::Place;
use crate::support::clerk_instance::ClerkInstance;

const WIDTHS: [usize; 2] = [80, 200];

/// Long ago, so that its age in days has the same number of digits for decades.
const START_MS: i64 = 1_577_887_994_000;

const ADA: &str = "user_2rKtQeo67ilcebt7dl8jCUnpwsE";
const GRACE: &str = "user_2rKu0mYw3VbHcQ7x1kTzJdLfRnP";
const ALAN: &str = "user_2rKu4pXs9WcNdRaG5hMvBqEyTjK";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(START_MS + seconds * 1000).unwrap()
}

/// An event that was received so many seconds after the start.
fn event(id: &str, seconds: i64, body: String) -> SignedEvent {
    let event_type = EventType::read(body.as_bytes());
    let id = EventId::new(id).unwrap();
    SignedEvent::restored(id, event_type, at(seconds), at(seconds), body.into())
}

fn of_type(event_type: &str, seconds: i64, data: &Value) -> String {
    json!({"type": event_type, "object": "event", "timestamp": at(seconds).ms(), "data": data})
        .to_string()
}

fn user(id: &str, seconds: i64, names: [&str; 2], address: &str) -> Value {
    json!({
        "id": id, "object": "user", "first_name": names[0], "last_name": names[1], "username": null,
        "image_url": "https://img.clerk.com/eyJ0eXBlIjoicHJveHkiLCJzcmMiOiJodHRwczovL2ltYWdlcy5jbGVyay5kZXYvb2F1dGgifQ",
        "email_addresses": [{"id": "idn_1", "email_address": address, "verification": {"status": "verified"}}],
        "primary_email_address_id": "idn_1", "phone_numbers": [], "banned": false, "locked": false,
        "public_metadata": {"plan": "pro", "since": "2019"}, "private_metadata": {}, "unsafe_metadata": {},
        "created_at": at(0).ms(), "updated_at": at(seconds).ms(),
    })
}

const FERN: &str = "org_3MN8KUe5exCviC6zBqerONVOupW";

/// An organization with two members, one of whom leaves and joins again, and an invitation that has
/// expired.
fn of_organizations() -> Vec<(&'static str, i64, String)> {
    let fern = |seconds, name: &str| {
        json!({
            "id": FERN, "object": "organization", "name": name, "slug": "fern-co", "members_count": 1,
            "created_by": ADA, "max_allowed_memberships": 5, "admin_delete_enabled": true,
            "public_metadata": {}, "private_metadata": {}, "created_at": at(0).ms(), "updated_at": at(seconds).ms(),
        })
    };
    let member = |id: &str, user: &str, role: &str, seconds| {
        json!({
            "id": id, "object": "organization_membership", "role": role, "organization": {"id": FERN},
            "public_user_data": {"user_id": user}, "permissions": ["org:sys_profile:manage"],
            "created_at": at(seconds).ms(), "updated_at": at(seconds).ms(),
        })
    };
    let first = member(
        "orgmem_3MN8KR68BPmqwe3NDOAlynFPPHw",
        ALAN,
        "org:member",
        4100,
    );
    let again = member(
        "orgmem_3MNa9Xk2WcVbLr8dJqTmYpGhSfE",
        ALAN,
        "org:billing_manager",
        4300,
    );
    let ada = member("orgmem_3MN8KUw5PLznsOY5YJSi3hHm7Zt", ADA, "org:admin", 4000);
    let invitation = json!({
        "id": "orginv_3MNMvDaEWz1lv4A9nwH9BXdt62p", "object": "organization_invitation", "organization_id": FERN,
        "email_address": "nora.lind@example.org", "role": "org:member", "inviter_id": ADA, "status": "pending",
        "expires_at": at(90_000).ms(), "created_at": at(4400).ms(), "updated_at": at(4400).ms(),
    });
    let of = |id, event_type: &str, seconds, data: &Value| {
        (id, seconds, of_type(event_type, seconds, data))
    };
    vec![
        of(
            "msg_3MnOy1TqzN4cVbLr8dJkWmYpGhS",
            "organization.created",
            4000,
            &fern(4000, "Fern"),
        ),
        of(
            "msg_3MnOy2HsuK7eXfPv2gQaZnCiDtB",
            "organization.updated",
            4050,
            &fern(4050, "Fern & Co"),
        ),
        of(
            "msg_3MnOy3RwyJ3gTiUm6kEoVbFqLzX",
            "organizationMembership.created",
            4000,
            &ada,
        ),
        of(
            "msg_3MnOy4VbcH8jRlSp1nGtYeKwMuA",
            "organizationMembership.created",
            4100,
            &first,
        ),
        of(
            "msg_3MnOy5ZdfG5mPoQr9qIvWhLyNxC",
            "organizationMembership.deleted",
            4200,
            &first,
        ),
        of(
            "msg_3MnOy6CghF2pNrOt7sKxUjMzPvE",
            "organizationMembership.created",
            4300,
            &again,
        ),
        of(
            "msg_3MnOy7FjkE9rLtMv5uMzSlNbQwG",
            "organizationInvitation.created",
            4400,
            &invitation,
        ),
    ]
}

/// Three people, of whom one has left, and events of each outcome; always the same.
async fn fill(place: &Place) {
    let store: Store = place.store();
    store.migrate().await.unwrap();
    let ada = |seconds, last| user(ADA, seconds, ["Ada", last], "ada@example.com");
    let long = "alan.mathison.turing@mathematics.university.example.com";
    let events = [
        (
            "msg_3MnOwxakRBqUAkhWD6SY6PSrVuq",
            0,
            of_type("user.created", 0, &ada(0, "Byron")),
        ),
        (
            "msg_3MnOx1TqzN4cVbLr8dJkWmYpGhS",
            60,
            of_type(
                "user.created",
                60,
                &user(GRACE, 60, ["Grace", "Hopper"], "grace@example.com"),
            ),
        ),
        (
            "msg_3MnOx5HsuK7eXfPv2gQaZnCiDtB",
            90,
            of_type("user.updated", 90, &ada(90, "Lovelace")),
        ),
        (
            "msg_3MnOx9RwyJ3gTiUm6kEoVbFqLzX",
            100,
            of_type("user.updated", 80, &ada(80, "King")),
        ),
        (
            "msg_3MnOxDVbcH8jRlSp1nGtYeKwMuA",
            4000,
            of_type(
                "user.created",
                4000,
                &user(ALAN, 4000, ["Alan Mathison", "Turing"], long),
            ),
        ),
        (
            "msg_3MnOxHZdfG5mPoQr9qIvWhLyNxC",
            5000,
            of_type(
                "user.deleted",
                5000,
                &json!({"id": GRACE, "object": "user", "deleted": true}),
            ),
        ),
    ];
    for (id, seconds, body) in events {
        store
            .apply(&plan(&[event(id, seconds, body)]))
            .await
            .unwrap();
    }
    let failure = |code: &'static str, text: &str| EventFailure {
        code: code.into(),
        text: text.into(),
    };
    for (id, seconds, failure) in [
        (
            "msg_3MnOxLCghF2pNrOt7sKxUjMzPvE",
            86_000,
            failure(
                "sqlite_1811",
                "a constraint or trigger of the file refuses a row",
            ),
        ),
        (
            "msg_3MnOxPFjkE9rLtMv5uMzSlNbQwG",
            90_000,
            failure("delivery_limit", "the queue gave it up after 20 deliveries"),
        ),
    ] {
        let body = of_type("user.updated", seconds, &ada(seconds, "Lovelace"));
        let write = plan_failed(&[event(id, seconds, body)], &failure);
        store.apply(&write).await.unwrap();
    }
    for (id, seconds, body) in of_organizations() {
        store
            .apply(&plan(&[event(id, seconds, body)]))
            .await
            .unwrap();
    }
    store.close().await;
    // A worker would have taken 42 ms.
    let file = place.directory().join("users.db");
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    file.execute("update events set processed_at = received_at + 42")
        .await
        .unwrap();
    for table in tables::ALL {
        let name = table.name;
        let steady = format!("update {name} set synced_at = coalesce(occurred_at, 1) + 84");
        file.execute(AssertSqlSafe(steady)).await.unwrap();
    }
    file.close().await.unwrap();
}

/// What a terminal of this width shows: standard output, then standard error, without what differs
/// from run to run.
fn shown(mut command: Command, width: usize) -> String {
    command
        .env("COLUMNS", width.to_string())
        .env("DATA_DIR", ".")
        .env("RUST_LOG", "off");
    let output = command.output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let status = output.status.code().unwrap();
    let text = format!("{out}{err}(exit status {status})\n");
    text.lines()
        .map(|line| format!("{}\n", steady(line)))
        .collect()
}

/// The line without what depends on the day, the machine or its speed.
fn steady(line: &str) -> String {
    for start in ["elapsed ", "ok    data directory ", "ok    open files "] {
        if line.starts_with(start) {
            return format!("{start} …");
        }
    }
    // An age in days: each digit is a 0, so that columns stay where they are.
    let Some(days) = line.find(" days") else {
        return line.into();
    };
    let number = |c: char| c.is_ascii_digit() || c == ',';
    let from = line[..days].trim_end_matches(number).len();
    let zeros = line[from..days].replace(|c: char| c.is_ascii_digit(), "0");
    let (first, rest) = line[days..].split_at(" days".len());
    format!("{}{zeros}{first}{}", &line[..from], steady(rest))
}

/// Compares an output with its file, at each width.
fn compare(name: &str, command: impl Fn() -> Command) {
    for width in WIDTHS {
        let file = format!("{name}.{width}.txt");
        let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it/story/outputs")
            .join(&file);
        let now = shown(command(), width);
        if std::env::var_os("UPDATE_OUTPUTS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "{file} is old; look at the new one, and write it with UPDATE_OUTPUTS=1. Now:\n{now}"
        );
        // A word that is longer than the line, such as a URL, is left whole: it can be copied.
        for line in now.lines().filter(|line| line.chars().count() > width) {
            let longest = line
                .split_whitespace()
                .map(|word| word.chars().count())
                .max();
            assert!(longest > Some(50), "{file} has a line of more: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_tables_fits_the_terminal() {
    let place = Place::embedded();
    fill(&place).await;
    for (name, arguments) in [
        ("users-list", &["users", "list"][..]),
        ("users-list-wide", &["users", "list", "--wide"]),
        ("users-show", &["users", "show", ADA]),
        ("users-history", &["users", "history", ADA]),
        ("organizations-list", &["organizations", "list"]),
        ("organizations-show", &["organizations", "show", FERN]),
        ("organizations-history", &["organizations", "history", FERN]),
        ("memberships-list", &["memberships", "list"]),
        (
            "memberships-of-user",
            &["memberships", "list", "--user", ADA, "--deleted", "false"],
        ),
        ("memberships-list-wide", &["memberships", "list", "--wide"]),
        (
            "invitations-list",
            &["invitations", "list", "--status", "pending"],
        ),
        (
            "invitations-none",
            &["invitations", "list", "--expired", "false"],
        ),
        ("events-list", &["events", "list"]),
        ("events-list-wide", &["events", "list", "--wide"]),
        (
            "events-show",
            &["events", "show", "msg_3MnOxLCghF2pNrOt7sKxUjMzPvE"],
        ),
        (
            "events-replay-dry-run",
            &["events", "replay", "--all", "--dry-run"],
        ),
        ("status", &["status"]),
    ] {
        if name.ends_with("-wide") {
            // It is as wide as it is.
            let wide = |width: &str| {
                let mut command = place.command(arguments);
                String::from_utf8(command.env("COLUMNS", width).output().unwrap().stdout).unwrap()
            };
            assert_eq!(wide("80"), wide("200"));
            assert!(wide("80").lines().all(|line| !line.contains('…')));
            continue;
        }
        compare(name, || place.command(arguments));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_check_finds_fits_the_terminal() {
    let place = Place::embedded();
    compare("check", || place.command(&["check"]));
    // What `dev` leaves in its folder.
    for (file, text) in [
        (
            "dev-signing-secret",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n",
        ),
        ("dev-admin-token", "a-token-of-the-tests\n"),
    ] {
        std::fs::write(place.directory().join(file), text).unwrap();
    }
    compare("check-dev", || place.command(&["check"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_comes_last_and_once() {
    let clerk = ClerkInstance::with_users(5, 12).await;
    let new_place = || {
        let place = Place::embedded();
        place.succeed(&["migrate"]);
        place
    };
    let with_clerk = |place: &Place, arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.envs(clerk.variables());
        command
    };
    // Each width has a table of its own, since a backfill fills it.
    for (name, arguments) in [
        ("backfill", &["backfill"][..]),
        ("reconcile-drift", &["reconcile"]),
        ("reconcile-fix", &["reconcile", "--fix"]),
    ] {
        let places = std::cell::RefCell::new(Vec::new());
        compare(name, || {
            let place = new_place();
            let command = with_clerk(&place, arguments);
            places.borrow_mut().push(place);
            command
        });
    }
    let place = new_place();
    assert!(
        with_clerk(&place, &["backfill"])
            .output()
            .unwrap()
            .status
            .success()
    );
    compare("reconcile", || with_clerk(&place, &["reconcile"]));
    clerk.change(|accounts| accounts.delete("user_03"));
    compare("reconcile-one", || with_clerk(&place, &["reconcile"]));
    clerk.change(|accounts| accounts.put("user_04", 40, r#"{"id":"user_04","updated_at":"soon"}"#));
    compare("backfill-failed", || with_clerk(&place, &["backfill"]));
    compare("reconcile-failed", || with_clerk(&place, &["reconcile"]));
}
