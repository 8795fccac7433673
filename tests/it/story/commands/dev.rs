//! `dev` as a newcomer uses it.

use std::process::Child;

use super::*;
use crate::support::visitor::Visitor;

/// `dev --demo`, and all that it prints until it waits.
struct Demo {
    place: Place,
    child: Child,
    printed: String,
}

impl Demo {
    fn start() -> Self {
        let place = Place::embedded();
        let mut child = place
            .command(&["dev", "--demo"])
            .env("LOG_FORMAT", "pretty")
            .spawn()
            .unwrap();
        let mut printed = String::new();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        for line in stdout.lines() {
            printed += &format!("{}\n", line.unwrap());
            if printed.trim_end().ends_with("/api/users") {
                break;
            }
        }
        assert!(printed.contains("Try in another terminal"), "{printed}");
        Self {
            place,
            child,
            printed,
        }
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
        let mut shell = std::process::Command::new("sh");
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
        "What the 11 events did:",
        "  9 changed their row",
        "  1 came twice: counted once",
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
        (9, 1, 1)
    );
    let deliveries: i64 = events
        .iter()
        .map(|event| event["deliveries"].as_i64().unwrap())
        .sum();
    assert_eq!(deliveries, 12);
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

    // `dev` keeps the payloads of all events.
    let applied = of("applied")[0]["event_id"].as_str().unwrap();
    let shown = demo.place.succeed(&["events", "show", applied]);
    assert!(shown.contains("\"type\""), "{shown}");
    // It goes on serving: `send` finds it.
    let sent = demo.type_in("send user.updated").replace(',', "");
    assert!(sent.contains("queued   1000"), "{sent}");

    let stopped = std::process::Command::new("kill")
        .args(["-TERM", &demo.child.id().to_string()])
        .status();
    assert!(stopped.unwrap().success());
    assert!(demo.child.wait().unwrap().success());
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
