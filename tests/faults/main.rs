//! The promises, kept while things break: random histories flood in, processes are killed, servers
//! stop, wires are cut, and after each fault every event that got a 2xx is there and every row is
//! the model's.
//!
//! `tls.rs` is the exception: it breaks nothing, and needs servers with certificates of their own.
//!
//! A run prints its seed and can be repeated with FAULT_SEED. `scripts/soak MINUTES` makes a long
//! one.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says where"
)]
#![allow(clippy::print_stdout, reason = "a run says what it breaks")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]

mod broker_settings;
mod check;
mod cluster;
mod embedded;
mod feed;
mod feed_workers;
mod flood;
mod kinds;
mod noted;
mod servers;
mod soak;
#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod system;
mod tls;
mod tls_clerk_api;
mod tls_demands;

/// Held by the test that runs: each brings servers of its own, and two at once would only wait for
/// the processor.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
