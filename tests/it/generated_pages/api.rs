//! docs/api.md: every route with its parameters, body and answers, from the OpenAPI document.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::LazyLock;

use clerk_sync::clerk::{Table, tables};
use clerk_sync::http::{ProblemCode, api};
use serde_json::Value;

use super::{compare, table};

/// An example of each route, which is run with the other commands of the documents.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "deliver",
        "clerk-sync send user.created --url http://127.0.0.1:3000/api/webhooks/clerk",
    ),
    (
        "list_users",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" 'http://127.0.0.1:3000/api/users?email=ada@example.com'",
    ),
    (
        "refresh_user",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" -X POST 'http://127.0.0.1:3000/api/users/user_2abc/refresh?fields=clerk_id,email'",
    ),
    (
        "list_changes",
        "curl -H \"Authorization: Bearer $READ_TOKEN\" 'http://127.0.0.1:3000/api/changes?table=users&wait=1'",
    ),
    (
        "list_events",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" 'http://127.0.0.1:3000/api/events?status=failed&since=2h'",
    ),
    (
        "show_event",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/events/msg_2abc",
    ),
    (
        "replay_events",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/events/replay -d '{\"since\":\"2h\",\"dry_run\":true}'",
    ),
    (
        "replay_event",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" -X POST http://127.0.0.1:3000/api/events/msg_2abc/replay",
    ),
    (
        "discard_events",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/events/discard -d '{\"ids\":[\"msg_2abc\"]}'",
    ),
    (
        "discard_event",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" -X POST http://127.0.0.1:3000/api/events/msg_2abc/discard",
    ),
    (
        "list_audit",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" 'http://127.0.0.1:3000/api/audit?action=replayed&limit=10'",
    ),
    (
        "show_control",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/control",
    ),
    (
        "list_processes",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/processes",
    ),
    (
        "pause",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/pause -d '{\"reason\":\"a migration of ours\"}'",
    ),
    (
        "resume",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" -X POST http://127.0.0.1:3000/api/resume",
    ),
    (
        "set_rate_limit",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/rate-limit -d '{\"events_per_second\":200}'",
    ),
    (
        "stats",
        "curl -H \"Authorization: Bearer $ADMIN_TOKEN\" http://127.0.0.1:3000/api/stats",
    ),
    ("alive", "curl http://127.0.0.1:3000/healthz"),
    ("ready", "curl http://127.0.0.1:3000/readyz"),
    ("metrics", "curl http://127.0.0.1:3000/metrics"),
    ("openapi", "curl http://127.0.0.1:3000/api/openapi.json"),
];

/// The table whose rows have this schema.
fn row_of(schema: &str) -> Option<&'static Table> {
    let is_name =
        |table: &&&Table| schema.to_lowercase() == table.singular && schema != table.singular;
    tables::ALL.iter().find(is_name).copied()
}

/// The examples above, and those of the tables.
fn examples() -> Vec<(String, String)> {
    let fixed = EXAMPLES
        .iter()
        .map(|(id, example)| ((*id).to_owned(), (*example).to_owned()));
    let mut all: Vec<_> = fixed.collect();
    let mut add = |id: String, path: String| {
        let url = format!("http://127.0.0.1:3000/api/{path}");
        let url = if path.contains('?') {
            format!("'{url}'")
        } else {
            url
        };
        all.push((
            id,
            format!("curl -H \"Authorization: Bearer $ADMIN_TOKEN\" {url}"),
        ));
    };
    for table in tables::ALL {
        let (one, many) = (table.singular, table.plural);
        let id = format!("{}_2abc", table.id_prefix);
        if table.name != "users" {
            add(
                format!("list_{many}"),
                format!("{many}?deleted=false&limit=10"),
            );
        }
        add(format!("show_{one}"), format!("{many}/{id}"));
        add(
            format!("{one}_history"),
            format!("{many}/{id}/history?limit=10"),
        );
        for (other, _) in tables::lists_of(table) {
            let list = other.plural;
            add(
                format!("{one}_{list}"),
                format!("{many}/{id}/{list}?deleted=false"),
            );
        }
    }
    all
}

#[test]
fn the_page_of_the_api_is_its_openapi_document() {
    let document: Value = serde_json::from_str(api::openapi_document()).unwrap();
    let schemas = &document["components"]["schemas"];
    let (mut index, mut routes) = (Vec::new(), String::new());
    let mut shown = BTreeSet::new();
    let groups = document["tags"].as_array().unwrap();
    let examples = examples();
    let of_tables = tables::ALL.iter().map(|table| table.plural);
    let others = ["changes", "events", "audit", "stats", "control", "health"];
    let order: Vec<_> = ["webhook"]
        .into_iter()
        .chain(of_tables)
        .chain(others)
        .collect();
    assert_eq!(groups.len(), order.len(), "every group is on the page");
    for group in order {
        let tag = groups.iter().find(|tag| tag["name"] == group).unwrap();
        write!(routes, "## {}\n\n", text(&tag["description"])).unwrap();
        for (path, method, operation) in operations(&document, group) {
            let name = format!("{} {path}", method.to_uppercase());
            let anchor: String = name.to_lowercase().replace(' ', "-");
            let anchor = anchor.replace(['/', '{', '}', '.'], "");
            let summary = text(&operation["summary"]);
            index.push([format!("[`{name}`](#{anchor})"), summary]);
            routes += &route(&name, operation, &examples);
            shown.extend(operation["operationId"].as_str().map(str::to_owned));
        }
    }
    for (id, _) in &examples {
        assert!(shown.remove(id), "no route is {id}");
    }
    assert!(shown.is_empty(), "give an example of {shown:?}");
    let mut types = String::new();
    for (name, schema) in schemas.as_object().unwrap() {
        // A problem is described above, and a row has its own page.
        let is_elsewhere = ["Problem", "Time"].contains(&name.as_str()) || row_of(name).is_some();
        let (including, fields) = fields(schema);
        if is_elsewhere || fields.is_empty() {
            continue;
        }
        write!(types, "### {name}\n\n{}\n\n", text(&schema["description"])).unwrap();
        for other in including {
            write!(types, "The fields of {other}, and:\n\n").unwrap();
        }
        writeln!(types, "{}", table(["field", "type", "meaning"], fields)).unwrap();
    }
    compare(
        "docs/api.md",
        &[
            ("list of routes", &table(["route", "does"], index)),
            ("routes", &routes),
            ("types", &types),
        ],
    );
}

fn operations<'d>(document: &'d Value, tag: &str) -> Vec<(&'d str, &'d str, &'d Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    let mut found: Vec<_> = each
        .filter(|(.., operation)| operation["tags"][0] == tag)
        .collect();
    found.sort_by_key(|(path, ..)| path.len());
    found
}

fn route(name: &str, operation: &Value, examples: &[(String, String)]) -> String {
    let mut page = format!("### {name}\n\n{}\n\n", text(&operation["summary"]));
    if operation["description"].is_string() {
        write!(page, "{}\n\n", text(&operation["description"])).unwrap();
    }
    let id = operation["operationId"].as_str().unwrap();
    let example = examples.iter().find(|(of, _)| of == id);
    let example = example.map_or("", |(_, example)| example);
    write!(page, "```sh\n{example}\n```\n\n").unwrap();
    if let Some(parameters) = operation["parameters"].as_array() {
        let rows = parameters.iter().map(|parameter| {
            let schema = &parameter["schema"];
            let mut default = text(&schema["default"]);
            if !default.is_empty() {
                default = format!("`{default}`");
            }
            let name = format!("`{}`", text(&parameter["name"]));
            [name, kind(schema), text(&parameter["description"]), default]
        });
        let header = ["parameter", "type", "meaning", "default"];
        writeln!(page, "{}", table(header, rows)).unwrap();
    }
    let body = &operation["requestBody"];
    if let Some(content) = body["content"].get("application/json") {
        let parts = [kind(&content["schema"]), text(&body["description"])];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        writeln!(page, "- **Body:** {}", parts.join(". ")).unwrap();
    }
    let mut problems = Vec::new();
    for (status, response) in operation["responses"].as_object().unwrap() {
        let about = text(&response["description"]);
        if status == "200" {
            let mut content = response["content"].as_object().unwrap().values();
            let kind = kind(&content.next().unwrap()["schema"]);
            writeln!(page, "- **200:** {kind}. {about}").unwrap();
        } else if status == "304" {
            writeln!(page, "- **304:** {about}").unwrap();
        } else {
            problems.push(format!("{status} {}", with_links(&about)));
        }
    }
    write!(page, "- **Errors:** {}\n\n", problems.join("; ")).unwrap();
    page
}

/// Every code as a link to its section in docs/errors.md.
fn with_links(text: &str) -> String {
    ProblemCode::ALL.iter().fold(text.to_owned(), |text, code| {
        let name = code.name();
        text.replace(
            &format!("`{name}`"),
            &format!("[`{name}`](errors.md#{name})"),
        )
    })
}

/// The text of a value, on one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    }
}

/// The types whose fields it has, and its own fields: of several forms those of each.
fn fields(schema: &Value) -> (Vec<String>, Vec<[String; 3]>) {
    let parts = ["allOf", "oneOf"]
        .iter()
        .filter_map(|word| schema[word].as_array());
    let (mut including, mut found): (Vec<String>, Vec<[String; 3]>) = (Vec::new(), Vec::new());
    for part in parts.flatten() {
        including.extend(part["$ref"].as_str().map(|_| kind(part)));
        let (more, fields) = fields(part);
        including.extend(more);
        for field in fields {
            found.retain(|[name, ..]| *name != field[0]);
            found.push(field);
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        // What a form must not have.
        if field["type"] == "null" {
            continue;
        }
        let about = [&field["description"], &field["oneOf"][0]["description"]];
        let about = about
            .iter()
            .map(|about| text(about))
            .find(|about| !about.is_empty());
        found.push([format!("`{name}`"), kind(field), about.unwrap_or_default()]);
    }
    (including, found)
}

/// A schema of the document by its name.
fn schema_named(name: &str) -> &'static Value {
    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(api::openapi_document()).unwrap());
    &DOCUMENT["components"]["schemas"][name]
}

fn one_of(values: &[Value]) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|value| format!("`{}`", text(value)))
        .collect();
    values.join(", ")
}

fn kind(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        let name = path.rsplit('/').next().unwrap();
        return match name {
            "Time" => "time".into(),
            name if row_of(name).is_some() => {
                let table = row_of(name).map_or("", |table| table.name);
                format!("[{name}](columns.md#{table})")
            }
            name => match schema_named(name)["enum"].as_array() {
                Some(values) => one_of(values),
                None => format!("[{name}](#{})", name.to_lowercase()),
            },
        };
    }
    if let Some(values) = schema["enum"].as_array() {
        return one_of(values);
    }
    if let Some(forms) = schema["oneOf"].as_array() {
        let (null, forms): (Vec<_>, Vec<_>) = forms.iter().partition(|form| form["type"] == "null");
        let null = null.iter().map(|_| "null".to_owned());
        return forms
            .into_iter()
            .map(kind)
            .chain(null)
            .collect::<Vec<_>>()
            .join(" or ");
    }
    if schema["anyOf"].is_array() {
        return "date, time or age".into();
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect(),
        other => vec![text(other)],
    };
    let is_optional = types.iter().any(|name| name == "null");
    let names = types
        .iter()
        .filter(|name| *name != "null")
        .map(|name| match name.as_str() {
            "array" => format!("list of {}", kind(&schema["items"])),
            "object" if schema["additionalProperties"].is_object() => {
                format!("object of {}", kind(&schema["additionalProperties"]))
            }
            "string" if schema["format"] == "date-time" => "time".into(),
            "string" => "text".into(),
            "" => "any JSON".into(),
            other => other.to_owned(),
        });
    let mut name = names.collect::<Vec<_>>().join(" or ");
    if let (Some(min), Some(max)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        write!(name, ", {min} to {max}").unwrap();
    }
    if is_optional { name + " or null" } else { name }
}
