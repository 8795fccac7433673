//! What a connection to the broker is for, and what it declares.

use super::topology::{self, Names, TopologyError};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Publish,
    Consume,
    /// Publishes changes of rows, to an exchange that only this connection declares. Its faults
    /// touch no event.
    PublishChanges,
}

impl Purpose {
    /// As the broker lists it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::PublishChanges => "publish changes",
        }
    }

    /// Declares what it uses.
    pub async fn declare(
        self,
        connection: &lapin::Connection,
        names: &Names,
    ) -> Result<(), TopologyError> {
        match self {
            Self::Publish | Self::Consume => topology::declare(connection, names).await,
            Self::PublishChanges => topology::declare_changes(connection, names).await,
        }
    }

    /// Whether everything that it publishes to exists.
    pub async fn is_complete(
        self,
        connection: &lapin::Connection,
        names: &Names,
    ) -> Result<bool, lapin::Error> {
        match self {
            Self::Consume => Ok(true),
            Self::Publish => {
                topology::is_complete(connection, &topology::declarations(names)).await
            }
            Self::PublishChanges => {
                topology::is_complete(connection, &[topology::change_exchange(names)]).await
            }
        }
    }
}
