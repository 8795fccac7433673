//! What an error of TLS means, and how a person fixes it. Retrying fixes none of them, so none
//! counts as an outage.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// A server, and the words for its settings.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    server: &'static str,
    /// The setting for a CA.
    ca: &'static str,
    /// The settings for a client certificate.
    client: &'static str,
    /// The mode without a check of the name, for a CA that signs for no other server.
    without_name: &'static str,
    /// How to fix a URL whose port does not speak TLS.
    plain: &'static str,
}

impl Peer {
    /// PostgreSQL.
    pub const POSTGRES: Self = Self {
        server: "PostgreSQL",
        ca: "DATABASE_CA_FILE (or sslrootcert in DATABASE_URL)",
        client: "sslcert and sslkey in DATABASE_URL",
        without_name: ", or sslmode=verify-ca where the CA signs for no other server",
        plain: "turn on ssl in postgresql.conf, or take sslmode out of DATABASE_URL if the network is trusted",
    };
    /// RabbitMQ.
    pub const RABBITMQ: Self = Self {
        server: "RabbitMQ",
        ca: "AMQP_CA_FILE",
        client: "AMQP_CLIENT_CERT_FILE and AMQP_CLIENT_KEY_FILE",
        without_name: "",
        plain: "give the TLS port, usually 5671, or begin AMQP_URL with amqp:// if the network is trusted",
    };
    /// Clerk's Backend API.
    pub const CLERK: Self = Self {
        server: "Clerk's API",
        ca: "CLERK_API_CA_FILE",
        client: "a proxy that has one",
        without_name: "",
        plain: "give a port of HTTPS in CLERK_API_URL",
    };

    /// The text for a server that asks for a client certificate. A `; ` separates what is wrong
    /// from what to do.
    pub fn wants_client_certificate(&self) -> String {
        let Self { server, client, .. } = self;
        format!("TLS: {server} asks for a client certificate; give one with {client}")
    }

    /// The text for a server that ended the handshake, or has no version or cipher that we have.
    pub fn ended_the_handshake(&self, words: &str) -> String {
        let Self { server, client, .. } = self;
        format!(
            "TLS: {server} ended the handshake ({words}); let it take TLS 1.2 or 1.3, and see whether it asks for a client certificate ({client})"
        )
    }

    fn explain(&self, error: &rustls::Error) -> Option<String> {
        let Self {
            server,
            client,
            plain,
            ..
        } = self;
        Some(match error {
            rustls::Error::InvalidCertificate(error) => self.refuses_certificate(error),
            rustls::Error::UnsupportedNameType => {
                self.refuses_certificate(&CertificateError::NotValidForName)
            }
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
                format!("TLS: the port does not speak TLS as {server} does; {plain}")
            }
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired => self.wants_client_certificate(),
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => format!(
                    "TLS: {server} refuses the client certificate; see whether it has expired and whether {server} trusts its CA, and correct {client}"
                ),
                other => self.ended_the_handshake(&format!("{other:?}")),
            },
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::PeerMisbehaved(_)
            | rustls::Error::NoApplicationProtocol => self.ended_the_handshake(&error.to_string()),
            _ => return None,
        })
    }

    fn refuses_certificate(&self, error: &CertificateError) -> String {
        /// More names than these explain nothing more.
        const NAMES_MAX: usize = 3;
        let Self {
            server,
            ca,
            without_name,
            ..
        } = self;
        let what = match error {
            // A bad signature is that of a CA that was made again under its old name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "is from a CA that is not trusted (unknown issuer); give the CA's certificate with {ca}"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                let presented: &[String] = match error {
                    CertificateError::NotValidForNameContext { presented, .. } => presented,
                    _ => &[],
                };
                let names = presented
                    .iter()
                    .filter_map(|name| host(name))
                    .take(NAMES_MAX);
                let names: Vec<_> = names.map(plain).collect();
                let but = if names.is_empty() { "" } else { ", but for " };
                format!(
                    "is not for the host of the URL{but}{}; give a name that it is for{without_name}",
                    names.join(", ")
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has expired; renew it, or correct this machine's clock".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet; correct the clock of this machine or of the CA".into()
            }
            other => match other.to_string() {
                words if words.contains("CaUsedAsEndEntity") => format!(
                    "is that of a CA; let the CA sign a certificate for the server, and give the CA's with {ca}"
                ),
                words => {
                    format!(
                        "cannot be used ({}); give the server another one",
                        plain(&words)
                    )
                }
            },
        };
        format!("TLS: {server}'s certificate {what}")
    }
}

/// What `error`, or one that it comes from, says of TLS, and what to do, with a `; ` between them.
/// Returns `None` if it is about something else.
pub fn explain(error: &(dyn Error + 'static), peer: &Peer) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return peer.explain(error);
        }
        // An I/O error hides what it wraps from `source`.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// rustls writes a name as `DnsName("db.example")` or `IpAddress(127.0.0.1)`. One of another kind
/// is for no host.
fn host(name: &str) -> Option<&str> {
    let name = name.strip_suffix(')')?;
    let host = name
        .strip_prefix("DnsName(")
        .or_else(|| name.strip_prefix("IpAddress("))?;
    Some(host.trim_matches('"'))
}

/// One short line of a text from the server's certificate.
fn plain(text: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    let letters = text.chars().filter(|letter| !letter.is_control());
    letters.take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it comes out of a driver: within an I/O error, within another.
    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn every_error_of_tls_has_its_meaning_and_a_remedy() {
        let certificate = |error| rustls::Error::InvalidCertificate(error);
        for (error, meaning, remedy) in [
            (
                certificate(CertificateError::UnknownIssuer),
                "unknown issuer",
                "DATABASE_CA_FILE",
            ),
            (
                certificate(CertificateError::NotValidForName),
                "not for the host",
                "sslmode=verify-ca",
            ),
            (
                certificate(CertificateError::Expired),
                "has expired",
                "renew it",
            ),
            (
                certificate(CertificateError::NotValidYet),
                "not valid yet",
                "clock",
            ),
            (
                certificate(CertificateError::Revoked),
                "cannot be used",
                "another one",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
                "asks for a client",
                "sslcert",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::UnknownCA),
                "refuses the client certificate",
                "sslcert",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
                "ended the handshake",
                "TLS 1.2",
            ),
            (
                rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "does not speak TLS",
                "ssl",
            ),
        ] {
            let explain = |peer| explain(&wrapped(error.clone()), peer).unwrap();
            let said = explain(&Peer::POSTGRES);
            let (what, fix) = said.split_once("; ").unwrap();
            assert!(
                what.starts_with("TLS: ") && what.contains(meaning) && fix.contains(remedy),
                "{said}"
            );
            let of_rabbitmq = explain(&Peer::RABBITMQ);
            assert!(
                !of_rabbitmq.contains("DATABASE") && !of_rabbitmq.contains("PostgreSQL"),
                "{of_rabbitmq}"
            );
        }
    }

    #[test]
    fn the_names_of_a_certificate_are_written_plainly() {
        let presented = [
            "DirectoryName",
            "Unsupported(0x81)",
            r#"DnsName("*.db.example")"#,
            "IpAddress(127.0.0.1)",
            "IpAddress(::1)",
        ];
        let error = CertificateError::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("other.example").unwrap(),
            presented: presented.map(String::from).to_vec(),
        };
        let said = Peer::RABBITMQ.refuses_certificate(&error);
        assert!(
            said.contains("but for *.db.example, 127.0.0.1, ::1; give a name"),
            "{said}"
        );
    }

    #[test]
    fn an_outage_is_no_fault_of_tls() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::TimedOut,
        ] {
            assert_eq!(explain(&io::Error::from(kind), &Peer::CLERK), None);
        }
        assert_eq!(explain(&io::Error::other("tls"), &Peer::CLERK), None);
        assert_eq!(
            explain(
                &wrapped(rustls::Error::FailedToGetCurrentTime),
                &Peer::CLERK
            ),
            None
        );
    }
}
