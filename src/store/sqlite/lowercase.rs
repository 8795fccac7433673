//! Lower case of every script, as PostgreSQL's `lower()` makes it: SQLite's knows ASCII only.
//!
//! Each character has one lower case, whatever stands around it, as in a database with the
//! collation C.UTF-8: `Å` is `å`, `İ` is `i`, `Σ` is `σ` at the end of a word too, and `ß` stays. A
//! text that only ASCII changes needs nothing beside it.

use serde_json::{Map, Value};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Error, Row};

use crate::clerk::{Profile, Table};

/// The text in lower case.
pub fn fold(text: &str) -> String {
    text.chars()
        .map(|c| c.to_lowercase().next().unwrap_or(c))
        .collect()
}

/// What the column `folded` holds of a profile.
pub fn of_profile(table: &Table, profile: &Profile) -> Option<String> {
    let columns = table.columns.iter().zip(&profile.values);
    let folded = columns.filter(|(column, _)| column.is_folded);
    of(folded.map(|(column, value)| (column.name, value.as_text())))
}

/// Those whose lower case is not that of SQLite's `lower()`; `None` if there is none.
fn of<'a>(texts: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Option<String> {
    let mut folded = Map::new();
    for (name, text) in texts {
        let Some(text) = text.filter(|text| !text.is_ascii()) else {
            continue;
        };
        let lower = fold(text);
        if lower != text.to_ascii_lowercase() {
            folded.insert(name.into(), Value::String(lower));
        }
    }
    (!folded.is_empty()).then(|| Value::Object(folded).to_string())
}

/// The columns that the migration folds.
const FOLDED: [&str; 3] = ["email", "first_name", "last_name"];

/// Rows that are read at once.
const ROWS: i64 = 500;

/// Fills the column of the rows that were there before it.
///
/// # Errors
/// Fails if SQLite refuses it.
pub async fn fill(connection: &mut SqliteConnection) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let rows = sqlx::query(include_str!("not_ascii.sql"))
            .bind(&after)
            .bind(ROWS)
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            after = row.try_get("clerk_id")?;
            let texts = FOLDED.map(|column| Ok((column, row.try_get(column)?)));
            let folded = of(texts
                .into_iter()
                .collect::<Result<Vec<_>, Error>>()?
                .into_iter());
            let fill = sqlx::query("update users set folded = ?2 where clerk_id = ?1")
                .bind(&after)
                .bind(folded);
            fill.execute(&mut *connection).await?;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lower_case_for_each_character() {
        for (text, lower) in [
            ("Åsa ÖZTÜRK", "åsa öztürk"),
            ("İI", "ii"),
            ("ΟΔΟΣ", "οδοσ"),
            ("Straße ẞ", "straße ß"),
            ("ЁЖ Ǆ", "ёж ǆ"),
            ("李 🎉 \u{200f}", "李 🎉 \u{200f}"),
            ("ADA", "ada"),
        ] {
            assert_eq!(fold(text), lower);
        }
    }

    #[test]
    fn only_what_sqlite_cannot_is_kept() {
        let of = |email, first, last| of(FOLDED.into_iter().zip([email, first, last]));
        assert_eq!(of(Some("Ada@Example.com"), None, Some("Lovelace")), None);
        assert_eq!(of(None, Some("åsa"), Some("李")), None);
        let folded = r#"{"email":"åsa@example.com","last_name":"öz\"türk"}"#;
        assert_eq!(
            of(Some("ÅSA@Example.com"), Some("Asa"), Some("Öz\"TÜRK")).as_deref(),
            Some(folded)
        );
    }
}
