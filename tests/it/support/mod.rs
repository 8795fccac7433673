//! What the tests stand on.

pub mod app;
pub mod broker;
pub mod clerk_api;
pub mod clerk_instance;
pub mod collector;
pub mod database;
pub mod history;
pub mod pgbouncer;
pub mod proxy;
pub mod queues;
pub mod scrape;
pub mod visitor;
pub mod wire;
