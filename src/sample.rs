//! Sample events: users and organizations that do not exist, and the events that Clerk would send of
//! them; for `send`, `dev`, tests and benches.
//!
//! Bodies have the fields, the order of keys and the size of received ones. Addresses, numbers and
//! hosts are of the ranges that are reserved for documentation, so no person can be reached by
//! them. The same seed and times give the same bytes, on every machine and in every release: so the
//! generator of numbers is our own.

mod event;
mod fault;
mod organization;
mod person;
mod random;
mod sample_type;
mod template;

pub use event::SampleEvent;
pub use fault::Fault;
pub use organization::{Member, Organization};
pub use person::Person;
pub use random::Seeded;
pub use sample_type::{Object, SampleType};

#[cfg(test)]
mod tests;
