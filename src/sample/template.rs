//! The JSON of a sample event, byte for byte as Clerk writes it: compact, keys in alphabetical
//! order.
//!
//! `bodies.json` and the sample of each table have a template for each object. A text that starts
//! with `$` in it stands for the value of that name, or for the template of that name: `$at-22` is
//! 22 ms before the time `at`. `${name}` within a text is replaced by the text of that name. An
//! object whose `$if` is null or false is left out of its list; one with `$like` is that of this
//! name, with its own fields instead. Sources: received bodies and Clerk's webhook schema of
//! 2025-04-15.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::clerk::tables;

/// All templates. A name means the same everywhere.
static TEMPLATES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let mut all: Map<String, Value> =
        serde_json::from_str(include_str!("bodies.json")).expect("the templates are JSON");
    for table in tables::ALL {
        let sample: Map<String, Value> =
            serde_json::from_str(table.sample).expect("a sample is JSON");
        for (name, template) in sample {
            debug_assert!(!all.contains_key(&name), "two templates are called {name}");
            all.insert(name, template);
        }
    }
    all
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
            Some(name) if !name.starts_with('{') => named(name, values),
            _ => within(text, values).into(),
        },
        Value::Array(list) => {
            let list = list.iter().map(filled);
            list.filter(|element| !element.is_null()).collect()
        }
        Value::Object(fields) => match fields.get("$if").map(filled) {
            Some(Value::Null | Value::Bool(false)) => Value::Null,
            _ => {
                let mut object = match fields.get("$like").map(filled) {
                    Some(Value::Object(like)) => like,
                    _ => Map::new(),
                };
                let own = fields.iter().filter(|(name, _)| !name.starts_with('$'));
                object.extend(own.map(|(name, field)| (name.clone(), filled(field))));
                Value::Object(object)
            }
        },
        other => other.clone(),
    }
}

/// The text with the values that it names.
fn within(text: &str, values: &Value) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = rest
        .split_once("${")
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        .map(|(before, (name, after))| (before, name, after))
    {
        filled += before;
        filled += named(name, values).as_str().unwrap_or_default();
        rest = after;
    }
    filled + rest
}

/// Whether there is a template of this name.
#[cfg(test)]
pub fn is_known(name: &str) -> bool {
    TEMPLATES.contains_key(name)
}
