//! The program: reads the arguments, runs the command, returns its exit status.

use std::process::ExitCode;

use clerk_sync::commands;

/// Allocations of many sizes on many threads are what a worker does all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // Two dependencies would each install a provider, and rustls panics if it cannot choose.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("clerk-sync: TLS was set up twice");
        return ExitCode::FAILURE;
    }
    commands::run(commands::parse()).await
}
