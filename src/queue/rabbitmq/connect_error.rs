//! Connecting to a node, and why that failed: what time mends, and what a person must mend.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};

use super::address::Node;
use crate::tls::{self, Peer};

/// Why there is no connection.
pub enum Fault {
    /// The broker is away.
    Away(String),
    /// A person must mend something.
    Repair(String),
}

const OF_VHOST: &str = "RabbitMQ refuses the virtual host of AMQP_URL";

/// Connects; trusted is what the node's files hold beside the system's roots.
pub async fn connect(
    node: &Node,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> Result<Connection, Fault> {
    let tls = node
        .tls()
        .map_err(|error| Fault::Repair(error.to_string()))?;
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
    connect.await.map_err(|error| match fault_of(&scheme, error) {
        Fault::Repair(reason) if ends_in_slash && reason.starts_with(OF_VHOST) => Fault::Repair(format!(
            "{reason}; its name ends in /: take the / at the end of the URL out, unless the virtual host is called so"
        )),
        Fault::Away(reason) if [" eof", "aborted", "reset"].iter().any(|end| reason.contains(end)) => {
            Fault::Away(format!("{reason}; see that RabbitMQ runs there and that it is its port: {}", port_of(&scheme)))
        }
        fault => fault,
    })
}

/// Which port a URL of this scheme wants.
fn port_of(scheme: &AMQPScheme) -> &'static str {
    match scheme {
        AMQPScheme::AMQP => {
            "is it the TLS port? Begin AMQP_URL with amqps:// there; without TLS the port is usually 5672"
        }
        AMQPScheme::AMQPS => "with amqps:// give the TLS port, usually 5671",
    }
}

pub fn fault_of(scheme: &AMQPScheme, error: lapin::Error) -> Fault {
    let description = describe(&error);
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => match amqp.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Fault::Repair(format!(
                "RabbitMQ refuses this user, check the name, the password and the permissions of AMQP_URL ({description})"
            )),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH) => {
                Fault::Repair(format!("{OF_VHOST} ({description})"))
            }
            _ => Fault::Away(description),
        },
        ErrorKind::IOError(error) => match tls::fault_of(error.as_ref()) {
            Some(fault) => Fault::Repair(fault.explain(&Peer::RABBITMQ)),
            None => Fault::Away(description),
        },
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
            Fault::Repair(format!(
                "what answers there does not speak AMQP 0-9-1; {}",
                port_of(scheme)
            ))
        }
        _ => Fault::Away(description),
    }
}

/// The error without anything of the URL: lapin's own texts hold the broker's replies, I/O errors and states.
pub fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => amqp.get_message().to_string(),
        ErrorKind::IOError(error) => format!("no connection to RabbitMQ: {error}"),
        ErrorKind::MissingHeartbeatError => "RabbitMQ sends no heartbeat".into(),
        _ => format!("the connection to RabbitMQ failed: {error}"),
    }
}
