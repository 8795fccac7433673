//! clerk-sync keeps a table of users in step with Clerk.
//!
//! The modules stand in the order in which an event meets them: `http` takes a delivery and
//! verifies it with `clerk`, `queue` keeps it on disk, `worker` takes batches and plans one write
//! for each, `store` applies it. Nothing below knows what is above it; `commands` is the only place
//! where the parts meet.

pub mod clerk;
pub mod http;
pub mod queue;
pub mod store;
pub mod worker;

pub mod backfill;
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
