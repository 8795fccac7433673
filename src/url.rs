//! Reads the URL of a server into its parts, strictly, before a driver sees it.
//!
//! A driver that cannot read a URL quotes what it took for a host, a port or a parameter. That is a
//! piece of the password if `/`, `?` or `#` in it was not percent-encoded. So an error here holds
//! no part of the URL but the name of a parameter, and that only if it cannot be a piece of a
//! password.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

/// What to do about a login that is not percent-encoded.
pub const ENCODE: &str = "percent-encode the user and the password: / as %2F, ? as %3F, # as %23, @ as %40, % as %25, : as %3A";

/// The parts of a URL. One that is absent is `None`.
pub struct Parts {
    /// In lower case.
    pub scheme: String,
    /// The user; `None` if the URL has none.
    pub user: Option<String>,
    /// The password; `None` if the URL has none.
    pub password: Option<SecretString>,
    /// A name, an address (of IPv6 without brackets), or the directory of a socket.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// What follows the first `/`, decoded; it may be empty.
    pub path: Option<String>,
    /// The parameters of the query.
    pub parameters: Vec<Parameter>,
}

/// One `name=value` of the query, decoded, or a variable that is read in its place.
pub struct Parameter {
    /// The name.
    pub name: String,
    /// The value.
    pub value: SecretString,
    /// How an error names it.
    shown: String,
    source: Source,
}

#[derive(PartialEq, Eq)]
enum Source {
    Url,
    /// Its name does not have the form of one, or a secret stands before it in the query.
    UrlUnshown,
    Variable,
}

impl Parameter {
    /// A variable that says what the parameter `name` would.
    pub fn of_variable(variable: &str, name: &str, value: &str) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            shown: variable.into(),
            source: Source::Variable,
        }
    }

    /// The name for an error.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The name of a known parameter, and where it stands.
    pub fn setting(&self, url: &str) -> String {
        format!("{} in {url}", self.name)
    }

    /// The value, which may be a secret.
    pub fn text(&self) -> &str {
        self.value.expose_secret()
    }

    /// The value; `None` if it is empty.
    pub fn non_empty(&self) -> Option<String> {
        Some(self.text().to_owned()).filter(|text| !text.is_empty())
    }

    /// # Errors
    /// Fails for a value that is no number, or one too large.
    pub fn number<T: FromStr>(&self) -> Result<T, UrlError> {
        self.text().parse().map_err(|_| {
            self.error(
                "which is no number, or one too large",
                "give a number, such as 20",
            )
        })
    }

    /// An error about the parameter.
    pub fn error(&self, fault: &str, remedy: impl Into<String>) -> UrlError {
        let with = match self.source {
            Source::Variable => "is completed by the variable",
            _ => "has the parameter",
        };
        UrlError::new(format!("{with} {}, {fault}", self.shown), remedy)
    }

    /// The error for a value that is none of `values`.
    pub fn none_of(&self, values: &str) -> UrlError {
        let fault = format!("whose value is none of {values}");
        self.error(&fault, "give one of them")
    }

    /// The error for a value that asks for what this program does not do.
    pub fn unsupported(&self, remedy: &str) -> UrlError {
        self.error("which clerk-sync cannot satisfy", remedy)
    }

    /// Checks that a name that no reader knows may be ignored: it is certainly that of a parameter,
    /// and it demands nothing of TLS or of authentication.
    ///
    /// # Errors
    /// Fails if it may not.
    fn ignore(&self) -> Result<(), UrlError> {
        if self.source == Source::UrlUnshown || self.name.contains(['[', ']']) {
            return not_encoded("has a parameter whose name (not shown) no parameter has");
        }
        let name = self.name.to_ascii_lowercase();
        let starts = ["encrypt", "channel_binding", "gss", "krb", "require_auth"];
        if ["ssl", "tls"].iter().any(|word| name.contains(word))
            || starts.iter().any(|start| name.starts_with(start))
        {
            return refuse(
                format!(
                    "has the parameter {}, which clerk-sync does not know",
                    self.name
                ),
                "correct its name or take it out: what it asks of TLS or authentication would be dropped",
            );
        }
        Ok(())
    }
}

impl Parts {
    /// Whether a parameter of the query has this name.
    pub fn has(&self, name: &str) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.name == name)
    }

    /// Gives each parameter to `take`, which returns whether it knows the name, but for those
    /// `without_effect`. Returns the names that have no effect because no reader knows them.
    ///
    /// # Errors
    /// Fails for a name that is given twice, for one that may not be ignored, and if `take` does.
    pub fn take_parameters(
        &self,
        without_effect: &str,
        mut take: impl FnMut(&Parameter) -> Result<bool, UrlError>,
    ) -> Result<Vec<String>, UrlError> {
        /// RabbitMQ's form repeats it.
        const REPEATABLE: &str = "auth_mechanism";
        let mut seen = HashSet::new();
        let mut ignored = Vec::new();
        for parameter in &self.parameters {
            let name = parameter.name.as_str();
            if !seen.insert(name) && name != REPEATABLE {
                return Err(parameter.error("which is given twice", "leave one of them out"));
            }
            if !without_effect.split_whitespace().any(|known| known == name) && !take(parameter)? {
                parameter.ignore()?;
                ignored.push(name.to_owned());
            }
        }
        Ok(ignored)
    }
}

/// What is wrong with a URL, and what to do. Holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}; {remedy}")]
pub struct UrlError {
    /// What is wrong.
    pub fault: String,
    /// How to fix it.
    pub remedy: String,
}

impl UrlError {
    /// An error of these words.
    pub fn new(fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            fault: fault.into(),
            remedy: remedy.into(),
        }
    }
}

/// Fails with these words.
///
/// # Errors
/// Always.
pub fn refuse<T>(fault: impl Into<String>, remedy: impl Into<String>) -> Result<T, UrlError> {
    Err(UrlError::new(fault, remedy))
}

fn not_encoded<T>(fault: &str) -> Result<T, UrlError> {
    refuse(fault, ENCODE)
}

/// Fails for a URL that names several servers.
///
/// # Errors
/// Always.
pub fn refuse_several<T>(what: &str) -> Result<T, UrlError> {
    refuse(
        format!("has {what}"),
        "give one host: one name that follows the primary, as managed servers, Patroni's HAProxy or a virtual address have",
    )
}

/// The values of two parameters that need each other; `None` if neither is given.
///
/// # Errors
/// Fails if one is given.
pub fn pair<T>(
    first: (&str, Option<T>),
    second: (&str, Option<T>),
) -> Result<Option<(T, T)>, UrlError> {
    match (first, second) {
        ((_, None), (_, None)) => Ok(None),
        ((_, Some(first)), (_, Some(second))) => Ok(Some((first, second))),
        ((first, _), (second, _)) => refuse(
            format!("has one of {first} and {second} without the other"),
            "give both or neither",
        ),
    }
}

/// Reads `scheme://user:password@host:port/path?name=value&name=value`.
///
/// # Errors
/// Fails for what two readers could take for two things. The error names the part.
pub fn read(text: &str) -> Result<Parts, UrlError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return refuse(
            "has no ://",
            "begin it with the scheme, such as postgres:// or amqp://",
        );
    };
    if rest.chars().any(char::is_control) {
        return refuse(
            "holds a line break, a tab or another control character",
            "write it on one line",
        );
    }
    if rest.contains('#') {
        return not_encoded("holds a #");
    }
    let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // Whatever ends a password early leaves the @ of the host behind it.
    if after.contains('@') {
        return not_encoded("holds an @ behind the first / or ?");
    }
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login.split_once(':').unwrap_or((login, ""))), host),
        None => (None, authority),
    };
    let (user, password) = login.unwrap_or_default();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let scheme = scheme.to_ascii_lowercase();
    let example = match scheme.as_str() {
        "amqp" => "[::1]:5672",
        "amqps" => "[::1]:5671",
        _ => "[::1]:5432",
    };
    let (user, password) = (decode(user, "user")?, decode(password, "password")?);
    let (host, port) = read_host(host, login.is_some(), example)?;
    let raw_path = path.strip_prefix('/');
    let parts = Parts {
        scheme,
        user: some(user),
        password: some(password).map(SecretString::from),
        host: some(host),
        port,
        path: raw_path.map(|path| decode(path, "path")).transpose()?,
        parameters: read_parameters(query)?,
    };
    if login.is_none() {
        refuse_what_may_be_a_login(&parts, path)?;
    }
    Ok(parts)
}

/// Lowest port that is believed of a host that may as well be a user: servers of databases and
/// brokers have higher ones, and many a password begins with a year.
const PORT_MIN: u16 = 5000;

/// If a URL has no login, its host, port and path may be one that was not encoded:
/// `app:24/word%40host/db`.
fn refuse_what_may_be_a_login(parts: &Parts, raw_path: &str) -> Result<(), UrlError> {
    let path = parts.path.as_deref().unwrap_or_default();
    // RabbitMQ's own virtual host is written `//` by some.
    if path.contains('@') || raw_path != "//" && raw_path.matches('/').count() > 1 {
        return not_encoded("has no user, and an @ or a second / in its path");
    }
    if parts.has("user") {
        return Ok(());
    }
    let mut values = parts.parameters.iter().map(Parameter::text);
    if values.any(|value| value.contains('@')) {
        return not_encoded("has no user, and an @ in a parameter");
    }
    let is_name = |host: &String| {
        !host.starts_with('/')
            && host != "localhost"
            && host.parse::<IpAddr>().is_err()
            && !is_ipv6(host)
    };
    let has_low_port = parts.port.is_some_and(|port| port < PORT_MIN);
    let has_rest = !path.is_empty() || !parts.parameters.is_empty();
    if has_rest && has_low_port && parts.host.as_ref().is_some_and(is_name) {
        return refuse(
            "has no user, and what may be a user and a password in the place of host and port",
            format!("write user@ before the host if it is one; else {ENCODE}"),
        );
    }
    Ok(())
}

fn read_host(
    text: &str,
    has_login: bool,
    example: &str,
) -> Result<(String, Option<u16>), UrlError> {
    let bracket = |fault| UrlError::new(fault, format!("write it as {example}"));
    if text.contains(',') {
        return refuse_several("several hosts");
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest
            .split_once(']')
            .ok_or_else(|| bracket("has a [ before the host and no ] behind it"))?;
        let address = decode(address, "host")?;
        if !is_ipv6(&address) {
            return refuse(
                "has something else than an IPv6 address in brackets",
                "write brackets around an IPv6 address alone, such as [::1]",
            );
        }
        if !rest.is_empty() && !rest.starts_with(':') {
            return Err(bracket("has something between the ] and the port"));
        }
        (address, rest.trim_start_matches(':'))
    } else if text.matches(':').count() > 1 {
        let remedy = if has_login {
            format!("write an IPv6 address in brackets, such as {example}")
        } else {
            format!(
                "write user and password before an @, an IPv6 address in brackets, and {ENCODE}"
            )
        };
        return refuse("has more than one : in the host", remedy);
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        (decode(host, "host")?, port)
    };
    check_host(&host)?;
    Ok((host, read_port(port)?))
}

/// Checks a host that is decoded.
///
/// # Errors
/// Fails for what is no name, no address and no directory of a socket.
pub fn check_host(host: &str) -> Result<(), UrlError> {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if host.starts_with('/') || is_ipv6(host) || host.bytes().all(is_of_a_name) {
        return Ok(());
    }
    refuse(
        "has a character in its host that no host has",
        format!("give a name or an address, and {ENCODE}"),
    )
}

/// Returns `None` for an empty port.
///
/// # Errors
/// Fails for what is no port.
pub fn read_port(text: &str) -> Result<Option<u16>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number && port != 0 => Ok(Some(port)),
        _ => refuse(
            "has a port that is no number from 1 to 65535",
            format!("correct the port, or {ENCODE}"),
        ),
    }
}

/// Whether it is an IPv6 address, with or without a zone (`fe80::1%eth0`).
pub fn is_ipv6(host: &str) -> bool {
    let address = host.split('%').next().unwrap_or_default();
    address.parse::<Ipv6Addr>().is_ok()
}

/// A host as URLs and logs write it: an IPv6 address in brackets.
pub fn bracketed(host: &str) -> String {
    if is_ipv6(host) {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn read_parameters(query: &str) -> Result<Vec<Parameter>, UrlError> {
    /// Of a name whose value is a secret.
    const SECRETS: [&str; 4] = ["pass", "pwd", "secret", "token"];
    let mut parameters = Vec::new();
    let mut after_secret = false;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return refuse(
                "has a parameter without =",
                format!("write a parameter as name=value, and {ENCODE}, & as %26"),
            );
        };
        // As forms encode it, which is how drivers read a query.
        let name = decode(name, "name of a parameter")?;
        let value = decode(&value.replace('+', " "), "value of a parameter")?;
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
        let is_name = (1..=40).contains(&name.len()) && name.bytes().all(is_of_a_name);
        let (shown, source) = if is_name && !after_secret {
            (name.clone(), Source::Url)
        } else {
            ("(not shown)".into(), Source::UrlUnshown)
        };
        let lower = name.to_ascii_lowercase();
        after_secret |= SECRETS.iter().any(|word| lower.contains(word));
        parameters.push(Parameter {
            name,
            value: value.into(),
            shown,
            source,
        });
    }
    Ok(parameters)
}

fn decode(text: &str, part: &str) -> Result<String, UrlError> {
    let fault = |what: &str| not_encoded(&format!("has {what} in its {part}"));
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece
            .get(..2)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return fault("a % without two hexadecimal digits");
        };
        decoded.push(byte);
        decoded.extend_from_slice(&piece.as_bytes()[2..]);
    }
    match String::from_utf8(decoded) {
        Ok(text) if text.contains('\0') => fault("a %00"),
        Ok(text) => Ok(text),
        Err(_) => fault("percent-encoded bytes that are no UTF-8"),
    }
}

/// Encodes what is not a letter or a digit.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
