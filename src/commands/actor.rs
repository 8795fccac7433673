//! Who runs a command, for the audit: the user and the host.

use std::fs;

use super::heartbeat;
use crate::store::{Actor, Credential};

/// The user who runs this command, as `user@host`.
pub fn actor() -> Actor {
    let host = heartbeat::host();
    let address = user().map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
    Actor {
        credential: Credential::Command,
        address: Some(address),
        forwarded_for: None,
    }
}

/// The name of the process's user, or its number where there is no name, as in a container. A
/// variable such as `USER` could be set to anything.
#[cfg(unix)]
fn user() -> Option<String> {
    let id = rustix::process::getuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(name_of(id, &users).unwrap_or_else(|| format!("uid {id}")))
}

#[cfg(not(unix))]
fn user() -> Option<String> {
    None
}

/// The name of a user in a file such as `/etc/passwd`.
#[cfg(unix)]
fn name_of(id: u32, users: &str) -> Option<String> {
    let id = id.to_string();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_of_the_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\n";
        assert_eq!(name_of(1000, users).as_deref(), Some("ada"));
        assert_eq!((name_of(100, users), name_of(1, "")), (None, None));
    }
}
