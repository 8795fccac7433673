//! `dev` as a newcomer uses it.

use super::*;

#[tokio::test]
async fn dev_demo_sends_a_history_shows_the_rows_and_keeps_serving() {
    let place = Place::embedded();
    let mut child = place
        .command(&["dev", "--demo"])
        .env("LOG_FORMAT", "pretty")
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .for_each(|line| drop(sender.send(line)))
    });
    let mut printed = Vec::new();
    while !printed
        .last()
        .is_some_and(|line: &String| line.contains("Serving. Stop with Ctrl-C"))
    {
        printed.push(
            lines
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("it ended with {printed:#?}")),
        );
    }
    let all = printed.join("\n");
    let url = printed
        .iter()
        .find_map(|line| line.strip_prefix("webhook URL"))
        .unwrap()
        .trim()
        .to_owned();
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with("/api/webhooks/clerk"),
        "{url}"
    );
    assert!(all.contains("whsec_"), "{all}");
    let dashboard = printed
        .iter()
        .position(|line| line.starts_with("dashboard"))
        .unwrap();
    let address = url.replace("/api/webhooks/clerk", "/");
    let token = std::fs::read_to_string(place.directory().join("dev-admin-token")).unwrap();
    assert!(
        printed[dashboard].ends_with(&address) && printed[dashboard + 1].ends_with(token.trim()),
        "{all}"
    );

    // It goes on serving: `send` finds the secret that `dev` keeps.
    place.succeed(&["send", "user.created", "--count", "20", "--url", &url]);
    let users = || json_lines(&place.succeed(&["users", "list", "--json"]));
    until("the 5 of the demo and the 20 sent are there", async || {
        users().len() == 25
    })
    .await;
    let deleted = json_lines(&place.succeed(&["users", "list", "--json", "--deleted", "true"]));
    assert_eq!(deleted.len(), 2, "two people of the demo are deleted");
    assert!(deleted.iter().all(
        |user| user["deleted_at"].is_string() && user["email"].is_string()
            || user["phone"].is_string()
            || user["username"].is_string()
    ));
    for user in &deleted {
        assert!(
            all.contains(user["clerk_id"].as_str().unwrap()),
            "the table shows {user}"
        );
    }
    let events = json_lines(&place.succeed(&["events", "list", "--json", "--limit", "500"]));
    assert_eq!(
        events
            .iter()
            .map(|event| event["deliveries"].as_i64().unwrap())
            .sum::<i64>(),
        14 + 20
    );

    let stopped = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(stopped.unwrap().success());
    assert!(child.wait().unwrap().success());
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
