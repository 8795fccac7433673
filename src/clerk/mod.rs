//! What Clerk says: signatures, events, objects, and the rule that orders them.
//!
//! Everything here is pure. Nothing in this folder opens a file, asks for the time or imports
//! another module.

pub mod api_object;
pub mod change;
mod change_kind;
pub mod column;
mod diff;
pub mod error_code;
pub mod event;
mod event_type;
pub mod id;
mod json;
pub mod list;
mod nearest_field;
pub mod owners;
pub mod redact;
pub mod signature;
mod sync;
pub mod table;
pub mod tables;
mod trace_context;

pub use change::{Altering, Change, RowVersion, Version};
pub use change_kind::ChangeKind;
pub use column::{Column, Kind, Value};
pub use diff::{Detail, Difference, Excerpt, Fields};
pub use error_code::ErrorCode;
pub use event::{DeadLetter, Event, Rejection, SignedEvent};
pub use event_type::EventType;
pub use id::{ClerkId, EventId, Timestamp};
pub use list::{List, One, Paging};
pub use redact::{OmitError, OmittedFields};
pub use signature::{Delivery, SignatureError, SigningSecret, TOLERANCE_MS, Verified, Verifier};
pub use sync::{SyncedTables, UnknownTable};
pub use table::{Profile, Table};
pub use trace_context::TraceContext;
