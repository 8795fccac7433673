//! The dashboard: the state of the service in a browser, and the replay and discard of failed
//! events.
//!
//! - It asks the same store as `/api`, so its numbers are the same; a replay publishes to the queue
//!   like the webhook.
//! - Every page works without a script, by links and forms. The script only refreshes what is
//!   shown, and adds shortcuts.
//! - Text from outside stays text: templates escape it, `page.rs` shows hidden characters by
//!   number, and the policy that every page carries would stop the rest.

mod actions;
mod assets;
mod audit;
mod auth;
mod chart;
mod choices;
mod control;
mod csv;
mod encode;
mod event_diff;
mod event_list;
mod events;
mod export;
mod field_faults;
mod history_steps;
mod json_view;
mod login;
mod names;
mod overview;
mod page;
mod page_query;
mod payload;
mod recent_changes;
mod refused;
mod replay_run;
mod routes;
mod row_list;
mod row_page;
mod row_table;
mod search;
mod session;
mod tiles;
mod user_list;
mod users;
mod view_models;

pub use encode::FieldText;
pub use page::problem_page;
pub use routes::{configure, configure_without_database};
