//! Every test from outside, in one binary, so that it links once.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says where"
)]
#![allow(clippy::print_stdout, reason = "a seed is printed where a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]

mod container;
mod contract;
mod deploy;
mod docs;
mod fuzz;
mod generated_pages;
mod law;
mod release;
mod story;
#[allow(dead_code, reason = "the fault suite uses the rest of it")]
mod support;
mod tidy;
