//! The routes and schemas of every synced table in the OpenAPI document, made from the list of
//! tables.

use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::path::{ParameterIn, PathItem};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Components, OpenApi};

use super::filters::{HistoryQuery, RowQuery};
use super::table_query::{self, Parameter};
use crate::clerk::{Column, Table, tables};
use crate::format::capitalized;
use crate::store::TableRow;

/// The name of the schema of a row: `Organization`.
pub fn schema_name(table: &Table) -> String {
    capitalized(table.singular)
}

/// Adds the routes of all tables but the list of users, which is described where it is answered.
pub fn add(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_default();
    for table in tables::others() {
        add_schemas(components, table);
    }
    let tags = openapi.tags.get_or_insert_default();
    let place = tags
        .iter()
        .position(|tag| tag.name == tables::users::TABLE.plural);
    let others = tables::others().map(|table| {
        let tag =
            json!({"name": table.plural, "description": format!("The table of {}", table.plural)});
        serde_json::from_value(tag).expect("the tag is valid")
    });
    let behind = place.map_or(tags.len(), |place| place + 1);
    tags.splice(behind..behind, others);
    let mut add = |path: String, operation: Value| {
        let item: PathItem =
            serde_json::from_value(json!({"get": operation})).expect("the operation is valid");
        openapi.paths.paths.insert(path, item);
    };
    for table in tables::others() {
        add(format!("/api/{}", table.plural), list(table));
    }
    for table in tables::ALL {
        let path = format!("/api/{}/{{id}}", table.plural);
        add(path.clone(), show(table));
        add(format!("{path}/history"), history(table));
        for (other, column) in tables::lists_of(table) {
            add(
                format!("{path}/{}", other.plural),
                list_of_row(other, table, column),
            );
        }
    }
}

fn add_schemas(components: &mut Components, table: &Table) {
    let schemas = &mut components.schemas;
    let page = json!({
        "type": "object",
        "description": format!("A page of {}.", table.plural),
        "required": ["data"],
        "properties": {
            "data": {"type": "array", "items": reference(&schema_name(table))},
            "next": {
                "type": ["string", "null"],
                "description": "The `cursor` of the next page; null on the last one.",
            },
        },
    });
    let page: Schema = serde_json::from_value(page).expect("the schema is valid");
    schemas.insert(page_name(table), page.into());
    schemas.insert(schema_name(table), TableRow::schema(table).into());
}

fn page_name(table: &Table) -> String {
    capitalized(table.plural)
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn list(table: &Table) -> Value {
    let plural = table.plural;
    let parameters = table_query::parameters(table, None);
    operation(
        table,
        &format!("list_{plural}"),
        &format!("{}, the newest Clerk ID first.", capitalized(plural)),
        Some(&format!(
            "Every filter that is given must hold. Pages neither skip nor repeat {} while rows come.",
            table.one()
        )),
        parameters.into_iter().map(query_parameter).collect(),
        &page_response(table, &format!("list_{plural}")),
    )
}

fn list_of_row(table: &Table, parent: &Table, column: &Column) -> Value {
    let (plural, singular) = (table.plural, parent.singular);
    let parameters = table_query::parameters(table, Some(column));
    let parameters = parameters.into_iter().map(query_parameter);
    let id = format!("{singular}_{plural}");
    operation(
        parent,
        &id,
        &format!(
            "The {plural} of {}, the newest Clerk ID first.",
            parent.one()
        ),
        Some(&format!(
            "Those whose `{}` is this ID. Deleted ones too, unless `deleted=false`.",
            column.name
        )),
        [path_parameter(parent)]
            .into_iter()
            .chain(parameters)
            .collect(),
        &page_response(table, &id),
    )
}

fn show(table: &Table) -> Value {
    let singular = table.singular;
    operation(
        table,
        &format!("show_{singular}"),
        &format!("One {singular}."),
        Some(&format!(
            "With `wait` it answers as soon as the {singular} is in the table, such as right after a sign-up."
        )),
        with_id::<RowQuery>(table),
        &json!({
            "description": format!("The {singular}"),
            "content": content(&schema_name(table)),
        }),
    )
}

fn history(table: &Table) -> Value {
    let singular = table.singular;
    operation(
        table,
        &format!("{singular}_history"),
        &format!(
            "What each event about {} did and why, the newest first by time of receipt.",
            table.one()
        ),
        Some("With `EVENT_PAYLOADS=all` it names the fields that changed."),
        with_id::<HistoryQuery>(table),
        &json!({"description": "A page of the history", "content": content("History")}),
    )
}

fn operation(
    table: &Table,
    id: &str,
    summary: &str,
    description: Option<&str>,
    parameters: Vec<Value>,
    response: &Value,
) -> Value {
    let mut operation = json!({
        "tags": [table.plural],
        "operationId": id,
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": response},
    });
    if let Some(description) = description {
        operation["description"] = description.into();
    }
    operation
}

fn page_response(table: &Table, operation: &str) -> Value {
    let singular = table.singular;
    let first = json!({"id": "$response.body#/data/0/clerk_id"});
    json!({
        "description": format!("A page of {}", table.plural),
        "content": content(&page_name(table)),
        "links": {
            singular: {"operationId": format!("show_{singular}"), "parameters": first},
            "history": {"operationId": format!("{singular}_history"), "parameters": first},
            "next_page": {"operationId": operation, "parameters": {"cursor": "$response.body#/next"}},
        },
    })
}

fn content(schema: &str) -> Value {
    json!({"application/json": {"schema": reference(schema)}})
}

fn query_parameter(Parameter { name, description }: Parameter) -> Value {
    json!({
        "name": name,
        "in": "query",
        "required": false,
        "description": description,
        "schema": {"type": "string"},
    })
}

fn path_parameter(table: &Table) -> Value {
    json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": format!("Clerk ID, {}_…", table.id_prefix),
        "schema": {"type": "string"},
    })
}

/// The ID in the path, and the parameters of a query.
fn with_id<Q: IntoParams>(table: &Table) -> Vec<Value> {
    let query = Q::into_params(|| Some(ParameterIn::Query)).into_iter();
    let query = query.map(|one| serde_json::to_value(one).expect("a parameter is JSON"));
    [path_parameter(table)].into_iter().chain(query).collect()
}
