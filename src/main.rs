//! The program: parse, run the command, exit status.

use std::process::ExitCode;

use clerk_sync::commands;

/// Allocations of many sizes on many threads are what a worker does all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // Two crates below would each install one, and rustls stops the program where it must guess.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("clerk-sync: TLS was set up twice");
        return ExitCode::FAILURE;
    }
    commands::run(commands::parse()).await
}
