//! What went wrong with TLS, and what a person does about it. None of it mends itself, so none of it is an outage.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    UnknownIssuer,
    /// The names that the certificate is for, as many as there are room for.
    WrongName(Vec<String>),
    Expired,
    NotYetValid,
    /// The server's certificate is that of a CA.
    CaAsServer,
    /// In rustls' words.
    OtherCertificate(String),
    ClientCertificateWanted,
    ClientCertificateRefused,
    /// The port answers with something else than TLS.
    NotTls,
    /// The server ended the handshake, or has no version or cipher that we have.
    NoAgreement(String),
    /// The server has no TLS on this port.
    Unavailable,
}

/// The server, and the words for what is set for it.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub server: &'static str,
    /// The setting for a CA.
    pub ca: &'static str,
    /// The settings for a client certificate.
    pub client: &'static str,
    /// What turns off the check of the name alone.
    pub without_name: Option<&'static str>,
    /// What is wrong with the URL where the port does not speak TLS.
    pub plain: &'static str,
}

impl Peer {
    pub const POSTGRES: Self = Self {
        server: "PostgreSQL",
        ca: "DATABASE_CA_FILE (or sslrootcert in DATABASE_URL)",
        client: "sslcert and sslkey in DATABASE_URL",
        without_name: Some("sslmode=verify-ca"),
        plain: "turn on ssl in postgresql.conf, or take sslmode out of DATABASE_URL where the wire is yours",
    };
    pub const RABBITMQ: Self = Self {
        server: "RabbitMQ",
        ca: "AMQP_CA_FILE",
        client: "AMQP_CLIENT_CERT_FILE and AMQP_CLIENT_KEY_FILE",
        without_name: None,
        plain: "give the TLS port, usually 5671, or begin AMQP_URL with amqp:// where the wire is yours",
    };
    pub const CLERK: Self = Self {
        server: "Clerk's API",
        ca: "CLERK_API_CA_FILE",
        client: "a proxy that has one",
        without_name: None,
        plain: "give a port of HTTPS in CLERK_API_URL",
    };
}

impl Fault {
    /// What is wrong and what to do, with a `; ` between them.
    pub fn explain(&self, peer: &Peer) -> String {
        let Peer {
            server, ca, client, ..
        } = peer;
        match self {
            Self::UnknownIssuer => format!(
                "TLS: {server}'s certificate is from a CA that is not trusted (unknown issuer); give the CA's certificate with {ca}"
            ),
            Self::WrongName(names) => {
                let names = if names.is_empty() {
                    String::new()
                } else {
                    format!(", but for {}", names.join(", "))
                };
                let otherwise = peer.without_name.map_or_else(String::new, |mode| {
                    format!(", or {mode} where the CA signs for nobody else")
                });
                format!(
                    "TLS: {server}'s certificate is not for the host of the URL{names}; give a name that it is for{otherwise}"
                )
            }
            Self::Expired => {
                format!(
                    "TLS: {server}'s certificate has expired; renew it, or correct this machine's clock"
                )
            }
            Self::NotYetValid => {
                format!(
                    "TLS: {server}'s certificate is not valid yet; correct the clock of this machine or of the CA"
                )
            }
            Self::CaAsServer => format!(
                "TLS: {server}'s certificate is that of a CA; let the CA sign a certificate for the server, and give the CA's with {ca}"
            ),
            Self::OtherCertificate(words) => {
                format!(
                    "TLS: {server}'s certificate cannot be used ({words}); give the server another one"
                )
            }
            Self::ClientCertificateWanted => {
                format!("TLS: {server} asks for a client certificate; give one with {client}")
            }
            Self::ClientCertificateRefused => format!(
                "TLS: {server} refuses the client certificate; see whether it has expired and whether {server} trusts its CA, and correct {client}"
            ),
            Self::NotTls => format!(
                "TLS: the port does not speak TLS as {server} does; {}",
                peer.plain
            ),
            Self::NoAgreement(words) => format!(
                "TLS: {server} ended the handshake ({words}); let it take TLS 1.2 or 1.3, and see whether it asks for a client certificate ({client})"
            ),
            Self::Unavailable => format!(
                "TLS: {server} has no TLS and the settings ask for it; {}",
                peer.plain
            ),
        }
    }
}

/// What `error`, or one that it comes from, says of TLS; `None` where it is about something else.
pub fn fault_of(error: &(dyn Error + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return of_rustls(error);
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

fn of_rustls(error: &rustls::Error) -> Option<Fault> {
    Some(match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            Fault::NotTls
        }
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::PeerMisbehaved(_)
        | rustls::Error::NoApplicationProtocol => Fault::NoAgreement(error.to_string()),
        rustls::Error::UnsupportedNameType => Fault::WrongName(Vec::new()),
        _ => return None,
    })
}

fn of_certificate(error: &CertificateError) -> Fault {
    /// More names than these say nothing more.
    const NAMES_MAX: usize = 3;
    match error {
        // A CA that was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Fault::UnknownIssuer,
        CertificateError::NotValidForName => Fault::WrongName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => Fault::WrongName(
            presented
                .iter()
                .filter_map(|name| host(name))
                .take(NAMES_MAX)
                .map(plain)
                .collect(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Fault::NotYetValid
        }
        other => {
            let words = other.to_string();
            if words.contains("CaUsedAsEndEntity") {
                Fault::CaAsServer
            } else {
                Fault::OtherCertificate(plain(&words))
            }
        }
    }
}

/// rustls writes a name as `DnsName("db.example")` or `IpAddress(127.0.0.1)`. One of another kind is for no host.
fn host(name: &str) -> Option<&str> {
    let name = name.strip_suffix(')')?;
    name.strip_prefix("DnsName(")
        .or_else(|| name.strip_prefix("IpAddress("))
        .map(|name| name.trim_matches('"'))
}

/// What a certificate holds is the server's word: one short line of it.
fn plain(text: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    text.chars()
        .filter(|character| !character.is_control())
        .take(CHARACTERS_MAX)
        .collect()
}

fn of_alert(alert: AlertDescription) -> Fault {
    match alert {
        AlertDescription::CertificateRequired => Fault::ClientCertificateWanted,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => Fault::ClientCertificateRefused,
        other => Fault::NoAgreement(format!("{other:?}")),
    }
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
            let fault = fault_of(&wrapped(error.clone())).unwrap_or_else(|| panic!("{error:?}"));
            let said = fault.explain(&Peer::POSTGRES);
            let (what, mend) = said.split_once("; ").unwrap();
            assert!(
                what.starts_with("TLS: ") && what.contains(meaning) && mend.contains(remedy),
                "{said}"
            );
            let of_rabbitmq = fault.explain(&Peer::RABBITMQ);
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
        let said = of_certificate(&error).explain(&Peer::RABBITMQ);
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
            assert_eq!(fault_of(&io::Error::from(kind)), None);
        }
        assert_eq!(fault_of(&io::Error::other("tls")), None);
        assert_eq!(
            fault_of(&wrapped(rustls::Error::FailedToGetCurrentTime)),
            None
        );
    }
}
