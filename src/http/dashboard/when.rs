//! A time on a page.

use askama::Template;

use crate::clerk::Timestamp;
use crate::format;
use crate::store::Time;

/// A time in UTC, with how long ago it was.
#[derive(Template)]
#[template(
    source = r#"<span class="when"><time datetime="{{ iso }}">{{ utc }}</time> <span class="age">{{ age }}</span></span>"#,
    ext = "html"
)]
pub struct When {
    /// RFC 3339, for the browser.
    iso: String,
    /// To the second, with `UTC`.
    utc: String,
    pub age: String,
}

// Its own template has escaped it.
impl askama::filters::HtmlSafe for When {}

impl When {
    /// The time as it looks at `now`.
    pub fn at(time: Time, now: Timestamp) -> Self {
        let iso = time.to_string();
        Self {
            // A `Timestamp` lies between 1970 and 9999, so the parts of its RFC 3339 form have fixed places.
            utc: format!("{} {}\u{a0}UTC", &iso[..10], &iso[11..19]),
            age: format::age(now.ms() - time.0.ms()),
            iso,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_utc_form_and_its_age() {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        let time = Timestamp::from_ms(now.ms() - 90_000).unwrap();
        let when = When::at(Time(time), now);
        assert_eq!(when.iso, "2026-11-23T02:11:50.000Z");
        assert_eq!(when.utc, "2026-11-23 02:11:50\u{a0}UTC");
    }
}
