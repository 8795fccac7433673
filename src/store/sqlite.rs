//! SQLite: one file, one writer at a time.

mod acts;
mod apply;
mod demo_rule;
mod error;
pub(super) mod lowercase;
mod multi_insert;
pub(super) mod statements;
mod store;

pub use store::{FileReport, Options, Store};
