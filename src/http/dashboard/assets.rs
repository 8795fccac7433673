//! The style sheet, the script and the icon, which are compiled into the program. Their addresses
//! contain a digest of their content, so that a browser keeps them for good and asks for a new
//! version at once.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

/// A file of the dashboard.
pub struct Asset {
    name: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
    /// The first digits of its digest: enough to tell versions apart, there is no attack to
    /// withstand.
    pub digest: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |name, content_type, bytes| Asset {
        name,
        content_type,
        bytes,
        digest: digest(&SHA256, bytes).as_ref()[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    };
    [
        asset(
            "app.css",
            "text/css; charset=utf-8",
            concat!(
                include_str!("assets/css/base.css"),
                include_str!("assets/css/control.css"),
                include_str!("assets/css/overview.css"),
                include_str!("assets/css/lists.css"),
                include_str!("assets/css/links.css"),
                include_str!("assets/css/json.css"),
                include_str!("assets/css/diff.css"),
            )
            .as_bytes(),
        ),
        asset(
            "app.js",
            "text/javascript; charset=utf-8",
            concat!(
                include_str!("assets/js/keys.js"),
                include_str!("assets/js/zone.js"),
                include_str!("assets/js/chart.js"),
                include_str!("assets/js/lists.js"),
                include_str!("assets/js/copy.js"),
                include_str!("assets/js/renew.js"),
            )
            .as_bytes(),
        ),
        asset(
            "icon.svg",
            "image/svg+xml",
            include_bytes!("assets/icon.svg"),
        ),
    ]
});

/// Returns the file with this name.
pub fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The address of the file with this name.
pub fn address(name: &str) -> String {
    let digest = find(name).map_or("none", |asset| &asset.digest);
    format!("/assets/{digest}/{name}")
}
