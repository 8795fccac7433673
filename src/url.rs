//! Reads the URL of a server into its parts, strictly, before a driver sees it.
//!
//! A driver that cannot read a URL quotes what it took for a host, a port or a parameter, and that is a piece of the password
//! where `/`, `?` or `#` in it was not percent-encoded. So no error here holds any part of the URL but the name of a
//! parameter, and that only where it cannot be a piece of a password.

use std::net::{IpAddr, Ipv6Addr};

use secrecy::{ExposeSecret, SecretString};

pub const ENCODE: &str = "percent-encode the user and the password: / as %2F, ? as %3F, # as %23, @ as %40, % as %25, : as %3A";

/// What a URL says. A part that is absent is `None`, one that is there may be empty.
pub struct Parts {
    /// In lower case.
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    /// At least one; its host is empty where the URL names none.
    pub places: Vec<Place>,
    /// What follows the first `/`, decoded.
    pub path: Option<String>,
    pub parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A name, an address (of IPv6 without brackets), or the folder of a socket.
    pub host: String,
    pub port: Option<u16>,
}

/// One `name=value` of the query, decoded.
pub struct Parameter {
    pub name: String,
    pub value: SecretString,
    /// Whether the name may be shown: it has the form of one, and no secret stands before it in the query.
    may_be_shown: bool,
}

impl Parameter {
    /// The name for an error.
    pub fn shown(&self) -> &str {
        if self.may_be_shown {
            &self.name
        } else {
            "(not shown)"
        }
    }

    /// Whether a name that no reader knows may be ignored: it is certainly that of a parameter, and it demands nothing of TLS
    /// or of authentication.
    ///
    /// # Errors
    /// Fails where it may not.
    pub fn ignore(&self) -> Result<(), UrlError> {
        if !self.may_be_shown || self.name.contains(['[', ']']) {
            return Err(not_encoded(
                "has a parameter whose name (not shown) no parameter has",
            ));
        }
        let name = self.name.to_ascii_lowercase();
        let is_of_tls = name.contains("ssl") || name.contains("tls") || name.starts_with("encrypt");
        if is_of_tls
            || ["channel_binding", "gss", "krb", "require_auth"]
                .iter()
                .any(|start| name.starts_with(start))
        {
            let fault = format!(
                "has the parameter {}, which clerk-sync does not know",
                self.name
            );
            let remedy = "correct its name or take it out: what it asks of TLS or authentication would be dropped";
            return Err(UrlError::new(fault, remedy));
        }
        Ok(())
    }
}

/// What is wrong with a URL, and what to do. Holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}; {remedy}")]
pub struct UrlError {
    pub fault: String,
    pub remedy: String,
}

impl UrlError {
    pub fn new(fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            fault: fault.into(),
            remedy: remedy.into(),
        }
    }
}

fn not_encoded(fault: &str) -> UrlError {
    UrlError::new(fault, ENCODE)
}

/// Reads `scheme://user:password@host:port,host:port/path?name=value&name=value`.
///
/// # Errors
/// Fails for what two readers could take for two things. The error names the part.
pub fn read(text: &str) -> Result<Parts, UrlError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(UrlError::new(
            "has no ://",
            "begin it with the scheme, such as postgres:// or amqp://",
        ));
    };
    if rest.chars().any(char::is_control) {
        return Err(UrlError::new(
            "holds a line break, a tab or another control character",
            "write it on one line",
        ));
    }
    if rest.contains('#') {
        return Err(not_encoded("holds a #"));
    }
    let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // Whatever ends a password early leaves the @ of the host behind it.
    if after.contains('@') {
        return Err(not_encoded("holds an @ behind the first / or ?"));
    }
    let (login, places) = match authority.rsplit_once('@') {
        Some((login, places)) => (Some(login), places),
        None => (None, authority),
    };
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, None),
        Some((user, password)) => (
            Some(decode(user, "user")?).filter(|user| !user.is_empty()),
            Some(decode(password, "password")?).filter(|password| !password.is_empty()),
        ),
    };
    let (path, query) = match after.split_once('?') {
        Some((path, query)) => (path, query),
        None => (after, ""),
    };
    let scheme = scheme.to_ascii_lowercase();
    let usual = [("amqp", "[::1]:5672"), ("amqps", "[::1]:5671")];
    let example = usual
        .iter()
        .find(|(name, _)| *name == scheme)
        .map_or("[::1]:5432", |(_, example)| example);
    let read_place = |place| read_place(place, login.is_some(), example);
    let parts = Parts {
        scheme,
        user,
        password: password.map(SecretString::from),
        places: places
            .split(',')
            .map(read_place)
            .collect::<Result<_, _>>()?,
        path: path
            .strip_prefix('/')
            .map(|path| decode(path, "path"))
            .transpose()?,
        parameters: read_parameters(query)?,
    };
    if login.is_none() {
        refuse_what_may_be_a_login(&parts, path)?;
    }
    Ok(parts)
}

/// Lowest port that is believed of a host that may as well be a user: servers of databases and brokers have higher ones, and
/// many a password begins with a year.
const PORT_MIN: u16 = 5000;

/// Where a URL has no login, its host, port and path may be one that was not encoded: `app:24/word%40host/db`.
fn refuse_what_may_be_a_login(parts: &Parts, raw_path: &str) -> Result<(), UrlError> {
    let path = parts.path.as_deref().unwrap_or_default();
    // RabbitMQ's own virtual host is written `//` by some.
    if path.contains('@') || raw_path != "//" && raw_path.matches('/').count() > 1 {
        return Err(not_encoded(
            "has no user, and an @ or a second / in its path",
        ));
    }
    let names = |name: &str| {
        parts
            .parameters
            .iter()
            .any(|parameter| parameter.name == name)
    };
    if parts
        .parameters
        .iter()
        .any(|parameter| !names("user") && parameter.value.expose_secret().contains('@'))
    {
        return Err(not_encoded("has no user, and an @ in a parameter"));
    }
    let has_rest = !path.is_empty() || !parts.parameters.is_empty();
    let may_be_login = parts.places.iter().any(|Place { host, port }| {
        let is_certain = host.starts_with('/')
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok()
            || is_ipv6(host);
        !is_certain && !host.is_empty() && port.is_some_and(|port| port < PORT_MIN)
    });
    if may_be_login && has_rest && !names("user") {
        let remedy = format!("write user@ before the host if it is one; else {ENCODE}");
        return Err(UrlError::new(
            "has no user, and what may be a user and a password in the place of host and port",
            remedy,
        ));
    }
    Ok(())
}

fn read_place(text: &str, has_login: bool, example: &str) -> Result<Place, UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let bracket = |fault| UrlError::new(fault, format!("write it as {example}"));
            let unclosed = || bracket("has a [ before the host and no ] behind it");
            let (address, rest) = rest.split_once(']').ok_or_else(unclosed)?;
            let address = decode(address, "host")?;
            if !is_ipv6(&address) {
                let fault = "has something else than an IPv6 address in brackets";
                return Err(UrlError::new(
                    fault,
                    "write brackets around an IPv6 address alone, such as [::1]",
                ));
            }
            match (rest, rest.strip_prefix(':')) {
                ("", _) => (address, ""),
                (_, Some(port)) => (address, port),
                _ => return Err(bracket("has something between the ] and the port")),
            }
        }
        None if text.matches(':').count() > 1 => {
            let remedy = if has_login {
                format!("write an IPv6 address in brackets, such as {example}")
            } else {
                format!(
                    "write user and password before an @, an IPv6 address in brackets, and {ENCODE}"
                )
            };
            return Err(UrlError::new("has more than one : in the host", remedy));
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            (decode(host, "host")?, port)
        }
    };
    check_host(&host)?;
    Ok(Place {
        host,
        port: read_port(port)?,
    })
}

/// # Errors
/// Fails for what is no name, no address and no folder of a socket.
pub fn check_host(host: &str) -> Result<(), UrlError> {
    if host.starts_with('/') || is_ipv6(host) || host.bytes().all(is_of_a_name) {
        return Ok(());
    }
    let remedy = format!("give a name or an address, and {ENCODE}");
    Err(UrlError::new(
        "has a character in its host that no host has",
        remedy,
    ))
}

/// An empty port is none.
pub fn read_port(text: &str) -> Result<Option<u16>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port != 0);
    port.map(Some).ok_or_else(|| {
        UrlError::new(
            "has a port that is no number from 1 to 65535",
            format!("correct the port, or {ENCODE}"),
        )
    })
}

/// Whether it is an IPv6 address, with or without a zone (`fe80::1%eth0`).
pub fn is_ipv6(host: &str) -> bool {
    host.split('%')
        .next()
        .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
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
    let mut parameters = Vec::new();
    let mut after_secret = false;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            let remedy = format!("write a parameter as name=value, and {ENCODE}, & as %26");
            return Err(UrlError::new("has a parameter without =", remedy));
        };
        // As forms encode it, which is how drivers read a query.
        let name = decode(name, "name of a parameter")?;
        let value = decode(&value.replace('+', " "), "value of a parameter")?;
        let is_name = (1..=40).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
        let may_be_shown = is_name && !after_secret;
        let lower = name.to_ascii_lowercase();
        after_secret |= ["pass", "pwd", "secret", "token"]
            .iter()
            .any(|word| lower.contains(word));
        parameters.push(Parameter {
            name,
            value: value.into(),
            may_be_shown,
        });
    }
    Ok(parameters)
}

fn decode(text: &str, part: &str) -> Result<String, UrlError> {
    let fault = |what: &str| Err(not_encoded(&format!("has {what} in its {part}")));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digits = text
                .get(at + 1..at + 3)
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                return fault("a % without two hexadecimal digits");
            };
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    match String::from_utf8(decoded) {
        Ok(text) if text.contains('\0') => fault("a %00"),
        Ok(text) => Ok(text),
        Err(_) => fault("percent-encoded bytes that are no UTF-8"),
    }
}

/// Encodes what is not a letter or a digit.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> (String, Option<u16>) {
        let parts = read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(parts.places.len(), 1, "{url}");
        (parts.places[0].host.clone(), parts.places[0].port)
    }

    #[test]
    fn hosts_of_every_kind_are_read() {
        for (url, host, port) in [
            ("x://db", "db", None),
            ("x://db:5432/app", "db", Some(5432)),
            ("x://u:p@db_1.internal.:1/app", "db_1.internal.", Some(1)),
            ("x://u:p@[::1]:5432/app", "::1", Some(5432)),
            ("x://[2001:db8::1]", "2001:db8::1", None),
            ("x://[fe80::1%25eth0]:65535", "fe80::1%eth0", Some(65535)),
            ("x://u:p[w@db/app", "db", None),
            ("x://u:p@w@db:/app", "db", None),
            ("x://u@%2Frun%2Fpg/app", "/run/pg", None),
            ("x://u@/app", "", None),
            ("x:///app", "", None),
        ] {
            assert_eq!(place(url), (host.to_owned(), port), "{url}");
        }
        let several = read("x://u:p@h1:1,[::2]:2,h3/app").unwrap().places;
        let hosts: Vec<_> = several
            .iter()
            .map(|place| (place.host.as_str(), place.port))
            .collect();
        assert_eq!(hosts, [("h1", Some(1)), ("::2", Some(2)), ("h3", None)]);
    }

    #[test]
    fn logins_paths_and_parameters_are_decoded() {
        let parts =
            read("X://a%40b:7%2FM%2br%3fE':d[z:@db/a%2Fb?sslmode=require&options=-c+a%3Db&x=")
                .unwrap();
        assert_eq!(
            (parts.scheme.as_str(), parts.user.as_deref()),
            ("x", Some("a@b"))
        );
        assert_eq!(parts.password.unwrap().expose_secret(), "7/M+r?E':d[z:");
        assert_eq!(parts.path.as_deref(), Some("a/b"));
        let read: Vec<_> = parts
            .parameters
            .iter()
            .map(|p| (p.shown(), p.value.expose_secret()))
            .collect();
        assert_eq!(
            read,
            [("sslmode", "require"), ("options", "-c a=b"), ("x", "")]
        );
    }

    /// Each password holds something that ends it early for some reader.
    #[test]
    fn no_piece_of_a_password_is_in_an_error() {
        let passwords = [
            "hunter2/",
            "/hunter2",
            "hunter2/x=hunter2",
            "2024/hunter2!",
            "hunter2?",
            "?hunter2",
            "2024?hunter2=1&hunter2",
            "#hunter2",
            "hunter2#",
            "1#hunter2",
            "hunter2%",
            "hunter2%zz",
            "%hunter2",
            "%ff%fehunter2",
            "hunter2%00",
            "7M+r?E':hunter2",
            "/7M+r?E':hunter2",
            "hunter2\n",
            "hunter2/?#",
            "hunter2:1:/",
            "[hunter2/",
            "[::1]/hunter2",
            "1,2/hunter2",
            "\\hunter2/",
        ];
        for password in passwords {
            for url in [
                format!("x://app:{password}@127.0.0.1:5432/db"),
                format!("x://app:{password}@db/db?sslmode=require"),
                format!("x://{password}@db:1/db"),
                format!("x://{password}:secret@[::1]/db"),
                format!("x://db/app?password={password}&hunter2"),
            ] {
                if let Err(error) = read(&url) {
                    let said = format!("{error} {error:?}");
                    assert!(
                        !said.contains("hunter2") && !said.contains("2024"),
                        "{url}: {said}"
                    );
                    assert!(!error.remedy.is_empty(), "{url}");
                }
            }
            let url = format!("x://app:{password}@127.0.0.1:5432/db");
            assert!(read(&url).is_err(), "{url}");
        }
        for url in [
            "x://app:hunter2",
            "x://app:hunter2/db",
            "x://a:hunter2:b",
            "hunter2",
            "x:hunter2",
        ] {
            let error = read(url)
                .err()
                .unwrap_or_else(|| panic!("{url}"))
                .to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_may_be_a_login_is_not_taken_for_a_host() {
        for url in [
            "x://app:24/hunter2%40127.0.0.1/db",
            "x://app:24/hunter2%40h",
            "x://app:6432/hunter2%40h",
            "x://app/hunter2%40h",
            "x://app:24/hunter2",
            "x://first.last:2024/hunter2",
            "x://app:24?hunter2=1",
            "x://app:6432/hunter2/db",
            "x://app:6432/db?hunter2=x%40h",
        ] {
            let error = read(url)
                .err()
                .unwrap_or_else(|| panic!("{url} is read"))
                .to_string();
            assert!(
                error.contains("%2F") && !error.contains("hunter2") && !error.contains("24"),
                "{url}: {error}"
            );
        }
        for url in [
            "x://db",
            "x://db/app",
            "x://db:5432/app",
            "x://db:25",
            "x://127.0.0.1:1/app",
            "x://[::1]:1/app",
            "x://localhost:1/app",
            "x://db:1/app?user=a%40b",
            "x://u@db:1/app%40b",
            "x://u@db/a/b",
            "x://db//",
            "x://db/%2f",
            "x://db:5672/%2Fprod%2Fclerk",
            "x://u:p@db:1/%2Fprod%2Fclerk?user=x",
        ] {
            assert!(read(url).is_ok(), "{url}: {:?}", read(url).err());
        }
    }

    #[test]
    fn what_nobody_knows_is_ignored_if_it_demands_nothing() {
        let ignored =
            |query: &str| read(&format!("x://u@h/db?{query}")).unwrap().parameters[0].ignore();
        for query in [
            "search_path=a",
            "TimeZone=UTC",
            "statement_timeout=1",
            "channelMax=1",
            "x.y-z=",
        ] {
            assert_eq!(ignored(query), Ok(()), "{query}");
        }
        for query in [
            "sslfuture=hunter2",
            "SSLmode2=hunter2",
            "useSSL=hunter2",
            "tls=hunter2",
            "channel_binding_2=hunter2",
            "gssencmode2=hunter2",
            "krbsrvname2=hunter2",
            "require_auth2=hunter2",
        ] {
            let error = ignored(query).unwrap_err();
            let name = query.split('=').next().unwrap();
            assert!(
                error.fault.contains(name) && !error.to_string().contains("hunter2"),
                "{query}: {error}"
            );
        }
        for query in [
            "hunter'2=x",
            "hunter2%20=x",
            "hunter2[x]=x",
            &format!("hunter2{}=x", "x".repeat(40)),
        ] {
            let error = ignored(query).unwrap_err().to_string();
            assert!(
                error.contains("%2F") && !error.contains("hunter"),
                "{query}: {error}"
            );
        }
    }

    #[test]
    fn the_name_of_a_parameter_is_shown_where_it_cannot_be_a_piece_of_a_password() {
        let shown = |url: &str| -> Vec<String> {
            read(url)
                .unwrap()
                .parameters
                .iter()
                .map(|parameter| parameter.shown().to_owned())
                .collect()
        };
        assert_eq!(shown("x://db/a?sslpassword=hunter2"), ["sslpassword"]);
        assert_eq!(
            shown("x://db/a?b=1&password=hun&ter2=x"),
            ["b", "password", "(not shown)"]
        );
        assert_eq!(shown("x://db/a?hunter'2=x"), ["(not shown)"]);
    }

    #[test]
    fn an_example_has_the_port_of_its_server() {
        for (scheme, example) in [
            ("AMQP", "[::1]:5672"),
            ("amqps", "[::1]:5671"),
            ("postgres", "[::1]:5432"),
        ] {
            for place in ["::1:1", "[::1]1"] {
                let error = read(&format!("{scheme}://u:p@{place}/x")).err().unwrap();
                assert!(error.remedy.contains(example), "{scheme} {place}: {error}");
            }
        }
    }

    #[test]
    fn each_wrong_part_has_words_of_its_own() {
        for (url, fault) in [
            ("db:5432/app", "has no ://"),
            ("x://u:p@db:http/app", "has a port"),
            ("x://u:p@db:0/app", "has a port"),
            ("x://u:p@db:65536/app", "has a port"),
            ("x://u:p@db:+1/app", "has a port"),
            ("x://u:p@::1:5432/app", "has more than one : in the host"),
            ("x://u:p@[::1/app", "has a [ before the host"),
            (
                "x://u:p@[db]/app",
                "has something else than an IPv6 address in brackets",
            ),
            ("x://u:p@[::1]5432/app", "has something between the ]"),
            ("x://u:p@d b/app", "has a character in its host"),
            (
                "x://u%zz:p@db/app",
                "has a % without two hexadecimal digits in its user",
            ),
            (
                "x://u:p%2@db/app",
                "has a % without two hexadecimal digits in its password",
            ),
            (
                "x://u:p@db/app%",
                "has a % without two hexadecimal digits in its path",
            ),
            (
                "x://u:p@db/app?x=%",
                "has a % without two hexadecimal digits in its value of a parameter",
            ),
            ("x://u:p@db/app?x", "has a parameter without ="),
            ("x://u:p@db/app#x", "holds a #"),
            ("x://u:p/w@db/app", "holds an @ behind"),
        ] {
            let error = read(url).err().unwrap_or_else(|| panic!("{url} is read"));
            assert!(error.fault.starts_with(fault), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        let text = "a /?#@%&=+:é\u{1f600}'\"";
        assert_eq!(decode(&encode(text), "user").unwrap(), text);
    }
}
