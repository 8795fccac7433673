//! This machine in a URL: whether its host is this machine, and where a server of the settings listens.

use std::time::Duration;

use reqwest::{Client, Url};

use crate::http;
use crate::url::bracketed;

/// Whether the host of the URL is this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback() || ip.is_unspecified())
}

/// Where a server with these settings is reached from this machine: one that listens on every
/// address answers on these.
pub fn base_urls(options: &http::Options) -> Vec<String> {
    let hosts = match options.host.as_str() {
        "0.0.0.0" => vec!["127.0.0.1".to_owned()],
        "::" => vec!["127.0.0.1".to_owned(), "[::1]".to_owned()],
        host => vec![bracketed(host)],
    };
    let url = |host| format!("http://{host}:{}", options.port);
    hosts.into_iter().map(url).collect()
}

/// A client for servers on this machine. Without TLS: the CAs of the system need not be read, and a
/// small container has none.
pub fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .tls_certs_only([])
        .timeout(timeout)
        .no_proxy()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_past_a_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:3000/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:3000/", true),
            ("http://localhost/", true),
            ("http://example.com/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
