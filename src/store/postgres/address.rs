//! The address of the server and the login: `DATABASE_URL` as typed data, read strictly.
//!
//! sqlx gets a URL that is built here from checked parts. It never sees the original, so it cannot
//! log it, and no demand for TLS is lost because sqlx does not know the parameter
//! (`tls_demands.rs`).
//!
//! sqlx itself still reads `PGHOST`, `PGHOSTADDR`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGPASSFILE`
//! (or `~/.pgpass`) and `PGOPTIONS`, for what the URL leaves out. What libpq's other variables
//! demand of TLS is read here (`DEFAULTS`).

mod tls_demands;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::store::StoreError;
use crate::tls::{Files, PemFile, system_roots};
use crate::url::{self, Parameter, UrlError, encode, refuse, refuse_several};
use tls_demands::{Demands, Mode};

/// A database on a server. Holds the password.
#[derive(Clone, Default)]
pub struct Address {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<SecretString>,
    database: Option<String>,
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

/// Shows no login.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("mode", &self.mode)
            .field("files", &self.files)
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

/// Parameters that change nothing here, and that hosts and other clients put into their URLs: how
/// many connections a client keeps, how it prepares statements, which schema it means. Those of
/// Prisma; of Supabase, Vercel and Neon; of libpq; of node-postgres and postgres.js; of Rails,
/// SQLAlchemy, Django, Doctrine and Ecto; of Go; of JDBC.
const WITHOUT_EFFECT: &str = "
    schema pgbouncer connection_limit pool_timeout socket_timeout statement_cache_size max_connection_lifetime
    max_idle_connection_lifetime single_use_connections
    supa workaround pool_mode
    connect_timeout client_encoding fallback_application_name keepalives keepalives_idle keepalives_interval
    keepalives_count tcp_user_timeout krbsrvname gsslib gssdelegation
    uselibpqcompat prepare max idle_timeout max_lifetime
    adapter encoding charset pool pool_size max_overflow pool_recycle pool_pre_ping conn_max_age checkout_timeout
    prepared_statements prepared_statement_cache_size reconnect serverVersion
    binary_parameters pool_max_conns pool_min_conns pool_min_idle_conns pool_max_conn_lifetime
    pool_max_conn_lifetime_jitter pool_max_conn_idle_time pool_health_check_period default_query_exec_mode
    statement_cache_capacity statement_cache_mode description_cache_capacity
    ApplicationName currentSchema loginTimeout connectTimeout socketTimeout tcpKeepAlive prepareThreshold
    preparedStatementCacheQueries reWriteBatchedInserts
";

/// The setting that names a CA beside the URL.
const CA_FILE: &str = "DATABASE_CA_FILE";

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
    /// Fails for what cannot be read or cannot be satisfied. No error holds a part of the URL's
    /// values.
    pub fn read(
        url: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, UrlError> {
        let mut parts = url::read(url)?;
        if !matches!(parts.scheme.as_str(), "postgres" | "postgresql") {
            return refuse("does not begin with postgres://", EXAMPLE);
        }
        // With a user it is a name; without one it may be a piece of a password.
        let path = parts.path.take().filter(|path| !path.is_empty());
        let has_user = parts.user.is_some() || parts.has("user");
        if !has_user && path.as_ref().is_some_and(|name| name.contains('/')) {
            return refuse(
                "has no user, and a / in the name of its database",
                format!("write user@ before the host, and {}", url::ENCODE),
            );
        }
        // Names that sqlx knew as well.
        for parameter in &mut parts.parameters {
            let known = match parameter.name.as_str() {
                "ssl-mode" => "sslmode",
                "ssl-root-cert" | "ssl-ca" => "sslrootcert",
                "ssl-cert" => "sslcert",
                "ssl-key" => "sslkey",
                _ => continue,
            };
            parameter.name = known.into();
        }
        if let Some(parameter) = parts
            .parameters
            .iter()
            .find(|given| given.name == "hostaddr")
            && parts.has("host")
        {
            let remedy = "give one of host and hostaddr";
            return Err(parameter.error("beside another host", remedy));
        }
        let mut address = Self {
            host: parts.host.take(),
            port: parts.port,
            user: parts.user.take(),
            password: parts.password.take(),
            database: path,
            ..Self::default()
        };
        let mut demands = Demands::default();
        address.ignored = parts.take_parameters(WITHOUT_EFFECT, |parameter| {
            address.take(parameter, &mut demands)
        })?;
        for (name, parameter) in DEFAULTS {
            let is_given =
                parts.has(parameter) || parameter == "dbname" && address.database.is_some();
            if let Some(value) = variable(name).filter(|_| !is_given) {
                let parameter = Parameter::of_variable(name, parameter, &value);
                address.take(&parameter, &mut demands)?;
            }
        }
        if address.database.is_none() {
            let remedy =
                "add it behind the host, such as postgres://user:password@host:5432/database";
            return refuse("names no database", remedy);
        }
        address.asking = demands.asking();
        address
            .asking
            .extend(ca_file.as_ref().map(|_| CA_FILE.into()));
        // TLS is for the wire between machines; libpq does the same.
        if address
            .host
            .as_ref()
            .is_some_and(|host| host.starts_with('/'))
        {
            address.mode = Mode::Disable;
        } else {
            let ca_file = ca_file.map(|path| PemFile::new(CA_FILE, path));
            (address.mode, address.files) = demands.settle(ca_file)?;
        }
        Ok(address)
    }

    /// Returns whether the parameter is known.
    fn take(&mut self, parameter: &Parameter, demands: &mut Demands) -> Result<bool, UrlError> {
        let text = parameter.text();
        let has_several = text.contains(',');
        match parameter.name.as_str() {
            "host" | "hostaddr" if has_several => return refuse_several("several hosts"),
            "host" | "hostaddr" => {
                let host = text.trim_start_matches('[').trim_end_matches(']');
                url::check_host(host)?;
                self.host = Some(host.to_owned()).filter(|host| !host.is_empty());
            }
            "port" if has_several => return refuse_several("several ports"),
            "port" => self.port = url::read_port(text)?,
            "dbname" => self.database = parameter.non_empty(),
            "user" => self.user = Some(text.into()),
            "password" => self.password = Some(text.into()),
            "application_name" => self.application_name = parameter.non_empty(),
            name if name == "options" || name.starts_with("options[") && name.ends_with(']') => {
                self.options.push((name.into(), text.into()))
            }
            "statement-cache-capacity" => self.statement_cache_capacity = Some(parameter.number()?),
            "target_session_attrs" if ["any", "read-write", "primary"].contains(&text) => {}
            "target_session_attrs" => {
                return Err(parameter.error(
                    "which asks for a standby",
                    "clerk-sync writes: give the primary, or read-write",
                ));
            }
            "load_balance_hosts" if text == "disable" => {}
            "load_balance_hosts" => return refuse_several("load_balance_hosts"),
            "service" | "servicefile" | "passfile" | "replication" => {
                return Err(parameter.error(
                    "which is not supported",
                    "write host, user and database into the URL; PGPASSFILE works",
                ));
            }
            _ => return demands.take(parameter),
        }
        Ok(true)
    }

    /// The files of TLS.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The names of parameters that have no effect because no reader knows them.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The names of what asks for TLS, joined by `and`.
    pub fn asking_for_tls(&self) -> String {
        self.asking.join(" and ")
    }

    /// The options with which sqlx connects.
    ///
    /// # Errors
    /// Fails for a file that cannot be used.
    pub fn connect_options(&self) -> Result<PgConnectOptions, StoreError> {
        let incompatible = |error: &dyn fmt::Display| StoreError::Incompatible(error.to_string());
        let material = self.files.read().map_err(|error| incompatible(&error))?;
        let mut options = PgConnectOptions::from_str(self.url_of_parts().expose_secret())
            .map_err(|_| incompatible(&format!("DATABASE_URL cannot be used; {EXAMPLE}")))?;
        // The host may be one of libpq's variables.
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
        let port = self.port.map(|port| port.to_string());
        let password = self.password.as_ref().map(ExposeSecret::expose_secret);
        let parts = [
            ("dbname", self.database.as_deref()),
            ("host", self.host.as_deref()),
            ("port", port.as_deref()),
            ("user", self.user.as_deref()),
            ("password", password),
        ];
        let parts = parts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let options = self.options.iter().map(|(name, value)| (&**name, &**value));
        let pairs = parts.chain(options);
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        format!("postgres:///?{}", pairs.join("&")).into()
    }
}

#[cfg(test)]
mod tests;
