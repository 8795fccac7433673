//! What Clerk says: signatures, events, users, and the rule that orders them.
//!
//! Everything here is pure. Nothing in this folder opens a file, asks for the time or imports another room of the house.

pub mod api_object;
pub mod change;
mod diff;
pub mod event;
mod json;
pub mod redact;
pub mod signature;
pub mod user;
mod user_fields;

pub use change::{UserChange, Version};
pub use diff::Fields;
pub use event::{
    ClerkId, DeadLetter, EventId, EventType, Rejection, SignedEvent, Timestamp, TraceContext,
    UserEvent,
};
pub use redact::{OmitError, OmittedFields};
pub use signature::{Delivery, SignatureError, SigningSecret, TOLERANCE_MS, Verified, Verifier};
pub use user::UserProfile;
