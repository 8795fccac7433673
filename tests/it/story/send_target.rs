//! Made-up events end in no table by accident: `send` asks first, unless the target is `dev`.

use crate::support::app::{App, Place, SECRET, until};

const CONFIGURED: (&str, &str) = ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);

fn send(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = place.command(&["send", "user.updated", "--user", "user_1"]);
    let output = command
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
    )
}

async fn is_there(app: &App) -> bool {
    app.user("user_1").await.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_devs_is_asked_about() {
    let place = Place::embedded();
    // Left behind by an earlier `dev`.
    let dev = place.start(&["dev"], &[]).await;
    let devs = std::fs::read_to_string(place.directory().join("dev-signing-secret")).unwrap();
    assert!(dev.stop().success());
    assert!(
        !place.directory().join("dev-url").exists(),
        "it went with dev"
    );
    let app = place.serve().await;
    let url = app.webhook_url();
    for (arguments, variables) in [
        (&["--url", &url][..], &[CONFIGURED][..]),
        (&["--url", &url, "--secret", SECRET], &[]),
        (
            &["--url", &url.replace("127.0.0.1", "localhost")],
            &[CONFIGURED],
        ),
        (
            &["--url", "http://sync.example.com/", "--secret", devs.trim()],
            &[],
        ),
    ] {
        let (status, said) = send(&place, arguments, variables);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains("--yes") && said.contains("user_1") && !said.contains("whsec_"),
            "{said}"
        );
        let all = [&["send", "user.updated", "--user", "user_1"], arguments].concat();
        let (status, said) = place.on_a_terminal(&all, variables, "n\n");
        assert_eq!(status, Some(1), "{said}");
        assert!(
            said.contains("[y/N]") && said.contains("nothing was sent"),
            "{said}"
        );
    }
    // The secret of `dev` alone makes no `dev`, and another program takes nothing with it.
    let (status, said) = send(&place, &["--url", &url], &[]);
    assert!(status == Some(2) && said.contains("--yes"), "{said}");
    let (status, said) = send(&place, &["--url", &url, "--yes"], &[]);
    assert!(
        status == Some(1) && said.contains("invalid_signature"),
        "{said}"
    );
    assert!(!is_there(&app).await);

    let (status, said) = send(&place, &["--url", &url, "--yes"], &[CONFIGURED]);
    assert_eq!(status, Some(0), "{said}");
    until("it is there", async || is_there(&app).await).await;
    let all = ["send", "user.updated", "--user", "user_2", "--url", &url];
    let (status, said) = place.on_a_terminal(&all, &[CONFIGURED], "y\n");
    assert_eq!(status, Some(0), "{said}");
    until("it is there", async || app.user("user_2").await.is_some()).await;
    assert!(app.stop().success());
}

/// Where `.env` or the shell has the PORT of `serve`, a second terminal needs no --url.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_url_events_go_where_the_settings_have_a_server_listen() {
    let place = Place::embedded();
    let app = place.serve().await;
    let url: reqwest::Url = app.webhook_url().parse().unwrap();
    let port = url.port().unwrap().to_string();
    let variables = [CONFIGURED, ("PORT", &port)];
    let (status, said) = send(&place, &["--yes", "--wait"], &variables);
    assert_eq!(status, Some(0), "{said}");
    assert!(is_there(&app).await);
    assert!(app.stop().success());
    let (status, said) = send(&place, &["--yes"], &variables);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains(&format!("Nothing accepts events at {url}")) && said.contains("--url"),
        "{said}"
    );
}

/// `dev` takes its own secret beside those that are configured, also after they were read again.
#[tokio::test(flavor = "multi_thread")]
async fn dev_is_not_asked_about_whatever_is_configured() {
    for configured in [&[][..], &[CONFIGURED]] {
        let place = Place::embedded();
        let app = place.start(&["dev"], configured).await;
        // Without --url: where dev says that it listens.
        let (status, said) = send(&place, &[], configured);
        assert_eq!(status, Some(0), "{said}");
        until("it is there", async || is_there(&app).await).await;
        app.signal("HUP");
        until("they are read again", async || {
            app.log()
                .iter()
                .any(|line| line.contains("were read again"))
        })
        .await;
        let url = app.webhook_url();
        let (status, said) = send(&place, &["--count", "3", "--url", &url], configured);
        assert_eq!(status, Some(0), "{said}");
        if !configured.is_empty() {
            assert_eq!(
                app.deliver("msg_1", r#"{"data":{"id":"user_9"},"type":"user.updated"}"#)
                    .await
                    .status,
                200
            );
        }
        assert!(app.stop().success());
    }
}
