//! Rows as they are read, and as they are written for programs: one JSON object each, times in RFC
//! 3339.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sqlx::Error;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Schema};

use super::database_row::DatabaseRow;
use super::event_status::Status;
use super::filter::Cursor;
use super::sort::Sort;
use super::template::profile_columns;
use super::time::Time;
use crate::clerk::{EventId, Kind, Table, Value};

/// A row of a synced table.
#[derive(Debug, Clone)]
pub struct TableRow {
    /// The table.
    pub table: &'static Table,
    /// Clerk's ID.
    pub clerk_id: String,
    /// One for each column of the table, in its order.
    pub values: Box<[Value]>,
    /// Clerk's time of the profile; `None` without a profile.
    pub updated_at: Option<Time>,
    /// The time of the delete; `None` if not deleted.
    pub deleted_at: Option<Time>,
    /// The whole object.
    pub data: Option<Box<RawValue>>,
    /// The event's ID.
    pub event_id: Option<String>,
    /// When the event occurred.
    pub occurred_at: Option<Time>,
    /// When the row was last changed.
    pub synced_at: Time,
    /// When it was erased; `None` if it was not.
    pub erased_at: Option<Time>,
}

/// A row of `events`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventRow {
    /// The event's ID.
    pub event_id: String,
    /// The type.
    pub event_type: String,
    /// Clerk's ID.
    pub clerk_id: Option<String>,
    /// When the event occurred.
    pub occurred_at: Option<Time>,
    /// `svix-timestamp` of the delivery that made the row.
    pub sent_at: Time,
    /// When it was received.
    pub received_at: Time,
    /// When it was last processed.
    pub processed_at: Time,
    /// The status.
    pub status: Status,
    /// How often it was delivered.
    pub deliveries: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
    /// The code of the error; null if it did not fail.
    pub error_code: Option<String>,
    /// For a stale event: the ID of the event with the newer version.
    pub superseded_by: Option<String>,
    /// The raw body, if it is kept and was asked for. Written as text; bytes that are no text are
    /// replaced.
    #[schema(value_type = Option<String>, nullable = false)]
    #[serde(serialize_with = "lossy_text", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Vec<u8>>,
}

impl TableRow {
    pub(super) fn read(row: &DatabaseRow, table: &'static Table) -> Result<Self, Error> {
        let values = table.columns.iter().map(|column| row.value(column));
        Ok(Self {
            table,
            clerk_id: row.get("clerk_id")?,
            values: values.collect::<Result<_, _>>()?,
            updated_at: row.display_time("updated_at")?,
            deleted_at: row.display_time("deleted_at")?,
            data: row.json("data")?,
            event_id: row.get("event_id")?,
            occurred_at: row.display_time("occurred_at")?,
            synced_at: row.required_time("synced_at")?,
            erased_at: row.display_time("erased_at")?,
        })
    }

    /// The value of one of the table's own columns; null for a column that it does not have.
    pub fn value(&self, column: &str) -> &Value {
        let place = self.table.place(column);
        place
            .and_then(|place| self.values.get(place))
            .unwrap_or(&Value::Null)
    }

    /// The text in a column. Returns `None` if it is null.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.value(column).as_text()
    }

    /// The truth value in a column. Returns `None` if it is null.
    pub fn boolean(&self, column: &str) -> Option<bool> {
        self.value(column).as_bool()
    }

    /// The JSON text in a column. Returns `None` if it is null.
    pub fn json(&self, column: &str) -> Option<&str> {
        self.value(column).as_json()
    }

    /// The time in a column. Returns `None` if it is null.
    pub fn time(&self, column: &str) -> Option<Time> {
        self.value(column).as_time().map(Time)
    }

    /// The columns of the profile that hold something.
    pub(super) fn filled_profile_columns(&self) -> Vec<&'static str> {
        let row = serde_json::to_value(self).unwrap_or_default();
        profile_columns(self.table)
            .filter(|column| !row[column].is_null())
            .collect()
    }

    pub(super) fn cursor(&self, sort: Sort) -> Option<Cursor> {
        let id = self.clerk_id.clone();
        if sort == Sort::NEWEST_USERS {
            return Some(Cursor::User { clerk_id: id });
        }
        let value = sort.nullable_column().and_then(|column| self.text(column));
        let value = value.map(str::to_owned);
        Some(Cursor::Sorted { sort, value, id })
    }

    /// The JSON Schema of the rows of a table.
    pub fn schema(table: &Table) -> Schema {
        let row = table
            .row_columns()
            .fold(ObjectBuilder::new(), |row, column| {
                let is_required = matches!(column.name, "clerk_id" | "synced_at");
                let (of, format) = match column.kind {
                    Kind::Text => (Type::String, None),
                    Kind::Boolean => (Type::Boolean, None),
                    Kind::Integer => (Type::Integer, Some(KnownFormat::Int64)),
                    Kind::Time => (Type::String, Some(KnownFormat::DateTime)),
                    Kind::Json => (Type::Object, None),
                    Kind::Texts => (Type::Array, None),
                };
                let schema_type = if is_required {
                    SchemaType::Type(of)
                } else {
                    SchemaType::Array(vec![of, Type::Null])
                };
                let schema = ObjectBuilder::new()
                    .schema_type(schema_type)
                    .format(format.map(SchemaFormat::KnownFormat))
                    .description(Some(column.description));
                let row = row.property(column.name, schema);
                if is_required {
                    row.required(column.name)
                } else {
                    row
                }
            });
        row.description(Some(format!("A row of `{}`.", table.name)))
            .into()
    }
}

impl Serialize for TableRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("clerk_id", &self.clerk_id)?;
        for (column, value) in self.table.columns.iter().zip(&self.values) {
            row.serialize_entry(column.name, &Shown(value))?;
        }
        row.serialize_entry("updated_at", &self.updated_at)?;
        row.serialize_entry("deleted_at", &self.deleted_at)?;
        row.serialize_entry("data", &self.data)?;
        row.serialize_entry("event_id", &self.event_id)?;
        row.serialize_entry("occurred_at", &self.occurred_at)?;
        row.serialize_entry("synced_at", &self.synced_at)?;
        row.serialize_entry("erased_at", &self.erased_at)?;
        row.end()
    }
}

/// A value for programs.
struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Time(time) => Time(*time).serialize(serializer),
            Value::Json(json) => serde_json::from_str::<&RawValue>(json)
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
        }
    }
}

impl EventRow {
    /// The fields of a row without its payload, in their order.
    pub const FIELDS: [&str; 13] = [
        "event_id",
        "event_type",
        "clerk_id",
        "occurred_at",
        "sent_at",
        "received_at",
        "processed_at",
        "status",
        "deliveries",
        "attempts",
        "error",
        "error_code",
        "superseded_by",
    ];

    pub(super) fn read(row: &DatabaseRow) -> Result<Self, Error> {
        Ok(Self {
            event_id: row.get("event_id")?,
            event_type: row.get("event_type")?,
            clerk_id: row.get("clerk_id")?,
            occurred_at: row.display_time("occurred_at")?,
            sent_at: row.required_time("sent_at")?,
            received_at: row.required_time("received_at")?,
            processed_at: row.required_time("processed_at")?,
            status: row.status()?,
            deliveries: row.get("deliveries")?,
            attempts: row.get("attempts")?,
            error: row.get("error")?,
            error_code: row.get("error_code")?,
            superseded_by: row.get("superseded_by")?,
            payload: row.get("payload")?,
        })
    }

    /// Returns `None` if the row's ID is no event ID, which no row of ours has.
    pub(super) fn cursor(&self, sort: Sort) -> Option<Cursor> {
        let received_at = self.received_at.0;
        if sort == Sort::NEWEST_EVENTS {
            let event_id = EventId::new(&self.event_id)?;
            return Some(Cursor::Event {
                received_at,
                event_id,
            });
        }
        Some(Cursor::Sorted {
            sort,
            value: Some(received_at.ms().to_string()),
            id: self.event_id.clone(),
        })
    }
}

fn lossy_text<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::table::integer;
    use crate::clerk::tables::users::users_with;
    use crate::clerk::{EventId, Timestamp};
    use crate::store::template::{Dialect, render};

    #[test]
    fn statements_rows_and_schema_follow_the_list() {
        let table = users_with(integer("sign_ins", "How often the user signed in."));
        let upsert = include_str!("postgres/apply.sql");
        let statement = render(upsert, table, Dialect::Postgres, &[]);
        for part in [
            "created_at, sign_ins\n",
            "$43::timestamptz[], $44::bigint[]\n",
            "sign_ins = case when <erased>",
        ] {
            assert!(statement.contains(part), "{part}: {statement}");
        }
        let row = render(include_str!("sqlite/row.sql"), table, Dialect::Sqlite, &[]);
        assert!(row.contains("created_at, sign_ins, updated_at"), "{row}");
        let join = render(include_str!("sqlite/join.sql"), table, Dialect::Sqlite, &[]);
        assert!(
            join.contains("excluded.sign_ins else users.sign_ins"),
            "{join}"
        );
        let erase = render(
            include_str!("sqlite/erase.sql"),
            table,
            Dialect::Sqlite,
            &[],
        );
        assert!(erase.contains("sign_ins = null"), "{erase}");

        let mut values = vec![Value::Null; table.columns.len()];
        values[table.columns.len() - 1] = Value::Integer(7);
        let row = TableRow {
            table,
            clerk_id: "user_1".into(),
            values: values.into(),
            updated_at: None,
            deleted_at: None,
            data: None,
            event_id: None,
            occurred_at: None,
            synced_at: Time(Timestamp::MIN),
            erased_at: None,
        };
        assert_eq!(serde_json::to_value(&row).unwrap()["sign_ins"], 7);
        assert_eq!(row.filled_profile_columns(), ["sign_ins"]);
        let schema = serde_json::to_value(TableRow::schema(table)).unwrap();
        let expected = serde_json::json!({
            "type": ["integer", "null"],
            "format": "int64",
            "description": "How often the user signed in.",
        });
        assert_eq!(schema["properties"]["sign_ins"], expected);
    }

    fn event(payload: &str) -> EventRow {
        let at = Time(Timestamp::MIN);
        EventRow {
            event_id: EventId::new("msg_1").unwrap().to_string(),
            event_type: "user.updated".into(),
            clerk_id: None,
            occurred_at: None,
            sent_at: at,
            received_at: at,
            processed_at: at,
            status: Status::Failed,
            deliveries: 1,
            attempts: 1,
            error: None,
            error_code: None,
            superseded_by: None,
            payload: Some(payload.into()),
        }
    }

    #[test]
    fn the_fields_of_an_event_are_those_that_are_written() {
        let without = EventRow {
            payload: None,
            ..event("")
        };
        let written = serde_json::to_string(&without).unwrap();
        let places: Vec<_> = EventRow::FIELDS
            .iter()
            .map(|name| written.find(&format!("\"{name}\":")).expect(name))
            .collect();
        assert!(places.is_sorted());
        let written = serde_json::to_value(&without).unwrap();
        assert_eq!(written.as_object().unwrap().len(), EventRow::FIELDS.len());
    }
}
