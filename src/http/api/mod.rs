//! The routes for operators and their programs: the synced tables, events with the replay and discard of failed
//! ones, the audit, and the numbers.
//!
//! All but the OpenAPI document require a token. They know the store; a replay publishes to
//! the queue like the webhook.

pub(super) mod audit;
pub(super) mod auth;
mod bulk_request;
pub(super) mod changes;
pub(super) mod control;
mod entity_tag;
pub(super) mod events;
mod fields;
mod filters;
mod invalid;
pub(super) mod openapi;
mod parameters;
mod query_string;
pub(super) mod refresh;
mod sort;
pub(super) mod stats;
mod table_operations;
mod table_query;
pub(super) mod tables;
pub(super) mod users;
mod wait;

pub use audit::query as read_audit_query;
pub use filters::{events as read_events_query, users as read_users_query};
pub use openapi::document as openapi_document;
pub use query_string::with_plus;
pub use table_query::{list as read_table_query, parameters as table_parameters};
