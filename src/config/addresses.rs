//! Where servers and files are: `HOST`, `CLERK_API_URL`, `DATABASE_URL`, `AMQP_URL`, and the files
//! of TLS beside them.
//!
//! Each file of TLS is read here once, so that one that cannot be used stops the program before it
//! opens a port.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::environment::Environment;
use super::error::{ConfigError, wrong};
use super::http_url::read_http_url;
use super::{paths, values};
use crate::queue::{self, embedded, rabbitmq};
use crate::store::{self, postgres, sqlite};
use crate::tls::{FileError, Files, PemFile};
use crate::url::{UrlError, is_ipv6};

/// The host to listen on, as the system takes it: an IPv6 address without brackets.
pub fn listening_host(environment: &Environment) -> Result<String, ConfigError> {
    let text = environment.get_or_default("HOST");
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = [inner, Some(text)]
        .into_iter()
        .flatten()
        .find(|text| is_ipv6(text))
    {
        return Ok(address.to_owned());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let (fault, first) = if text.contains("://") {
        ("is a URL", "")
    } else if text.contains(['[', ']']) && !text.contains("]:") {
        ("has brackets, and no IPv6 address in them", "")
    } else if text.contains(':') {
        ("has a port", "set PORT, and ")
    } else if text.is_empty() || !text.bytes().all(is_name) {
        ("is neither an IP address nor a host name", "")
    } else {
        return Ok(text.to_owned());
    };
    let remedy = "give an address or a name alone, such as 127.0.0.1, 0.0.0.0 or ::";
    Err(wrong("HOST", fault, format!("{first}{remedy}")))
}

/// The base URL of Clerk's Backend API, with its version, as Clerk's SDKs add it.
pub fn clerk_api_url(environment: &Environment) -> Result<String, ConfigError> {
    let text = environment.get_or_default("CLERK_API_URL");
    // A name and a password in it would be sent, and shown.
    let url = read_http_url(text)
        .ok()
        .filter(|_| !text.contains(['@', '?', '#']));
    let remedy =
        "give a URL such as https://api.clerk.com, without a name, a password or a query in it";
    let url = url.ok_or_else(|| wrong("CLERK_API_URL", "is not an http(s) URL", remedy))?;
    let version = if url.path() == "/" { "/v1" } else { "" };
    Ok(format!("{}{version}", url.as_str().trim_end_matches('/')))
}

/// The files of TLS to Clerk's API.
pub fn clerk_api_files(environment: &Environment) -> Result<Files, ConfigError> {
    let ca = pem_file(environment, "CLERK_API_CA_FILE")
        .into_iter()
        .collect();
    usable(Files { ca, client: None })
}

/// The URL of RabbitMQ's management API. No part of it is in an error.
pub fn management_url(environment: &Environment) -> Result<Option<SecretString>, ConfigError> {
    let name = "AMQP_MANAGEMENT_URL";
    let url = environment.secret(name)?;
    let is_wrong = |url: &SecretString| {
        read_http_url(url.expose_secret()).map_or(true, |url| {
            url.query().is_some() || url.fragment().is_some()
        })
    };
    if url.as_ref().is_some_and(is_wrong) {
        let remedy = "give a URL such as https://user:password@host:15671 (in a password write / as %2F, ? as %3F, # as %23, @ as %40 and % as %25)";
        return Err(wrong(name, "cannot be read", remedy));
    }
    Ok(url)
}

/// The URL of a server. Without one an embedded file is used: so one that is set and empty is an
/// error, since another place was intended.
fn server(environment: &Environment, name: &str) -> Result<Option<SecretString>, ConfigError> {
    if environment.is_empty(name) {
        let remedy = "give the URL, or unset it to use the embedded file in DATA_DIR";
        return Err(wrong(name, "is set, and empty", remedy));
    }
    environment.secret(name)
}

/// RabbitMQ takes names of up to 255 bytes; ours add at most 9.
const NAMESPACE_MAX: usize = 100;

/// The queue: RabbitMQ, or the file in `data_dir`.
pub fn queue_options(
    environment: &Environment,
    data_dir: &Path,
) -> Result<queue::Options, ConfigError> {
    let namespace = environment.get_or_default("AMQP_NAMESPACE").to_owned();
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=NAMESPACE_MAX).contains(&namespace.len()) || !namespace.bytes().all(is_valid) {
        return Err(wrong(
            "AMQP_NAMESPACE",
            values::is(&namespace),
            "give 1 to 100 letters, digits, -, _ and dots, such as clerk-sync",
        ));
    }
    Ok(match server(environment, "AMQP_URL")? {
        None => queue::Options::Embedded(embedded::Options {
            path: data_dir.join("queue.db"),
        }),
        Some(url) => {
            let address = rabbitmq(&url, environment)?;
            queue::Options::RabbitMq(rabbitmq::Options { address, namespace })
        }
    })
}

/// The database: PostgreSQL, or a file of SQLite.
pub fn store_options(
    environment: &Environment,
    data_dir: &Path,
    connections: NonZeroUsize,
    keep: store::Keep,
    change_feed: bool,
) -> Result<store::Options, ConfigError> {
    let schema = values::schema(environment)?;
    let sqlite = |path| {
        store::Options::Sqlite(sqlite::Options {
            path,
            keep,
            change_feed,
        })
    };
    let Some(url) = server(environment, "DATABASE_URL")? else {
        return Ok(sqlite(data_dir.join("users.db")));
    };
    let url = url.expose_secret();
    if let Some(path) = paths::of_sqlite_url(url, environment.home().as_deref()) {
        let path = path.map_err(|(fault, remedy)| wrong("DATABASE_URL", fault, remedy))?;
        return Ok(sqlite(path));
    }
    let scheme = url
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("postgres" | "postgresql")) {
        let remedy = "give a URL such as postgres://user:password@host:5432/database or sqlite://./data/users.db";
        return Err(wrong(
            "DATABASE_URL",
            "does not begin with postgres:// or sqlite://",
            remedy,
        ));
    }
    Ok(store::Options::Postgres(postgres::Options {
        address: postgres(url, environment)?,
        schema,
        // The turn to publish changes holds one while the broker confirms.
        connections: u32::try_from(connections.get())
            .unwrap_or(u32::MAX)
            .saturating_add(u32::from(change_feed)),
        keep,
        change_feed,
    }))
}

/// `DATABASE_URL` of PostgreSQL with libpq's variables and the files of TLS.
fn postgres(url: &str, environment: &Environment) -> Result<postgres::Address, ConfigError> {
    let variable = |name: &str| environment.of_process(name).map(String::from);
    let ca_file = environment.get("DATABASE_CA_FILE").map(PathBuf::from);
    let address = postgres::Address::read(url, &variable, ca_file)
        .map_err(|UrlError { fault, remedy }| wrong("DATABASE_URL", fault, remedy))?;
    usable(address.files().clone())?;
    Ok(address)
}

/// `AMQP_URL` with the files of TLS.
fn rabbitmq(
    url: &SecretString,
    environment: &Environment,
) -> Result<rabbitmq::Address, ConfigError> {
    let (certificate, key) = ("AMQP_CLIENT_CERT_FILE", "AMQP_CLIENT_KEY_FILE");
    let alone = |name, other: &str, what| {
        Err(wrong(
            name,
            format!("is set without its {what}"),
            format!("set {other}, too"),
        ))
    };
    let client = match (
        pem_file(environment, certificate),
        pem_file(environment, key),
    ) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => return alone(certificate, key, "key"),
        (None, Some(_)) => return alone(key, certificate, "certificate"),
    };
    let ca = pem_file(environment, "AMQP_CA_FILE").into_iter().collect();
    let address = rabbitmq::Address::read(url.expose_secret(), &Files { ca, client })
        .map_err(|UrlError { fault, remedy }| wrong("AMQP_URL", fault, remedy))?;
    for node in address.nodes().iter() {
        usable(node.files.clone())?;
    }
    Ok(address)
}

fn pem_file(environment: &Environment, setting: &str) -> Option<PemFile> {
    environment
        .get(setting)
        .map(|path| PemFile::new(setting, path))
}

/// The files, if each of them can be used.
fn usable(files: Files) -> Result<Files, ConfigError> {
    let error = |FileError {
                     setting,
                     fault,
                     remedy,
                 }| match setting.split_once(" in ") {
        Some((parameter, url)) => wrong(url, format!("has {parameter}, which {fault}"), remedy),
        None => wrong(&setting, fault, remedy),
    };
    files.read().map_err(error)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_every_kind_are_listened_on() {
        for (text, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("::", "::"),
            ("[::]", "::"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("localhost", "localhost"),
            ("my-host.internal", "my-host.internal"),
        ] {
            assert_eq!(
                listening_host(&Environment::with(&[("HOST", text)])).as_deref(),
                Ok(host),
                "{text}"
            );
        }
        for (text, fault) in [
            ("http://127.0.0.1", "is a URL"),
            ("https://[::1]:3000/", "is a URL"),
            ("localhost:3000", "has a port"),
            ("0.0.0.0:3000", "has a port"),
            ("[::1]:3000", "has a port"),
            ("[localhost]", "has brackets"),
            ("[::1", "has brackets"),
            ("*", "is neither"),
            ("a b", "is neither"),
            ("/tmp/socket", "is neither"),
        ] {
            let error = listening_host(&Environment::with(&[("HOST", text)]))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("HOST {fault}")),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn the_url_of_clerks_api_gets_its_version() {
        for (text, url) in [
            ("https://api.clerk.com", "https://api.clerk.com/v1"),
            ("https://api.clerk.com/", "https://api.clerk.com/v1"),
            ("https://api.clerk.com/v1", "https://api.clerk.com/v1"),
            ("https://api.clerk.com/v1/", "https://api.clerk.com/v1"),
            ("HTTPS://api.clerk.com", "https://api.clerk.com/v1"),
            ("http://[::1]:8080", "http://[::1]:8080/v1"),
            ("http://127.0.0.1:8080/proxy", "http://127.0.0.1:8080/proxy"),
        ] {
            assert_eq!(
                clerk_api_url(&Environment::with(&[("CLERK_API_URL", text)])).as_deref(),
                Ok(url),
                "{text}"
            );
        }
        assert_eq!(
            clerk_api_url(&Environment::default()).as_deref(),
            Ok("https://api.clerk.com/v1")
        );
        for text in [
            "api.clerk.com",
            "ftp://api.clerk.com",
            "https://",
            "https://user:hunter2@api.clerk.com",
            "https://api.clerk.com/?hunter2",
            "https://api.clerk.com/#hunter2",
            "https://a:hunter2/@b",
            "https://a:24/hunter2%40b",
        ] {
            let error = clerk_api_url(&Environment::with(&[("CLERK_API_URL", text)]))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("CLERK_API_URL ") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_management_url_is_read_or_refused_without_being_repeated() {
        let read = |url| management_url(&Environment::with(&[("AMQP_MANAGEMENT_URL", url)]));
        for url in [
            "http://broker:15672",
            "https://u:ses%2Fame@broker",
            "http://[::1]:1/prefix",
        ] {
            assert!(read(url).unwrap().is_some(), "{url}");
        }
        assert!(management_url(&Environment::default()).unwrap().is_none());
        for url in [
            "sesame",
            "http://u:7/sesame@broker",
            "http://u:7?sesame",
            "http://u:7#sesame",
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(
                error.starts_with("AMQP_MANAGEMENT_URL cannot be read; give a URL"),
                "{error}"
            );
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
