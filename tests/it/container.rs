//! The image and the Compose file: no root, a read-only file system, nothing more than is needed.
//! And the program lives with that: it writes to `DATA_DIR` alone.

use std::os::unix::process::CommandExt;

use crate::support::app::{App, Place, SECRET, until};
use crate::support::collector::Collector;

/// The user of the image.
const NOBODY: u32 = 65_532;

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_image_runs_as_a_user_that_is_not_root() {
    let image = read("Dockerfile");
    let last = image.rsplit("\nFROM ").next().unwrap();
    let users: Vec<_> = last
        .lines()
        .filter_map(|line| line.strip_prefix("USER "))
        .collect();
    assert_eq!(
        users,
        [format!("{NOBODY}:{NOBODY}")],
        "a number, so that Kubernetes knows that it is not root"
    );
    let after = last.split("\nUSER ").nth(1).unwrap();
    assert!(!after.contains("\nRUN "), "nothing is installed by it");
    // Everyone who has the image can read its layers.
    for secret in ["WEBHOOK", "ADMIN_TOKEN", "DATABASE_URL", "AMQP_URL"] {
        assert!(!last.contains(secret), "the image names {secret}");
    }
}

#[test]
fn compose_starts_every_part_of_ours_with_a_read_only_file_system() {
    let compose = read("docker-compose.yml");
    let program = compose
        .split("x-program: &program")
        .nth(1)
        .unwrap()
        .split("\nservices:")
        .next()
        .unwrap();
    for line in [
        "read_only: true",
        "cap_drop: [ALL]",
        "security_opt: [\"no-new-privileges:true\"]",
    ] {
        assert!(program.lines().any(|found| found.trim() == line), "{line}");
    }
    let services = compose
        .split("\nservices:\n")
        .nth(1)
        .unwrap()
        .split("\nvolumes:")
        .next()
        .unwrap();
    for part in ["clerk-sync", "migrate", "receiver", "worker"] {
        let own = format!("\n{services}");
        let own = own.split(&format!("\n  {part}:\n")).nth(1).unwrap();
        assert!(own.starts_with("    <<: *program\n"), "{part}");
        let own = own.split("\n\n").next().unwrap();
        assert!(
            !own.contains("read_only") && !own.contains("user:") && !own.contains("privileged"),
            "{part}"
        );
    }
}

/// The names of `NAME=` and `#NAME=` in .env.example.
fn names_in_the_example() -> Vec<String> {
    let is_name = |name: &str| {
        name.len() > 2
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let example = read(".env.example");
    let names = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_name(name))
        .collect::<Vec<_>>();
    assert!(names.len() > 30, "{names:?}");
    names
}

#[test]
fn compose_needs_the_first_three_values_of_the_example_and_no_other() {
    let compose = read("docker-compose.yml");
    let mut needed: Vec<_> = compose
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split('}').next()?.split_once(":?"))
        .map(|(name, _)| name)
        .collect();
    needed.sort_unstable();
    let mut first = names_in_the_example();
    first.truncate(3);
    first.sort_unstable();
    assert_eq!(needed, first);
    assert_eq!(
        needed,
        [
            "ADMIN_TOKEN",
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "DATABASE_URL"
        ]
    );
}

#[test]
fn compose_passes_on_every_setting_of_the_example() {
    let compose = read("docker-compose.yml");
    let passed: Vec<_> = compose
        .split("environment: &environment\n")
        .nth(1)
        .unwrap()
        .lines()
        .take_while(|line| line.starts_with("    "))
        .filter_map(|line| Some(line.trim().split_once(':')?.0))
        .collect();
    for name in names_in_the_example() {
        // What Compose itself reads. The older name is of no use where the newer one is needed, and a
        // file of this machine is not in the container.
        let is_composes = compose.contains(&format!("${{{name}:-")) || name == "COMPOSE_PROFILES";
        let is_left_out = name == "CLERK_WEBHOOK_SECRET" || name.ends_with("_FILE");
        assert!(
            is_composes || is_left_out || passed.contains(&name.as_str()),
            "docker-compose.yml does not pass on {name}"
        );
    }
}

/// An empty Debian has no CA certificates. What needs no TLS works there.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_certificates_serves_sends_and_is_healthy() {
    let none = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    let place = Place::embedded();
    let collector = Collector::start().await;
    let endpoint = collector.url();
    let settings = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ];
    let app = place.start(&["serve"], &[settings, none].concat()).await;
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command
            .envs(none)
            .env("PORT", app.address.port().to_string())
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
    };
    run(&["healthcheck"]);
    run(&["send", "user.created", "--yes", "--url", &app.webhook_url()]);
    until("the span of the delivery arrived", async || {
        !collector.spans().is_empty()
    })
    .await;
    assert!(app.stop().success());
}

/// As in the image: a user who owns nothing but `DATA_DIR`, in a working directory that is not
/// writable.
#[tokio::test]
async fn the_program_writes_to_its_directory_alone() {
    let place = Place::embedded();
    let data = place.directory().join("state");
    std::fs::create_dir(&data).unwrap();
    let mut command = place.command(&["serve"]);
    command
        .env("DATA_DIR", &data)
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .current_dir("/");
    if std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
    {
        // Everything on the way to it must let another user through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.directory(), open).unwrap();
        std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        let program = place.directory().join("program");
        std::fs::copy(command.get_program(), &program).unwrap();
        command = with_program(&command, &program);
        command.uid(NOBODY).gid(NOBODY);
    } else {
        println!("not root: the program runs as the user of the tests");
    }
    let app = App::spawn(command, place.store_at(&data.join("users.db")));
    until("it is ready", async || {
        app.get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
    let body = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;
    assert_eq!(app.deliver("msg_1", body).await.status, 200);
    app.settled("msg_1").await;
    let mut names: Vec<_> = std::fs::read_dir(&data)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    names.sort();
    let expected = ["queue.db", "users.db"];
    assert!(
        expected
            .iter()
            .all(|name| names.iter().any(|found| found == name)),
        "{names:?}"
    );
    assert!(app.stop().success());
}

/// The same command of a program that every user can reach.
fn with_program(
    command: &std::process::Command,
    program: &std::path::Path,
) -> std::process::Command {
    let mut copy = std::process::Command::new(program);
    copy.args(command.get_args())
        .env_clear()
        .stdin(std::process::Stdio::null());
    copy.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    copy.current_dir("/");
    copy
}
