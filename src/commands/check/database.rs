//! The database: whether it answers, what it is, whether its schema is ours, and what the role may
//! do.

use super::finding::{self, Finding, fail, note, ok};
use super::role::Role;
use super::time_limit::in_time;
use crate::clerk::tables;
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
    let found = in_time(store.inspect()).await;
    match found.unwrap_or_else(|| Err(StoreError::Unavailable("it does not answer".into()))) {
        Ok(inspection) => {
            let batches = i64::try_from(config.worker.concurrency.get()).unwrap_or(i64::MAX);
            let findings = match &inspection {
                DatabaseReport::Postgres(inspection) => {
                    of_postgres(&place, inspection, role, batches)
                }
                DatabaseReport::Sqlite(inspection) => of_sqlite(&place, inspection),
            };
            (findings, Some(inspection))
        }
        Err(error) => (vec![of_error(&place, &error)], None),
    }
}

fn of_error(place: &str, error: &StoreError) -> Finding {
    let (StoreError::Unavailable(text)
    | StoreError::Incompatible(text)
    | StoreError::Rejected { text, .. }) = error;
    let create = format!(
        "create it (`createdb {}`), or correct the name in DATABASE_URL",
        place
            .rsplit('/')
            .next()
            .and_then(|name| name.split(',').next())
            .unwrap_or_default()
    );
    let remedy = match error {
        StoreError::Incompatible(text) if text.contains("(SQLSTATE 3D000)") => {
            return fail(
                "database",
                format!("{place}: the database does not exist (SQLSTATE 3D000)"),
                create,
            );
        }
        StoreError::Incompatible(text) if text.contains("pooler") => {
            "give the server's direct address in DATABASE_URL, or session pooling"
        }
        StoreError::Unavailable(text) if text.contains("(SQLSTATE 53300)") => {
            "raise `alter role … connection limit` or max_connections, or end other clients"
        }
        StoreError::Unavailable(_) => {
            "start the server, or correct the host and the port in DATABASE_URL"
        }
        _ => {
            "correct the user, the password and the database in DATABASE_URL, or pg_hba.conf on the server"
        }
    };
    let (what, remedy) = finding::split(text, remedy);
    fail("database", format!("{place}: {what}"), remedy)
}

fn of_postgres(
    place: &str,
    found: &postgres::ServerReport,
    role: Role,
    batches: i64,
) -> Vec<Finding> {
    let number = found.version.split(' ').next().unwrap_or_default();
    let old = format!("PostgreSQL {number} is older than 14");
    let failures = [
        (
            found.version_number < VERSION_MIN,
            &*old,
            "use PostgreSQL 14 or later",
        ),
        (
            found.is_read_only,
            "the server only reads: it is a standby, or default_transaction_read_only is on",
            "give the primary: one name that follows it, or the primary's own",
        ),
        (
            !found.fsync,
            "fsync is off: a power failure can lose what was acknowledged, or the whole database",
            "set fsync = on in postgresql.conf",
        ),
    ];
    let failures = failures.into_iter().filter(|(applies, ..)| *applies);
    let mut findings: Vec<_> = failures
        .map(|(_, what, remedy)| fail("database", what, remedy))
        .collect();
    let encoding = found.tables.lacks_characters();
    findings.extend(encoding.map(|SchemaFault { what, fix }| fail("database", what, fix)));
    if findings.is_empty() {
        findings.push(ok("database", format!("PostgreSQL {number} at {place}")));
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
    if found.rights.apply == Some(true) {
        findings.extend(of_rights_beside(&found.rights, name));
    }
    findings
}

/// Rights without which events are applied all the same.
fn of_rights_beside(rights: &Rights, name: &SchemaName) -> Vec<Finding> {
    let rows = [
        (
            rights.record,
            "settings: workers cannot record their queue, and `events replay` is refused",
            "select, insert, update on",
            "settings",
        ),
        (
            rights.audit,
            "audit: who replays, discards or erases cannot be recorded, so that these are refused",
            "select, insert, update, delete on",
            "audit",
        ),
        (
            rights.be_seen,
            "processes: this process is not in the list of processes, and workers do not share a rate limit: each takes all of it",
            "select, insert, update, delete on",
            "processes",
        ),
    ];
    let missing = rows.into_iter().filter(|(may, ..)| *may == Some(false));
    let finding = |(_, what, rights, table)| {
        let what = format!("the role may not write {name}.{what}");
        let remedy = format!("grant {rights} {name}.{table} to the role");
        note("database_rights", what, remedy)
    };
    missing.map(finding).collect()
}

/// What works, but a person should know.
fn notes(found: &postgres::ServerReport, batches: i64) -> Vec<Finding> {
    let (left, needed) = (
        found.connections_left,
        batches.saturating_add(OTHER_CONNECTIONS),
    );
    let plural = if left == 1 { "" } else { "s" };
    let few =
        format!("the server has {left} connection{plural} left; a process takes up to {needed}");
    let notes = [
        (
            !found.full_page_writes,
            "full_page_writes is off: safe only on a file system that never tears a page",
            "set full_page_writes = on unless you know that yours does not",
        ),
        (
            found.synchronous_commit == "off",
            "synchronous_commit is off; clerk-sync turns it on for its own writes",
            "nothing to do for clerk-sync",
        ),
        (
            !found.has_lz4,
            "this server has no lz4: large columns are compressed with pglz, which is slower",
            "use a build with lz4",
        ),
        (
            !found.is_private,
            "the connection to another machine is not encrypted",
            "add ?sslmode=verify-full to DATABASE_URL if the network is not yours",
        ),
        (
            found.pooling == Pooling::Transaction,
            "a transaction pooler is in front of the server: it works, without limits on the time of a statement",
            "`alter role … set statement_timeout = '30s'` and `set lock_timeout = '5s'`, or give the direct address in DATABASE_URL",
        ),
        (
            left < needed,
            &*few,
            "raise max_connections, or lower WORKER_CONCURRENCY",
        ),
    ];
    let notes = notes.into_iter().filter(|(applies, ..)| *applies);
    notes
        .map(|(_, what, remedy)| note("database", what, remedy))
        .collect()
}

/// What is wrong with the schema, whatever its version.
fn of_tables(found: &postgres::ServerReport) -> Option<Finding> {
    let tables = &found.tables;
    let lacks = || {
        found
            .schema
            .and_then(|version| tables.lacks_tables(version))
    };
    let fault = |check| move |SchemaFault { what, fix }| fail(check, what, fix);
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
        return fail(
            "schema",
            "its version cannot be read: the role may not read it",
            remedy,
        );
    };
    match found {
        Some(found) if found == wanted => {
            ok("schema", format!("version {found}, that of this program"))
        }
        Some(found) if found > wanted => {
            let what = format!("version {found} is newer than this program's {wanted}");
            fail("schema", what, "use a newer clerk-sync")
        }
        Some(found) => fail(
            "schema",
            format!("version {found}, and this program needs {wanted}"),
            MIGRATE,
        ),
        None => fail("schema", "it is missing", MIGRATE),
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
        let synced = tables::ALL.iter().map(|table| table.name).chain(["events"]);
        let synced: Vec<_> = synced.map(|table| format!("{name}.{table}")).collect();
        let remedy = format!(
            "grant usage on schema {name}, select, insert, update, delete on {}, and select on {name}._migrations to the role",
            synced.join(", ")
        );
        return fail(
            "database_rights",
            "the role may not read and write the tables",
            remedy,
        );
    }
    match (rights.migrate, is_current) {
        (true, _) => ok("database_rights", "the role may migrate, read and write"),
        (false, true) if role == Role::Worker => {
            ok("database_rights", "the role may read and write")
        }
        (false, true) => note(
            "database_rights",
            "the role may read and write, and not migrate",
            "let another role run `clerk-sync migrate` before the next release",
        ),
        (false, false) => fail(
            "database_rights",
            "the role may not migrate, and the schema is not up to date",
            name.remedy_of_migrator(),
        ),
    }
}

fn of_sqlite(place: &str, found: &sqlite::FileReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    match found.is_private {
        None => {
            let what = format!("SQLite: {place} does not exist yet");
            return vec![note(
                "database",
                what,
                "nothing to do: it is created at the first start",
            )];
        }
        Some(true) => findings.push(ok("database", format!("SQLite: {place}"))),
        Some(false) => {
            let what = format!(
                "SQLite: others on this machine may read {place}, which holds personal data"
            );
            findings.push(note("database", what, format!("chmod 600 {place}")));
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
        audit: Some(true),
        be_seen: Some(true),
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
        let faults: [(Change, &str); 19] = [
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
                |server| server.rights.audit = Some(false),
                "Note database_rights: the role may not write clerk.audit",
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
