//! Which queue to open, and what `check` finds there.

use super::error::OpenError;
use super::{embedded, rabbitmq};

/// Which queue to open.
#[derive(Debug, Clone)]
pub enum Options {
    /// RabbitMQ.
    RabbitMq(rabbitmq::Options),
    /// A SQLite file.
    Embedded(embedded::Options),
}

/// What `inspect` found.
#[derive(Debug, Clone)]
pub enum QueueInspection {
    /// At the broker.
    RabbitMq(rabbitmq::BrokerInspection),
    /// In the file.
    Embedded(embedded::FileInspection),
}

/// Inspects a queue, for an operator who sets it up. Creates and changes nothing. The queue need
/// not be open. With `publishes_changes` the exchange of changes of rows is inspected, too.
///
/// # Errors
/// Fails for a file that is not a usable queue.
pub async fn inspect(
    options: &Options,
    publishes_changes: bool,
) -> Result<QueueInspection, OpenError> {
    match options {
        Options::RabbitMq(options) => Ok(QueueInspection::RabbitMq(
            rabbitmq::inspect(options, publishes_changes).await,
        )),
        Options::Embedded(options) => {
            Ok(QueueInspection::Embedded(embedded::inspect(options).await?))
        }
    }
}
