//! A change of a row, as the message that applications receive.

use bytes::Bytes;

use crate::clerk::Timestamp;

/// What is published of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeMessage {
    /// Names the change: the same each time that it is published.
    pub id: String,
    /// `TABLE.CHANGE`. It is the message's type, too.
    pub routing_key: String,
    /// When the row was changed.
    pub committed_at: Timestamp,
    /// A JSON object.
    pub body: Bytes,
}
