//! URLs of HTTP servers, read so that no part of a password is shown or taken for a path.

use reqwest::Url;

/// What is wrong with the URL. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// No URL, or of another scheme.
    #[error("it is not an http:// or https:// URL")]
    NotHttp,
    /// A password with one of these characters ends the host too early: its rest would go to
    /// another host.
    #[error(
        "it holds an @ behind the first /, ? or #: in a password write / as %2F, ? as %3F, # as %23"
    )]
    AtBehindHost,
}

/// Reads an `http://` or `https://` URL.
///
/// # Errors
///
/// If it is none, or if an `@` behind its host shows that a password was not percent-encoded.
pub fn read_http_url(text: &str) -> Result<Url, UrlFault> {
    let behind_host = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once(['/', '?', '#']))
        .map_or("", |(_, behind)| behind);
    if behind_host.contains('@') || behind_host.contains("%40") {
        return Err(UrlFault::AtBehindHost);
    }
    let url: Option<Url> = text.trim().parse().ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or(UrlFault::NotHttp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_refused() {
        for url in [
            "http://broker:15672",
            "https://u:ses%2Fame@broker",
            "http://[::1]:1/a?b#c",
        ] {
            assert!(read_http_url(url).is_ok(), "{url}");
        }
        for url in [
            "sesame",
            "amqp://u:sesame@broker",
            "http://u:sesame@broker:port",
            "http://",
        ] {
            assert_eq!(read_http_url(url), Err(UrlFault::NotHttp), "{url}");
        }
        for url in [
            "http://u:7/sesame@broker",
            "http://u:7?x%40broker",
            "http://u:7#x@broker",
        ] {
            assert_eq!(read_http_url(url), Err(UrlFault::AtBehindHost), "{url}");
        }
    }
}
