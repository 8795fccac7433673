//! Sorts errors of PostgreSQL (SQLSTATE) by their remedy: wait and retry, isolate the event, or
//! report to an operator.
//!
//! The texts are written here: PostgreSQL's own message and detail can quote values, which are
//! personal data.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::schema_name::SchemaName;
use crate::clerk::ErrorCode;
use crate::store::{NO_SCHEMA, StoreError};
use crate::tls::{self, Peer};

/// The answer of poolers to what they do not accept.
const PROTOCOL_VIOLATION: &str = "08P01";

/// The errors of `apply.sql` if the database dropped a row without an error: that of `limit`, and
/// that of `offset`.
const EVENT_IS_MISSING: &str = "2201W";
const USER_IS_MISSING: &str = "2201X";

/// Whether `apply.sql` failed because it wrote fewer rows of users than it was given.
pub fn is_row_missing(error: &Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some(USER_IS_MISSING))
}

/// The error of a pooler that has lost a prepared statement, or has that of another client under
/// its name.
pub const STATEMENTS_ARE_LOST: &str = "a transaction pooler is in front of the server, and does not follow prepared statements: give the server's direct address in DATABASE_URL, or session pooling, or let the pooler follow them (PgBouncer 1.21 or later with max_prepared_statements = 200)";

/// The server has no more connections for this role.
pub const TOO_MANY_CONNECTIONS: &str = "53300";

/// The error if there is one connection, and no second one to be had.
pub const ONE_CONNECTION: &str = "it allows one connection and not a second one, and clerk-sync needs at least two to write; raise `alter role … connection limit`, max_connections or the pooler's default_pool_size, or end other clients";

/// Whether an error is that of a pooler: a prepared statement that is missing, one that is there
/// already, and what it refuses.
pub fn is_of_pooler(sqlstate: &str) -> bool {
    matches!(sqlstate, "26000" | "42P05" | PROTOCOL_VIOLATION)
}

/// The three remedies.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    Wait,
    Isolate,
    Stop,
}

/// The remedy for an SQLSTATE (PostgreSQL manual, appendix A).
fn remedy(sqlstate: &str) -> Remedy {
    match sqlstate {
        // A lock that others hold, an object in use, a statement or session that was ended from
        // outside, a server that only reads after a failover, a transaction that had failed before.
        "55P03" | "55006" | "57014" | "25006" | "25P02" => Remedy::Wait,
        EVENT_IS_MISSING | USER_IS_MISSING => Remedy::Stop,
        _ => match sqlstate.get(..2).unwrap_or_default() {
            // Cardinality, data, integrity, program limits: something in the write. And what a
            // trigger or a rule of the application's own says to some rows: raised errors, external
            // routines, a view's check option.
            "21" | "22" | "23" | "54" | "P0" | "38" | "39" | "44" => Remedy::Isolate,
            // Passwords, databases, schemas, grants, syntax, features, statements a pooler has
            // lost.
            "28" | "3D" | "3F" | "42" | "0A" | "26" => Remedy::Stop,
            // Errors of a pooler that refuses a feature: retrying does not help.
            "08" if sqlstate == PROTOCOL_VIOLATION => Remedy::Stop,
            // Pool, rollbacks, resources, operators, system, and every code that is not listed.
            _ => Remedy::Wait,
        },
    }
}

/// The error of a read, or of a connection.
pub fn of(error: Error) -> StoreError {
    match error {
        Error::Database(error) => of_database(&*error),
        Error::PoolTimedOut => StoreError::Unavailable(
            "no connection could be opened in time: the server is unavailable or busy, a pooler has none that is free, or DATABASE_URL names another server".into(),
        ),
        Error::Io(error) => match tls::explain(&error, &Peer::POSTGRES) {
            Some(reason) => StoreError::Incompatible(reason),
            None if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                StoreError::Unavailable(ENDED.into())
            }
            // The system's own words, such as those for a host that has no address: nothing of ours
            // is in them.
            None => StoreError::Unavailable(format!("the connection failed: {error}")),
        },
        Error::Tls(error) => StoreError::Incompatible(of_tls(&*error)),
        // The first bytes of the server's answer are not of PostgreSQL's protocol.
        Error::Protocol(_) => StoreError::Incompatible(NOT_POSTGRES.into()),
        Error::PoolClosed => StoreError::Unavailable("the store is closed".into()),
        // An error that `of_connecting` has wrapped.
        Error::Configuration(source) => match source.downcast::<StoreError>() {
            Ok(error) => *error,
            Err(_) => StoreError::Unavailable("the connection does not work".into()),
        },
        Error::ColumnDecode { index, .. } => {
            StoreError::Incompatible(format!("column {index} has another type than this program's schema"))
        }
        Error::ColumnNotFound(name) => StoreError::Incompatible(format!("column {name} is missing")),
        _ => StoreError::Unavailable("the connection does not work".into()),
    }
}

/// The error of a write to a schema whose version is the newest: nothing is left to migrate.
pub fn of_write(error: Error) -> StoreError {
    let Error::Database(refusal) = &error else {
        return of(error);
    };
    match refusal.code().as_deref() {
        Some(sqlstate @ ("42P01" | "42703" | "42P10" | "42804")) => {
            StoreError::Incompatible(format!(
                "a write does not fit the tables, although the schema is up to date (SQLSTATE {sqlstate}){}: a table of the schema was changed by hand, or a trigger of yours on it fails; undo the change, or correct the trigger",
                objects(&**refusal)
            ))
        }
        _ => of(error),
    }
}

const ENDED: &str = "the server ended the connection without a word; see that it runs and that the port in DATABASE_URL is PostgreSQL's, and one that does not speak TLS from the first byte";

const NOT_POSTGRES: &str = "what answers there does not speak PostgreSQL's protocol; give PostgreSQL's port, usually 5432, in DATABASE_URL (one that speaks TLS from the first byte is another)";

/// How sqlx says it.
const NO_TLS: &str = "server does not support TLS";

/// The error, with what to take out if the server has no TLS.
pub fn name_what_asks_for_tls(error: Error, asking: &str) -> Error {
    match error {
        Error::Tls(error) if error.to_string() == NO_TLS => {
            let text = format!(
                "TLS: PostgreSQL has no TLS and the settings ask for it; turn on ssl in postgresql.conf, or take out what asks for it ({asking}) if the network is trusted"
            );
            Error::Configuration(Box::new(StoreError::Incompatible(text)))
        }
        other => other,
    }
}

fn of_tls(error: &(dyn std::error::Error + 'static)) -> String {
    let peer = &Peer::POSTGRES;
    tls::explain(error, peer).unwrap_or_else(|| peer.ended_the_handshake(&error.to_string()))
}

fn of_database(error: &dyn DatabaseError) -> StoreError {
    let sqlstate = error.code().unwrap_or_default().into_owned();
    if let Some(text) = of_refusal(&sqlstate, error.message()) {
        return StoreError::Incompatible(text);
    }
    // The message of an error that PostgreSQL itself makes of these holds nothing but names of the
    // driver's.
    let is_safe = ["prepared statement \"sqlx", "bind message supplies"]
        .iter()
        .any(|start| error.message().starts_with(start));
    let detail = if is_of_pooler(&sqlstate) && is_safe {
        server_message(error)
    } else {
        objects(error)
    };
    with_remedy(sqlstate, &detail)
}

fn with_remedy(sqlstate: String, detail: &str) -> StoreError {
    let text = format!("{} (SQLSTATE {sqlstate}){detail}", meaning(&sqlstate));
    match remedy(&sqlstate) {
        Remedy::Wait => StoreError::Unavailable(text),
        Remedy::Isolate => StoreError::Rejected {
            text,
            code: format!("{}{sqlstate}", ErrorCode::Sqlstate.name()),
        },
        Remedy::Stop => StoreError::Incompatible(text),
    }
}

/// The error of a session that does not start, with the server's own message: no row has been sent
/// yet, so it quotes none.
pub fn of_connecting(error: Error) -> Error {
    match error {
        Error::Database(error) => {
            let sqlstate = error.code().unwrap_or_default().into_owned();
            let detail = server_message(&*error);
            let refusal = of_refusal(&sqlstate, error.message())
                .map(|text| StoreError::Incompatible(text + &detail));
            Error::Configuration(Box::new(
                match refusal.unwrap_or_else(|| with_remedy(sqlstate, &detail)) {
                    // There is nothing to take apart.
                    StoreError::Rejected { text, .. } => StoreError::Unavailable(text),
                    other => other,
                },
            ))
        }
        other => other,
    }
}

/// The server's own message, on one line.
fn server_message(error: &dyn DatabaseError) -> String {
    const CHARS_MAX: usize = 300;
    let line = |letter: char| if letter.is_control() { ' ' } else { letter };
    format!(
        "; it says: {}",
        error
            .message()
            .chars()
            .map(line)
            .take(CHARS_MAX)
            .collect::<String>()
    )
}

/// The error of a refusal that is about TLS; `None` for another. PostgreSQL has one code for all
/// refusals, so its text decides.
fn of_refusal(sqlstate: &str, message: &str) -> Option<String> {
    if sqlstate != "28000" {
        return None;
    }
    if message.contains("certificate authentication failed") {
        return Some("the client certificate is not for this user (SQLSTATE 28000); give one whose CN is the role with sslcert and sslkey in DATABASE_URL, or map its CN to the role in pg_ident.conf".into());
    }
    if message.contains("client certificate") {
        return Some(format!(
            "{} (SQLSTATE 28000)",
            Peer::POSTGRES.wants_client_certificate()
        ));
    }
    // The second is that of PostgreSQL 13.
    let is_plain = message.contains(", no encryption") || message.contains(", SSL off");
    is_plain.then(|| {
        "the server asks for TLS, or does not let this role in without (SQLSTATE 28000); add sslmode=require, better sslmode=verify-full, to DATABASE_URL, and see pg_hba.conf".into()
    })
}

/// The names of the table, the column and the constraint, which hold nothing of a user.
fn objects(error: &dyn DatabaseError) -> String {
    let Some(error) = error.try_downcast_ref::<PgDatabaseError>() else {
        return String::new();
    };
    let parts = [
        ("table", error.table()),
        ("column", error.column()),
        ("constraint", error.constraint()),
    ];
    parts
        .into_iter()
        .filter_map(|(kind, name)| Some(format!(", {kind} {}", name?)))
        .collect()
}

fn meaning(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22P05" => "a text holds a character that PostgreSQL cannot store",
        "22P02" => "a text is not valid JSON for PostgreSQL",
        "22003" => "a number is out of PostgreSQL's range",
        "22021" => "a text holds a NUL character",
        "54000" | "54001" => "a value exceeds a limit of PostgreSQL",
        "28P01" => "the password is wrong: check DATABASE_URL",
        "28000" => "the server does not let this role in: check DATABASE_URL and pg_hba.conf",
        "3D000" => {
            "the database does not exist: create it with createdb, or correct its name in DATABASE_URL"
        }
        "42501" => "the role may not do this: SECURITY.md lists the grants that each role needs",
        "42P01" | "42703" | "3F000" => NO_SCHEMA,
        "25006" => "the server only reads",
        EVENT_IS_MISSING => {
            "the database dropped an event without an error, so that nothing was written: a trigger or a rule on its table events returns nothing; drop it"
        }
        USER_IS_MISSING => {
            "the database dropped a user's row without an error, so that nothing was written: a trigger or a rule on its table users returns nothing; drop it"
        }
        "0A000" => {
            "the server does not take a write: a rule on a synced table or on events is in its way (drop it), or a table was changed by hand"
        }
        "26000" | "42P05" => STATEMENTS_ARE_LOST,
        PROTOCOL_VIOLATION => {
            "a pooler or proxy in front of the server refuses what clerk-sync sends: give the server's direct address in DATABASE_URL, or use session pooling"
        }
        "53100" => "the server's disk is full",
        TOO_MANY_CONNECTIONS => "the server has no more connections for this role",
        "55P03" => "another session holds a lock on a table: try again",
        "57014" => "a statement took too long",
        "57P01" | "57P02" => "the server is stopping",
        "57P03" => "the server is starting",
        "40P01" => "two writes waited for each other",
        _ => match sqlstate.get(..2).unwrap_or_default() {
            "08" => "the connection failed",
            "22" => "PostgreSQL cannot hold a value",
            "23" => "a value breaks a constraint",
            "53" => "the server lacks resources",
            "P0" | "38" | "39" | "44" => "a trigger or rule of this database refuses a row",
            _ => "the server reports an error",
        },
    }
}

/// The error of a role without the grants to write.
pub fn of_missing_grant() -> StoreError {
    StoreError::Incompatible(format!("{} (SQLSTATE 42501)", meaning("42501")))
}

/// The error of a migration of a schema of this version. Its statements hold no data, so the
/// message about an object that is in the way quotes none.
pub fn of_migration(error: Error, schema: &SchemaName, version: Option<i64>) -> StoreError {
    match error {
        Error::Database(error)
            if matches!(error.code().as_deref(), Some("42P07" | "42710" | "42723")) =>
        {
            StoreError::Incompatible(format!(
                "the schema {schema} has something that clerk-sync did not make{}. Rename it, or give clerk-sync another schema with DATABASE_SCHEMA. {}",
                server_message(&*error),
                version.map_or_else(
                    || "Nothing was changed".into(),
                    |version| format!("The schema stays at version {version}")
                )
            ))
        }
        Error::Database(error) if error.code().as_deref() == Some("42501") => {
            StoreError::Incompatible(format!(
                "the role may not migrate; {} (SQLSTATE 42501)",
                schema.remedy_of_migrator()
            ))
        }
        other => of(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_lack_of_tls_has_its_own_error_and_names_no_user() {
        for (message, words) in [
            (
                r#"no pg_hba.conf entry for host "10.0.0.1", user "ada", database "d", no encryption"#,
                "asks for TLS",
            ),
            (
                r#"pg_hba.conf rejects connection for host "10.0.0.1", user "ada", database "d", no encryption"#,
                "sslmode",
            ),
            (
                r#"no pg_hba.conf entry for host "10.0.0.1", user "ada", database "d", SSL off"#,
                "asks for TLS",
            ),
            (
                "connection requires a valid client certificate",
                "asks for a client certificate",
            ),
            (
                r#"certificate authentication failed for user "ada""#,
                "whose CN is the role",
            ),
        ] {
            let said = of_refusal("28000", message).unwrap();
            assert!(
                said.contains(words) && !said.contains("ada"),
                "{message}: {said}"
            );
        }
        assert_eq!(
            of_refusal("28000", r#"role "ada" is not permitted to log in"#),
            None
        );
        assert_eq!(of_refusal("28P01", "client certificate"), None);
    }

    #[test]
    fn every_class_has_its_remedy() {
        for wait in [
            "08006", "08001", "40001", "40P01", "53100", "53300", "55P03", "55006", "57014",
            "57P01", "57P02", "57P03", "58030", "25006", "25P02", "XX000", "",
        ] {
            assert_eq!(remedy(wait), Remedy::Wait, "{wait}");
        }
        for isolate in [
            "21000", "22P05", "22P02", "22003", "22021", "22008", "23502", "23514", "54000",
            "54001",
        ] {
            assert_eq!(remedy(isolate), Remedy::Isolate, "{isolate}");
        }
        for stop in [
            "28P01", "28000", "3D000", "3F000", "42501", "42P01", "42703", "0A000", "26000",
            "42P05", "08P01", "2201W", "2201X",
        ] {
            assert_eq!(remedy(stop), Remedy::Stop, "{stop}");
        }
    }
}
