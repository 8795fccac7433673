//! The URL paths that several modules use: those of the webhook and of the dashboard.

/// The path that Clerk's endpoint URL ends with.
pub const WEBHOOK_PATH: &str = "/api/webhooks/clerk";

/// The same path as people also write it.
pub const ALTERNATE_WEBHOOK_PATH: &str = "/api/webhooks/clerk/";

/// The path of the dashboard's first page.
pub const DASHBOARD_PATH: &str = "/";

/// The path of the dashboard's login.
pub const LOGIN_PATH: &str = "/login";

/// Returns whether the path is the webhook's.
pub fn is_webhook(path: &str) -> bool {
    path == WEBHOOK_PATH || path == ALTERNATE_WEBHOOK_PATH
}

/// Returns whether the path is one that orchestrators and Prometheus ask.
pub fn is_of_health(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhook_has_one_trailing_slash_at_most() {
        assert!(is_webhook("/api/webhooks/clerk") && is_webhook("/api/webhooks/clerk/"));
        for wrong in [
            "/api/webhooks/clerk//",
            "/api/webhooks",
            "/",
            "//api/webhooks/clerk",
            "/API/webhooks/clerk",
        ] {
            assert!(!is_webhook(wrong), "{wrong}");
        }
    }
}
