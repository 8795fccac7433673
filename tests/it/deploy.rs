//! deploy/ and the documents agree with the program: settings that exist, alerts that come with
//! instructions. scripts/check-deploy asks systemd and Kubernetes.

use std::path::{Path, PathBuf};

use clerk_sync::config::Setting;

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
