//! Charts over buckets of time, drawn on the server: numbers in, shapes out. Pure.

use super::page_query::PageQuery;
use crate::clerk::Timestamp;
use crate::format;
use crate::store::{Bucket, Range, Recent, Time};

/// The drawing's size, in its own units; the style sheet gives it the width of its place.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// Left free at the right of a bar, as a part of its step.
const GAP: f64 = 0.25;

/// Ticks nearer to the right end than this, in percent, would meet the word there.
const TICK_MAX: f64 = 93.0;

/// A bar of a stack.
pub struct Bar {
    /// `applied`, `stale`, `failed` or `discarded`.
    pub class: &'static str,
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    /// The listing of its events.
    pub href: String,
}

/// One step of time, with its text for a pointer or a screen reader.
pub struct Step {
    pub x: String,
    pub width: String,
    /// Its start.
    pub at: Moment,
    /// What is there, without the time.
    pub text: String,
    pub bars: Vec<Bar>,
    /// The listing of its events; `None` if there is none.
    pub href: Option<String>,
    /// Whether the Tab key leads here; the arrow keys lead on from it.
    pub has_tab_stop: bool,
}

/// A time below the drawing, and where.
pub struct Tick {
    pub at: Moment,
    /// In units of the drawing, and in percent of its width.
    pub x: String,
    pub percent: String,
}

/// A point in time as a chart names it.
pub struct Moment {
    /// RFC 3339, for the script.
    pub iso: String,
    /// `clock`, `day` or `both`.
    pub form: &'static str,
    /// In UTC.
    pub text: String,
}

/// A line of a line chart.
pub struct Line {
    pub class: &'static str,
    pub path: String,
    /// Values between two gaps, which a line does not show.
    pub dots: String,
}

/// A drawing with the value at its top.
pub struct Chart {
    pub steps: Vec<Step>,
    pub lines: Vec<Line>,
    pub ticks: Vec<Tick>,
    pub top: String,
    /// What the drawing shows, in a sentence.
    pub description: String,
    pub is_empty: bool,
}

/// How many events of a step had each outcome, from the bottom of its stack to the top: what failed
/// lies on top.
pub fn outcomes(bucket: &Bucket) -> [(&'static str, u64); 4] {
    [
        ("applied", bucket.applied),
        ("stale", bucket.stale),
        ("discarded", bucket.discarded),
        ("failed", bucket.failed),
    ]
}

/// The outcomes with their numbers, such as `6 applied, 4 failed`.
pub fn summary(kinds: &[(&'static str, u64)]) -> String {
    let parts = present(kinds).map(|(class, number)| format!("{} {class}", format::number(number)));
    parts.collect::<Vec<_>>().join(", ")
}

fn present(kinds: &[(&'static str, u64)]) -> impl Iterator<Item = (&'static str, u64)> {
    kinds.iter().copied().filter(|(_, number)| *number > 0)
}

/// Stacked bars: for each step the number of each outcome.
pub fn stacks(recent: &Recent, description: String) -> Chart {
    let sum = |bucket: &Bucket| outcomes(bucket).iter().map(|(_, number)| number).sum();
    let most = recent.buckets.iter().map(sum).max().unwrap_or(0);
    let top = round_up(most);
    let step = step(recent);
    let draw = |left: f64, bucket: &Bucket| {
        let kinds = outcomes(bucket);
        let mut filled = 0;
        let bars = present(&kinds).map(|(class, number)| {
            let (from, to) = (height(filled, top), height(filled + number, top));
            filled += number;
            // One among thousands must still be seen.
            let tall = (to - from).max(1.5);
            Bar {
                class,
                x: unit(left + step * GAP / 2.0),
                y: unit((HEIGHT - to).min(HEIGHT - tall)),
                width: unit(step * (1.0 - GAP)),
                height: unit(tall),
                href: listing(recent, bucket, class),
            }
        });
        let bars = bars.collect();
        (summary(&kinds), bars)
    };
    Chart {
        top: format::number(top),
        is_empty: most == 0,
        ..chart(recent, description, draw)
    }
}

/// The median and the 95th percentile of the lag as lines. A step without a value is a gap, and a
/// value between two gaps is a dot.
pub fn lines(recent: &Recent, description: String) -> Chart {
    let values = |bucket: &Bucket| [bucket.lag.p50_ms, bucket.lag.p95_ms];
    let most = recent.buckets.iter().flat_map(values).flatten().max();
    let top = round_up(most.unwrap_or(0));
    let step = step(recent);
    let line = |class, number: usize| {
        let values: Vec<_> = recent
            .buckets
            .iter()
            .map(|bucket| values(bucket)[number])
            .collect();
        let (mut path, mut dots) = (String::new(), String::new());
        for (place, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let has = |place: Option<usize>| {
                place.is_some_and(|place| values.get(place).is_some_and(Option::is_some))
            };
            let (before, after) = (has(place.checked_sub(1)), has(Some(place + 1)));
            let x = unit(step * (as_float(place as u64) + 0.5));
            let y = unit(HEIGHT - height(*value, top));
            match (before, after) {
                (true, _) => path += &format!("L{x} {y}"),
                (false, true) => path += &format!("M{x} {y}"),
                // A line of no length has round ends.
                (false, false) => dots += &format!("M{x} {y}h0"),
            }
        }
        Line { class, path, dots }
    };
    let draw = |_, bucket: &Bucket| {
        let text = match values(bucket) {
            [Some(p50), Some(p95)] => format!("p50 {}, p95 {}", format::ms(p50), format::ms(p95)),
            _ => String::new(),
        };
        (text, Vec::new())
    };
    Chart {
        lines: vec![line("p95", 1), line("p50", 0)],
        top: format::ms(top),
        is_empty: most.is_none(),
        ..chart(recent, description, draw)
    }
}

/// The parts that both charts have. `draw` returns a step's text and bars.
fn chart(
    recent: &Recent,
    description: String,
    draw: impl Fn(f64, &Bucket) -> (String, Vec<Bar>),
) -> Chart {
    let width = step(recent);
    let form = match recent.range {
        Range::Hour => "clock",
        _ => "both",
    };
    let steps = recent.buckets.iter().enumerate().map(|(place, bucket)| {
        let left = width * as_float(place as u64);
        let (text, bars) = draw(left, bucket);
        let href = (!text.is_empty()).then(|| listing(recent, bucket, ""));
        Step {
            x: unit(left),
            width: unit(width),
            at: Moment::of(bucket.at, form),
            text: if text.is_empty() {
                "nothing".into()
            } else {
                text
            },
            bars,
            href,
            has_tab_stop: false,
        }
    });
    let mut steps: Vec<Step> = steps.collect();
    // The newest step with events.
    if let Some(newest) = steps.iter_mut().rfind(|step| step.href.is_some()) {
        newest.has_tab_stop = true;
    }
    Chart {
        steps,
        lines: Vec::new(),
        ticks: ticks(recent),
        top: String::new(),
        description,
        is_empty: false,
    }
}

/// The events of a bucket with an outcome, or with any if that is empty.
fn listing(recent: &Recent, bucket: &Bucket, status: &str) -> String {
    let until = Timestamp::from_ms(bucket.at.0.ms() + recent.range.bucket_ms());
    let whole_second = |time: Time| time.to_string().replace(".000Z", "Z");
    let until = until.map_or(String::new(), |time| whole_second(Time(time)));
    let since = whole_second(bucket.at);
    let fields = [
        ("status", status),
        ("since", &since),
        ("until", until.as_str()),
    ];
    PageQuery::of(fields).on("/events")
}

/// Whole clock times: quarters of an hour, quarters of a day, days.
fn ticks(recent: &Recent) -> Vec<Tick> {
    let (minutes, form) = match recent.range {
        Range::Hour => (15, "clock"),
        Range::Day => (6 * 60, "clock"),
        Range::Week => (24 * 60, "day"),
        Range::Month => (5 * 24 * 60, "day"),
    };
    let buckets = recent.buckets.iter().enumerate();
    let whole = buckets.filter(|(_, bucket)| bucket.at.0.ms() % (minutes * 60_000) == 0);
    let places = whole.map(|(place, bucket)| {
        let x = step(recent) * as_float(place as u64);
        (x, x / WIDTH * 100.0, bucket.at)
    });
    let ticks = places.filter(|(_, percent, _)| *percent < TICK_MAX);
    ticks
        .map(|(x, percent, at)| Tick {
            at: Moment::of(at, form),
            x: unit(x),
            percent: unit(percent),
        })
        .collect()
}

impl Moment {
    fn of(time: Time, form: &'static str) -> Self {
        // RFC 3339 has fixed places.
        let iso = time.to_string();
        let text = match form {
            "clock" => iso[11..16].to_owned(),
            "day" => iso[5..10].to_owned(),
            _ => format!("{} {}", &iso[..10], &iso[11..16]),
        };
        Self { iso, form, text }
    }
}

fn step(recent: &Recent) -> f64 {
    WIDTH / as_float(recent.buckets.len().max(1) as u64)
}

/// The next of 1, 2, 5, 10, 20, 50, …: a top that people can read, and that does not jump with
/// every event.
fn round_up(most: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let top = power.saturating_mul(step);
            if top >= most {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn height(value: u64, top: u64) -> f64 {
    as_float(value) / as_float(top) * HEIGHT
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a picture has some hundred units"
)]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// A length with two decimals at most.
fn unit(length: f64) -> String {
    let text = format!("{length:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Lag;

    /// Buckets from 16:00 on, or from the whole bucket before.
    fn recent(range: Range, buckets: &[(u64, u64, Option<u64>)]) -> Recent {
        let at = |place: usize| {
            let start = 1_795_449_600_000;
            let first = start - start % range.bucket_ms();
            let start = first + i64::try_from(place).unwrap() * range.bucket_ms();
            Time(Timestamp::from_ms(start).unwrap())
        };
        let bucket =
            |(place, (applied, failed, lag_ms)): (usize, &(u64, u64, Option<u64>))| Bucket {
                at: at(place),
                applied: *applied,
                stale: 0,
                failed: *failed,
                discarded: 0,
                lag: Lag {
                    p50_ms: *lag_ms,
                    p95_ms: *lag_ms,
                    ..Lag::default()
                },
            };
        Recent {
            range,
            since: at(0),
            seconds: range.bucket_ms().unsigned_abs() / 1000,
            buckets: buckets.iter().enumerate().map(bucket).collect(),
            lag: Lag::default(),
            capped: false,
        }
    }

    #[test]
    fn the_top_is_a_round_number() {
        for (most, top) in [
            (0, 1),
            (1, 1),
            (3, 5),
            (11, 20),
            (51, 100),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(round_up(most), top);
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_what_failed_is_on_top() {
        let chart = stacks(
            &recent(Range::Hour, &[(6, 4, None), (0, 0, None), (999, 1, None)]),
            String::new(),
        );
        let bars = &chart.steps[0].bars;
        assert_eq!((chart.top.as_str(), bars.len()), ("1,000", 2));
        assert_eq!((bars[0].class, bars[1].class), ("applied", "failed"));
        assert_eq!(chart.steps[0].text, "6 applied, 4 failed");
        assert_eq!(chart.steps[1].text, "nothing");
        let one = &chart.steps[2].bars[1];
        assert_eq!((one.y.as_str(), one.height.as_str()), ("0", "1.5"));
        let empty = stacks(&recent(Range::Hour, &[]), String::new());
        assert!(empty.is_empty && !chart.is_empty);
    }

    #[test]
    fn a_bar_leads_to_its_events_and_one_step_has_the_tab_stop() {
        let chart = stacks(
            &recent(Range::Day, &[(6, 4, None), (1, 0, None), (0, 0, None)]),
            String::new(),
        );
        assert_eq!(
            chart.steps[0].bars[1].href,
            "/events?status=failed&since=2026-11-23T16%3A00%3A00Z&until=2026-11-23T16%3A30%3A00Z"
        );
        let steps = chart.steps.iter();
        let hrefs: Vec<_> = steps.clone().map(|step| step.href.is_some()).collect();
        assert_eq!(hrefs, [true, true, false]);
        let stops: Vec<_> = steps.map(|step| step.has_tab_stop).collect();
        assert_eq!(stops, [false, true, false]);
    }

    #[test]
    fn ticks_are_whole_clock_times() {
        let texts = |range, count: usize| {
            let recent = recent(range, &vec![(1, 0, None); count]);
            let ticks = ticks(&recent).into_iter();
            ticks.map(|tick| tick.at.text).collect::<Vec<_>>()
        };
        assert_eq!(texts(Range::Hour, 60), ["16:00", "16:15", "16:30", "16:45"]);
        assert_eq!(texts(Range::Day, 48), ["18:00", "00:00", "06:00", "12:00"]);
        assert_eq!(texts(Range::Week, 20), ["11-24", "11-25"]);
    }

    #[test]
    fn a_line_has_gaps_and_a_lone_value_is_a_dot() {
        let values = [Some(0), None, Some(10), Some(5)].map(|value| (0, 0, value));
        let chart = lines(&recent(Range::Hour, &values), String::new());
        let line = &chart.lines[0];
        assert_eq!(
            (line.path.as_str(), line.dots.as_str()),
            ("M375 0L525 60", "M75 120h0")
        );
        assert_eq!(chart.steps[1].text, "nothing");
        let nothing = recent(Range::Hour, &[(0, 0, None)]);
        assert!(lines(&nothing, String::new()).is_empty);
    }
}
