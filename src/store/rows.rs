//! Rows as they are read, and as they are written for programs: one JSON object each, times in RFC 3339.

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::query::Cursor;
use super::template::PROFILE_COLUMNS;
use crate::clerk::{EventId, Timestamp};

/// A row of `users`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct User {
    pub clerk_id: String,
    pub email: Option<String>,
    pub email_verified: Option<bool>,
    pub phone: Option<String>,
    pub phone_verified: Option<bool>,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub image_url: Option<String>,
    pub external_id: Option<String>,
    pub locale: Option<String>,
    pub banned: Option<bool>,
    pub locked: Option<bool>,
    pub two_factor_enabled: Option<bool>,
    pub password_enabled: Option<bool>,
    #[schema(value_type = Option<serde_json::Value>)]
    pub public_metadata: Option<Box<RawValue>>,
    #[schema(value_type = Option<serde_json::Value>)]
    pub private_metadata: Option<Box<RawValue>>,
    #[schema(value_type = Option<serde_json::Value>)]
    pub unsafe_metadata: Option<Box<RawValue>>,
    pub last_sign_in_at: Option<Time>,
    pub last_active_at: Option<Time>,
    pub legal_accepted_at: Option<Time>,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
    pub deleted_at: Option<Time>,
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    pub event_id: Option<String>,
    pub occurred_at: Option<Time>,
    pub synced_at: Time,
    pub erased_at: Option<Time>,
}

/// A line of `events`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventRow {
    pub event_id: String,
    pub event_type: String,
    pub clerk_id: Option<String>,
    pub occurred_at: Option<Time>,
    /// `svix-timestamp` of the delivery that made the line.
    pub sent_at: Time,
    pub received_at: Time,
    pub processed_at: Time,
    pub status: Status,
    pub deliveries: i64,
    pub attempts: i64,
    pub error: Option<String>,
    pub error_code: Option<String>,
    /// The event whose newer version was there; of a stale one.
    pub superseded_by: Option<String>,
    /// The raw body, where it is kept and was asked for. Written as text; bytes that are no text are replaced.
    #[schema(value_type = Option<String>, nullable = false)]
    #[serde(serialize_with = "lossy_text", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Vec<u8>>,
}

impl User {
    /// The columns of the profile that hold something.
    pub(super) fn filled_profile_columns(&self) -> Vec<&'static str> {
        let row = serde_json::to_value(self).unwrap_or_default();
        PROFILE_COLUMNS
            .into_iter()
            .filter(|column| !row[column].is_null())
            .collect()
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        Some(Cursor::User {
            clerk_id: self.clerk_id.clone(),
        })
    }
}

impl EventRow {
    /// Nothing where the line's ID is none, which no line of ours has.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        Some(Cursor::Event {
            received_at: self.received_at.0,
            event_id: EventId::new(&self.event_id)?,
        })
    }
}

/// `events.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Applied,
    Stale,
    Failed,
    Discarded,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Applied, Self::Stale, Self::Failed, Self::Discarded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A time for programs: RFC 3339 in UTC, with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A `Timestamp` ends with the year 9999, which chrono can write.
        let time = DateTime::from_timestamp_millis(self.0.ms()).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let words = "RFC 3339 in UTC, with milliseconds";
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(format))
            .description(Some(words))
            .into()
    }
}

impl ToSchema for Time {}

fn lossy_text<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
        None => serializer.serialize_none(),
    }
}
