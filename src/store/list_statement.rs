//! `ListStatement`: the statement that finds the rows of a list of any table. Pure.
//!
//! A statement has only the conditions that are asked for: so each database finds the index of
//! those. Every value is bound.

use super::bind::Bind;
use super::search::{COMMON_FROM, end_of, escaped};
use super::sqlite::lowercase::fold;
use super::table_filter::TableFilter;
use super::template::Dialect;
use crate::clerk::{Column, Table, Timestamp};

/// A part of a list.
pub(super) struct Part<'a> {
    pub filter: &'a TableFilter,
    /// The ID that the page before ended with.
    pub after: Option<&'a str>,
    /// Most rows.
    pub limit: i64,
    pub with_data: bool,
    /// When it is asked.
    pub now: Timestamp,
}

/// A statement that grows with what is asked for, and its parameters. It has the marks of a
/// template.
pub(super) struct ListStatement<'a> {
    table: &'static Table,
    dialect: Dialect,
    pub sql: String,
    pub binds: Vec<Bind<'a>>,
}

impl<'a> ListStatement<'a> {
    fn new(table: &'static Table, dialect: Dialect) -> Self {
        Self {
            table,
            dialect,
            sql: String::new(),
            binds: Vec::new(),
        }
    }

    /// The rows of a part without a search, by the index of the filter, or that of the ID.
    pub fn list(table: &'static Table, dialect: Dialect, part: &Part<'a>) -> Self {
        let mut statement = Self::new(table, dialect);
        let leading = match dialect {
            Dialect::Postgres => part.filter.leading(),
            Dialect::Sqlite => None,
        };
        let conditions = statement.conditions(part, leading);
        let (listed, limit) = (statement.listed(part), statement.limit(part.limit));
        let order = match leading {
            Some(column) => format!("{} desc, clerk_id desc", column.name),
            // With the empty text behind it no index has the order: PostgreSQL would read all rows
            // of one of the values in it, and not the few that have both.
            None if dialect == Dialect::Postgres && part.filter.indexed().count() > 1 => {
                "clerk_id || '' desc".into()
            }
            None => "clerk_id desc".into(),
        };
        statement.sql = format!(
            "-- Rows of <table>.\nselect {listed} from {}{} order by {order} limit {limit}",
            statement.from(),
            where_all(&conditions)
        );
        statement
    }

    /// Whether so many rows begin with the term that reading all rows in order soon fills a page.
    pub fn is_common(table: &'static Table, dialect: Dialect, term: &'a str) -> Self {
        let mut statement = Self::new(table, dialect);
        let from = statement.from();
        let limit = statement.limit(COMMON_FROM);
        let matches = statement.beginnings(term, "");
        let counts = matches.iter().map(|(_, matches)| {
            format!(
                "(select count(*) from (select 1 from {from} where {matches} limit {limit}) as found) >= {limit}"
            )
        });
        let counts: Vec<_> = counts.collect();
        let any = if counts.is_empty() {
            "1 = 0".into()
        } else {
            counts.join(" or ")
        };
        statement.sql =
            format!("-- Whether a search of <table> is common.\nselect {any} as is_common");
        statement
    }

    /// The rows of a search that few rows match: each beginning is looked for in its index, and the
    /// newest of those are the page. All IDs begin alike: of these the newest are enough.
    pub fn search(table: &'static Table, dialect: Dialect, part: &Part<'a>, term: &'a str) -> Self {
        let mut statement = Self::new(table, dialect);
        let from = statement.from();
        let conditions = statement.conditions(part, None);
        let (common, limit) = (statement.limit(COMMON_FROM), statement.limit(part.limit));
        let by_id = statement.id_begins(term);
        let mut ways = vec![format!(
            "select clerk_id from (select clerk_id from {from}{} order by clerk_id desc limit {limit}) as by_id",
            where_all(&[&[by_id][..], &conditions].concat())
        )];
        let narrow = statement.narrow();
        for (key, matches) in statement.beginnings(term, "") {
            // In the order of its index, which leaves the server no other way.
            let order = match dialect {
                Dialect::Postgres => format!(" order by {key} using ~<~"),
                Dialect::Sqlite => String::new(),
            };
            ways.push(format!(
                "select clerk_id from (select {narrow} from {from} where {matches}{order} limit {common}) as found{}",
                where_all(&conditions)
            ));
        }
        statement.sql = format!(
            "-- Search of <table>.\nwith page as (select distinct clerk_id from ({}) as found order by clerk_id desc limit {limit}) \
             select {} from page join {from} using (clerk_id) order by clerk_id desc",
            ways.join(" union all "),
            statement.listed(part),
        );
        statement
    }

    /// The same for a term that many rows match: in order, without the indexes of the columns.
    pub fn search_in_order(
        table: &'static Table,
        dialect: Dialect,
        part: &Part<'a>,
        term: &'a str,
    ) -> Self {
        let mut statement = Self::new(table, dialect);
        let mut conditions = statement.conditions(part, None);
        let mut ways = vec![statement.id_begins(term)];
        let unindexed = match dialect {
            Dialect::Postgres => " || ''",
            Dialect::Sqlite => "",
        };
        let matches = statement.beginnings(term, unindexed);
        ways.extend(matches.into_iter().map(|(_, matches)| matches));
        conditions.push(format!("({})", ways.join(" or ")));
        let (listed, limit) = (statement.listed(part), statement.limit(part.limit));
        statement.sql = format!(
            "-- Search of <table> in order.\nselect {listed} from {}{} order by clerk_id desc limit {limit}",
            statement.from(),
            where_all(&conditions)
        );
        statement
    }

    fn from(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => "clerk.<table>",
            Dialect::Sqlite => "<table>",
        }
    }

    fn listed(&self, part: &Part<'_>) -> &'static str {
        match (self.dialect, part.with_data) {
            (_, false) => "<listed>, null as data",
            (Dialect::Postgres, true) => "<listed>, data::text as data",
            (Dialect::Sqlite, true) => "<listed>, data",
        }
    }

    /// The columns that conditions look at.
    fn narrow(&self) -> String {
        let own = self.table.columns.iter();
        let own = own.filter(|column| column.is_filtered || column.is_expiry);
        let folded = match self.dialect {
            Dialect::Sqlite if self.table.columns.iter().any(|column| column.is_folded) => {
                Some("folded")
            }
            _ => None,
        };
        let own = own.map(|column| column.name).chain(folded);
        ["clerk_id", "deleted_at"]
            .into_iter()
            .chain(own)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The place of a parameter; PostgreSQL needs its type.
    fn bind(&mut self, value: impl Into<Bind<'a>>, of: &str) -> String {
        self.binds.push(value.into());
        let place = self.binds.len();
        match self.dialect {
            Dialect::Postgres => format!("${place}::{of}"),
            Dialect::Sqlite => format!("?{place}"),
        }
    }

    fn limit(&mut self, limit: i64) -> String {
        self.bind(limit, "bigint")
    }

    /// What the index of a column holds.
    fn key(&self, column: &Column) -> String {
        let name = column.name;
        match (self.dialect, column.is_folded) {
            (_, false) => name.into(),
            (Dialect::Postgres, true) => format!("lower({name})"),
            (Dialect::Sqlite, true) => format!("coalesce(folded ->> '$.{name}', lower({name}))"),
        }
    }

    /// What must hold, the search aside.
    ///
    /// By a leading column the rows are in the order of its index, which has the ID behind it. The
    /// value is given as a range: of one value PostgreSQL knows that the order is that of the ID
    /// alone, and reads all rows by that if it takes the value for a common one. Where the newest
    /// rows have other values, these are many.
    fn conditions(&mut self, part: &Part<'a>, leading: Option<&Column>) -> Vec<String> {
        let filter = part.filter;
        let mut conditions = Vec::new();
        let mut led = None;
        for (column, value) in &filter.values {
            if leading.is_some_and(|leading| leading.name == column.name) {
                let (name, value) = (column.name, self.bind(&**value, "text"));
                conditions.push(format!("{name} >= {value} and {name} <= {value}"));
                led = Some((name, value));
                continue;
            }
            let key = self.key(column);
            let value = match (self.dialect, column.is_folded) {
                (_, false) => self.bind(&**value, "text"),
                (Dialect::Postgres, true) => format!("lower({})", self.bind(&**value, "text")),
                (Dialect::Sqlite, true) => self.bind(Some(fold(value)), "text"),
            };
            conditions.push(format!("{key} = {value}"));
        }
        if let Some(ids) = &filter.ids {
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            let ids = self.bind(ids, "text[]");
            conditions.push(match self.dialect {
                Dialect::Postgres => format!("clerk_id = any ({ids})"),
                Dialect::Sqlite => format!("clerk_id in (select value from json_each({ids}))"),
            });
        }
        match filter.deleted {
            Some(true) => conditions.push("deleted_at is not null".into()),
            Some(false) => conditions.push("deleted_at is null".into()),
            None => {}
        }
        if let (Some(expired), Some(column)) = (filter.expired, self.table.expiry()) {
            let now = self.bind(part.now, "timestamptz");
            let name = column.name;
            conditions.push(if expired {
                format!("{name} <= {now}")
            } else {
                format!("({name} is null or {name} > {now})")
            });
        }
        if let Some(after) = part.after {
            let after = self.bind(after, "text");
            conditions.push(match led {
                Some((name, value)) => format!("({name}, clerk_id) < ({value}, {after})"),
                None => format!("clerk_id < {after}"),
            });
        }
        conditions
    }

    fn id_begins(&mut self, term: &'a str) -> String {
        let from = self.bind(term, "text");
        match self.dialect {
            Dialect::Postgres => {
                let pattern = self.bind(Some(escaped(term)), "text");
                format!("clerk_id >= {from} and clerk_id like {pattern} || '%'")
            }
            Dialect::Sqlite => {
                let end = self.bind(Some(end_of(term)), "text");
                format!("clerk_id >= {from} and clerk_id < {end}")
            }
        }
    }

    /// For each way in which a searched column can begin with the term: what the column's index
    /// holds, and the condition. `unindexed` stands behind a column whose index is not to be used.
    fn beginnings(&mut self, term: &str, unindexed: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for column in self.table.searched() {
            let key = self.key(column);
            let lower = fold(term);
            let mut terms = vec![lower];
            if !column.is_folded && terms[0] != term {
                terms.push(term.to_owned());
            }
            for term in terms {
                let matches = match self.dialect {
                    Dialect::Postgres => {
                        let pattern = self.bind(Some(escaped(&term)), "text");
                        format!("{key}{unindexed} like {pattern} || '%'")
                    }
                    Dialect::Sqlite => {
                        let end = self.bind(Some(end_of(&term)), "text");
                        let from = self.bind(Some(term), "text");
                        format!("{key} >= {from} and {key} < {end}")
                    }
                };
                found.push((key.clone(), matches));
            }
        }
        found
    }
}

fn where_all(conditions: &[String]) -> String {
    if conditions.is_empty() {
        return String::new();
    }
    format!(" where {}", conditions.join(" and "))
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnection;
    use sqlx::{Connection, Executor, Row};

    use super::*;
    use crate::clerk::tables;
    use crate::store::embedded_migrations::SQLITE;
    use crate::store::queries::statement;
    use crate::store::template;

    fn part<'a>(filter: &'a TableFilter, after: Option<&'a str>) -> Part<'a> {
        Part {
            filter,
            after,
            limit: 51,
            with_data: false,
            now: Timestamp::MIN,
        }
    }

    /// What a person typed never becomes a part of a statement, whatever it is.
    #[test]
    fn a_statement_holds_no_value() {
        let value = "x' or 1=1 --";
        for table in tables::ALL {
            let values = table.filtered().map(|column| (column, value.to_owned()));
            let filter = TableFilter {
                values: values.collect(),
                ids: Some(vec![value.into()]),
                q: Some(value.into()),
                deleted: Some(false),
                expired: Some(false),
            };
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                let part = part(&filter, Some(value));
                let mut statements = vec![ListStatement::list(table, dialect, &part)];
                if table.searched().next().is_some() {
                    statements.extend([
                        ListStatement::is_common(table, dialect, value),
                        ListStatement::search(table, dialect, &part, value),
                        ListStatement::search_in_order(table, dialect, &part, value),
                    ]);
                }
                for statement in statements {
                    assert!(!statement.sql.contains("1=1"), "{}", statement.sql);
                    let last = statement.binds.len();
                    let sign = if dialect == Dialect::Postgres {
                        '$'
                    } else {
                        '?'
                    };
                    let is_used = |place: usize| statement.sql.contains(&format!("{sign}{place}"));
                    assert!((1..=last).all(is_used), "{table:?}: {}", statement.sql);
                }
            }
        }
    }

    /// How SQLite finds the rows: a line for each step.
    async fn plan(
        file: &mut SqliteConnection,
        table: &'static Table,
        filter: &TableFilter,
        after: Option<&str>,
    ) -> Vec<String> {
        let list = ListStatement::list(table, Dialect::Sqlite, &part(filter, after));
        let sql = template::render(&list.sql, table, Dialect::Sqlite, &[]);
        let sql = sqlx::query(statement(format!("explain query plan {sql}")));
        let steps = sql.fetch_all(file).await.unwrap();
        steps.iter().map(|step| step.get("detail")).collect()
    }

    #[tokio::test]
    async fn sqlite_finds_the_rows_of_every_filter_by_its_index_and_in_order() {
        let mut file = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for migration in SQLITE.iter() {
            file.execute(migration.sql.clone()).await.unwrap();
        }
        let mut seen = 0;
        for table in tables::others() {
            for column in table.filtered().filter(|column| column.is_indexed) {
                for (deleted, after) in [(None, None), (Some(false), None), (None, Some("x"))] {
                    let filter = TableFilter {
                        deleted,
                        ..TableFilter::by(column, "x")
                    };
                    let steps = plan(&mut file, table, &filter, after).await;
                    let search = format!("SEARCH {} USING INDEX {}_", table.name, table.name);
                    assert!(steps[0].starts_with(&search), "{column:?}: {steps:?}");
                    // Of an organization or user there may be many, of an address or slug few.
                    let is_sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
                    assert!(
                        !is_sorted || column.id_of.is_none(),
                        "{column:?}: {steps:?}"
                    );
                    seen += 1;
                }
            }
            let both = TableFilter {
                values: table
                    .filtered()
                    .map(|column| (column, "x".to_owned()))
                    .collect(),
                ..TableFilter::default()
            };
            let steps = plan(&mut file, table, &both, None).await;
            assert!(steps[0].starts_with("SEARCH"), "{table:?}: {steps:?}");
            let deleted = TableFilter {
                deleted: Some(true),
                ..TableFilter::default()
            };
            let steps = plan(&mut file, table, &deleted, None).await;
            let index = format!("INDEX {}_deleted", table.name);
            assert!(
                steps[0].contains(&index) && steps.len() == 1,
                "{table:?}: {steps:?}"
            );
            let all = plan(&mut file, table, &TableFilter::default(), None).await;
            assert!(
                all.len() == 1 && all[0].contains("sqlite_autoindex"),
                "{table:?}: {all:?}"
            );
        }
        assert!(seen >= 15, "{seen} filters were seen");
    }

    #[test]
    fn only_what_is_asked_for_is_a_condition() {
        let table = &tables::organization_memberships::TABLE;
        let list = |filter: &TableFilter| {
            let statement = ListStatement::list(table, Dialect::Sqlite, &part(filter, None));
            statement.sql.split_once(" from ").unwrap().1.to_owned()
        };
        assert_eq!(
            list(&TableFilter::default()),
            "<table> order by clerk_id desc limit ?1"
        );
        let column = &table.columns[table.place("organization_id").unwrap()];
        let filter = TableFilter {
            deleted: Some(false),
            ..TableFilter::by(column, "org_1")
        };
        assert_eq!(
            list(&filter),
            "<table> where organization_id = ?1 and deleted_at is null order by clerk_id desc limit ?2"
        );
    }
}
