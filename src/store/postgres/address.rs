//! Where the server is and how to get in: `DATABASE_URL` as typed data, read strictly.
//!
//! sqlx gets a URL that is made here, of parts that were checked. It never sees the original, so it cannot log it, and no
//! demand for TLS is lost because sqlx does not know the parameter (`tls.rs`).
//!
//! sqlx itself still reads `PGHOST`, `PGHOSTADDR`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGPASSFILE` (or `~/.pgpass`) and
//! `PGOPTIONS`, for what the URL leaves out. What libpq's other variables demand of TLS is read here (`DEFAULTS`).

mod tls;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::store::StoreError;
use crate::tls::{Files, PemFile, system_roots};
use crate::url::{self, Parameter, UrlError, encode};
use tls::{Demands, Mode, Roots};

/// A database on a server. Holds the password.
#[derive(Clone)]
pub struct Address {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<SecretString>,
    database: String,
    application_name: Option<String>,
    options: Vec<(String, String)>,
    statement_cache_capacity: Option<usize>,
    mode: Mode,
    /// The names of what asks for TLS.
    asking: Vec<String>,
    /// The names of parameters that are not known.
    ignored: Vec<String>,
    files: Files,
}

/// Nothing that lets anybody in.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            database,
            mode,
            files,
            ..
        } = self;
        let mut shown = f.debug_struct("Address");
        shown
            .field("host", host)
            .field("port", port)
            .field("database", database);
        shown
            .field("mode", mode)
            .field("files", files)
            .finish_non_exhaustive()
    }
}

/// What libpq reads where the URL has no such parameter.
const DEFAULTS: [(&str, &str); 14] = [
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGREQUIRESSL", "requiressl"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGREQUIREAUTH", "require_auth"),
];

/// Parameters that change nothing here, and that hosts and other clients put into their URLs: how many connections a client
/// keeps, how it prepares statements, which schema it means.
const WITHOUT_EFFECT: &[&str] = &[
    // Prisma
    "schema",
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "statement_cache_size",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
    "single_use_connections",
    // Supabase, Vercel, Neon
    "supa",
    "workaround",
    "pool_mode",
    // libpq
    "connect_timeout",
    "client_encoding",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    // node-postgres, postgres.js
    "uselibpqcompat",
    "prepare",
    "max",
    "idle_timeout",
    "max_lifetime",
    // Rails, SQLAlchemy, Django, Doctrine, Ecto
    "adapter",
    "encoding",
    "charset",
    "pool",
    "pool_size",
    "max_overflow",
    "pool_recycle",
    "pool_pre_ping",
    "conn_max_age",
    "checkout_timeout",
    "prepared_statements",
    "prepared_statement_cache_size",
    "reconnect",
    "serverVersion",
    // Go
    "binary_parameters",
    "pool_max_conns",
    "pool_min_conns",
    "pool_min_idle_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "statement_cache_mode",
    "description_cache_capacity",
    // JDBC
    "ApplicationName",
    "currentSchema",
    "loginTimeout",
    "connectTimeout",
    "socketTimeout",
    "tcpKeepAlive",
    "prepareThreshold",
    "preparedStatementCacheQueries",
    "reWriteBatchedInserts",
];

const EXAMPLE: &str = "give a URL such as postgres://user:password@host:5432/database";

/// For URLs without a CA or variables beside them.
impl FromStr for Address {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::read(url, &|_| None, None)
    }
}

impl Address {
    /// Reads a URL; `variable` gives libpq's variables, and `ca_file` is `DATABASE_CA_FILE`.
    ///
    /// # Errors
    /// Fails for what cannot be read or cannot be satisfied. No error holds a part of the URL's values.
    pub fn read(
        url: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, UrlError> {
        let parts = url::read(url)?;
        if !matches!(parts.scheme.as_str(), "postgres" | "postgresql") {
            return Err(UrlError::new("does not begin with postgres://", EXAMPLE));
        }
        let [place] = parts.places.as_slice() else {
            return Err(several_hosts("several hosts"));
        };
        let mut read = Reading {
            host: Some(place.host.clone()).filter(|host| !host.is_empty()),
            port: place.port,
            user: parts.user,
            password: parts.password,
            database: parts.path.filter(|path| !path.is_empty()),
            ..Reading::default()
        };
        // With a user it is a name; without one it may be a piece of a password.
        let has_name = |name: &str| {
            parts
                .parameters
                .iter()
                .any(|parameter| parameter.name == name)
        };
        let has_user = read.user.is_some() || has_name("user");
        if !has_user
            && read
                .database
                .as_ref()
                .is_some_and(|name| name.contains('/'))
        {
            let remedy = format!("write user@ before the host, and {}", url::ENCODE);
            return Err(UrlError::new(
                "has no user, and a / in the name of its database",
                remedy,
            ));
        }
        for parameter in &parts.parameters {
            if !read.take(&Given::of_url(parameter))? {
                parameter.ignore()?;
                read.ignored.push(parameter.name.clone());
            }
        }
        for (name, parameter) in DEFAULTS {
            if let Some(value) = variable(name).filter(|_| !read.is_given(parameter)) {
                read.take(&Given {
                    name: parameter,
                    shown: name,
                    value: &value,
                })?;
            }
        }
        read.finish(ca_file)
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The names of parameters that have no effect since nobody knows them.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// What asks for TLS, in words.
    pub fn asking_for_tls(&self) -> String {
        self.asking.join(" and ")
    }

    /// What sqlx connects with.
    ///
    /// # Errors
    /// Fails for a file that cannot be used.
    pub fn connect_options(&self) -> Result<PgConnectOptions, StoreError> {
        let incompatible = |error: &dyn fmt::Display| StoreError::Incompatible(error.to_string());
        let material = self.files.read().map_err(|error| incompatible(&error))?;
        let mut options = PgConnectOptions::from_str(self.url_of_parts().expose_secret())
            .map_err(|_| incompatible(&format!("DATABASE_URL cannot be used; {EXAMPLE}")))?;
        // TLS is for the wire between machines; libpq does the same.
        let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
        let mode = if is_socket { Mode::Disable } else { self.mode };
        options = options.ssl_mode(match mode {
            Mode::Disable => PgSslMode::Disable,
            Mode::Prefer => PgSslMode::Prefer,
            Mode::Require => PgSslMode::Require,
            Mode::VerifyCa => PgSslMode::VerifyCa,
            Mode::VerifyFull => PgSslMode::VerifyFull,
        });
        if mode >= Mode::VerifyCa {
            let roots = format!("{}\n{}", system_roots(), material.ca);
            options = options.ssl_root_cert_from_pem(roots.into_bytes());
        }
        if let Some((certificate, key)) = &self.files.client {
            // Read again at each connection, so that a new one is found.
            options = options
                .ssl_client_cert(&certificate.path)
                .ssl_client_key(&key.path);
        }
        if let Some(capacity) = self.statement_cache_capacity {
            options = options.statement_cache_capacity(capacity);
        }
        Ok(options.application_name(self.application_name.as_deref().unwrap_or("clerk-sync")))
    }

    /// The parts in the form in which sqlx looks a password up where there is none.
    fn url_of_parts(&self) -> SecretString {
        let mut url = format!("postgres:///?dbname={}", encode(&self.database));
        let mut add = |name: &str, value: &str| {
            url.push('&');
            url.push_str(&encode(name));
            url.push('=');
            url.push_str(&encode(value));
        };
        if let Some(host) = &self.host {
            add("host", host);
        }
        if let Some(port) = self.port {
            add("port", &port.to_string());
        }
        if let Some(user) = &self.user {
            add("user", user);
        }
        if let Some(password) = &self.password {
            add("password", password.expose_secret());
        }
        for (name, value) in &self.options {
            add(name, value);
        }
        url.into()
    }
}

fn several_hosts(what: &str) -> UrlError {
    UrlError::new(
        format!("has {what}"),
        "give one host: one name that follows the primary, as managed servers, Patroni's HAProxy or a virtual address have",
    )
}

/// A parameter, of the URL or of one of libpq's variables.
struct Given<'a> {
    name: &'a str,
    /// Its name for an error, or the variable's.
    shown: &'a str,
    value: &'a str,
}

impl<'a> Given<'a> {
    fn of_url(parameter: &'a Parameter) -> Self {
        // Names that sqlx knew as well.
        let name = match parameter.name.as_str() {
            "ssl-mode" => "sslmode",
            "ssl-root-cert" | "ssl-ca" => "sslrootcert",
            "ssl-cert" => "sslcert",
            "ssl-key" => "sslkey",
            name => name,
        };
        Self {
            name,
            shown: parameter.shown(),
            value: parameter.value.expose_secret(),
        }
    }

    fn error(&self, fault: &str, remedy: impl Into<String>) -> UrlError {
        let with = if self.shown.starts_with("PG") {
            "is completed by the variable"
        } else {
            "has the parameter"
        };
        UrlError::new(format!("{with} {}, {fault}", self.shown), remedy)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<SecretString>,
    database: Option<String>,
    application_name: Option<String>,
    options: Vec<(String, String)>,
    statement_cache_capacity: Option<usize>,
    demands: Demands,
    seen: Vec<String>,
    ignored: Vec<String>,
}

impl Reading {
    fn is_given(&self, name: &str) -> bool {
        self.seen.iter().any(|seen| seen == name) || name == "dbname" && self.database.is_some()
    }

    /// Whether the parameter is known.
    fn take(&mut self, given: &Given<'_>) -> Result<bool, UrlError> {
        let value = || given.value.to_owned();
        if self.seen.iter().any(|seen| seen == given.name) {
            return Err(given.error("which is given twice", "leave one of them out"));
        }
        self.seen.push(given.name.to_owned());
        match given.name {
            "host" | "hostaddr" => {
                if self.is_given(if given.name == "host" {
                    "hostaddr"
                } else {
                    "host"
                }) {
                    return Err(given.error("beside another host", "give one of host and hostaddr"));
                }
                if given.value.contains(',') {
                    return Err(several_hosts("several hosts"));
                }
                let host = given
                    .value
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                url::check_host(&host)?;
                self.host = Some(host).filter(|host| !host.is_empty());
            }
            "port" => {
                if given.value.contains(',') {
                    return Err(several_hosts("several ports"));
                }
                self.port = url::read_port(given.value)?;
            }
            "dbname" => self.database = Some(value()).filter(|name| !name.is_empty()),
            "user" => self.user = Some(value()),
            "password" => self.password = Some(SecretString::from(given.value)),
            "application_name" => {
                self.application_name = Some(value()).filter(|name| !name.is_empty())
            }
            "options" => self.options.push(("options".into(), value())),
            name if name.starts_with("options[") && name.ends_with(']') => {
                self.options.push((name.into(), value()))
            }
            "statement-cache-capacity" => {
                let number = given.value.parse();
                let capacity = number
                    .map_err(|_| given.error("which is no number", "give a number, such as 100"))?;
                self.statement_cache_capacity = Some(capacity);
            }
            "target_session_attrs" if matches!(given.value, "any" | "read-write" | "primary") => {}
            "target_session_attrs" => {
                return Err(given.error(
                    "which asks for a standby",
                    "clerk-sync writes: give the primary, or read-write",
                ));
            }
            "load_balance_hosts" if given.value == "disable" => {}
            "load_balance_hosts" => return Err(several_hosts("load_balance_hosts")),
            "service" | "servicefile" | "passfile" | "replication" => {
                return Err(given.error(
                    "which is not supported",
                    "write host, user and database into the URL; PGPASSFILE works",
                ));
            }
            name if WITHOUT_EFFECT.contains(&name) => {}
            _ => return self.demands.take(given),
        }
        Ok(true)
    }

    fn finish(mut self, ca_file: Option<PathBuf>) -> Result<Address, UrlError> {
        let Some(database) = self.database else {
            let remedy =
                "add it behind the host, such as postgres://user:password@host:5432/database";
            return Err(UrlError::new("names no database", remedy));
        };
        let is_socket = self.host.as_ref().is_some_and(|host| host.starts_with('/'));
        let mut asking = self.demands.asking();
        asking
            .iter_mut()
            .filter(|name| !name.starts_with("PG"))
            .for_each(|name| name.push_str(" in DATABASE_URL"));
        asking.extend(ca_file.as_ref().map(|_| "DATABASE_CA_FILE".to_owned()));
        let (mode, roots) = self.demands.settle(ca_file.is_some(), is_socket)?;
        let file = |setting: &str, path: String| PemFile {
            setting: setting.into(),
            path: path.into(),
        };
        let of_url = match roots {
            Roots::System => None,
            Roots::File(path) => Some(file("sslrootcert in DATABASE_URL", path)),
        };
        let beside = ca_file.map(|path| PemFile {
            setting: "DATABASE_CA_FILE".into(),
            path,
        });
        let ca = of_url.into_iter().chain(beside).collect();
        let client = self.demands.client.map(|(certificate, key)| {
            (
                file("sslcert in DATABASE_URL", certificate),
                file("sslkey in DATABASE_URL", key),
            )
        });
        let files = if is_socket {
            Files::default()
        } else {
            Files { ca, client }
        };
        Ok(Address {
            host: self.host,
            port: self.port,
            user: self.user,
            password: self.password,
            database,
            application_name: self.application_name,
            options: self.options,
            statement_cache_capacity: self.statement_cache_capacity,
            mode,
            asking,
            ignored: self.ignored,
            files,
        })
    }
}

#[cfg(test)]
mod tests;
