//! The style sheet, the script and the icon, out of the program itself. Their addresses carry a digest of what is in them, so
//! that a browser keeps them for good and a new version is asked for at once.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use aws_lc_rs::digest::{SHA256, digest};

use super::page::{Refusal, guarded};

/// A file of the dashboard.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    digest: String,
}

/// Digits of the digest in an address: enough to tell versions apart, there is no attack to withstand.
const DIGEST_DIGITS: usize = 12;

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        (
            "app.css",
            "text/css; charset=utf-8",
            include_bytes!("assets/app.css").as_slice(),
        ),
        (
            "app.js",
            "text/javascript; charset=utf-8",
            include_bytes!("assets/app.js").as_slice(),
        ),
        (
            "icon.svg",
            "image/svg+xml",
            include_bytes!("assets/icon.svg").as_slice(),
        ),
    ]
    .map(|(name, content_type, bytes)| Asset {
        name,
        content_type,
        bytes,
        digest: hex(bytes),
    })
});

fn hex(bytes: &[u8]) -> String {
    let digits = digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    digits[..DIGEST_DIGITS].to_owned()
}

/// Where the page finds a file.
pub fn address(name: &str) -> String {
    let digest = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .map_or("none", |asset| asset.digest.as_str());
    format!("/assets/{digest}/{name}")
}

/// `GET /assets/{digest}/{name}`
pub async fn get(path: web::Path<(String, String)>) -> Result<HttpResponse, Refusal> {
    let (digest, name) = path.into_inner();
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .ok_or(Refusal::NotFound("No such file."))?;
    // While versions are exchanged behind a balancer, a page of one can ask the other: it gets what is there, for now.
    let is_this_version = digest == asset.digest;
    let kept = if is_this_version {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    let mut response = guarded(HttpResponse::Ok());
    response
        .insert_header((CACHE_CONTROL, kept))
        .insert_header((CONTENT_TYPE, asset.content_type));
    Ok(response.body(asset.bytes))
}
