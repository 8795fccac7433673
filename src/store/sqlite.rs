//! SQLite: one file, one writer at a time.

mod acts;
mod apply;
mod demo_rule;
mod erasure;
mod error;
mod json_texts;
pub(super) mod lowercase;
mod multi_insert;
mod payloads;
pub(super) mod statements;
mod store;

pub use store::{FileReport, Options, Store};
