//! Everything over HTTP: the webhook, health and metrics, the API for operators, and the dashboard.
//!
//! `routes.rs` lists the routes, `limits.rs` has the limits, `problem.rs` the errors.

mod actor;
mod admin;
pub mod api;
mod cache;
mod change_feed_status;
mod complete_writes;
mod compress;
mod dashboard;
mod deliveries;
mod error_pages;
mod head_requests;
mod health;
mod limits;
mod login_link;
mod metrics;
mod misdirected;
mod paths;
mod problem;
mod reject_log;
mod replay_runs;
mod request_id;
mod routes;
mod server;
mod service_status;
mod snapshot;
mod webhook;

pub use admin::{Admin, AdminToken};
pub use change_feed_status::ChangeFeedStatus;
pub use deliveries::{Deliveries, Refused};
pub use limits::file_and_connection_limits;
pub use login_link::LoginLinks;
pub use paths::{DASHBOARD_PATH, WEBHOOK_PATH};
pub use problem::Code as ProblemCode;
pub use reject_log::RejectLog;
pub use replay_runs::ReplayRuns;
pub use server::{Options, Parts, listen, serve};
pub use service_status::{ServiceStatus, Waiting};
pub use snapshot::{Headline, Snapshot};
pub use webhook::receive::Webhooks;
