//! What is around every page: title, navigation, version.

use super::assets;
use super::session::Session;

/// What is around a page.
pub struct Frame {
    pub title: String,
    /// The part of the dashboard that the page belongs to: `overview`, `events`, `users`, or empty.
    pub part: &'static str,
    /// The session's; `None` if the visitor is not logged in.
    pub form_token: Option<String>,
    /// Whether the page refreshes itself.
    pub is_live: bool,
    pub version: &'static str,
}

impl Frame {
    /// Around a page for a visitor who is logged in. A page further back in a listing stands still, so that nothing moves under the
    /// reader.
    pub fn of(
        session: &Session,
        part: &'static str,
        title: impl Into<String>,
        is_live: bool,
    ) -> Self {
        Self {
            form_token: Some(session.form_token.clone()),
            is_live,
            ..Self::outside(part, title)
        }
    }

    /// Around a page for anybody.
    pub fn outside(part: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            part,
            form_token: None,
            is_live: false,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The address of a file of the dashboard.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}
