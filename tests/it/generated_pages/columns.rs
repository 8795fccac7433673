//! docs/columns.md: the columns of every synced table, from `src/clerk/tables`.

use std::fmt::Write;

use clerk_sync::clerk::table::Kind;
use clerk_sync::clerk::tables;

use super::{compare, table};

#[test]
fn the_page_of_columns_is_that_of_the_tables() {
    let mut page = String::new();
    for synced in tables::ALL {
        let rows = synced.columns.iter().map(|column| {
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
            let name = format!("`{}`", column.name);
            [name, kind.into(), index.into(), column.description.into()]
        });
        let rows = table(["column", "type", "index", "meaning"], rows);
        write!(page, "## {}\n\n{rows}\n", synced.name).unwrap();
    }
    compare("docs/columns.md", &[("columns", &page)]);
}
