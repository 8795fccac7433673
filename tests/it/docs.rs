//! Every page of the documentation is true where a machine can check it: its commands and
//! statements run, its links lead somewhere, and it begins with whom it is for.
//!
//! How blocks are read: `sh` blocks hold commands (`docs/commands.rs`), `sql` blocks statements for
//! PostgreSQL and `sql sqlite` blocks those for SQLite (`docs/statements.rs`). What a program
//! prints, and any file, is a block of another language. `scripts/check-snippets` reads TypeScript.

mod commands;
mod fixture;
mod links;
mod page;
mod readme;
mod row_security;
mod shell;
mod statements;
