//! Reads Clerk's lists from start to end: to fill the tables (`fill`), and to find their drift
//! (`reconcile`). `object` reads one object, for `refresh`.
//!
//! Every object that is read becomes a `Change` (`clerk::api_object`) and goes through
//! `Store::apply`: the same join and the same SQL as an event. So it does no harm to read a list
//! while events arrive, to read it twice, or to stop.
//!
//! - One table after another is read, in the order of `clerk::tables`.
//! - A page is read while those before it are written, and only a few are in memory, however many
//!   objects there are.
//! - A transient error is retried until `--patience` is over; one that needs an operator stops the
//!   run at once.

mod clerk_api;
mod confirm;
mod drift;
mod failure;
mod fill;
mod object;
mod offset;
mod pages;
mod place;
mod reconcile;
mod request;
mod resume;
mod retry;
mod run;
mod store;
mod table_drift;
mod tally;

pub use clerk_api::{ClerkApi, Options};
pub use failure::{ObjectFailure, Stopped};
pub use fill::{Filled, FilledTable, fill};
pub use object::{ObjectError, object};
pub use reconcile::{ReconcileOptions, Reconciled, reconcile};
pub use request::API_VERSION;
pub use resume::{Resume, RunKey};
pub use run::{Notice, Run, State};
pub use table_drift::{Drift, DriftedObjects};
pub use tally::Tally;
