//! Reads the header `Retry-After`: how long a server asks clients to wait.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// Reads `Retry-After` in both of its forms, seconds or a date. `date` is the server's own time
/// (the `Date` header), from which the wait is counted, so that our clock need not be right;
/// without it, the wait is counted from `now_ms`.
///
/// Returns `None` if it has another form. A date in the past is a wait of 0.
pub fn retry_after(value: &str, date: Option<&str>, now_ms: i64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are a very long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date(value)?.timestamp_millis();
    let from = date
        .and_then(http_date)
        .map_or(now_ms, |date| date.timestamp_millis());
    Some(Duration::from_millis(
        u64::try_from(until.saturating_sub(from)).unwrap_or(0),
    ))
}

/// Reads a date in the current form or in the two older ones of RFC 9110 (5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    let older = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    older
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const DATE_MS: i64 = 784_111_777_000;
        let read =
            |value, date, now_ms| retry_after(value, date, now_ms).map(|wait| wait.as_secs());
        assert_eq!(read("7", None, 0), Some(7));
        assert_eq!(read(" 0 ", Some(DATE), 0), Some(0));
        assert_eq!(read("99999999999999999999999", None, 0), Some(u64::MAX));
        for later in [
            "Sun, 06 Nov 1994 08:50:37 GMT",
            "Sunday, 06-Nov-94 08:50:37 GMT",
            "Sun Nov  6 08:50:37 1994",
        ] {
            assert_eq!(read(later, None, DATE_MS), Some(60), "{later}");
            assert_eq!(
                read(later, Some(DATE), 0),
                Some(60),
                "by the server's clock"
            );
            assert_eq!(read(later, None, DATE_MS + 120_000), Some(0), "past");
        }
        for other in ["", "soon", "-1", "1.5", "1994-11-06"] {
            assert_eq!(read(other, Some(DATE), 0), None, "{other}");
        }
    }
}
