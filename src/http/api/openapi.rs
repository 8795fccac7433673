//! `/api/openapi.json`: what this server can be asked, for programs. Made from the routes and types themselves, and open to
//! everybody: it holds nothing that the README does not.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{events, stats, users};
use crate::http::problem::{Code, Document};
use crate::http::{health, metrics, webhook};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "clerk-sync",
        description = "Keeps a table of users in step with Clerk. Errors are problem documents (RFC 9457); `code` tells one from another. Times are RFC 3339 in UTC, with milliseconds.",
    ),
    servers((url = "/", description = "This server")),
    paths(
        webhook::receive,
        health::alive,
        health::ready,
        metrics::metrics,
        users::list,
        users::show,
        users::history,
        events::list,
        events::show,
        events::replay,
        events::replay_one,
        events::discard,
        events::discard_one,
        stats::show,
        show,
    ),
    components(schemas(Document)),
    modifiers(&Token, &Problems),
    tags(
        (name = "users", description = "The users table"),
        (name = "events", description = "The record of every event, and what is done with failed ones"),
        (name = "stats", description = "Is it working?"),
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

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "health", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub async fn show() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(DOCUMENT.as_str())
}

/// How a request shows that it is an operator's.
struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let description = "The value of ADMIN_TOKEN";
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(description))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("admin_token", SecurityScheme::Http(scheme));
    }
}

/// The problems that follow from what a route is: each one of a kind has them all, so no route has to say so.
struct Problems;

impl Modify for Problems {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let has_id = path.contains("{id}");
            for operation in operations(item) {
                let mut codes = vec![Code::Overloaded];
                if operation.parameters.iter().flatten().any(is_in_query)
                    || operation.request_body.is_some()
                {
                    codes.push(Code::InvalidRequest);
                }
                if operation.request_body.is_some() {
                    codes.extend([Code::BodyTooLarge, Code::RequestTimeout]);
                }
                if operation.security.is_some() {
                    // An order for one event has a body or none; one for a set says there which.
                    if let Some(RefOr::T(body)) = &mut operation.request_body {
                        body.required = Some(if has_id {
                            Required::False
                        } else {
                            Required::True
                        });
                    }
                    codes.extend([
                        Code::Unauthorized,
                        Code::AdminDisabled,
                        Code::DatabaseUnavailable,
                    ]);
                    // In a receiver, which has no database.
                    codes.push(Code::NotFound);
                }
                if has_id {
                    codes.push(Code::NotFound);
                }
                add(operation, &codes);
            }
        }
    }
}

fn is_in_query(parameter: &RefOr<Parameter>) -> bool {
    matches!(parameter, RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post].into_iter().flatten()
}

/// Adds the problems, one response a status that names all codes it comes with. A route's own words for a status stand before.
fn add(operation: &mut Operation, codes: &[Code]) {
    for code in codes {
        let status = code.status().as_u16();
        let said = match operation
            .responses
            .responses
            .get(status.to_string().as_str())
        {
            Some(RefOr::T(response)) => response.description.clone(),
            _ => String::new(),
        };
        let name = format!("`{}`", code.name());
        if said.contains(&name) {
            continue;
        }
        let description = if said.is_empty() {
            name
        } else {
            format!("{said}, {name}")
        };
        operation
            .responses
            .responses
            .insert(status.to_string(), problem(status, description).into());
    }
}

fn problem(status: u16, description: String) -> Response {
    let document = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", document);
    let text = |description: &str| {
        let mut header = Header::default();
        header.description = Some(description.into());
        header
    };
    match status {
        401 => response.header("WWW-Authenticate", text("Bearer")).build(),
        503 => response
            .header("Retry-After", text("Seconds after which to try again"))
            .build(),
        _ => response.build(),
    }
}
