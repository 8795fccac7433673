//! The parameters of query strings as programs are told of them. `query.rs` reads them; a test holds the two together.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, Required};

use super::query::{ROWS, ROWS_MAX};
use crate::store::Status;

/// Of `GET /api/users`.
pub struct UserParameters;

/// Of `GET /api/events`.
pub struct EventParameters;

/// Of `GET /api/users/{id}/history`.
pub struct PageParameters;

/// A text without the character NUL, which no database holds.
const TEXT: &str = r"^[^\u0000]*$";

impl IntoParams for UserParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let q = "A whole Clerk ID, or the beginning of an e-mail address, phone number, username, external ID, first or last name, \
                 or of first and last name. Case counts in external IDs alone. A + is a plus; write a space as %20";
        let deleted = words(["true", "false", "any"])
            .default(Some("any".into()))
            .build();
        vec![
            parameter("q", q, text(TEXT)),
            parameter(
                "email",
                "The primary address; case does not count. A + is a plus",
                text(TEXT),
            ),
            parameter(
                "phone",
                "The primary number, such as +12025550123. A + is a plus",
                text(TEXT),
            ),
            parameter("username", "The username", text(TEXT)),
            parameter("external_id", "Your own ID of the user", text(TEXT)),
            parameter(
                "deleted",
                "Deleted users: only these, only the others, or all",
                deleted,
            ),
            limit(),
            cursor(r"^u\.[^\u0000]{1,255}$"),
        ]
    }
}

impl IntoParams for EventParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            parameter(
                "status",
                "What became of it",
                words(Status::ALL.map(Status::as_str)).build(),
            ),
            parameter("type", "The type, such as user.updated", text(TEXT)),
            parameter("user", "Clerk ID of the user", text(TEXT)),
            parameter(
                "error_code",
                "Failed with this code, such as unrouted",
                text(TEXT),
            ),
            parameter(
                "since",
                &format!("Received at this time or later: {TIME}"),
                time(),
            ),
            parameter(
                "until",
                &format!("Received before this time: {TIME}"),
                time(),
            ),
            limit(),
            cursor(EVENT_CURSOR),
        ]
    }
}

impl IntoParams for PageParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![limit(), cursor(EVENT_CURSOR)]
    }
}

pub(super) const EVENT_CURSOR: &str = r"^e\.[1-9][0-9]{0,13}\.[A-Za-z0-9_-]{1,255}$";

const TIME: &str = "a date (in UTC), a time, or an age such as 90s, 15m, 2h, 7d";

pub(super) fn time() -> Schema {
    let format = |format| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
    };
    let age = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9]{1,5}[smhd]$"));
    AnyOfBuilder::new()
        .item(age)
        .item(format(KnownFormat::Date))
        .item(format(KnownFormat::DateTime))
        .build()
        .into()
}

fn limit() -> Parameter {
    let schema = number(u64::from(ROWS_MAX))
        .default(Some(ROWS.into()))
        .build();
    parameter("limit", "Most rows of a page", schema)
}

fn cursor(pattern: &str) -> Parameter {
    parameter("cursor", "`next` of the page before", text(pattern))
}

pub(super) fn number(max: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(max))
}

pub(super) fn words<const N: usize>(words: [&'static str; N]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
}

pub(super) fn text(pattern: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .build()
        .into()
}

fn parameter(name: &str, description: &str, schema: impl Into<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema.into()))
        .build()
}
