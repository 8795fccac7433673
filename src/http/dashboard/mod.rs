//! The dashboard: the state of the service in a browser, and the replay and discard of failed events.
//!
//! - It asks the same store as `/api`, so its numbers are the same; a replay publishes to the queue like the webhook.
//! - Every page works without a script, by links and forms. The script only refreshes what is shown, and adds shortcuts.
//! - Text from outside stays text: templates escape it, `response.rs` shows hidden characters by number, and the policy that every
//!   page carries would stop the rest.

mod actions;
mod assets;
mod auth;
mod bulk_actions;
mod chart;
mod encode;
mod error;
mod error_help;
mod event;
mod events;
mod field_text;
mod frame;
mod login;
mod overview;
mod page_query;
mod payload;
mod response;
mod routes;
mod session;
mod status;
mod users;
mod view_models;
mod when;

pub use field_text::FieldText;
pub use routes::{configure, configure_without_database};
