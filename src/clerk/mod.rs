//! What Clerk says: signatures, events, users, and the rule that orders them.
//!
//! Everything here is pure. Nothing in this folder opens a file, asks for the time or imports another room of the house.

pub mod api_object;
pub mod change;
mod diff;
pub mod event;
pub mod id;
mod json;
pub mod redact;
pub mod signature;
pub mod user;
mod user_fields;

pub use change::{Change, Version};
pub use diff::Fields;
pub use event::{DeadLetter, Event, EventType, Rejection, SignedEvent, TraceContext};
pub use id::{ClerkId, EventId, Timestamp};
pub use redact::{OmitError, OmittedFields};
pub use signature::{Delivery, SignatureError, SigningSecret, TOLERANCE_MS, Verified, Verifier};
pub use user::UserProfile;
