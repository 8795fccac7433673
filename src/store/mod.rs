//! The database: the users table and the record of every event, in PostgreSQL or SQLite.
//!
//! Both databases follow the same contract; `tests/it/contract/store.rs` checks it.
//!
//! - `apply` joins every change of a write to its row (`clerk::change` is the rule) and records
//!   every event, in one transaction: all of it or none of it.
//! - Applying a write twice, or any writes in any order, gives the same rows; `synced_at`,
//!   `deliveries` and `attempts` aside.
//! - A change that alters nothing writes nothing to `users`.

mod act;
mod attempts;
mod audit;
mod bind;
mod change_generation;
mod changes;
mod control;
mod database;
mod database_row;
mod embedded_migrations;
mod erasure;
mod error;
mod event_status;
mod failed_payloads;
mod filter;
mod history;
mod keep;
mod list_statement;
mod lists;
mod lookup;
pub mod postgres;
mod processes;
mod publish_turn;
mod queries;
mod read;
mod recent;
mod row_change;
mod rows;
mod schema_version;
mod search;
mod settings;
mod sort;
pub mod sqlite;
mod stats;
mod table_filter;
mod table_list;
pub mod template;
mod time;
mod wait;
mod waiters;
mod whole_event;
mod write;

use database::dispatch;
use error::NO_SCHEMA;

pub use act::{Act, Action, Actor, Credential, EventAct};
pub use attempts::Attempt;
pub use audit::AuditFilter;
pub use changes::{CURSOR_EXPIRED, ChangeCursor, ChangeFeedState, ChangePage, ChangeRow, ReadFrom};
pub use control::{Control, Pause, read_rate};
pub use database::{DatabaseReport, Options, Store};
pub use erasure::Erased;
pub use error::StoreError;
pub use event_status::Status;
pub use filter::{Cursor, EventFilter, Listing, Page, UserFilter, read_time};
pub use history::{HistoryRow, RowChange};
pub use keep::{Keep, OnDelete, Payloads};
pub use lookup::{KnownRow, LiveRow};
pub use processes::{Process, ProcessDescription, RECEIVER, SignOfLife};
pub use publish_turn::PublishTurn;
pub use recent::{Bucket, Lag, Range, Recent};
pub use rows::{EventRow, TableRow};
pub use schema_version::SchemaVersion;
pub use sort::{Part, Sort};
pub use stats::{Failed, TableTotals, Totals};
pub use table_filter::TableFilter;
pub use time::Time;
pub use waiters::ChangeSignal;
pub use whole_event::WholeEvent;
pub use write::{EventFailure, Outcome, Parsed, Record, Write};
