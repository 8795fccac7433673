//! deploy/ and the documents agree with the program: settings that exist, commands that can be
//! typed, alerts that somebody knows what to do for, links that lead somewhere.
//! scripts/check-deploy asks systemd and Kubernetes.

use std::path::{Path, PathBuf};

use clerk_sync::config::Setting;

use crate::support::app::Place;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Names of settings in a line of a unit, a manifest or the Compose file.
fn settings_in(line: &str) -> Vec<String> {
    let line = line.trim();
    let is_name = |word: &str| {
        word.len() > 2
            && word
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let words: Vec<&str> = match line
        .strip_prefix("Environment=")
        .or_else(|| line.strip_prefix("#   Environment="))
    {
        Some(assignments) => assignments
            .split(' ')
            .filter_map(|assignment| Some(assignment.split_once('=')?.0))
            .collect(),
        None => match line.strip_prefix("- name: ") {
            Some(name) => vec![name],
            None => line
                .split_once(':')
                .map(|(name, _)| name)
                .into_iter()
                .collect(),
        },
    };
    words
        .into_iter()
        .filter(|word| is_name(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_deployed_setting_exists_in_the_program() {
    let known = |name: &str| {
        // What the two servers of the Compose file read.
        let is_servers = name.starts_with("POSTGRES_") || name.starts_with("RABBITMQ_");
        is_servers || Setting::named(name).is_some()
    };
    let mut paths = files(&root().join("deploy/systemd"));
    paths.extend(files(&root().join("deploy/kubernetes")));
    paths.push(root().join("docker-compose.yml"));
    let mut count = 0;
    for path in paths {
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            for name in settings_in(line) {
                count += 1;
                assert!(known(&name), "{}: {name} is no setting", path.display());
            }
        }
    }
    assert!(count > 40, "{count} settings were found");
}

/// Commands of ours in the blocks of a document that are for a shell.
fn commands_of(document: &str) -> Vec<String> {
    let blocks = document
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let ours = blocks.flat_map(str::lines).filter_map(|line| {
        // Variables may stand before the name.
        let mut words = line
            .split_whitespace()
            .skip_while(|word| word.contains('='))
            .take_while(|word| !["#", ">", "|", "&&"].contains(word));
        (words.next()? == "clerk-sync").then(|| words.collect::<Vec<_>>().join(" "))
    });
    ours.collect()
}

#[test]
fn every_command_of_the_documents_can_be_typed() {
    let place = Place::embedded();
    let mut count = 0;
    for name in [
        "README.md",
        "SECURITY.md",
        "docs/operations.md",
        "deploy/systemd/README.md",
    ] {
        for command in commands_of(&read(name)) {
            // With --help at its end a command is read and not done.
            let words = command.split_whitespace().chain(["--help"]);
            let output = place.run(&words.collect::<Vec<_>>());
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success(),
                "{name}: clerk-sync {command}: {error}"
            );
            count += 1;
        }
    }
    assert!(count > 30, "{count} commands were found");
}

#[test]
fn every_alert_has_instructions() {
    let operations = read("docs/operations.md");
    let mut alerts: Vec<String> = [
        "ClerkSyncSilence",
        "ClerkSyncEventsFailing",
        "ClerkSyncDeadLetters",
        "ClerkSyncLagHigh",
        "ClerkSyncSignatureFailures",
        "ClerkSyncQueueGrowing",
        "ClerkSyncFailedEventsWaiting",
        "ClerkSyncNotReady",
        "ClerkSyncPublishSlow",
    ]
    .map(str::to_owned)
    .into();
    if let Ok(rules) = std::fs::read_to_string(root().join("deploy/prometheus/rules.yml")) {
        alerts.extend(
            rules
                .lines()
                .filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())),
        );
    }
    for alert in alerts {
        assert!(
            operations.contains(&format!("\n### {alert}\n")),
            "docs/operations.md has no heading {alert}"
        );
    }
}

/// As GitHub makes them.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .replace(' ', "-");
        text.chars()
            .filter(|letter| letter.is_alphanumeric() || *letter == '-' || *letter == '_')
            .collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/operations.md",
        "deploy/systemd/README.md",
        "deploy/kubernetes/README.md",
    ] {
        let document = read(name);
        let folder = root().join(name).parent().unwrap().to_owned();
        for link in document
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                root().join(name)
            } else {
                folder.join(path)
            };
            assert!(target.exists(), "{name}: {link}");
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(&target).unwrap();
                assert!(
                    anchors(&target).contains(&anchor.to_owned()),
                    "{name}: {link}: no such heading"
                );
            }
        }
    }
}
