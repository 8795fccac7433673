//! The database: whether it answers, what it is, whether its schema is ours, and what the role may do.

use super::finding::{self, Finding};
use super::part::in_time;
use super::role::Role;
use crate::config::Config;
use crate::store::postgres::{self, Pooling, Rights, SchemaFault, SchemaName};
use crate::store::{DatabaseReport, SchemaVersion, Store, StoreError, sqlite};

/// The oldest PostgreSQL that the migrations are made for.
const VERSION_MIN: i32 = 140_000;

/// Connections of a process besides those of its batches: one for dead letters, four for queries.
const OTHER_CONNECTIONS: i64 = 5;

const MIGRATE: &str = "run `clerk-sync migrate`; `clerk-sync serve` does so by itself";

/// Inspects the database. Returns the findings, and the inspection for the clock.
pub async fn check(
    store: &Store,
    config: &Config,
    role: Role,
) -> (Vec<Finding>, Option<DatabaseReport>) {
    let place = store.place();
    match in_time(store.inspect()).await {
        Some(Ok(inspection)) => {
            let batches = i64::try_from(config.worker.concurrency.get()).unwrap_or(i64::MAX);
            let findings = match &inspection {
                DatabaseReport::Postgres(inspection) => {
                    of_postgres(&place, inspection, role, batches)
                }
                DatabaseReport::Sqlite(inspection) => of_sqlite(&place, inspection),
            };
            (findings, Some(inspection))
        }
        Some(Err(error)) => (vec![of_error(&place, &error)], None),
        None => (
            vec![of_error(
                &place,
                &StoreError::Unavailable("it does not answer".into()),
            )],
            None,
        ),
    }
}

fn of_error(place: &str, error: &StoreError) -> Finding {
    let (text, remedy) = match error {
        StoreError::Incompatible(text) if text.contains("pooler") => (
            text,
            "give the server's direct address in DATABASE_URL, or session pooling",
        ),
        StoreError::Unavailable(text) if text.contains("(SQLSTATE 53300)") => (
            text,
            "raise `alter role … connection limit` or max_connections, or end other clients",
        ),
        StoreError::Unavailable(text) => (
            text,
            "start the server, or correct the host and the port in DATABASE_URL",
        ),
        StoreError::Incompatible(text) | StoreError::Rejected { text, .. } => (
            text,
            "correct the user, the password and the database in DATABASE_URL, or pg_hba.conf on the server",
        ),
    };
    let (what, remedy) = finding::split(text, remedy);
    Finding::fail("database", format!("{place}: {what}"), remedy)
}

fn of_postgres(
    place: &str,
    found: &postgres::ServerReport,
    role: Role,
    batches: i64,
) -> Vec<Finding> {
    let number = found.version.split(' ').next().unwrap_or_default();
    let mut findings = Vec::new();
    let mut fail =
        |what: &str, remedy: &str| findings.push(Finding::fail("database", what, remedy));
    if found.version_number < VERSION_MIN {
        fail(
            &format!("PostgreSQL {number} is older than 14"),
            "use PostgreSQL 14 or later",
        );
    }
    if found.is_read_only {
        let remedy = "give the primary: one name that follows it, or the primary's own";
        fail(
            "the server only reads: it is a standby, or default_transaction_read_only is on",
            remedy,
        );
    }
    if let Some(SchemaFault { what, fix }) = found.tables.lacks_characters() {
        fail(&what, &fix);
    }
    if !found.fsync {
        let remedy = "set fsync = on in postgresql.conf";
        fail(
            "fsync is off: a power failure can take what was acknowledged, or the whole database",
            remedy,
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "database",
            format!("PostgreSQL {number} at {place}"),
        ));
    }
    findings.extend(notes(found, batches));
    if let Some(finding) = of_tables(found) {
        findings.push(finding);
        return findings;
    }
    let name = &found.tables.name;
    let mut schema = of_schema(found.schema, name);
    if let Some(holder) = &found.migrating {
        schema.what = format!("{}; another process is migrating: {holder}", schema.what);
        schema.remedy = Some("wait for it; if none is, end the session that holds the lock".into());
    }
    if role == Role::Worker
        && let Some(remedy) = &mut schema.remedy
    {
        *remedy = remedy.replace("; `clerk-sync serve` does so by itself", "");
    }
    findings.push(schema);
    findings.push(of_rights(&found.rights, found.schema, name, role));
    if found.rights.apply == Some(true) && found.rights.record == Some(false) {
        let what = format!(
            "the role may not write {name}.settings: workers cannot record their queue, and `events replay` is refused"
        );
        findings.push(Finding::note(
            "database_rights",
            what,
            format!("grant select, insert, update on {name}.settings to the role"),
        ));
    }
    findings
}

/// What works, but a person should know.
fn notes(found: &postgres::ServerReport, batches: i64) -> Vec<Finding> {
    let mut notes = Vec::new();
    let mut note = |what: String, remedy: &str| notes.push(Finding::note("database", what, remedy));
    if !found.full_page_writes {
        let what = "full_page_writes is off: safe only on a file system that never tears a page";
        note(
            what.into(),
            "set full_page_writes = on unless you know that yours does not",
        );
    }
    if found.synchronous_commit == "off" {
        let what = "synchronous_commit is off; clerk-sync turns it on for its own writes";
        note(what.into(), "nothing to do for clerk-sync");
    }
    if !found.has_lz4 {
        note(
            "this server has no lz4: large columns are compressed with pglz, which is slower"
                .into(),
            "use a build with lz4",
        );
    }
    if !found.is_private {
        let what = "the connection to another machine is not encrypted";
        note(
            what.into(),
            "add ?sslmode=verify-full to DATABASE_URL where the wire is not yours",
        );
    }
    if found.pooling == Pooling::Transaction {
        let what = "a transaction pooler is in front of the server: it works, without limits on what a statement may take";
        note(
            what.into(),
            "`alter role … set statement_timeout = '30s'` and `set lock_timeout = '5s'`, or give the direct address in DATABASE_URL",
        );
    }
    let needed = batches.saturating_add(OTHER_CONNECTIONS);
    if found.connections_left < needed {
        let what = format!(
            "the server has {} connections left; a process takes up to {needed}",
            found.connections_left
        );
        note(what, "raise max_connections, or lower WORKER_CONCURRENCY");
    }
    notes
}

/// What is wrong with the schema, whatever its version.
fn of_tables(found: &postgres::ServerReport) -> Option<Finding> {
    let tables = &found.tables;
    let lacks = || {
        found
            .schema
            .and_then(|version| tables.lacks_tables(version))
    };
    let fault = |check| move |SchemaFault { what, fix }| Finding::fail(check, what, fix);
    let schema = tables
        .is_of_another()
        .or_else(|| found.migrations.clone())
        .or_else(lacks)
        .map(fault("schema"));
    schema.or_else(|| tables.hides_rows().map(fault("row_security")))
}

fn of_schema(schema: Option<SchemaVersion>, name: &SchemaName) -> Finding {
    let Some(SchemaVersion { found, wanted }) = schema else {
        let remedy =
            format!("grant usage on schema {name} and select on {name}._migrations to the role");
        return Finding::fail(
            "schema",
            "its version cannot be read: the role may not read it",
            remedy,
        );
    };
    match found {
        Some(found) if found == wanted => {
            Finding::ok("schema", format!("version {found}, that of this program"))
        }
        Some(found) if found > wanted => {
            let what = format!("version {found} is newer than this program's {wanted}");
            Finding::fail("schema", what, "use a newer clerk-sync")
        }
        Some(found) => Finding::fail(
            "schema",
            format!("version {found}, and this program needs {wanted}"),
            MIGRATE,
        ),
        None => Finding::fail("schema", "it is missing", MIGRATE),
    }
}

fn of_rights(
    rights: &Rights,
    schema: Option<SchemaVersion>,
    name: &SchemaName,
    role: Role,
) -> Finding {
    let is_current = schema.is_some_and(|schema| schema.found == Some(schema.wanted));
    if rights.apply == Some(false) {
        let remedy = format!(
            "grant usage on schema {name}, select, insert, update, delete on {name}.users and {name}.events, and select on {name}._migrations to the role"
        );
        return Finding::fail(
            "database_rights",
            "the role may not read and write the tables",
            remedy,
        );
    }
    match (rights.migrate, is_current) {
        (true, _) => Finding::ok("database_rights", "the role may migrate, read and write"),
        (false, true) if role == Role::Worker => {
            Finding::ok("database_rights", "the role may read and write")
        }
        (false, true) => Finding::note(
            "database_rights",
            "the role may read and write, and not migrate",
            "let another role run `clerk-sync migrate` before the next release",
        ),
        (false, false) => Finding::fail(
            "database_rights",
            "the role may not migrate, and the schema is not up to date",
            format!(
                "run `clerk-sync migrate` as the owner of the schema {name}, or `grant create on database … to` the role"
            ),
        ),
    }
}

fn of_sqlite(place: &str, found: &sqlite::FileReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    match found.is_private {
        None => {
            let what = format!("SQLite: {place} does not exist yet");
            return vec![Finding::note(
                "database",
                what,
                "nothing to do: it is created at the first start",
            )];
        }
        Some(true) => findings.push(Finding::ok("database", format!("SQLite: {place}"))),
        Some(false) => {
            let what = format!(
                "SQLite: others on this machine may read {place}, which holds personal data"
            );
            findings.push(Finding::note(
                "database",
                what,
                format!("chmod 600 {place}"),
            ));
        }
    }
    findings.push(of_schema(Some(found.schema), &SchemaName::default()));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::SchemaState;

    const RIGHTS: Rights = Rights {
        migrate: true,
        apply: Some(true),
        record: Some(true),
    };

    fn server() -> postgres::ServerReport {
        postgres::ServerReport {
            version: "17.2 (Debian)".into(),
            version_number: 170_002,
            tables: SchemaState {
                name: SchemaName::default(),
                encoding: "UTF8".into(),
                foreign: Vec::new(),
                hidden: Vec::new(),
                is_versioned: true,
                missing: Vec::new(),
                applied: None,
            },
            pooling: Pooling::Session,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".into(),
            has_lz4: true,
            is_read_only: false,
            is_private: true,
            connections_left: 90,
            clock: None,
            schema: Some(SchemaVersion {
                found: Some(3),
                wanted: 3,
            }),
            migrations: None,
            migrating: None,
            rights: RIGHTS,
        }
    }

    /// The findings that are not ok.
    fn problems(server: &postgres::ServerReport, role: Role) -> Vec<String> {
        let findings = of_postgres("db:5432/app", server, role, 2);
        let bad = findings.iter().filter(|finding| finding.remedy.is_some());
        bad.map(|finding| format!("{:?} {}: {}", finding.severity, finding.check, finding.what))
            .collect()
    }

    #[test]
    fn a_good_server_has_only_ok_findings() {
        assert_eq!(problems(&server(), Role::Serve), [""; 0]);
    }

    #[test]
    fn what_loses_events_fails_and_what_is_slow_or_open_is_noted() {
        type Change = fn(&mut postgres::ServerReport);
        let faults: [(Change, &str); 18] = [
            (
                |server| server.version_number = 130_018,
                "Fail database: PostgreSQL 17.2 is older than 14",
            ),
            (
                |server| server.is_read_only = true,
                "Fail database: the server only reads",
            ),
            (
                |server| server.tables.encoding = "LATIN1".into(),
                "Fail database: the database's encoding is LATIN1",
            ),
            (
                |server| server.tables.foreign = vec!["users (a foreign table)".into()],
                "Fail schema: the schema clerk has users (a",
            ),
            (
                |server| {
                    server.migrations = Some(SchemaFault {
                        what: "its migration 1 is not".into(),
                        fix: String::new(),
                    })
                },
                "Fail schema: its migration 1 is not",
            ),
            (
                |server| server.tables.missing = vec!["events"],
                "Fail schema: clerk.events is missing",
            ),
            (
                |server| server.tables.hidden = vec!["users".into()],
                "Fail row_security: row-level security hides rows of clerk.users",
            ),
            (
                |server| server.pooling = Pooling::Transaction,
                "Note database: a transaction pooler is in front of the server",
            ),
            (|server| server.fsync = false, "Fail database: fsync is off"),
            (
                |server| server.full_page_writes = false,
                "Note database: full_page_writes is off",
            ),
            (
                |server| server.synchronous_commit = "off".into(),
                "Note database: synchronous_commit is off",
            ),
            (
                |server| server.has_lz4 = false,
                "Note database: this server has no lz4",
            ),
            (
                |server| server.is_private = false,
                "Note database: the connection to another machine is not encrypted",
            ),
            (
                |server| server.connections_left = 6,
                "Note database: the server has 6 connections left; a process takes up to 7",
            ),
            (
                |server| server.schema = None,
                "Fail schema: its version cannot be read",
            ),
            (
                |server| server.rights.apply = Some(false),
                "Fail database_rights: the role may not read and write",
            ),
            (
                |server| server.rights.record = Some(false),
                "Note database_rights: the role may not write clerk.settings",
            ),
            (
                |server| server.rights.migrate = false,
                "Note database_rights: the role may read and write, and not migrate",
            ),
        ];
        for (change, expected) in faults {
            let mut server = server();
            change(&mut server);
            let problems = problems(&server, Role::Serve);
            assert!(
                problems.len() == 1 && problems[0].starts_with(expected),
                "{expected}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_worker_need_not_migrate_unless_the_schema_is_old() {
        let mut server = server();
        server.rights.migrate = false;
        assert_eq!(problems(&server, Role::Worker), [""; 0]);
        server.schema = Some(SchemaVersion {
            found: Some(2),
            wanted: 3,
        });
        assert_eq!(
            problems(&server, Role::Worker).len(),
            2,
            "an old schema, and no right to migrate it"
        );
    }
}
