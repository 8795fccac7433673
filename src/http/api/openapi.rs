//! `/api/openapi.json`: the document of all routes, for programs. Made from the routes and types
//! themselves, and open to everybody: docs/api.md is made from it.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use serde_json::json;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::{RefOr, Required, Response, Schema};
use utoipa::{Modify, OpenApi};

use super::parameters::{parameter_schema, schema};
use super::table_operations;
use super::{audit, changes, control, events, refresh, stats, tables, users};
use crate::clerk::tables as synced;
use crate::http::problem::{Code, Document};
use crate::http::{health, metrics, webhook};
use crate::store::HistoryRow;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "clerk-sync",
        description = "Keeps tables in step with Clerk: users, organizations, memberships, invitations. Errors are problem documents (RFC 9457); `code` names the kind. Times are RFC 3339 in UTC, with milliseconds.",
    ),
    servers((url = "/", description = "This server")),
    paths(
        webhook::receive::deliver,
        health::alive,
        health::ready,
        metrics::metrics,
        users::list_users,
        refresh::refresh_user,
        events::list_events,
        events::show_event,
        events::replay_events,
        events::replay_event,
        events::discard_events,
        events::discard_event,
        changes::list_changes,
        audit::list_audit,
        stats::stats,
        control::show_control,
        control::pause,
        control::resume,
        control::set_rate_limit,
        control::list_processes,
        openapi,
    ),
    components(schemas(Document, tables::History, HistoryRow)),
    modifiers(&Common),
    tags(
        (name = "users", description = "The users table"),
        (name = "changes", description = "What happened to rows, for applications"),
        (name = "events", description = "Events, their replay and discard"),
        (name = "audit", description = "Who acted"),
        (name = "stats", description = "Is it working?"),
        (name = "control", description = "Pause, resume, rate limit, processes"),
        (name = "webhook", description = "Where Clerk delivers"),
        (name = "health", description = "For orchestrators"),
    )
)]
struct Api;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    Api::openapi()
        .to_json()
        .expect("a document without maps of other keys than texts is JSON")
});

/// The document of every route.
pub fn document() -> &'static str {
    &DOCUMENT
}

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document())
}

const ADMIN_TOKEN: &str = "admin_token";
const READ_TOKEN: &str = "read_token";

/// Rows of which a request may name the fields that it wants.
const ROWS: [&str; 4] = ["EventRow", "Event", "HistoryRow", "Act"];

/// What follows from the kind of a route: its authentication and its problems. So no route has to
/// repeat it.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        table_operations::add(openapi);
        let components = openapi.components.get_or_insert_default();
        for (name, description) in [
            (
                ADMIN_TOKEN,
                "The value of ADMIN_TOKEN, which does everything",
            ),
            (READ_TOKEN, "The value of READ_TOKEN, which reads"),
        ] {
            let scheme = json!({"type": "http", "scheme": "bearer", "description": description});
            let scheme: SecurityScheme =
                serde_json::from_value(scheme).expect("the scheme is valid");
            components.add_security_scheme(name, scheme);
        }
        let of_tables = synced::ALL
            .iter()
            .copied()
            .map(table_operations::schema_name);
        for name in ROWS.map(str::to_owned).into_iter().chain(of_tables) {
            let row = components.schemas.get_mut(&name);
            remove_required(row.expect("each row has a schema"));
        }
        for (path, item) in &mut openapi.paths.paths {
            let is_row = path.ends_with("/{id}");
            if let Some(operation) = &mut item.get {
                complete(operation, path, &[ADMIN_TOKEN, READ_TOKEN]);
                if is_row {
                    add_entity_tag(operation);
                }
            }
            if let Some(operation) = &mut item.post {
                complete(operation, path, &[ADMIN_TOKEN]);
            }
        }
    }
}

/// With `fields` an answer has only some of a row.
fn remove_required(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => object.required.clear(),
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(remove_required),
        _ => {}
    }
}

/// The tag of a row, and the answer to who has it already.
fn add_entity_tag(operation: &mut Operation) {
    let parameter = json!({
        "name": "If-None-Match",
        "in": "header",
        "required": false,
        "description": "`ETag` of an answer before: 304 without a body if nothing has changed since",
        "schema": {"type": "string"},
    });
    let parameter = serde_json::from_value(parameter).expect("the parameter is valid");
    operation.parameters.get_or_insert_default().push(parameter);
    let tag = json!({"ETag": {"description": "For `If-None-Match`", "schema": {"type": "string"}}});
    let known = json!({"description": "The row is as `If-None-Match` has it", "headers": &tag});
    let known: Response = serde_json::from_value(known).expect("the response is valid");
    let responses = &mut operation.responses.responses;
    responses.insert("304".into(), known.into());
    if let Some(RefOr::T(row)) = responses.get_mut("200") {
        row.headers = serde_json::from_value(tag).expect("the header is valid");
    }
}

fn complete(operation: &mut Operation, path: &str, tokens: &[&str]) {
    let has_id = path.contains("{id}");
    let needs_token = operation.tags.iter().flatten().any(|tag| {
        let is_table = synced::ALL.iter().any(|table| table.plural == tag);
        is_table || ["changes", "events", "audit", "stats", "control"].contains(&tag.as_str())
    });
    let (mut has_query, mut may_wait) = (false, false);
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && matches!(parameter.parameter_in, ParameterIn::Query)
        {
            has_query = true;
            may_wait |= parameter.name == "wait";
            parameter.schema = Some(schema(parameter_schema(path, &parameter.name)).into());
        }
    }
    let mut codes = vec![Code::Overloaded];
    if may_wait {
        codes.extend([Code::TooManyWaiting, Code::NotReady]);
    }
    if has_query || operation.request_body.is_some() {
        codes.push(Code::InvalidRequest);
    }
    if operation.request_body.is_some() {
        codes.extend([Code::BodyTooLarge, Code::RequestTimeout]);
    }
    if needs_token {
        let requirement = |token: &&str| SecurityRequirement::new(*token, [""; 0]);
        operation.security = Some(tokens.iter().map(requirement).collect());
        // The body for one event and that of a pause may be missing.
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            body.required = Some(if has_id || path == "/api/pause" {
                Required::False
            } else {
                Required::True
            });
        }
        codes.extend([
            Code::Unauthorized,
            Code::AdminDisabled,
            Code::Forbidden,
            Code::DatabaseUnavailable,
            // In a receiver, which has no database.
            Code::NotFound,
        ]);
    }
    if has_id {
        codes.push(Code::NotFound);
    }
    add_problems(operation, &codes);
}

/// Makes each response for an error a problem document that names all its codes, after the route's
/// own description.
fn add_problems(operation: &mut Operation, codes: &[Code]) {
    let responses = &mut operation.responses.responses;
    for code in codes {
        let status = code.status().as_str().to_owned();
        let response = responses
            .entry(status)
            .or_insert_with(|| Response::default().into());
        let RefOr::T(response) = response else {
            continue;
        };
        let name = format!("`{}`", code.name());
        if response.description.is_empty() {
            response.description = name;
        } else if !response.description.contains(&name) {
            response.description += &format!(", {name}");
        }
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            *response = problem(status, &response.description);
        }
    }
}

fn problem(status: &str, description: &str) -> Response {
    let headers = match status {
        "401" => {
            json!({"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}})
        }
        "429" | "503" => {
            json!({"Retry-After": {"description": "Seconds after which to try again", "schema": {"type": "string"}}})
        }
        _ => json!({}),
    };
    let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
    let response = json!({
        "description": description,
        "headers": headers,
        "content": {"application/problem+json": problem},
    });
    serde_json::from_value(response).expect("the response is valid")
}
