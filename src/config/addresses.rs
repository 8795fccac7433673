//! The settings that say where something is: `HOST`, `DATABASE_URL`, `AMQP_URL`, `CLERK_API_URL`, and the files of TLS beside
//! them. Each file is read here once, so that one that cannot be used stops the program before it opens a port.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::environment::clean;
use super::{ConfigError, Environment, paths, wrong};
use crate::tls::{FileError, Files, PemFile};
use crate::url::{UrlError, is_ipv6};
use crate::{queue, store};

/// The host to listen on, as the system takes it: an IPv6 address without brackets.
pub fn listening_host(value: Option<String>) -> Result<String, ConfigError> {
    let Some(text) = value else {
        return Ok("127.0.0.1".into());
    };
    let text = text.trim();
    let remedy = "give an address or a name alone, such as 127.0.0.1, 0.0.0.0 or ::";
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
    if text.contains("://") {
        return Err(wrong("HOST", "is a URL", remedy));
    }
    if text.contains(['[', ']']) && !text.contains("]:") {
        return Err(wrong(
            "HOST",
            "has brackets, and no IPv6 address in them",
            remedy,
        ));
    }
    if text.contains(':') {
        return Err(wrong(
            "HOST",
            "has a port",
            format!("set PORT, and {remedy}"),
        ));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_name) {
        return Err(wrong(
            "HOST",
            "is neither an IP address nor a host name",
            remedy,
        ));
    }
    Ok(text.to_owned())
}

/// The base URL of Clerk's Backend API, with its version, as Clerk's SDKs add it.
pub fn clerk_api_url(value: Option<String>) -> Result<String, ConfigError> {
    let Some(text) = value else {
        return Ok("https://api.clerk.com/v1".into());
    };
    let example =
        "give a URL such as https://api.clerk.com, without a name, a password or a query in it";
    let url = reqwest::Url::parse(text.trim()).ok().filter(|url| {
        let has_login = !url.username().is_empty() || url.password().is_some();
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        // A name and a password in it would be sent, and shown.
        is_http
            && !has_login
            && !text.contains('@')
            && !text.contains("%40")
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let url = url.ok_or_else(|| wrong("CLERK_API_URL", "is not an http(s) URL", example))?;
    let version = if url.path() == "/" { "/v1" } else { "" };
    Ok(format!("{}{version}", url.as_str().trim_end_matches('/')))
}

pub fn clerk_api_files(ca: Option<String>) -> Result<Files, ConfigError> {
    let ca = ca.map(|path| PemFile::new("CLERK_API_CA_FILE", path));
    usable(Files {
        ca: ca.into_iter().collect(),
        client: None,
    })
}

/// The URL of a server. Without one an embedded file is used: so one that is set and empty is an error, for it was meant to be
/// another place.
pub fn server(
    flag: &Option<SecretString>,
    name: &str,
    environment: &Environment,
) -> Result<Option<SecretString>, ConfigError> {
    let is_empty = match flag {
        Some(flag) => clean(flag.expose_secret()).is_empty(),
        None => environment.is_empty(name),
    };
    if is_empty {
        let remedy = "give the URL, or unset it to use the embedded file in DATA_DIR";
        return Err(wrong(name, "is set, and empty", remedy));
    }
    flag.as_ref().map_or_else(
        || environment.secret(name),
        |flag| Ok(Some(clean(flag.expose_secret()).into())),
    )
}

pub fn queue_options(
    url: Option<SecretString>,
    files: &AmqpFiles,
    namespace: String,
    data_dir: &Path,
) -> Result<queue::Options, ConfigError> {
    let valid = !namespace.is_empty()
        && namespace.len() <= NAMESPACE_MAX
        && namespace
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !valid {
        return Err(wrong(
            "AMQP_NAMESPACE",
            super::values::is(&namespace),
            "give 1 to 100 letters, digits, -, _ and dots, such as clerk-sync",
        ));
    }
    let Some(url) = url else {
        return Ok(queue::Options::Embedded(queue::embedded::Options {
            path: data_dir.join("queue.db"),
        }));
    };
    let address = rabbitmq(&url, files)?;
    Ok(queue::Options::RabbitMq(queue::rabbitmq::Options {
        address,
        namespace,
    }))
}

/// RabbitMQ takes names of up to 255 bytes; ours add at most 9.
const NAMESPACE_MAX: usize = 100;

pub fn store_options(
    url: Option<SecretString>,
    postgres: &dyn Fn(&str) -> Result<store::postgres::Address, ConfigError>,
    schema: store::postgres::SchemaName,
    home: Option<&Path>,
    data_dir: &Path,
    connections: NonZeroUsize,
    keep: store::Keep,
) -> Result<store::Options, ConfigError> {
    let sqlite = |path| store::Options::Sqlite(store::sqlite::Options { path, keep });
    let Some(url) = url else {
        return Ok(sqlite(data_dir.join("users.db")));
    };
    if let Some(path) = paths::of_sqlite_url(url.expose_secret(), home) {
        return path
            .map(sqlite)
            .map_err(|(fault, remedy)| wrong("DATABASE_URL", fault, remedy));
    }
    let remedy = "give a URL such as postgres://user:password@host:5432/database or sqlite://./data/users.db";
    match url.expose_secret().split_once("://") {
        Some((scheme, _))
            if ["postgres", "postgresql"].contains(&scheme.to_ascii_lowercase().as_str()) =>
        {
            let connections = u32::try_from(connections.get()).unwrap_or(u32::MAX);
            let address = postgres(url.expose_secret())?;
            Ok(store::Options::Postgres(store::postgres::Options {
                address,
                schema,
                connections,
                keep,
            }))
        }
        _ => Err(wrong(
            "DATABASE_URL",
            "does not begin with postgres:// or sqlite://",
            remedy,
        )),
    }
}

/// `DATABASE_URL` of PostgreSQL with what stands beside it.
pub fn postgres(
    url: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    ca_file: Option<String>,
) -> Result<store::postgres::Address, ConfigError> {
    let address = store::postgres::Address::read(url, variable, ca_file.map(PathBuf::from))
        .map_err(|UrlError { fault, remedy }| wrong("DATABASE_URL", fault, remedy))?;
    usable(address.files().clone())?;
    Ok(address)
}

/// The files of TLS to RabbitMQ, by their settings.
#[derive(Default)]
pub struct AmqpFiles {
    pub ca: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

/// `AMQP_URL` with what stands beside it.
pub fn rabbitmq(
    url: &SecretString,
    files: &AmqpFiles,
) -> Result<queue::rabbitmq::Address, ConfigError> {
    let file = |setting: &str, path: &String| PemFile::new(setting, path);
    let client = match (&files.certificate, &files.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((
            file("AMQP_CLIENT_CERT_FILE", certificate),
            file("AMQP_CLIENT_KEY_FILE", key),
        )),
        (Some(_), None) => {
            return Err(wrong(
                "AMQP_CLIENT_CERT_FILE",
                "is set without its key",
                "set AMQP_CLIENT_KEY_FILE, too",
            ));
        }
        (None, Some(_)) => {
            let remedy = "set AMQP_CLIENT_CERT_FILE, too";
            return Err(wrong(
                "AMQP_CLIENT_KEY_FILE",
                "is set without its certificate",
                remedy,
            ));
        }
    };
    let ca = files
        .ca
        .iter()
        .map(|path| file("AMQP_CA_FILE", path))
        .collect();
    let address = queue::rabbitmq::Address::read(url.expose_secret(), &Files { ca, client })
        .map_err(|UrlError { fault, remedy }| wrong("AMQP_URL", fault, remedy))?;
    for node in address.nodes().iter() {
        usable(node.files.clone())?;
    }
    Ok(address)
}

/// The files, once each of them can be used.
fn usable(files: Files) -> Result<Files, ConfigError> {
    files.read().map_err(
        |FileError {
             setting,
             fault,
             remedy,
         }| match setting.split_once(" in ") {
            Some((parameter, url)) => wrong(url, format!("has {parameter}, which {fault}"), remedy),
            None => wrong(&setting, fault, remedy),
        },
    )?;
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
                listening_host(Some(text.into())).as_deref(),
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
            let error = listening_host(Some(text.into())).unwrap_err().to_string();
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
                clerk_api_url(Some(text.into())).as_deref(),
                Ok(url),
                "{text}"
            );
        }
        assert_eq!(
            clerk_api_url(None).as_deref(),
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
            let error = clerk_api_url(Some(text.into())).unwrap_err().to_string();
            assert!(
                error.starts_with("CLERK_API_URL ") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_by_its_setting() {
        let ca = Some("/nowhere/ca.pem".to_owned());
        let of_postgres = |url: &str, ca| postgres(url, &|_| None, ca).unwrap_err().to_string();
        assert!(
            of_postgres("postgres://db/app", ca.clone())
                .starts_with("DATABASE_CA_FILE names a file that cannot")
        );
        let of_url = of_postgres("postgres://db/app?sslrootcert=/nowhere/ca.pem", None);
        assert!(
            of_url.starts_with(
                "DATABASE_URL has sslrootcert, which names a file that cannot be read"
            ),
            "{of_url}"
        );
        let url = SecretString::from("amqps://u:hunter2@broker/%2f");
        let of_rabbitmq = |files: AmqpFiles| rabbitmq(&url, &files).unwrap_err().to_string();
        let said = of_rabbitmq(AmqpFiles {
            ca: ca.clone(),
            ..AmqpFiles::default()
        });
        assert!(
            said.starts_with("AMQP_CA_FILE names a file that cannot be read"),
            "{said}"
        );
        let said = of_rabbitmq(AmqpFiles {
            certificate: ca.clone(),
            ..AmqpFiles::default()
        });
        assert!(
            said.starts_with("AMQP_CLIENT_CERT_FILE is set without its key"),
            "{said}"
        );
        let said = of_rabbitmq(AmqpFiles {
            key: ca,
            ..AmqpFiles::default()
        });
        assert!(
            said.starts_with("AMQP_CLIENT_KEY_FILE is set without its certificate"),
            "{said}"
        );
    }
}
