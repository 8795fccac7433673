//! A shell completes the commands.

use std::process::Command;

use crate::support::app::Place;

#[test]
fn every_shell_gets_its_completions_whatever_the_settings() {
    let place = Place::embedded();
    for (shell, mark) in [
        ("bash", "complete -F _clerk__sync"),
        ("zsh", "#compdef clerk-sync"),
        ("fish", "complete -c clerk-sync"),
        ("elvish", "edit:completion:arg-completer[clerk-sync]"),
        (
            "powershell",
            "Register-ArgumentCompleter -Native -CommandName 'clerk-sync'",
        ),
    ] {
        // A setting that is wrong is no matter here.
        let output = place
            .command(&["completions", shell])
            .env("PORT", "many")
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && script.contains(mark),
            "{shell}: {script}"
        );
        assert!(script.contains("receiver"), "{shell} knows the commands");
    }
    let unknown = place.run(&["completions", "tcsh"]);
    assert_eq!(unknown.status.code(), Some(2));
}

/// What bash offers where the cursor stands after these words.
fn bash_offers(place: &Place, words: &[&str]) -> Vec<String> {
    // Longer than an argument may be.
    let script = place.directory().join("completions");
    std::fs::write(&script, place.succeed(&["completions", "bash"])).unwrap();
    let script = script.display();
    let current = words.len() - 1;
    let ask = format!(
        ". {script}\nCOMP_WORDS=({}); COMP_CWORD={current}; _clerk__sync clerk-sync '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[current],
        words[current - 1],
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", &ask])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let place = Place::embedded();
    assert_eq!(bash_offers(&place, &["clerk-sync", "recei"]), ["receiver"]);
    assert_eq!(
        bash_offers(&place, &["clerk-sync", "events", "disc"]),
        ["discard"]
    );
    assert_eq!(
        bash_offers(&place, &["clerk-sync", "check", "--js"]),
        ["--json"]
    );
    assert_eq!(
        bash_offers(&place, &["clerk-sync", "check", "--role", "w"]),
        ["worker"]
    );
    for (words, offered) in [
        (&["clerk-sync", "stat"][..], "status"),
        (&["clerk-sync", "help", "sett"], "settings"),
        (&["clerk-sync", "events", "list", "--fol"], "--follow"),
        (&["clerk-sync", "events", "ls", "--wi"], "--wide"),
        (&["clerk-sync", "open", "--pr"], "--print"),
        // Flags that only `help settings` lists.
        (&["clerk-sync", "status", "--omit"], "--omit-fields"),
    ] {
        assert_eq!(bash_offers(&place, words), [offered], "{words:?}");
    }
    let commands = bash_offers(&place, &["clerk-sync", "\"\""]);
    for command in [
        "serve",
        "check",
        "migrate",
        "backfill",
        "reconcile",
        "completions",
    ] {
        assert!(commands.contains(&command.to_owned()), "{commands:?}");
    }
}
