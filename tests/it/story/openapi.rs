//! The OpenAPI document: it describes each route that is served, as it is served.

use std::collections::BTreeSet;

use clerk_sync::clerk::tables;
use serde_json::{Value, json};

use crate::support::app::{App, Place, SECRET};

const TOKEN: &str = "correct-horse-battery-staple";

/// Where the routes are made.
const ROUTES: &str = include_str!("../../../src/http/routes.rs");

/// Methods and paths that the code serves.
fn served() -> BTreeSet<(String, String)> {
    let mut served = BTreeSet::from([("post".into(), clerk_sync::http::WEBHOOK_PATH.into())]);
    for (call, method) in [("get_only(", "get"), ("post_only(", "post")] {
        let calls = ROUTES.split(call).skip(1);
        let paths = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        served.extend(paths.map(|path| (method.to_owned(), path.to_owned())));
    }
    for table in tables::ALL {
        let path = format!("/api/{}", table.plural);
        let more = ["", "/{id}", "/{id}/history"].map(|end| format!("{path}{end}"));
        let lists = tables::lists_of(table);
        let lists = lists.map(|(other, _)| format!("{path}/{{id}}/{}", other.plural));
        served.extend(
            more.into_iter()
                .chain(lists)
                .map(|path| ("get".to_owned(), path)),
        );
    }
    served
}

async fn serve(place: &Place) -> App {
    place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("ADMIN_TOKEN", TOKEN),
            ],
        )
        .await
}

/// The operations of the document, each with its method and path.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (method.clone(), path.clone(), operation))
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_and_rejects_a_request_without_token() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let answer = app.get("/api/openapi.json").await.unwrap();
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document = answer.body;
    assert_eq!(
        (&document["openapi"], &document["info"]["title"]),
        (&json!("3.1.0"), &json!("clerk-sync"))
    );
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let operations = operations(&document);
    let described: BTreeSet<_> = operations
        .iter()
        .map(|(method, path, _)| (method.clone(), path.clone()))
        .collect();
    assert_eq!(described, served());
    let ids: BTreeSet<_> = operations
        .iter()
        .map(|(.., operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids.len(),
        operations.len(),
        "an operation has no name of its own"
    );

    for (method, path, operation) in &operations {
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|summary| !summary.is_empty()),
            "{path} says nothing"
        );
        let body = (method == "post").then(|| json!({}));
        let path = path.replace("{id}", "msg_1");
        let answer = app.api(None, &path, body).await;
        let open = ["/healthz", "/readyz", "/metrics", "/api/openapi.json"];
        let expected = match &*path {
            open_path if open.contains(&open_path) => 200,
            clerk_sync::http::WEBHOOK_PATH => 400,
            _ => 401,
        };
        assert_eq!(answer.status, expected, "{method} {path}");
        assert_eq!(
            operation.get("security").is_some(),
            expected == 401,
            "{method} {path}"
        );
        assert!(
            operation["responses"].get(expected.to_string()).is_some(),
            "{method} {path} does not name {expected}"
        );
    }
}

#[tokio::test]
async fn every_problem_and_every_reference_is_in_the_document() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let document = app.get("/api/openapi.json").await.unwrap().body;
    let text = document.to_string();
    let problem = &document["components"]["schemas"]["Problem"];
    let codes: Vec<_> = problem["properties"]["code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert!(codes.len() >= 15, "{codes:?}");
    // The method is the only thing that no operation can have wrong.
    for code in codes
        .iter()
        .map(|code| code.as_str().unwrap())
        .filter(|code| *code != "method_not_allowed")
    {
        assert!(
            text.contains(&format!("`{code}`")),
            "no operation names {code}"
        );
    }
    for reference in text
        .split("#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(
            document["components"]["schemas"].get(reference).is_some(),
            "{reference} is nowhere"
        );
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        assert!(
            text.contains(&format!("#/components/schemas/{name}\"")),
            "{name} is of no use"
        );
        assert!(schema.get("description").is_some(), "{name} says nothing");
    }
}

/// Each parameter of the document is one that the route reads, and it reads no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_parameters_are_those_that_are_read() {
    let place = Place::embedded();
    let app = serve(&place).await;
    let document = app.get("/api/openapi.json").await.unwrap().body;
    let mut asked = 0;
    for (method, path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let names: Vec<_> = parameters
            .filter(|one| one["in"] == "query")
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        if names.is_empty() {
            continue;
        }
        asked += 1;
        let path = path.replace("{id}", "user_1");
        let asking = format!("{path}?no_such_parameter=1");
        let refused = match &*method {
            "get" => app.api(Some(TOKEN), &asking, None).await,
            _ => app.api_bytes(TOKEN, &asking, "").await,
        };
        let detail = refused.body["detail"].as_str().unwrap().to_owned();
        let known = detail.split("unknown; there ").nth(1).unwrap();
        let known: BTreeSet<_> = known
            .split([',', ' '])
            .filter(|word| !matches!(*word, "" | "and" | "are" | "is" | "alone"))
            .collect();
        assert_eq!(known, names.iter().copied().collect(), "{path}");
    }
    assert_eq!(
        asked,
        9 + 3 * tables::others().count()
            + tables::ALL
                .iter()
                .flat_map(|table| tables::lists_of(table))
                .count()
    );
}
