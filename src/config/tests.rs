//! What flags, variables and `.env` resolve to.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches};

use super::settings::SIGNING_SECRET;
use super::*;
use crate::{queue, store};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn flags(values: &[(&str, &str)]) -> Flags {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Flags {
        values: values.collect(),
        embedded: false,
    }
}

fn secrets(variables: &[(&str, &str)]) -> Result<usize, ConfigError> {
    signing_secrets(&Environment::with(variables)).map(|secrets| secrets.len())
}

#[test]
fn several_secrets_are_separated_by_commas_or_spaces() {
    assert_eq!(secrets(&[]), Ok(0));
    assert_eq!(secrets(&[(SIGNING_SECRET, SECRET)]), Ok(1));
    assert_eq!(
        secrets(&[(SIGNING_SECRET, &format!(" {SECRET}, {SECRET}\n{SECRET} "))]),
        Ok(3)
    );
    assert!(secrets(&[(SIGNING_SECRET, &format!("{SECRET},whsec_!"))]).is_err());
}

#[test]
fn the_older_name_counts_where_the_newer_is_absent() {
    assert_eq!(secrets(&[("CLERK_WEBHOOK_SECRET", SECRET)]), Ok(1));
    assert!(secrets(&[("CLERK_WEBHOOK_SECRET", SECRET), (SIGNING_SECRET, "wrong")]).is_err());
}

#[test]
fn what_stays_and_what_is_never_stored_is_set_by_name() {
    let resolve = |name, value| Config::resolve(&Environment::with(&[(name, value)]));
    for (name, wrong) in [
        ("ON_DELETE", "forget"),
        ("OMIT_FIELDS", "phone_numbers id"),
        ("EVENT_PAYLOADS", "some"),
    ] {
        assert!(
            resolve(name, wrong)
                .err()
                .unwrap()
                .to_string()
                .starts_with(name)
        );
    }
    let store::Options::Sqlite(store) = resolve("ON_DELETE", "scrub").unwrap().store else {
        panic!("not SQLite")
    };
    assert_eq!(store.keep.on_delete, store::OnDelete::Scrub);
    assert!(resolve("OMIT_FIELDS", "private_metadata, unsafe_metadata").is_ok());
}

#[test]
fn a_table_that_is_not_synced_is_named_with_the_nearest_one() {
    let resolve = |value| Config::resolve(&Environment::with(&[("SYNC", value)]));
    assert!(resolve("").unwrap().synced.has_all());
    let two = resolve("memberships,users").unwrap().synced;
    let plurals: Vec<_> = two.iter().map(|table| table.plural).collect();
    assert_eq!(plurals, ["users", "memberships"]);
    let error = resolve("users,organisations").err().unwrap().to_string();
    assert!(
        error.starts_with("SYNC names \"organisations\"")
            && error.contains("did you mean organizations?"),
        "{error}"
    );
}

#[test]
fn the_change_feed_is_off_until_it_is_turned_on_and_kept_for_a_week() {
    let resolve = |variables: &[(&str, &str)]| {
        let config = Config::resolve(&Environment::with(variables)).unwrap();
        let days = |age: Duration| age.as_secs() / 86_400;
        (
            config.store.change_feed(),
            config.worker.change_retention.map(days),
        )
    };
    assert_eq!(resolve(&[]), (false, Some(7)));
    assert_eq!(resolve(&[("CHANGE_FEED", "off")]), (false, Some(7)));
    let postgres = ("DATABASE_URL", "postgres://db/app");
    let on = ("CHANGE_FEED", "on");
    assert_eq!(resolve(&[on, ("CHANGE_RETENTION_DAYS", "0")]), (true, None));
    assert_eq!(
        resolve(&[on, postgres, ("CHANGE_RETENTION_DAYS", "30")]),
        (true, Some(30))
    );
}

#[test]
fn without_servers_everything_is_embedded_in_one_place() {
    let config = Config::resolve(&Environment::with(&[("DATA_DIR", "/somewhere")])).unwrap();
    let queue::Options::Embedded(queue) = config.queue else {
        panic!("not embedded")
    };
    let store::Options::Sqlite(store) = config.store else {
        panic!("not SQLite")
    };
    assert_eq!(
        (queue.path, store.path),
        ("/somewhere/queue.db".into(), "/somewhere/users.db".into())
    );
}

#[test]
fn no_password_is_shown_by_debugging() {
    let urls = [
        ("AMQP_URL", "amqp://u:hunter2@h"),
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
    ];
    let config = Config::resolve(&Environment::with(&urls)).unwrap();
    let shown = format!("{:?} {:?}", config.queue, config.store);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn every_error_is_found_and_the_rest_is_resolved() {
    let environment = Environment::with_flags(
        &flags(&[("WORKER_BATCH", "many")]),
        &[
            ("CLERK_WEBHOOK_SECRET", "whsec_!"),
            ("DATABASE_URL", "mysql://u:hunter2@h/d"),
            ("CLERK_SECRET_KEY_FILE", "/nowhere/at/all"),
            ("AMQP_NAMESPACE", "staging"),
            ("PORT", "3001"),
        ],
    );
    let (config, faults) = validate(&environment);
    let config = config.unwrap();
    assert_eq!(config.http.port, 3001);
    assert!(config.signing_secrets.is_empty() && config.clerk_api.secret_key.is_none());
    let names = [
        "CLERK_WEBHOOK_SIGNING_SECRET",
        "DATABASE_URL",
        "CLERK_SECRET_KEY",
        "WORKER_BATCH",
    ];
    assert!(
        names.iter().all(|name| faults.concern(&[name])),
        "{faults:?}"
    );
    assert_eq!(faults.iter().count(), names.len(), "{faults:?}");
    assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
}

#[test]
fn servers_that_are_set_are_left_alone_however_they_are_set() {
    let urls = [
        ("DATABASE_URL", "mysql://h/d"),
        ("AMQP_URL", ""),
        ("DATA_DIR", "/somewhere"),
    ];
    let flags = flags(&[("DATABASE_URL", "file:./dev.db")]);
    assert!(Config::resolve(&Environment::with_flags(&flags, &urls)).is_err());
    let environment = Environment::with_flags(&flags.with_embedded(), &urls);
    let config = Config::resolve(&environment).unwrap();
    let store::Options::Sqlite(store) = config.store else {
        panic!("not SQLite")
    };
    assert_eq!(store.path, Path::new("/somewhere/users.db"));
    assert!(matches!(config.queue, queue::Options::Embedded(_)));
}

#[test]
fn other_commands_get_the_flags_that_they_need() {
    let found = |typed: &[(&str, &str)], folder: &[(&str, &str)]| {
        let typed = flags(typed).with_embedded();
        let config = Config::resolve(&Environment::with_dotenv(&typed, folder)).unwrap();
        let folder = Environment::with_dotenv(&Flags::default(), folder);
        flags_of_other_commands(&config, &folder).join(" ")
    };
    assert_eq!(found(&[], &[]), "");
    assert_eq!(found(&[], &[("DATA_DIR", "there")]), "");
    let here = [("DATA_DIR", "here")];
    assert_eq!(found(&here, &[("DATA_DIR", "there")]), "--data-dir here");
    assert_eq!(
        found(&here, &[("AMQP_URL", "")]),
        "--data-dir here --embedded"
    );
    for url in [
        "postgres://u@h/d",
        "mysql://u@h/d",
        "file:./dev.db",
        "sqlite://other.db",
        "",
    ] {
        for name in [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "AMQP_URL",
            "AMQP_URL_FILE",
        ] {
            assert_eq!(found(&[], &[(name, url)]), "--embedded", "{name}={url}");
        }
    }
}

/// Whatever can be wrong can be left out: otherwise nothing behind it would be checked.
#[test]
fn every_flag_is_read_and_can_be_forgotten() {
    let command = Flags::augment_args(Command::new("x"));
    for setting in Setting::all().filter(|setting| setting.has_flag()) {
        let (name, flag) = (setting.name, format!("--{}", setting.flag()));
        let matches = command.clone().get_matches_from(["x", &flag, "value"]);
        let flags = Flags::from_arg_matches(&matches).unwrap();
        assert_eq!(flags.values.len(), 1, "{flag}");
        assert!(!format!("{flags:?}").contains("value\""), "{flags:?}");
        let mut environment = Environment::with_flags(&flags, &[]);
        assert_eq!(environment.get(name), Some("value"));
        environment.forget(name);
        assert_eq!(environment.get(name), None, "{flag}");
    }
}

#[test]
fn no_error_repeats_what_was_meant_for_another_setting() {
    let environment = |name| Environment::with(&[(name, "postgres://app:hunter2@h/db")]);
    for name in [
        "PORT",
        "ON_DELETE",
        "EVENT_RETENTION_DAYS",
        "CHANGE_FEED",
        "CHANGE_RETENTION_DAYS",
        "OMIT_FIELDS",
        "DATABASE_SCHEMA",
        "SYNC",
    ] {
        let error = Config::resolve(&environment(name))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with(name) && !error.contains("hunter2"),
            "{error}"
        );
    }
    let port = Config::resolve(&Environment::with(&[("PORT", "8O80")]));
    let mistyped = port.err().unwrap().to_string();
    assert!(mistyped.starts_with("PORT is \"8O80\"; "), "{mistyped}");
}

#[test]
fn a_file_that_cannot_be_used_is_named_by_its_setting() {
    let error = |variables: &[(&str, &str)]| {
        let error = Config::resolve(&Environment::with(variables)).err();
        error.unwrap().to_string()
    };
    let (database, amqp) = (
        ("DATABASE_URL", "postgres://db/app"),
        ("AMQP_URL", "amqps://u:hunter2@broker/%2f"),
    );
    let ca = "/nowhere/ca.pem";
    let of_url = "postgres://db/app?sslrootcert=/nowhere/ca.pem";
    for (variables, expected) in [
        (
            [database, ("DATABASE_CA_FILE", ca)],
            "DATABASE_CA_FILE names a file that cannot be read",
        ),
        (
            [("DATABASE_URL", of_url), ("PORT", "1")],
            "DATABASE_URL has sslrootcert, which names a file that cannot be read",
        ),
        (
            [amqp, ("AMQP_CA_FILE", ca)],
            "AMQP_CA_FILE names a file that cannot be read",
        ),
        (
            [amqp, ("AMQP_CLIENT_CERT_FILE", ca)],
            "AMQP_CLIENT_CERT_FILE is set without its key",
        ),
        (
            [amqp, ("AMQP_CLIENT_KEY_FILE", ca)],
            "AMQP_CLIENT_KEY_FILE is set without its certificate",
        ),
    ] {
        let error = error(&variables);
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}
