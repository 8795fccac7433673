//! What differs between two versions of an object, field by field.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value as JsonValue;
use serde_json::value::RawValue;

use super::json::Object;
use super::table::{Profile, Table, Value};

/// How much of a version is kept to compare it with another.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    /// Levels of objects whose members are fields of their own: with 1, `public_metadata.plan` is.
    pub levels: usize,
    /// Longest text of a value, in bytes.
    pub text_max: usize,
}

/// The fields of one version, each with a digest of its value: enough to tell two versions apart
/// whatever the object holds. Columns that are derived from other fields, such as `email`, are among
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    digest: u64,
    text: Excerpt,
    is_derived: bool,
}

/// The beginning of a value's JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The beginning; often all of it.
    pub text: String,
    /// How long the whole is, in bytes.
    pub bytes: usize,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name, with those of the objects that it is in: `public_metadata.plan`.
    pub name: String,
    /// Whether it is a column that is derived from other fields.
    pub is_derived: bool,
    /// The value in the version before; `None` if there was none.
    pub before: Option<Excerpt>,
    /// The value in this version; `None` if there is none.
    pub after: Option<Excerpt>,
}

/// Differs in every version, and says nothing more.
const IN_EVERY_VERSION: &str = "updated_at";

impl Excerpt {
    /// The beginning of a text.
    pub fn of(text: &str, max: usize) -> Self {
        Self {
            text: text[..text.floor_char_boundary(max)].to_owned(),
            bytes: text.len(),
        }
    }

    /// Whether there is more of it.
    pub fn is_cut(&self) -> bool {
        self.text.len() < self.bytes
    }
}

impl Fields {
    /// The fields of an object of Clerk's.
    pub fn of(table: &Table, profile: &Profile, detail: Detail) -> Self {
        let mut fields = BTreeMap::new();
        // A text that is no object has no fields.
        if let Ok(object) = Object::read(&profile.data) {
            add(&mut fields, "", &object, detail);
        }
        let columns = table.columns.iter().zip(&profile.values);
        for (column, value) in columns.filter(|(column, _)| !table.fields.contains(&column.name)) {
            if let Some(text) = json_text(value) {
                let field = Field {
                    digest: digest(&text),
                    text: Excerpt::of(&text, detail.text_max),
                    is_derived: true,
                };
                fields.insert(column.name.to_owned(), field);
            }
        }
        Self(fields)
    }

    /// The fields that came, went or differ, in alphabetical order.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let differs = |(name, field): &(&String, &Field)| {
            before.0.get(*name).map(|field| field.digest) != Some(field.digest)
        };
        let ours = self.0.iter().filter(differs);
        let gone = before
            .0
            .iter()
            .filter(|(name, _)| !self.0.contains_key(*name));
        let text = |fields: &Self, name: &String| Some(fields.0.get(name)?.text.clone());
        let mut differences: Vec<_> = ours
            .chain(gone)
            .map(|(name, field)| Difference {
                name: name.clone(),
                is_derived: field.is_derived,
                before: text(before, name),
                after: text(self, name),
            })
            .collect();
        differences.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        differences
    }
}

/// Adds the members of an object. At the top null is as good as absent.
fn add(fields: &mut BTreeMap<String, Field>, prefix: &str, object: &Object<'_>, detail: Detail) {
    for member in object.members() {
        let (name, value) = (format!("{prefix}{}", member.name), member.value);
        let is_empty = prefix.is_empty() && value.get() == "null";
        if name == IN_EVERY_VERSION || is_empty {
            continue;
        }
        match Object::read(value.get()) {
            Ok(inner) if detail.levels > 0 => {
                let levels = detail.levels - 1;
                add(
                    fields,
                    &format!("{name}."),
                    &inner,
                    Detail { levels, ..detail },
                );
            }
            _ => {
                let field = Field {
                    digest: digest_of(value),
                    text: Excerpt::of(value.get(), detail.text_max),
                    is_derived: false,
                };
                fields.insert(name, field);
            }
        }
    }
}

/// A column's value as JSON. Returns `None` for null.
fn json_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Text(text) => JsonValue::from(&**text).to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Time(time) => time.ms().to_string(),
        Value::Json(json) => json.to_string(),
    })
}

/// The digest of a value, however it is written. One that is too deep to be parsed counts as it is
/// written.
fn digest_of(value: &RawValue) -> u64 {
    match serde_json::from_str::<JsonValue>(value.get()) {
        Ok(value) => digest(&value.to_string()),
        Err(_) => digest(value.get()),
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables::users::TABLE;

    const ONE_LEVEL: Detail = Detail {
        levels: 1,
        text_max: 20,
    };

    fn differences(before: &str, after: &str, detail: Detail) -> Vec<Difference> {
        let fields = |data: &str| match Object::read(data) {
            Ok(object) => Fields::of(&TABLE, &TABLE.profile(&object, data.into()), detail),
            Err(_) => Fields::default(),
        };
        fields(after).differences(&fields(before))
    }

    fn names(before: &str, after: &str) -> Vec<String> {
        let differences = differences(before, after, ONE_LEVEL).into_iter();
        differences.map(|difference| difference.name).collect()
    }

    #[test]
    fn what_came_went_or_differs_is_named() {
        let before = r#"{"id":"user_1","first_name":"Ada","last_name":"X","public_metadata":{"plan":"free","seats":1},"updated_at":1}"#;
        let after = r#"{"id":"user_1","first_name":"Eve","username":"eve","public_metadata":{"plan":"pro","seats":1,"trial":true},"updated_at":2}"#;
        assert_eq!(
            names(before, after),
            [
                "first_name",
                "last_name",
                "public_metadata.plan",
                "public_metadata.trial",
                "username"
            ]
        );
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        assert_eq!(
            names(
                r#"{"a":[{"x":1,"y":2}],"b":null}"#,
                r#"{ "a": [ {"y":2, "x":1} ], "c": {} }"#
            ),
            [""; 0]
        );
        assert_eq!(names("no JSON", r#"{"a":1}"#), ["a"]);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(names(&deep, &deep), [""; 0]);
    }

    #[test]
    fn a_difference_has_both_values() {
        let user = |address: &str, note: &str| {
            format!(
                r#"{{"primary_email_address_id":"idn_1","email_addresses":[{{"id":"idn_1","email_address":"{address}"}}],
                    "public_metadata":{{"a":{{"b":"{note}"}}}}}}"#
            )
        };
        let whole = Detail {
            levels: 6,
            text_max: 200,
        };
        let (before, after) = (user("a@example.com", "x"), user("b@example.com", "y"));
        let found = differences(&before, &after, whole);
        let pairs: Vec<_> = found
            .iter()
            .map(|one| {
                let text = |side: &Option<Excerpt>| side.clone().map(|side| side.text);
                (
                    &*one.name,
                    one.is_derived,
                    text(&one.before),
                    text(&one.after),
                )
            })
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            pairs[0],
            (
                "email",
                true,
                some(r#""a@example.com""#),
                some(r#""b@example.com""#)
            )
        );
        assert_eq!(pairs[1].0, "email_addresses");
        assert_eq!(
            pairs[2],
            ("public_metadata.a.b", false, some(r#""x""#), some(r#""y""#))
        );
        assert_eq!(pairs.len(), 3);
    }

    #[test]
    fn a_long_value_is_cut() {
        let after = format!(r#"{{"first_name":"{}"}}"#, "é".repeat(50));
        let found = differences("{}", &after, ONE_LEVEL);
        let excerpt = found[0].after.as_ref().unwrap();
        assert_eq!((excerpt.text.len(), excerpt.bytes), (19, 102));
        assert!(excerpt.is_cut() && found[0].before.is_none());
    }
}
