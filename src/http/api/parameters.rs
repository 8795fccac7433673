//! The schemas of parameters in the OpenAPI document.

use serde_json::{Value, json};
use utoipa::openapi::schema::Schema;

use super::fields::Rows;
use super::filters::{ROWS, ROWS_MAX};
use super::wait::WAIT_MAX_S;
use crate::clerk::tables;
use crate::store::{Action, Range, Sort, Status};

/// A schema as utoipa has it, from JSON.
pub(super) fn schema(json: Value) -> Schema {
    serde_json::from_value(json).expect("each schema here is valid")
}

/// The schema of a parameter, in JSON.
pub(super) fn parameter_schema(path: &str, name: &str) -> Value {
    let sorts = |columns: &[&'static str], usual: Sort| json!({"type": "string", "enum": Sort::names(columns), "default": usual.to_string()});
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let rows = Rows::of_path(path);
    let is_of_users = path == "/api/users";
    match name {
        "action" => json!({"type": "string", "enum": Action::ALL}),
        "status" if path == "/api/events" => json!({"type": "string", "enum": Status::ALL}),
        "range" => json!({"type": "string", "enum": Range::ALL, "default": Range::default()}),
        "deleted" | "expired" => {
            json!({"type": "string", "enum": ["true", "false", "any"], "default": "any"})
        }
        "wait" => json!({"type": "integer", "minimum": 0, "maximum": WAIT_MAX_S, "default": 0}),
        "limit" => {
            json!({"type": "integer", "minimum": 1, "maximum": ROWS_MAX, "default": ROWS})
        }
        "fields" => {
            let names = rows.map(Rows::names).unwrap_or_default().join("|");
            pattern(&format!("^({names})(,({names}))*$"))
        }
        "ids" if matches!(rows, Some(Rows::List(_))) => {
            pattern(r"^[^,\u0000]{1,255}(,[^,\u0000]{1,255}){0,99}$")
        }
        "ids" => pattern("^[A-Za-z0-9_-]{1,255}(,[A-Za-z0-9_-]{1,255}){0,99}$"),
        "sort" if is_of_users => sorts(&Sort::OF_USERS, Sort::NEWEST_USERS),
        "sort" => sorts(&Sort::OF_EVENTS, Sort::NEWEST_EVENTS),
        "cursor" if is_of_users => {
            pattern(r"^(u|s\.-?[a-z_]+\.(v[A-Za-z0-9_-]*)?)\.[^\u0000]{1,255}$")
        }
        "cursor" if matches!(rows, Some(Rows::List(_))) => {
            let table = rows.and_then(Rows::table).map_or("", |table| table.name);
            pattern(&format!(r"^r\.{table}\.[^\u0000]{{1,255}}$"))
        }
        "cursor" if path == "/api/events" => pattern(
            r"^(e\.[1-9][0-9]{0,13}|s\.received_at\.v[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]{1,255}$",
        ),
        "after" => pattern(r"^(latest|c\.[0-9]{1,18}\.[0-9]{1,18})$"),
        "table" => {
            let names = tables::ALL.iter().map(|table| table.name);
            json!({"type": "string", "enum": names.collect::<Vec<_>>()})
        }
        "cursor" if path == "/api/audit" => pattern("^a\\.[0-9a-f]{20}$"),
        "cursor" => pattern(r"^e\.[1-9][0-9]{0,13}\.[A-Za-z0-9_-]{1,255}$"),
        "since" | "until" => json!({"anyOf": [
            pattern("^[0-9]{1,5}[smhd]$"),
            {"type": "string", "format": "date"},
            {"type": "string", "format": "date-time"},
        ]}),
        _ => pattern(r"^[^\u0000]*$"),
    }
}
