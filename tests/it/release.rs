//! scripts/release and the workflow that calls it: they name the same steps, the same version and
//! the same files. The script's dry run builds a release, which takes minutes; CI does that.

use std::process::{Command, Output};

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn release(arguments: &[&str]) -> Output {
    Command::new("scripts/release")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

#[test]
fn a_tag_of_another_version_is_refused() {
    let version = env!("CARGO_PKG_VERSION");
    let good = release(&["version", &format!("v{version}")]);
    assert!(good.status.success(), "{good:?}");
    assert_eq!(
        String::from_utf8_lossy(&good.stdout),
        format!("{version}\n")
    );
    let bad = release(&["version", "v99.0.0"]);
    assert!(!bad.status.success());
    let error = String::from_utf8_lossy(&bad.stderr);
    assert!(
        error.contains("v99.0.0") && error.contains(version),
        "{error}"
    );
}

#[test]
fn the_notes_are_the_versions_part_of_the_changelog() {
    let output = release(&["notes"]);
    let notes = String::from_utf8_lossy(&output.stdout);
    assert!(notes.trim().len() > 100, "{notes}");
    assert!(read("CHANGELOG.md").contains(notes.trim()));
    assert!(
        !notes.contains("\n## "),
        "a part of another version is in it"
    );
}

#[test]
fn the_workflows_call_steps_and_platforms_that_the_script_has() {
    let script = read("scripts/release");
    let steps: Vec<_> = script
        .lines()
        .find(|line| line.trim().starts_with("version |"))
        .unwrap()
        .split(')')
        .next()
        .unwrap()
        .split('|')
        .map(str::trim)
        .collect();
    let workflow = read(".github/workflows/release.yml");
    let called: Vec<_> = workflow
        .split("scripts/release ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .filter(|word| word.chars().all(|letter| letter.is_ascii_lowercase()))
        .collect();
    for step in ["build", "check", "image", "files", "sums", "publish"] {
        assert!(called.contains(&step), "the workflow does not call {step}");
    }
    for call in &called {
        assert!(steps.contains(call), "scripts/release has no step {call}");
    }
    let targets: Vec<_> = workflow
        .split("target: ")
        .skip(1)
        .filter_map(|rest| rest.split(',').next())
        .collect();
    assert_eq!(targets.len(), 4, "{targets:?}");
    for target in targets {
        assert!(
            script.contains(&format!("        {target}) echo clerk-sync-")),
            "scripts/release has no name for {target}"
        );
    }
}

/// A tag can be moved to another commit by the owner of the action; a commit cannot.
#[test]
fn every_action_is_pinned_to_a_commit() {
    let mut count = 0;
    for name in ["ci.yml", "release.yml"] {
        for line in read(&format!(".github/workflows/{name}")).lines() {
            let Some(action) = line.trim().trim_start_matches("- ").strip_prefix("uses: ") else {
                continue;
            };
            if action.starts_with("./") {
                continue;
            }
            count += 1;
            let commit = action.split('@').nth(1).unwrap();
            let (commit, version) = commit.split_once(" # v").unwrap_or((commit, ""));
            assert!(
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{name}: {action} is not pinned to a commit"
            );
            assert!(!version.is_empty(), "{name}: {action} names no version");
        }
    }
    assert!(count > 8, "{count} actions were found");
}
