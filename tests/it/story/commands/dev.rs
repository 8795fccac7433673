//! `dev` as a newcomer uses it.

use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use sqlx::ConnectOptions;

use super::*;
use crate::support::app::DEADLINE;
use crate::support::visitor::Visitor;

/// `dev --demo`, and all that it prints until it waits.
struct Demo {
    place: Place,
    child: Child,
    printed: String,
}

impl Demo {
    /// Starts it, and reads until it has printed all.
    fn start() -> Self {
        let demo = Self::start_with(&[], "/api/users");
        assert!(demo.printed.contains("Try in another terminal"));
        demo
    }

    /// Starts it, and reads up to the line that ends so.
    fn start_with(variables: &[(&str, &str)], last: &str) -> Self {
        let place = Place::embedded();
        let mut child = place
            .command(&["dev", "--demo"])
            .env("LOG_FORMAT", "pretty")
            .envs(variables.iter().copied())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut demo = Self {
            place,
            child,
            printed: String::new(),
        };
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Read to its end, whether or not the test still looks.
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + DEADLINE;
        while !demo.printed.trim_end().ends_with(last) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("{error}: {}", demo.printed));
            demo.printed += &format!("{line}\n");
        }
        demo
    }

    /// Sends a signal. The exit status it leads to.
    async fn signal(&mut self, name: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
        until("the program ends", async || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
        self.child.wait().unwrap()
    }

    fn line(&self, part: &str) -> &str {
        let mut lines = self.printed.lines().map(str::trim);
        let line = lines.find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("{part}: {}", self.printed))
    }

    /// The part of a line after this one.
    fn after(&self, part: &str) -> &str {
        self.line(part).split_once(part).unwrap().1
    }

    /// Runs the line as another terminal does.
    fn type_in(&self, part: &str) -> String {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", self.line(part)]).env_clear();
        let output = shell.current_dir(self.place.directory()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{part}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        json_lines(&self.place.succeed(&[arguments, &["--json"]].concat()))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_demo_shows_a_repeated_a_late_and_a_failed_event_and_what_it_prints_is_so() {
    let mut demo = Demo::start();
    let all = &demo.printed;
    for said in [
        // They add up.
        "What the 17 deliveries did:",
        "  14 changed their row",
        "  1 came a second time: counted once",
        "  1 came late: the row did not change",
        "  1 failed: open http://127.0.0.1:",
    ] {
        assert!(all.contains(said), "{said}: {all}");
    }
    let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains("clerk-sync");
    let wide: Vec<_> = all.lines().filter(is_wide).collect();
    // The files of the test have long names.
    assert!(
        wide.iter().all(|line| line.contains("/clerk-sync-test-")),
        "{wide:#?}"
    );

    let events = demo.json(&["events", "list"]);
    let of = |status: &str| -> Vec<&Value> {
        let events = events.iter();
        events.filter(|event| event["status"] == status).collect()
    };
    assert_eq!(
        (of("applied").len(), of("stale").len(), of("failed").len()),
        (14, 1, 1)
    );
    let deliveries: i64 = events
        .iter()
        .map(|event| event["deliveries"].as_i64().unwrap())
        .sum();
    assert_eq!(deliveries, 17);
    // Real times: each came after its change, and soon. That of a failed event is not recorded.
    for event in events.iter().filter(|event| event["status"] != "failed") {
        let ms = |name: &str| {
            let time = event[name].as_str().unwrap();
            chrono::DateTime::parse_from_rfc3339(time)
                .unwrap()
                .timestamp_millis()
        };
        let delay = ms("received_at") - ms("occurred_at");
        assert!((0..60_000).contains(&delay), "{event}");
    }

    // The late one: made before a delete, it does not bring the user back.
    let stale = of("stale")[0];
    let history = demo.type_in("users history");
    assert!(
        history.contains(stale["event_id"].as_str().unwrap())
            && history.contains("a newer version was there, of msg_")
            && history.contains("it marked the user as deleted"),
        "{history}"
    );
    let late = stale["clerk_id"].as_str().unwrap();
    let row = &demo.json(&["users", "list", "--q", late])[0];
    assert!(row["deleted_at"].is_string(), "{row}");

    // The failed one: a page of the dashboard, a command that lists it, and one that repairs it.
    let failed = of("failed")[0];
    let failed_id = failed["event_id"].as_str().unwrap();
    assert!(
        demo.after("1 failed: open ")
            .ends_with(&format!("/events/{failed_id}"))
    );
    assert!(
        demo.type_in("events list --status failed")
            .contains(failed_id)
    );
    let user = failed["clerk_id"].as_str().unwrap();
    let account = |id: &str| demo.json(&["users", "list", "--q", id]);
    assert!(account(user).is_empty());
    let replayed = demo.type_in("events replay");
    assert!(
        replayed.contains(&format!("{failed_id}  applied")),
        "{replayed}"
    );
    let again = account(user);
    assert!(
        again.len() == 1 && again[0]["deleted_at"].is_null(),
        "{again:?}"
    );
    let address = again[0]["email"].as_str().unwrap();
    let accounts = demo.json(&["users", "list", "--email", address]);
    assert_eq!(accounts.len(), 2, "the old account has its address still");
    assert!(demo.type_in("users list").contains(address));
    assert!(
        demo.json(&["events", "list", "--status", "failed"])
            .is_empty()
    );

    // Who left and joined again has two memberships: the old one ended late, and the view has the
    // new one alone.
    let (_, members) = demo.printed.split_once("\nThe members of ").unwrap();
    let (members, _) = members.split_once("\n\n").unwrap();
    assert_eq!(members.matches("org:").count(), 2, "{members}");
    let listed = demo.type_in("memberships list");
    assert!(listed.contains("org:admin"), "{listed}");
    let count = |deleted: &str| {
        demo.json(&["memberships", "list", "--deleted", deleted])
            .len()
    };
    assert_eq!((count("any"), count("false")), (3, 2));

    // `dev` keeps the payloads of all events.
    let applied = of("applied")[0]["event_id"].as_str().unwrap();
    let shown = demo.place.succeed(&["events", "show", applied]);
    assert!(shown.contains("\"type\""), "{shown}");
    // It goes on serving: `send` finds it.
    let sent = demo.type_in("send user.updated").replace(',', "");
    assert!(sent.contains("queued   1000"), "{sent}");

    assert!(demo.signal("TERM").await.success());
}

/// The demo has its rule set while it prints its last event.
#[tokio::test]
async fn a_demo_that_is_killed_leaves_no_rule_in_the_file() {
    let mut demo = Demo::start_with(&[], ", a new account with the old address");
    assert!(!demo.signal("KILL").await.success());
    let app = demo.place.serve().await;
    for (event, id) in [("msg_1", "user_1"), ("msg_2", "user_2")] {
        let body = format!(
            r#"{{"data":{{"id":"{id}","primary_email_address_id":"idn_1","email_addresses":[{{"id":"idn_1","email_address":"ada@example.com"}}],"updated_at":1700000000000}},"type":"user.created"}}"#
        );
        app.deliver(event, body).await;
        let settled = app.settled(event).await;
        assert_eq!(settled.status.as_str(), "applied", "{settled:?}");
    }
    let file = demo.place.directory().join("users.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    let triggers = "select count(*) from sqlite_schema where type = 'trigger'";
    let triggers: i64 = sqlx::query_scalar(triggers)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(triggers, 0);
    assert!(app.stop().success());
}

/// Its events are refused, since they are larger than is allowed here.
#[tokio::test]
async fn a_demo_that_breaks_off_does_not_end_the_server() {
    let mut demo = Demo::start_with(&[("MAX_BODY_BYTES", "1024")], "/api/users");
    assert!(demo.printed.contains("Serving. Stop with Ctrl-C."));
    assert!(!demo.printed.contains("events replay"), "{}", demo.printed);
    let base = demo.after("dashboard ").trim();
    let mut visitor = Visitor::before(base.trim_matches('/').trim_start_matches("http://"));
    assert_eq!(visitor.get("/login").await.status, 200);
    assert!(demo.signal("TERM").await.success());
    let mut error = String::new();
    let mut stderr = demo.child.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut error).unwrap();
    assert!(
        error.contains("The demo broke off: the event user.created") && error.contains("413"),
        "{error}"
    );
}

#[tokio::test]
async fn the_link_of_dev_leads_into_the_dashboard() {
    let demo = Demo::start();
    let token = std::fs::read_to_string(demo.place.directory().join("dev-admin-token")).unwrap();
    assert_eq!(demo.after("log in with").trim(), token.trim());
    let url = demo.line("/login?link=");
    let base = demo.after("dashboard ").trim();
    let path = url.strip_prefix(base.trim_end_matches('/')).unwrap();
    let mut visitor = Visitor::before(base.trim_matches('/').trim_start_matches("http://"));
    let fields = visitor.get(path).await.hidden_fields();
    let fields: Vec<_> = fields
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(visitor.post("/login", &fields).await.status, 303);
    let failed = demo.after("1 failed: open ").strip_prefix(base).unwrap();
    let page = visitor.get(&format!("/{failed}")).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("sqlite_1811"), "{}", page.text());
}

/// A person who sets what is kept gets that.
#[tokio::test]
async fn dev_keeps_the_payloads_that_a_setting_names() {
    for (variables, is_kept) in [(&[][..], true), (&[("EVENT_PAYLOADS", "failed")], false)] {
        let place = Place::embedded();
        let app = place.start(&["dev"], variables).await;
        let sent = place.succeed(&["send", "user.created", "--wait", "--json"]);
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let id = sent["event_id"].as_str().unwrap();
        let shown = place.succeed(&["events", "show", id, "--json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["payload"].is_string(), is_kept, "{shown}");
        assert!(app.stop().success());
    }
}

#[tokio::test]
async fn dev_keeps_its_secret_for_the_next_time_and_to_itself() {
    let place = Place::embedded();
    let secret = || std::fs::read_to_string(place.directory().join("dev-signing-secret")).unwrap();
    let app = place.start(&["dev"], &[]).await;
    let first = secret();
    assert!(app.stop().success());
    let app = place.start(&["dev"], &[]).await;
    assert_eq!(secret(), first);
    for file in ["dev-signing-secret", "dev-admin-token"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(place.directory().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file} is for its owner alone");
    }
    let second = place.run(&["dev"]);
    assert_eq!(
        second.status.code(),
        Some(1),
        "a second process in the same place is refused"
    );
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(
        error.contains(place.directory().to_str().unwrap()),
        "{error}"
    );
    assert!(app.stop().success());
}
