//! What Clerk says: signatures, events, objects, and the rule that orders them.
//!
//! Everything here is pure. Nothing in this folder opens a file, asks for the time or imports
//! another module.

pub mod api_object;
pub mod change;
mod diff;
pub mod error_code;
pub mod event;
mod event_type;
pub mod id;
mod json;
mod nearest_field;
pub mod redact;
pub mod signature;
pub mod table;
pub mod tables;

pub use change::{Change, RowVersion, Version};
pub use diff::{Detail, Difference, Excerpt, Fields};
pub use error_code::ErrorCode;
pub use event::{DeadLetter, Event, Rejection, SignedEvent, TraceContext};
pub use event_type::EventType;
pub use id::{ClerkId, EventId, Timestamp};
pub use redact::{OmitError, OmittedFields};
pub use signature::{Delivery, SignatureError, SigningSecret, TOLERANCE_MS, Verified, Verifier};
pub use table::{Column, Kind, Profile, Table, Value};
