//! Times and amounts as people read them.

use askama::Template;

use crate::clerk::Timestamp;
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
        age: age(now.ms() - time.0.ms()),
        iso,
        utc,
    }
}

/// `42 s ago`; what lies ahead is said as such, since clocks differ.
fn age(ms: i64) -> String {
    match ms {
        ..-999 => format!("in {}", span(-ms)),
        -999..1000 => "just now".into(),
        _ => format!("{} ago", span(ms)),
    }
}

/// The two largest units at most, as of a clock: `3 h 5 min`.
fn span(ms: i64) -> String {
    let s = ms / 1000;
    match s {
        ..60 => format!("{s}\u{a0}s"),
        60..3600 => format!("{}\u{a0}min", s / 60),
        3600..86_400 => format!("{}\u{a0}h {}\u{a0}min", s / 3600, s % 3600 / 60),
        _ if s < 2 * 86_400 => "1\u{a0}day".into(),
        _ => format!("{}\u{a0}days", s / 86_400),
    }
}

/// A duration with three figures: `4 ms`, `1.25 s`, `2 min`.
pub fn duration(ms: f64) -> String {
    match ms {
        ..1.0 => "< 1\u{a0}ms".into(),
        ..999.5 => format!("{ms:.0}\u{a0}ms"),
        ..9_995.0 => format!("{:.2}\u{a0}s", ms / 1000.0),
        ..59_950.0 => format!("{:.1}\u{a0}s", ms / 1000.0),
        ..3_570_000.0 => format!("{:.0}\u{a0}min", ms / 60_000.0),
        _ => format!("{:.1}\u{a0}h", ms / 3_600_000.0),
    }
}

/// With a thin space between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 event`, `2 events`.
pub fn events(number: u64) -> String {
    format!(
        "{}\u{a0}{}",
        count(number),
        if number == 1 { "event" } else { "events" }
    )
}

pub fn bytes(number: usize) -> String {
    match number {
        0..1024 => format!("{number}\u{a0}bytes"),
        1024..1_048_576 => format!("{}\u{a0}KiB", number.div_ceil(1024)),
        _ => format!("{}\u{a0}MiB", number.div_ceil(1_048_576)),
    }
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
        for (ms, said) in [
            (0, "just now"),
            (59_999, "59 s ago"),
            (60_000, "1 min ago"),
            (3_600_000 * 3 + 300_000, "3 h 5 min ago"),
            (86_400_000, "1 day ago"),
            (86_400_000 * 400, "400 days ago"),
            (-120_000, "in 2 min"),
        ] {
            assert_eq!(before(ms).age.replace('\u{a0}', " "), said);
        }
    }

    #[test]
    fn amounts_are_read_at_a_glance() {
        let plain = |text: String| text.replace(['\u{a0}', '\u{202f}'], " ");
        for (ms, said) in [
            (0.4, "< 1 ms"),
            (12.4, "12 ms"),
            (999.6, "1.00 s"),
            (61_000.0, "1 min"),
            (7_200_000.0, "2.0 h"),
        ] {
            assert_eq!(plain(duration(ms)), said);
        }
        let numbers = [0, 999, 1000, 1_234_567].map(|number| plain(count(number)));
        assert_eq!(numbers, ["0", "999", "1 000", "1 234 567"]);
        assert_eq!(
            (plain(events(1)), plain(bytes(1500))),
            ("1 event".into(), "2 KiB".into())
        );
    }
}
