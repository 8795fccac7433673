//! clerk-sync keeps a table of users in step with Clerk.
//!
//! An event passes these modules in order: `http` receives a delivery and verifies it with `clerk`,
//! `queue` keeps the event on disk, `worker` takes batches and plans one write for each, `store`
//! applies the write. No module imports one that comes earlier on this path; only `commands`
//! imports all of them.

pub mod clerk;
pub mod http;
pub mod queue;
pub mod store;
pub mod worker;

pub mod backfill;
pub mod refresh;
pub mod replay;
pub mod sample;

pub mod commands;
pub mod config;

pub mod backoff;
pub mod clock;
pub mod escape;
pub mod format;
pub mod logged_state;
pub mod metrics;
pub mod private_file;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod url;
