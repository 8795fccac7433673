//! Which tables are synced: the value of `SYNC`.

use super::event_type::EventType;
use super::nearest_field::nearest_of;
use super::table::Table;
use super::tables;

/// The tables, in the order of `tables::ALL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedTables(Vec<&'static Table>);

/// A name that no table has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownTable {
    /// The name.
    pub name: String,
    /// `None` if the name is like that of no table.
    pub nearest: Option<&'static str>,
}

impl Default for SyncedTables {
    /// All.
    fn default() -> Self {
        Self(tables::ALL.to_vec())
    }
}

impl SyncedTables {
    /// Reads plural names that are separated by commas or white space. All tables are synced if
    /// there is no name.
    ///
    /// # Errors
    /// Returns the first name that no table has.
    pub fn parse(list: &str) -> Result<Self, UnknownTable> {
        let names = list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|name| !name.is_empty());
        let mut named = Vec::new();
        for name in names {
            named.push(Self::table(name).ok_or_else(|| UnknownTable {
                nearest: nearest(name),
                name: name.into(),
            })?);
        }
        if named.is_empty() {
            return Ok(Self::default());
        }
        let all = tables::ALL.iter().copied();
        Ok(Self(all.filter(|table| named.contains(table)).collect()))
    }

    /// The table with this plural name.
    pub fn table(plural: &str) -> Option<&'static Table> {
        let mut all = tables::ALL.iter().copied();
        all.find(|table| table.plural == plural)
    }

    /// The tables.
    pub fn iter(&self) -> impl Iterator<Item = &'static Table> {
        self.0.iter().copied()
    }

    /// Whether the table is synced.
    pub fn has(&self, table: &Table) -> bool {
        self.0.contains(&table)
    }

    /// Whether every table is synced.
    pub fn has_all(&self) -> bool {
        self.0.len() == tables::ALL.len()
    }

    /// Whether an event of this type is queued. One that cannot be read is: it ends as a failed
    /// event.
    pub fn takes(&self, event_type: &EventType) -> bool {
        match event_type {
            EventType::Synced(table, _) => self.has(table),
            EventType::Unreadable => true,
            EventType::Other(_) => false,
        }
    }
}

/// The plural name that a wrong one most likely means: that of the table in the database, or the
/// nearest one.
fn nearest(name: &str) -> Option<&'static str> {
    let mut all = tables::ALL.iter();
    let of_database = all.find(|table| table.name == name);
    of_database.map_or_else(
        || nearest_of(name, tables::ALL.iter().map(|table| table.plural)),
        |table| Some(table.plural),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        let synced = SyncedTables::parse(list).unwrap();
        synced.iter().map(|table| table.plural).collect()
    }

    #[test]
    fn tables_are_named_in_any_order_and_without_names_all_are_meant() {
        assert_eq!(names("memberships, users\tusers"), ["users", "memberships"]);
        for all in ["", " , "] {
            assert_eq!(names(all).len(), tables::ALL.len());
        }
        assert!(SyncedTables::default().has_all());
    }

    #[test]
    fn a_wrong_name_means_the_nearest_table() {
        for (wrong, nearest) in [
            ("user", Some("users")),
            ("Users", Some("users")),
            ("orgs", None),
            ("organisations", Some("organizations")),
            ("organization", Some("organizations")),
            ("organization_memberships", Some("memberships")),
            ("invitation", Some("invitations")),
            ("xyzzy", None),
        ] {
            let unknown = SyncedTables::parse(&format!("users,{wrong}")).unwrap_err();
            assert_eq!((&*unknown.name, unknown.nearest), (wrong, nearest));
        }
    }

    #[test]
    fn an_event_of_another_table_is_not_taken() {
        let synced = SyncedTables::parse("users").unwrap();
        let takes = |name| synced.takes(&EventType::named(name));
        assert!(takes("user.updated") && takes("user.unreadable"));
        assert!(!takes("organization.created") && !takes("session.created"));
    }
}
