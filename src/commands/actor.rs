//! Who runs a command, for the audit: the user and the host.

use std::env;
use std::fs;

use crate::store::{Actor, Credential};

/// The user who runs this command, as `user@host`.
pub fn actor() -> Actor {
    let parts = [Some(user()), host()];
    let address: Vec<_> = parts.into_iter().flatten().collect();
    Actor {
        credential: Credential::Command,
        address: Some(address.join("@")),
        forwarded_for: None,
    }
}

/// The name of the user, or the number where there is no name, as in a container.
fn user() -> String {
    let variable = |name| env::var(name).ok().filter(|user| !user.is_empty());
    let named = variable("USER").or_else(|| variable("LOGNAME"));
    named
        .or_else(|| variable("USERNAME"))
        .unwrap_or_else(number)
}

#[cfg(unix)]
fn number() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn number() -> String {
    "a user".into()
}

/// The name of this machine. Returns `None` if the system does not give it in a file or a variable.
fn host() -> Option<String> {
    let file = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let variable = || {
        env::var("HOSTNAME")
            .or_else(|_| env::var("COMPUTERNAME"))
            .ok()
    };
    let name = file.or_else(variable)?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
