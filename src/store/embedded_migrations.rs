//! The migrations of both databases, built into the program. `build.rs` lists the files.

use std::borrow::Cow;
use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Those of `migrations/postgres`, in order.
pub static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&include!(concat!(
        env!("OUT_DIR"),
        "/postgres_migrations.rs"
    )))
});

/// Those of `migrations/sqlite`, in order.
pub static SQLITE: LazyLock<Migrator> =
    LazyLock::new(|| migrator(&include!(concat!(env!("OUT_DIR"), "/sqlite_migrations.rs"))));

/// Of versions, descriptions and texts.
fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        let description = Cow::Borrowed(description);
        let sql = sql.into_sql_str();
        Migration::new(version, description, MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}
