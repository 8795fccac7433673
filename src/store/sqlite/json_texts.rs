//! Lists of texts as SQLite takes them.

/// The texts as a JSON array.
pub fn json<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts can always be written as JSON")
}
