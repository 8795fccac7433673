//! Ages, durations, sizes and numbers as people read them, and durations as people write them.
//! Pure.

use std::time::Duration;

/// How long ago something was, in its largest units: `42 s ago`, `3 h 5 min ago`, or `in 2 min`,
/// since clocks differ.
pub fn age(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    let span = match seconds {
        0 => return "just now".into(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => count(seconds / 86_400, "day"),
    };
    if ms < 0 {
        format!("in {span}")
    } else {
        format!("{span} ago")
    }
}

/// An RFC 3339 time in UTC, to the second and without its zone: `2026-11-23 02:11:20`.
pub fn to_second(rfc3339: &str) -> String {
    // The parts of a year with four digits have fixed places.
    let (date, time) = (rfc3339.get(..10), rfc3339.get(11..19));
    date.zip(time)
        .map_or_else(|| rfc3339.into(), |(date, time)| format!("{date} {time}"))
}

/// The text with a capital at its beginning.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// A duration with three figures at most: `4 ms`, `1.25 s`, `2 min`, `24 h`, `7 days`.
pub fn duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    let (value, decimals, unit) = match ms {
        ..1.0 => return "< 1 ms".into(),
        ..999.5 => (ms, 0, "ms"),
        ..9_995.0 => (ms / 1000.0, 2, "s"),
        ..59_950.0 => (ms / 1000.0, 1, "s"),
        ..3_570_000.0 => (ms / 60_000.0, 0, "min"),
        ..172_800_000.0 => (ms / 3_600_000.0, 1, "h"),
        _ => (ms / 86_400_000.0, 1, "days"),
    };
    let text = format!("{value:.decimals$}");
    let text = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => &text,
    };
    format!("{text} {unit}")
}

/// The same in milliseconds.
pub fn ms(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

/// A number with a comma between thousands: `1,234,567`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun: `1 event`, `2,000 events`, `2 deliveries`.
pub fn count(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) if !stem.ends_with('a') => format!("{} {stem}ies", number(count)),
        _ => format!("{} {noun}s", number(count)),
    }
}

/// A size in memory or on disk: `80 bytes`, `2 KiB`.
pub fn bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

/// Reads a number and its unit: `90s`, `15m`, `2h`, `7d`. Returns `None` for anything else.
pub fn read_duration(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    // At most five digits, so that no product overflows.
    let is_count = count.len() <= 5 && count.bytes().all(|digit| digit.is_ascii_digit());
    let count: u64 = count.parse().ok().filter(|_| is_count)?;
    Some(Duration::from_secs(count * unit_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_largest_units() {
        for (ms, expected) in [
            (0, "just now"),
            (-999, "just now"),
            (1000, "1 s ago"),
            (59_999, "59 s ago"),
            (120_000, "2 min ago"),
            (3_600_000 * 3 + 300_000, "3 h 5 min ago"),
            (86_400_000, "1 day ago"),
            (86_400_000 * 400, "400 days ago"),
            (-61_000, "in 1 min"),
            (i64::MIN, "in 106,751,991,167 days"),
        ] {
            assert_eq!(age(ms), expected);
        }
    }

    #[test]
    fn a_duration_has_three_figures_at_most() {
        for (us, expected) in [
            (400, "< 1 ms"),
            (12_400, "12 ms"),
            (999_600, "1 s"),
            (1_234_000, "1.23 s"),
            (10_000_000, "10 s"),
            (61_000_000, "1 min"),
            (5_400_000_000, "1.5 h"),
            (86_400_000_000, "24 h"),
            (604_800_000_000, "7 days"),
        ] {
            assert_eq!(duration(Duration::from_micros(us)), expected);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1000, 1_234_567].map(number);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [1, 2000].map(|events| count(events, "event")),
            ["1 event", "2,000 events"]
        );
        assert_eq!(
            ["day", "delivery"].map(|noun| count(2, noun)),
            ["2 days", "2 deliveries"]
        );
        assert_eq!(
            [80, 1500, 1 << 21].map(bytes),
            ["80 bytes", "2 KiB", "2 MiB"]
        );
    }

    #[test]
    fn a_duration_is_read_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(read_duration(text), Some(Duration::from_secs(seconds)));
        }
        for text in [
            "", "s", "5", "-5s", "+5s", "1.5h", "5M", "5 m", "100000d", "5ü",
        ] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }
}
