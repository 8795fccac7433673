//! Every test from outside, in one binary, so that it links once.

mod contract;
mod law;
mod story;
mod support;
mod tidy;
