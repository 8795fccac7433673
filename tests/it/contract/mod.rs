//! One suite a seam: the same tests for both of its arms, on real servers.

mod queue;
mod store;
