//! docs/columns.md: the columns of every synced table, from `src/clerk/tables`.

use std::fmt::Write;

use clerk_sync::clerk::table::{Kind, Table};
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
                Kind::Texts => "JSON array of texts",
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
        let name = synced.name;
        write!(page, "## {name}\n\n{}{rows}\n", about(synced)).unwrap();
    }
    compare("docs/columns.md", &[("columns", &page)]);
}

/// What holds for the table as a whole: its events, its views, and what is never stored.
fn about(table: &Table) -> String {
    let events = table.events.iter().map(|kind| {
        let deletes = if kind.deletes { " (a delete)" } else { "" };
        format!("`{}`{deletes}", kind.name)
    });
    let events: Vec<_> = events.collect();
    let mut about = format!("- Filled by {}.\n", events.join(", "));
    for view in table.views {
        let (name, shows) = (view.name, view.shows);
        writeln!(about, "- View `{name}`: {shows}").unwrap();
    }
    for never in table.never_stored {
        let field = never.field;
        let except = never
            .except
            .map(|member| format!(", except `{field}.{member}`"));
        let except = except.unwrap_or_default();
        writeln!(
            about,
            "- Never stored, in a column, in `data` or in a payload: `{field}`{except}."
        )
        .unwrap();
    }
    about + "\n"
}
