//! The fixtures of the tests: servers, processes, clients.

pub mod app;
pub mod broker;
pub mod clerk_api;
pub mod clerk_instance;
pub mod clerk_lists;
pub mod clerk_lists_run;
pub mod clerk_objects;
pub mod collector;
pub mod database;
pub mod feed_listener;
pub mod history;
pub mod organizations;
pub mod pgbouncer;
pub mod place;
pub mod proxy;
pub mod queues;
pub mod scrape;
pub mod visitor;
pub mod wire;
