//! Times and amounts in HTML: as `crate::format` writes them, without line breaks.

use std::time::Duration;

use askama::Template;

use crate::clerk::Timestamp;
use crate::format;
use crate::store::Time;

/// A time on a page: in UTC, with how long ago it was.
#[derive(Template)]
#[template(
    source = r#"<span class="when"><time datetime="{{ iso }}">{{ utc }}</time> <span class="age">{{ age }}</span></span>"#,
    ext = "html"
)]
pub struct When {
    /// RFC 3339, for the browser.
    pub iso: String,
    /// To the second, with `UTC`.
    pub utc: String,
    pub age: String,
}

pub fn when(time: Time, now: Timestamp) -> When {
    let iso = time.to_string();
    // A `Timestamp` lies between 1970 and 9999, so that its RFC 3339 form has its parts in these places.
    let utc = format!("{} {}\u{a0}UTC", &iso[..10], &iso[11..19]);
    When {
        age: unbroken(&format::age(now.ms() - time.0.ms())),
        iso,
        utc,
    }
}

/// The text without a place where a browser may break it.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// A duration in milliseconds.
pub fn duration(ms: f64) -> String {
    unbroken(&format::duration(Duration::from_secs_f64(
        ms.max(0.0) / 1000.0,
    )))
}

/// A number with separated thousands.
pub fn count(number: u64) -> String {
    format::number(number)
}

/// `1 event`, `2 events`.
pub fn events(number: u64) -> String {
    unbroken(&format::count(number, "event"))
}

/// A size.
pub fn bytes(number: usize) -> String {
    unbroken(&format::bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_at_a_glance() {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        let before = |ms: i64| when(Time(Timestamp::from_ms(now.ms() - ms).unwrap()), now);
        let shown = before(90_000);
        assert_eq!(
            (shown.iso.as_str(), shown.utc.as_str()),
            ("2026-11-23T02:11:50.000Z", "2026-11-23 02:11:50\u{a0}UTC")
        );
        assert_eq!(shown.age, "1\u{a0}min\u{a0}ago");
    }
}
