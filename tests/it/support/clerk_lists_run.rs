//! `backfill` and `reconcile` of the real program, and what they print of each table.

use std::process::{Command, Output};

use clerk_sync::clerk::{ClerkId, Table, tables};
use clerk_sync::store::Store;
use serde_json::Value;

use super::clerk_instance::{ClerkInstance, KEY};
use super::place::Place;

/// What a run printed.
pub struct Printed {
    pub status: i32,
    pub json: Value,
    /// Standard error.
    pub said: String,
}

/// The command, which reads from this instance.
pub fn command(place: &Place, clerk: &ClerkInstance, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.envs(clerk.variables());
    command
}

/// Runs it to its end.
pub fn run(place: &Place, clerk: &ClerkInstance, arguments: &[&str]) -> Printed {
    let arguments = [arguments, &["--json"]].concat();
    Printed::of(command(place, clerk, &arguments).output().unwrap())
}

impl Printed {
    /// What a run with `--json` printed. Nothing secret or personal is in it.
    pub fn of(output: Output) -> Self {
        let [said, printed] = [output.stderr, output.stdout].map(|b| String::from_utf8(b).unwrap());
        for text in [&said, &printed] {
            for secret in [KEY, "example.com", "classified", "sesame"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        Self {
            status: output.status.code().unwrap(),
            json: serde_json::from_str(&printed).unwrap_or_default(),
            said,
        }
    }

    /// What it printed of the users, and whether the run was complete. Null if it printed nothing.
    pub fn users(&self) -> Value {
        let mut users = self.json["tables"][0].clone();
        if !users.is_null() {
            users["complete"] = self.json["complete"].clone();
        }
        users
    }

    /// What it printed of the table with this plural name.
    pub fn table(&self, plural: &str) -> &Value {
        let tables = self.json["tables"].as_array().unwrap();
        let found = tables.iter().find(|table| table["table"] == plural);
        found.unwrap_or_else(|| panic!("{plural} is missing: {}{}", self.json, self.said))
    }

    /// Read, changed, unchanged and failed objects of a table.
    pub fn numbers(&self, plural: &str) -> [u64; 4] {
        let table = self.table(plural);
        ["seen", "changed", "unchanged", "failed"].map(|name| table[name].as_u64().unwrap())
    }

    /// The objects of a table with this kind of drift.
    pub fn ids(&self, plural: &str, kind: &str) -> Vec<&str> {
        let ids = self.table(plural)[kind]["ids"].as_array().unwrap().iter();
        ids.map(|id| id.as_str().unwrap()).collect()
    }
}

/// The IDs of all rows of a table that are not deleted, in their order.
pub async fn live(store: &Store, table: &Table) -> Vec<String> {
    let limit = std::num::NonZeroU32::new(10_000).unwrap();
    let rows = store.live(table, None, limit).await.unwrap().into_iter();
    rows.map(|row| row.clerk_id.to_string()).collect()
}

/// Whether a table has a row of this ID, deleted or not.
pub async fn has_row(store: &Store, table: &Table, id: &str) -> bool {
    let ids = [ClerkId::new(id).unwrap()];
    !store.known(table, &ids).await.unwrap().is_empty()
}

/// The table with this plural name.
pub fn table(plural: &str) -> &'static Table {
    let mut all = tables::ALL.iter();
    all.find(|table| table.plural == plural).unwrap()
}
