//! Connects to a node. An error is transient, or permanent until an operator fixes something.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};

use super::address::NodeAddress;
use super::amqp_error::describe;
use crate::tls::{self, Peer};

/// Why there is no connection.
pub enum ConnectError {
    /// The broker is away.
    Transient(String),
    /// An operator must fix something.
    Permanent(String),
}

const OF_VHOST: &str = "RabbitMQ refuses the virtual host of AMQP_URL";

/// Connects. Trusts the certificates of the node's files and the system's roots.
pub async fn connect(
    node: &NodeAddress,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> Result<Connection, ConnectError> {
    let tls = node
        .tls()
        .map_err(|error| ConnectError::Permanent(error.to_string()))?;
    let scheme = uri.scheme.clone();
    let ends_in_slash = uri.vhost.len() > 1 && uri.vhost.ends_with('/');
    let connect = async {
        Connection::connect_uri_with_config(
            uri,
            properties,
            tls,
            lapin::runtime::default_runtime()?,
        )
        .await
    };
    connect.await.map_err(|error| match ConnectError::of(&scheme, error) {
        ConnectError::Permanent(reason) if ends_in_slash && reason.starts_with(OF_VHOST) => ConnectError::Permanent(format!(
            "{reason}; its name ends in /: take the / at the end of the URL out, unless the virtual host is called so"
        )),
        ConnectError::Transient(reason) if [" eof", "aborted", "reset"].iter().any(|end| reason.contains(end)) => {
            ConnectError::Transient(format!("{reason}; see that RabbitMQ runs there and that it is its port: {}", port_of(&scheme)))
        }
        other => other,
    })
}

/// The port that a URL of this scheme needs.
fn port_of(scheme: &AMQPScheme) -> &'static str {
    match scheme {
        AMQPScheme::AMQP => {
            "is it the TLS port? Begin AMQP_URL with amqps:// there; without TLS the port is usually 5672"
        }
        AMQPScheme::AMQPS => "with amqps:// give the TLS port, usually 5671",
    }
}

impl ConnectError {
    /// The kind of an error of a connection with this scheme.
    pub fn of(scheme: &AMQPScheme, error: lapin::Error) -> Self {
        let description = describe(&error);
        match error.kind() {
            ErrorKind::ProtocolError(amqp) => match amqp.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Self::Permanent(format!(
                    "RabbitMQ refuses this user, check the name, the password and the permissions of AMQP_URL ({description})"
                )),
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH) => {
                    Self::Permanent(format!("{OF_VHOST} ({description})"))
                }
                _ => Self::Transient(description),
            },
            ErrorKind::IOError(error) => match tls::explain(error.as_ref(), &Peer::RABBITMQ) {
                Some(reason) => Self::Permanent(reason),
                None => Self::Transient(description),
            },
            ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
                Self::Permanent(format!(
                    "what answers there does not speak AMQP 0-9-1; {}",
                    port_of(scheme)
                ))
            }
            _ => Self::Transient(description),
        }
    }

    /// Why there is no connection, and what to do.
    pub fn reason(&self) -> &str {
        let (Self::Transient(reason) | Self::Permanent(reason)) = self;
        reason
    }
}
