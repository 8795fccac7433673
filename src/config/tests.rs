//! What flags, variables and `.env` resolve to.

use std::path::Path;

use super::secrets::SIGNING_SECRET;
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
