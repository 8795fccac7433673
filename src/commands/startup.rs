//! What a process logs at its start: its version, its queue, its database, and its URLs.
//!
//! Each role logs what it has, and none logs a user name or a password.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracing::{info, warn};

use super::live_note::{self, LiveNote};
use super::server::{Role, Service};
use crate::config::Config;
use crate::store::Store;
use crate::{http, queue, store};

/// Commands other than the servers log no more than warnings, and these lines.
pub const FILTER: &str = "warn,clerk_sync::commands::startup=info";

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The lines of a server, once it listens.
pub fn of_service(service: &Service, config: &Config, role: Role) {
    let name = role.name();
    let database = (role != Role::Receiver).then(|| database(&service.store));
    let webhook_url = (role != Role::Worker).then(|| url(service.address, http::WEBHOOK_PATH));
    let dashboard = (role != Role::Receiver).then(|| match config.admin_token {
        Some(_) => url(service.address, http::DASHBOARD_PATH),
        None => "off; set ADMIN_TOKEN to turn it on".into(),
    });
    info!(
        version = VERSION,
        role = name,
        queue = queue(&config.queue),
        database,
        webhook_url,
        dashboard,
        "started"
    );
    let users = (config.is_default_store && role != Role::Receiver).then(|| {
        format!(
            "DATABASE_URL is not set: users go to SQLite in {}",
            service.store.place()
        )
    });
    // At a terminal a person sees where the files are.
    match files(config, role).filter(|_| !std::io::stderr().is_terminal()) {
        None => users.into_iter().for_each(|users| warn!("{users}")),
        Some(files) => {
            let users = users.map(|users| format!("{users}; ")).unwrap_or_default();
            warn!(
                files,
                "{users}keep DATA_DIR on a disk that stays: a container's own disk is deleted with it. For servers set DATABASE_URL and AMQP_URL"
            );
        }
    }
}

/// The file in DATA_DIR that says which database a server of this directory uses.
const DATABASE_FILE: &str = "serve-database";

/// Says in DATA_DIR which database this server uses, if it is another than a command finds there
/// without DATABASE_URL. The directory is not made for it, and nothing waits for it.
pub fn note_database(service: &Service, config: &Config, role: Role) -> Option<LiveNote> {
    let is_of_directory = match &config.store {
        store::Options::Sqlite(file) => file.path.starts_with(&config.data_dir),
        store::Options::Postgres(_) => false,
    };
    if is_of_directory || role == Role::Receiver {
        return None;
    }
    let text = format!(
        "`clerk-sync {}` of this directory uses {}",
        role.name(),
        database(&service.store)
    );
    LiveNote::write(config.data_dir.join(DATABASE_FILE), &text).ok()
}

/// Which other database a server of this directory uses, for a command that uses the file of
/// DATA_DIR because DATABASE_URL is not set.
pub fn other_database(config: &Config) -> Option<String> {
    live_note::read(&config.data_dir.join(DATABASE_FILE)).filter(|_| config.is_default_store)
}

/// Where a command looked that found nothing, if no setting says where.
pub fn source(config: &Config) -> String {
    match &config.store {
        store::Options::Sqlite(file) if config.is_default_store => format!(
            ", in SQLite {} (DATABASE_URL is not set)",
            file.path.display()
        ),
        _ => String::new(),
    }
}

/// The URL by which this machine reaches what listens on `address`: one that listens on every
/// address is reached by loopback.
pub fn url(address: SocketAddr, path: &str) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}{path}", SocketAddr::new(ip, address.port()))
}

/// The line of a command that works on the database.
pub fn of_command(name: &str, store: &Store) {
    info!(
        version = VERSION,
        command = name,
        database = database(store),
        "started"
    );
}

pub fn queue(options: &queue::Options) -> String {
    match options {
        queue::Options::RabbitMq(options) => {
            format!(
                "RabbitMQ at {}, namespace {}",
                options.place(),
                options.namespace
            )
        }
        queue::Options::Embedded(options) => format!("embedded, in {}", options.path.display()),
    }
}

pub fn database(store: &Store) -> String {
    match store {
        Store::Postgres(_) => format!("PostgreSQL at {}", store.place()),
        Store::Sqlite(_) => format!("SQLite, in {}", store.place()),
    }
}

/// What is lost with the disk. Returns `None` if nothing is.
fn files(config: &Config, role: Role) -> Option<&'static str> {
    let queue = matches!(config.queue, queue::Options::Embedded(_));
    let database = role != Role::Receiver && matches!(config.store, store::Options::Sqlite(_));
    match (queue, database) {
        (true, true) => Some("queue and database"),
        (true, false) => Some("queue"),
        (false, true) => Some("database"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_url_is_one_that_this_machine_reaches() {
        for (address, expected) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000/"),
            ("0.0.0.0:3000", "http://127.0.0.1:3000/"),
            ("[::]:3000", "http://[::1]:3000/"),
            ("[::1]:3000", "http://[::1]:3000/"),
            ("10.1.2.3:80", "http://10.1.2.3:80/"),
        ] {
            assert_eq!(url(address.parse().unwrap(), "/"), expected);
        }
    }
}
