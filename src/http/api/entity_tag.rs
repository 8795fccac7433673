//! `ETag` and `If-None-Match` (RFC 9110): a client that has a row already is not sent it again.

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::value::RawValue;

use std::fmt::Write;

/// Answers with the row, or with 304 if the client has it as it is now.
pub fn answer(request: &HttpRequest, row: &RawValue) -> HttpResponse {
    let tag = tag(row.get());
    let given = request.headers().get_all(IF_NONE_MATCH);
    let is_known = given
        .filter_map(|value| value.to_str().ok())
        .any(|value| matches(value, &tag));
    let mut response = if is_known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((ETAG, tag))
        // Kept by the client itself, and asked for again each time.
        .insert_header((CACHE_CONTROL, "private, no-cache"));
    if is_known {
        return response.finish();
    }
    response
        .content_type("application/json")
        .body(row.get().to_owned())
}

/// A weak tag: the same row may be compressed or not. It follows from all that is sent, so that
/// other fields, or another token, have another one.
fn tag(row: &str) -> String {
    let mut tag = String::from("W/\"");
    for byte in &digest(&SHA256, row.as_bytes()).as_ref()[..16] {
        write!(tag, "{byte:02x}").expect("a text takes every character");
    }
    tag.push('"');
    tag
}

/// Whether a list of tags has this one. Weak and strong ones are compared alike.
fn matches(list: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = opaque(tag);
    list.trim() == "*" || list.split(',').any(|one| opaque(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_has_a_tag_weak_or_strong() {
        let tag = tag("{}");
        let strong = tag.trim_start_matches("W/");
        for list in [
            "*",
            " * ",
            &tag,
            strong,
            &format!("\"a\", {tag}"),
            &format!("{strong},\"b\""),
        ] {
            assert!(matches(list, &tag), "{list}");
        }
        for list in ["", "\"a\"", "W/\"\"", &tag[..tag.len() - 2], "x*"] {
            assert!(!matches(list, &tag), "{list}");
        }
    }
}
