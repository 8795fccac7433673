//! docs/columns.md lists the columns of every synced table. It is generated: this test compares it
//! with the list in `src/clerk/tables`, and writes it if `UPDATE_DOCS` is set.

use std::fmt::Write;

use clerk_sync::clerk::table::Kind;
use clerk_sync::clerk::tables;

const HEAD: &str = "# Columns

Generated from `src/clerk/tables` by `UPDATE_DOCS=1 cargo test --test it columns_page`.

A field of Clerk's object that is missing or of another shape makes its column null; `data` keeps the whole object. Every table also has:

| column | type | meaning |
| --- | --- | --- |
| `clerk_id` | text | Clerk's ID, the primary key. |
| `data` | JSON | The whole object, as Clerk sent it, without `OMIT_FIELDS`. |
| `updated_at` | time | Clerk's time of the profile: the first part of its version. |
| `occurred_at` | time | When the event of the profile occurred: the second part. |
| `event_id` | text | The event of the profile: the third part. `backfill` or `reconcile` if it was read from Clerk's list. |
| `deleted_at` | time | The earliest delete; null unless deleted. |
| `synced_at` | time | When the row was last changed. |
| `erased_at` | time | When its data was erased; null unless erased. |
";

#[test]
fn the_page_of_columns_is_that_of_the_tables() {
    let mut page = HEAD.to_owned();
    for table in tables::ALL {
        write!(
            page,
            "\n## {}\n\n| column | type | index | meaning |\n| --- | --- | --- | --- |\n",
            table.name
        )
        .unwrap();
        for column in table.columns {
            let kind = match column.kind {
                Kind::Text => "text",
                Kind::Boolean => "boolean",
                Kind::Integer => "integer",
                Kind::Time => "time",
                Kind::Json => "JSON",
            };
            let index = match (column.is_indexed, column.is_folded) {
                (_, true) => "by `lower(…)`",
                (true, false) => "yes",
                (false, false) => "",
            };
            let (name, about) = (column.name, column.description);
            writeln!(page, "| `{name}` | {kind} | {index} | {about} |").unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/columns.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page, "docs/columns.md is old; set UPDATE_DOCS=1");
}
