//! SQLite: one file, one writer at a time.

mod acts;
mod apply;
pub(super) mod changes;
mod demo_rule;
mod erasure;
mod error;
mod file_changes;
mod json_texts;
pub(super) mod lowercase;
mod multi_insert;
mod payloads;
mod record_changes;
pub(super) mod statements;
mod store;

pub use store::{FileReport, Options, Store};
