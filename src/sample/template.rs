//! The JSON of a sample event, byte for byte as Clerk writes it: compact, keys in alphabetical
//! order.
//!
//! `bodies.json` has a template for each object. A text that starts with `$` in it stands for the
//! value of that name, or for the template of that name: `$at-22` is 22 ms before the time `at`. An
//! object whose `$if` is null or false is left out of its list. Sources: received bodies and
//! Clerk's webhook schema of 2025-04-15.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static TEMPLATES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("bodies.json")).expect("the templates are JSON")
});

/// Returns the value of this name, or the template of this name with these values.
pub fn named(name: &str, values: &Value) -> Value {
    let (name, offset_ms) = name.split_at(name.find(['+', '-']).unwrap_or(name.len()));
    match (values.get(name), offset_ms.parse::<i64>()) {
        (Some(value), Ok(offset_ms)) => value.as_i64().map(|time| time + offset_ms).into(),
        (Some(value), Err(_)) => value.clone(),
        (None, _) => fill(&TEMPLATES[name], values),
    }
}

fn fill(template: &Value, values: &Value) -> Value {
    let filled = |field: &Value| fill(field, values);
    match template {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => named(name, values),
            None => template.clone(),
        },
        Value::Array(list) => {
            let list = list.iter().map(filled);
            list.filter(|element| !element.is_null()).collect()
        }
        Value::Object(fields) => match fields.get("$if").map(filled) {
            Some(Value::Null | Value::Bool(false)) => Value::Null,
            _ => fields
                .iter()
                .filter(|(name, _)| *name != "$if")
                .map(|(name, field)| (name.clone(), filled(field)))
                .collect(),
        },
        other => other.clone(),
    }
}
