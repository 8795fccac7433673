//! PostgreSQL: one schema, one statement per write.

mod acts;
mod address;
mod apply;
mod apply_conditions;
pub(super) mod changes;
mod connection;
mod erasure;
pub(super) mod error;
mod listen;
mod migrate;
mod migrations;
mod no_delay;
mod pool;
mod probe;
mod schema_fault;
mod schema_name;
mod schema_state;
mod session;
mod settling;
mod statements;
mod store;

pub use address::Address;
pub use probe::{Rights, ServerReport};
pub use schema_fault::SchemaFault;
pub use schema_name::SchemaName;
pub use schema_state::SchemaState;
pub use session::Pooling;
pub use store::{Options, Store};
