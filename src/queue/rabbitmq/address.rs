//! The address of a broker: `AMQP_URL` as typed data, parsed strictly.
//!
//! lapin gets checked parts and never the URL, so that it cannot quote it. A demand on TLS in a
//! parameter is obeyed or an error.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use secrecy::ExposeSecret;

use crate::tls::{FileError, Files, PemFile};
use crate::url::{self, Parameter, UrlError, bracketed, refuse};

/// The nodes of a broker, at least one.
#[derive(Debug, Clone)]
pub struct Address(Arc<[NodeAddress]>);

/// One node. Holds the password.
#[derive(Clone)]
pub struct NodeAddress {
    /// For lapin.
    pub uri: AMQPUri,
    /// The files of certificates.
    pub files: Files,
    /// The names of unknown parameters.
    ignored: Vec<String>,
}

/// Without secrets.
impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uri, files, .. } = self;
        f.debug_struct("NodeAddress")
            .field("place", &self.place())
            .field("scheme", &uri.scheme)
            .field("files", files)
            .finish_non_exhaustive()
    }
}

const EXAMPLE: &str = "give a URL such as amqp://user:password@host:5672/%2f";

/// Parameters of other clients, which have no effect here.
const WITHOUT_EFFECT: &str =
    "blocked_connection_timeout client_properties connection_attempts connection_name
    fail_if_no_peer_cert locale name product retry_delay socket_timeout stack_timeout tcp_options";

/// URLs without files of certificates.
impl FromStr for Address {
    type Err = UrlError;

    fn from_str(urls: &str) -> Result<Self, UrlError> {
        Self::read(urls, &Files::default())
    }
}

impl Address {
    /// Parses one URL per node, separated by commas. `files` apply if a URL names none.
    ///
    /// # Errors
    /// Fails for a URL that cannot be parsed or satisfied. No error holds a part of the URL's
    /// values.
    pub fn read(urls: &str, files: &Files) -> Result<Self, UrlError> {
        let has_scheme = |url: &str| {
            url.trim().split_once("://").is_some_and(|(scheme, _)| {
                scheme.eq_ignore_ascii_case("amqp") || scheme.eq_ignore_ascii_case("amqps")
            })
        };
        if !urls.split(',').all(has_scheme) {
            let remedy = format!(
                "{EXAMPLE}; one for each node of a cluster, separated by commas (write a comma in a password as %2C)"
            );
            return refuse("does not begin with amqp:// or amqps://", remedy);
        }
        urls.split(',')
            .map(|url| read_node(url.trim(), files))
            .collect::<Result<Vec<_>, _>>()
            .map(|nodes| Self(nodes.into()))
    }

    /// The names of unknown parameters, which have no effect, each once.
    pub fn ignored(&self) -> Vec<String> {
        let names = self.0.iter().flat_map(|node| node.ignored.iter().cloned());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The nodes.
    pub fn nodes(&self) -> &Arc<[NodeAddress]> {
        &self.0
    }
}

impl NodeAddress {
    /// Host, port and virtual host: the URL without its user and password.
    pub fn place(&self) -> String {
        let AMQPUri {
            authority, vhost, ..
        } = &self.uri;
        format!("{}:{}/{vhost}", bracketed(&authority.host), authority.port)
    }

    /// The TLS configuration for lapin. The files are read at each connection, so that a new
    /// certificate is used.
    ///
    /// # Errors
    /// Fails for a file that cannot be used.
    pub fn tls(&self) -> Result<OwnedTLSConfig, FileError> {
        let material = self.files.read()?;
        // lapin trusts the system's roots beside these.
        let cert_chain = Some(material.ca).filter(|ca| !ca.is_empty());
        let identity = material.client.map(|(pem, key)| OwnedIdentity::PKCS8 {
            pem,
            key: key.expose_secret().to_vec(),
        });
        Ok(OwnedTLSConfig {
            identity,
            cert_chain,
        })
    }
}

fn read_node(text: &str, files: &Files) -> Result<NodeAddress, UrlError> {
    let parts = url::read(text)?;
    let scheme = if parts.scheme == "amqps" {
        AMQPScheme::AMQPS
    } else {
        AMQPScheme::AMQP
    };
    if parts
        .host
        .as_ref()
        .is_some_and(|host| host.starts_with('/'))
    {
        return refuse("has a path for a host", EXAMPLE);
    }
    if parts.path.as_deref() == Some("") {
        return refuse(
            "ends in / and so names the empty virtual host",
            "write /%2f for the default virtual host, or leave the / at the end out",
        );
    }
    let mut read = Parameters::default();
    let ignored = parts.take_parameters(WITHOUT_EFFECT, |parameter| read.take(parameter))?;
    let files = Files {
        ca: read
            .ca
            .into_iter()
            .chain(files.ca.iter().cloned())
            .collect(),
        client: url::pair(("certfile", read.certificate), ("keyfile", read.key))?
            .or_else(|| files.client.clone()),
    };
    if scheme == AMQPScheme::AMQP && (read.asks_for_tls || files != Files::default()) {
        return refuse(
            "begins with amqp://, which is not encrypted, and certificates are set for it",
            "begin it with amqps:// (the port is then 5671), or take the certificates out",
        );
    }
    let default = AMQPAuthority::default();
    let authority = AMQPAuthority {
        userinfo: AMQPUserInfo {
            username: parts.user.unwrap_or(default.userinfo.username),
            password: parts
                .password
                .map_or(default.userinfo.password, |password| {
                    password.expose_secret().to_owned()
                }),
        },
        host: parts.host.unwrap_or(default.host),
        port: parts.port.unwrap_or_else(|| scheme.default_port()),
    };
    Ok(NodeAddress {
        uri: AMQPUri {
            scheme,
            authority,
            vhost: parts.path.unwrap_or_else(|| "/".into()),
            query: read.query,
        },
        files,
        ignored,
    })
}

/// The parameters parsed so far.
#[derive(Default)]
struct Parameters {
    query: AMQPQueryString,
    asks_for_tls: bool,
    ca: Option<PemFile>,
    certificate: Option<PemFile>,
    key: Option<PemFile>,
}

impl Parameters {
    /// Returns whether the parameter is known.
    fn take(&mut self, parameter: &Parameter) -> Result<bool, UrlError> {
        let unsupported = |remedy| Err(parameter.unsupported(remedy));
        let file = || {
            let path = parameter.non_empty()?;
            Some(PemFile::new(parameter.setting("AMQP_URL"), path))
        };
        match parameter.name.as_str() {
            "heartbeat" => self.query.heartbeat = Some(parameter.number()?),
            "frame_max" => self.query.frame_max = Some(parameter.number()?),
            "channel_max" => self.query.channel_max = Some(parameter.number()?),
            "connection_timeout" => self.query.connection_timeout = Some(parameter.number()?),
            // The first that is given is used.
            "auth_mechanism" => {
                let mechanism = SASLMechanism::from_str(parameter.text())
                    .map_err(|_| parameter.none_of("plain, amqplain, external, anonymous"))?;
                self.query.auth_mechanism.get_or_insert(mechanism);
            }
            "cacertfile" => self.ca = file(),
            "certfile" => self.certificate = file(),
            "keyfile" => self.key = file(),
            "verify" if parameter.text() == "verify_peer" => self.asks_for_tls = true,
            "verify" => {
                return unsupported("take it out, and give the CA with AMQP_CA_FILE or cacertfile");
            }
            "server_name_indication" | "depth" | "versions" | "ciphers" => {
                return unsupported(
                    "take it out: the host of the URL is the name that the certificate must be for",
                );
            }
            "password" => {
                return unsupported("give a key without a passphrase: `openssl pkey -in … -out …`");
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> NodeAddress {
        let address = Address::from_str(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        address.nodes()[0].clone()
    }

    fn refused(url: &str) -> String {
        match Address::from_str(url) {
            Ok(address) => panic!("{url} is read as {address:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls_of_every_form_are_parsed() {
        for (url, host, port, vhost) in [
            (
                "amqp://u:sesame@broker.example:5673/%2f",
                "broker.example",
                5673,
                "/",
            ),
            ("amqp://u:sesame@127.0.0.1", "127.0.0.1", 5672, "/"),
            ("AMQP://127.0.0.1:", "127.0.0.1", 5672, "/"),
            (
                "amqps://u:ses%5Bame@broker/staging?heartbeat=5",
                "broker",
                5671,
                "staging",
            ),
            (
                "amqps://u:ses[ame@broker/staging",
                "broker",
                5671,
                "staging",
            ),
            ("amqp://u:sesame@[::1]:5672/%2f", "::1", 5672, "/"),
            (
                "amqp://u:sesame@[2001:db8::1]/a%2fb",
                "2001:db8::1",
                5672,
                "a/b",
            ),
            ("amqp://u:sesame@broker//", "broker", 5672, "/"),
            ("amqp://broker:5672//", "broker", 5672, "/"),
            (
                "amqp://broker:5672/%2Fprod%2Fclerk",
                "broker",
                5672,
                "/prod/clerk",
            ),
            (
                "amqp://u:sesame@broker/%2Fprod%2Fclerk",
                "broker",
                5672,
                "/prod/clerk",
            ),
            ("amqp://", "localhost", 5672, "/"),
        ] {
            let uri = read(url).uri;
            assert_eq!(
                (
                    uri.authority.host.as_str(),
                    uri.authority.port,
                    uri.vhost.as_str()
                ),
                (host, port, vhost),
                "{url}"
            );
        }
        assert_eq!(read("amqp://u:sesame@[::1]/%2f").place(), "[::1]:5672//");
        let userinfo = read("amqp://a%40b:2024%2FWinter@h").uri.authority.userinfo;
        assert_eq!(
            (userinfo.username.as_str(), userinfo.password.as_str()),
            ("a@b", "2024/Winter")
        );
        let query =
            read("amqp://h?heartbeat=0&frame_max=8192&channel_max=9&connection_timeout=5&auth_mechanism=external")
                .uri
                .query;
        assert_eq!(
            (query.heartbeat, query.frame_max, query.channel_max),
            (Some(0), Some(8192), Some(9))
        );
        assert_eq!(
            (query.connection_timeout, query.auth_mechanism),
            (Some(5), Some(SASLMechanism::External))
        );
        assert_eq!(
            Address::from_str("amqp://a, amqp://b/%2f")
                .unwrap()
                .nodes()
                .len(),
            2
        );
    }

    #[test]
    fn a_refused_url_is_not_quoted() {
        for (url, fault) in [
            ("", "does not begin with"),
            ("sesame", "does not begin with"),
            ("http://u:sesame@broker", "does not begin with"),
            ("amqp+ssl://u:sesame@broker", "does not begin with"),
            ("amqp://u:ses,ame@broker", "does not begin with"),
            ("amqp://u:2024/sesame@broker", "holds an @"),
            ("amqp://u:2024?sesame@broker", "holds an @"),
            ("amqp://u:2024#sesame@broker", "holds a #"),
            ("amqp://u:2024/sesame%40broker", "has no user"),
            ("amqp://u:2024/sesame", "has no user"),
            ("amqp://h?sesame'=1", "has a parameter whose name"),
            ("amqp://u:sesame@broker:port/", "has a port"),
            ("amqp://u:sesame@::1:5672", "has more than one :"),
            (
                "amqp://u:sesame@broker/",
                "ends in / and so names the empty virtual host",
            ),
            (
                "amqps://u:sesame@broker/?heartbeat=5",
                "ends in / and so names the empty virtual host",
            ),
            ("amqp://u:sesame@%2Frun%2Fsocket/v", "has a path for a host"),
            ("amqp://h?heartbeat=sesame", "has the parameter heartbeat"),
            ("amqp://h?heartbeat=70000", "has the parameter heartbeat"),
            (
                "amqp://h?auth_mechanism=sesame",
                "has the parameter auth_mechanism",
            ),
            ("amqps://h?verify=verify_none", "has the parameter verify"),
            ("amqps://h?verify=sesame", "has the parameter verify"),
            (
                "amqps://h?server_name_indication=sesame",
                "has the parameter server_name_indication",
            ),
            ("amqps://h?password=sesame", "has the parameter password"),
            (
                "amqps://h?certfile=/sesame",
                "has one of certfile and keyfile",
            ),
            (
                "amqps://h?keyfile=/sesame",
                "has one of certfile and keyfile",
            ),
            ("amqps://h?sslmode=sesame", "has the parameter sslmode"),
            (
                "amqps://h?cacertfile=/a&cacertfile=/sesame",
                "has the parameter cacertfile",
            ),
            ("amqp://h?cacertfile=/sesame", "begins with amqp://"),
            ("amqp://h?verify=verify_peer", "begins with amqp://"),
        ] {
            let said = refused(url);
            assert!(
                said.starts_with(fault) && said.contains("; "),
                "{url}: {said}"
            );
            assert!(
                !said.contains("sesame") && !said.contains("2024"),
                "{url}: {said}"
            );
        }
    }

    #[test]
    fn unknown_parameters_are_ignored_and_named() {
        let ignored = |urls: &str| Address::from_str(urls).unwrap().ignored();
        assert!(ignored("amqp://h?heartbeat=5&locale=en").is_empty());
        assert_eq!(
            ignored("amqp://a?timeout=5&channelMax=1,amqp://b?timeout=5"),
            ["channelMax", "timeout"]
        );
    }

    #[test]
    fn files_come_from_the_url_or_from_the_settings() {
        let file = |name: &str| PemFile {
            setting: name.into(),
            path: format!("/{name}").into(),
        };
        let settings = Files {
            ca: vec![file("AMQP_CA_FILE")],
            client: Some((file("CERT"), file("KEY"))),
        };
        let read = |url: &str| {
            Address::read(url, &settings).map(|address| address.nodes()[0].files.clone())
        };
        assert_eq!(read("amqps://h").unwrap(), settings);
        let of_url =
            read("amqps://h?cacertfile=/ca&certfile=/c&keyfile=/k&verify=verify_peer&fail_if_no_peer_cert=true")
                .unwrap();
        let cas: Vec<_> = of_url
            .ca
            .iter()
            .map(|file| file.path.to_str().unwrap())
            .collect();
        assert_eq!(cas, ["/ca", "/AMQP_CA_FILE"]);
        assert_eq!(of_url.client.unwrap().1.path.to_str(), Some("/k"));
        assert!(
            read("amqp://h")
                .unwrap_err()
                .fault
                .starts_with("begins with amqp://")
        );
    }

    #[test]
    fn debugging_shows_no_secret() {
        let shown = format!(
            "{:?}",
            Address::from_str("amqp://user-x:sesame@h/v").unwrap()
        );
        assert!(
            !shown.contains("sesame") && !shown.contains("user-x"),
            "{shown}"
        );
    }
}
