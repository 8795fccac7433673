//! Reads Clerk's list of users from start to end: to fill the table (`fill`), and to find its drift
//! (`reconcile`).
//!
//! Every user that is read becomes a `Change` (`clerk::api_object`) and goes through
//! `Store::apply`: the same join and the same SQL as an event. So it does no harm to read the list
//! while events arrive, to read it twice, or to stop.
//!
//! - A page is read while those before it are written, and only a few are in memory, however many
//!   users there are.
//! - A transient error is retried until `--patience` is over; one that needs an operator stops the
//!   run at once.

mod clerk_api;
mod drift;
mod failure;
mod fill;
mod pages;
mod reconcile;
mod resume;
mod retry;
mod store;
mod tally;

pub use clerk_api::{ClerkApi, Options};
pub use failure::{Stopped, UserFailure};
pub use fill::{Filled, Notice, fill};
pub use reconcile::{Drift, DriftedUsers, ReconcileOptions, reconcile};
pub use resume::{Resume, RunKey};
pub use tally::Tally;
