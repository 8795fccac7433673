//! `AMQP_MANAGEMENT_URL`: looked at here, so that no part of it is in an error.

use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, wrong};

pub fn read(url: Option<SecretString>) -> Result<Option<SecretString>, ConfigError> {
    if url.as_ref().is_some_and(|url| !is_url(url.expose_secret())) {
        let remedy = "give a URL such as https://user:password@host:15671 (in a password write / as %2F, ? as %3F, # as %23, @ as %40 and % as %25)";
        return Err(wrong("AMQP_MANAGEMENT_URL", "cannot be read", remedy));
    }
    Ok(url)
}

/// A password with `/`, `?` or `#` in it ends the host too early: its rest would be taken for a path and go to another host.
fn is_url(text: &str) -> bool {
    let Ok(url) = text.parse::<reqwest::Url>() else {
        return false;
    };
    let has_rest = url.query().is_some()
        || url.fragment().is_some()
        || url.path().contains('@')
        || url.path().contains("%40");
    matches!(url.scheme(), "http" | "https") && url.has_host() && !has_rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_refused_without_being_repeated() {
        for url in [
            "http://broker:15672",
            "https://u:ses%2Fame@broker.example",
            "http://[::1]:15672/prefix",
        ] {
            assert!(read(Some(url.into())).unwrap().is_some(), "{url}");
        }
        assert!(read(None).unwrap().is_none());
        for url in [
            "sesame",
            "amqp://u:sesame@broker",
            "http://u:sesame@broker:port",
            "http://u:7/sesame@broker",
            "http://u:7/sesame%40broker",
            "http://u:7?sesame@broker",
            "http://u:7#sesame@broker",
            "http://",
        ] {
            let error = read(Some(url.into())).unwrap_err().to_string();
            assert!(
                error.starts_with("AMQP_MANAGEMENT_URL cannot be read; give a URL"),
                "{error}"
            );
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
