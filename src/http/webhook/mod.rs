//! The hot path: receives Clerk's deliveries. It knows the queue, not the store.

mod body;
pub mod receive;
