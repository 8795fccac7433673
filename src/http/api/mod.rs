//! The routes for operators and their programs: users, events with the replay and discard of failed
//! ones, the audit, and the numbers.
//!
//! All but the OpenAPI document require a token. They know the store; a replay publishes to
//! the queue like the webhook.

pub(super) mod audit;
mod auth;
mod bulk_request;
pub(super) mod control;
mod entity_tag;
pub(super) mod events;
mod fields;
mod filters;
mod invalid;
pub(super) mod openapi;
mod parameters;
mod sort;
pub(super) mod stats;
pub(super) mod users;

pub use audit::query as read_audit_query;
pub use filters::{events as read_events_query, users as read_users_query, with_plus};
pub use openapi::document as openapi_document;
