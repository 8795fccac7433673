//! docs/configuration.md and .env.example: every setting of the program.

use clerk_sync::config::{Fallback, SETTINGS, Setting};

use super::{compare, table};

#[test]
fn the_page_of_settings_has_every_setting() {
    let mut text = String::new();
    for (group, settings) in SETTINGS {
        let rows = settings.iter().map(|setting| {
            let mut names = format!("`{}`", setting.name);
            if setting.has_flag() {
                names += &format!("<br>`--{}`", setting.flag());
            }
            if setting.has_file() {
                names += "<br>*secret*";
            }
            let default = match setting.default {
                Fallback::Absent => "none".into(),
                Fallback::Value(value) => format!("`{value}`"),
                Fallback::Words(words) => words.into(),
            };
            [
                names,
                setting.meaning.into(),
                default,
                setting.used_by.into(),
            ]
        });
        let rows = table(["setting", "meaning", "default", "used by"], rows);
        text += &format!("### {group}\n\n{rows}\n");
    }
    compare("docs/configuration.md", &[("settings", &text)]);
}

/// A person copies the file to `.env`, and finds there what can be set.
#[test]
fn the_example_of_env_names_every_setting_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
    let text = std::fs::read_to_string(path).unwrap();
    let assigned: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name)
        .filter(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
        .collect();
    // The others of OpenTelemetry are in its own documents, and a terminal's are the terminal's.
    let is_listed = |name: &str| {
        !["COLUMNS", "NO_COLOR", "TERM"].contains(&name)
            && (!name.starts_with("OTEL_") || name == "OTEL_EXPORTER_OTLP_ENDPOINT")
    };
    for Setting { name, .. } in Setting::all().filter(|setting| is_listed(setting.name)) {
        assert!(assigned.contains(name), ".env.example does not have {name}");
    }
    for name in assigned {
        // What docker-compose.yml reads itself.
        let is_of_compose = ["POSTGRES_", "RABBITMQ_", "CLERK_SYNC_", "COMPOSE_"]
            .iter()
            .any(|start| name.starts_with(start));
        assert!(
            is_of_compose || Setting::named(name).is_some(),
            ".env.example has {name}, which is no setting"
        );
    }
}
