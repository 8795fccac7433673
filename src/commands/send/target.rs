//! Which table sample events are written to: that of `clerk-sync dev`, or another one. Pure.
//!
//! `dev` generates a secret of its own and accepts it in addition to the configured ones. Where it
//! runs, events that are signed with it are written to its table. The secret alone shows nothing:
//! another program may have been given it.

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::commands::loopback::is_loopback;

/// What `clerk-sync dev` keeps in DATA_DIR.
#[derive(Debug, Default)]
pub struct Dev {
    /// Its signing secret; `None` if it has never run.
    pub secret: Option<SecretString>,
    /// Where it listens while it runs.
    pub url: Option<Url>,
}

/// The signing secret to use, and whether the target is `dev`. `None` if there is no secret.
///
/// `given` is `--secret`; `configured` that of the environment.
pub fn choose(
    url: &Url,
    given: Option<&SecretString>,
    configured: Option<&SecretString>,
    dev: &Dev,
) -> Option<(SecretString, bool)> {
    let is_running = dev.url.as_ref().is_some_and(|dev| {
        is_loopback(url) && dev.port_or_known_default() == url.port_or_known_default()
    });
    let here = dev.secret.as_ref().filter(|_| is_running);
    let secret = match (given, configured, here) {
        (Some(given), ..) => given,
        (None, _, Some(here)) => here,
        (None, Some(configured), None) => configured,
        (None, None, None) => dev.secret.as_ref()?,
    };
    let is_dev =
        here.is_some_and(|here| here.expose_secret().trim() == secret.expose_secret().trim());
    Some((secret.clone(), is_dev))
}

/// What the target does with the events, for a person who has to agree. They are about `plural`.
pub fn warning(address: &str, plural: &str, about: Option<&str>) -> String {
    let whom = about
        .map(|id| format!(", and the row of {id} is overwritten"))
        .unwrap_or_default();
    format!(
        "The server at {address} is not `clerk-sync dev` of this DATA_DIR. If it accepts this signing secret, made-up {plural} will be written to its database{whom}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dev_alone_takes_is_sent_without_a_question() {
        const OURS: &str = "production";
        const DEVS: &str = "made up by dev";
        let (here, there) = ("http://127.0.0.1:3000/api", "https://sync.example.com/api");
        let (running, elsewhere) = ("http://127.0.0.1:3000/", "http://127.0.0.1:3001/");
        for (url, given, configured, kept, runs_at, expected) in [
            (here, None, None, Some(DEVS), None, Some((DEVS, false))),
            (
                here,
                None,
                None,
                Some(DEVS),
                Some(running),
                Some((DEVS, true)),
            ),
            (
                here,
                None,
                Some(OURS),
                Some(DEVS),
                Some(running),
                Some((DEVS, true)),
            ),
            (
                "http://localhost:3000/api",
                None,
                Some(OURS),
                Some(DEVS),
                Some(running),
                Some((DEVS, true)),
            ),
            (
                here,
                Some(DEVS),
                Some(OURS),
                Some(DEVS),
                None,
                Some((DEVS, false)),
            ),
            (
                here,
                Some(DEVS),
                Some(OURS),
                Some(DEVS),
                Some(running),
                Some((DEVS, true)),
            ),
            (
                here,
                None,
                Some(OURS),
                Some(DEVS),
                None,
                Some((OURS, false)),
            ),
            (
                here,
                None,
                Some(OURS),
                Some(DEVS),
                Some(elsewhere),
                Some((OURS, false)),
            ),
            (here, None, Some(OURS), None, None, Some((OURS, false))),
            (
                here,
                Some(OURS),
                None,
                Some(DEVS),
                Some(running),
                Some((OURS, false)),
            ),
            (
                there,
                None,
                None,
                Some(DEVS),
                Some(running),
                Some((DEVS, false)),
            ),
            (
                there,
                None,
                Some(OURS),
                Some(DEVS),
                None,
                Some((OURS, false)),
            ),
            (
                there,
                Some(DEVS),
                None,
                Some(DEVS),
                None,
                Some((DEVS, false)),
            ),
            (here, None, None, None, None, None),
        ] {
            let secret = |text: Option<&str>| text.map(SecretString::from);
            let dev = Dev {
                secret: secret(kept),
                url: runs_at.map(|url| url.parse().unwrap()),
            };
            let chosen = choose(
                &url.parse().unwrap(),
                secret(given).as_ref(),
                secret(configured).as_ref(),
                &dev,
            );
            let chosen = chosen
                .as_ref()
                .map(|(secret, is_dev)| (secret.expose_secret(), *is_dev));
            assert_eq!(
                chosen, expected,
                "{url} {given:?} {configured:?} {kept:?} {runs_at:?}"
            );
        }
    }
}
