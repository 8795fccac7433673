//! Describes lapin's errors for people, and recognizes errors that closed a channel.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Describes the error, without any part of the URL: lapin's own texts hold the broker's replies,
/// I/O errors and states.
pub fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) => amqp.get_message().to_string(),
        ErrorKind::IOError(error) => format!("no connection to RabbitMQ: {error}"),
        ErrorKind::MissingHeartbeatError => "RabbitMQ sends no heartbeat".into(),
        _ => format!("the connection to RabbitMQ failed: {error}"),
    }
}

/// The broker's text, if it has closed a channel with an error of this kind; otherwise `None`.
pub fn channel_error(error: &lapin::Error, kind: AMQPSoftError) -> Option<&str> {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) if *amqp.kind() == AMQPErrorKind::Soft(kind) => {
            Some(amqp.get_message().as_str())
        }
        _ => None,
    }
}
