//! Charts of the last hour, drawn on the server: numbers in, shapes out. Pure.

use super::format::{count, duration};

/// The drawing's size, in its own units; the style sheet gives it the width of its place.
pub const WIDTH: f64 = 600.0;
pub const HEIGHT: f64 = 120.0;

/// Left free at the right of a bar, as a part of its step.
const GAP: f64 = 0.25;

/// A bar of a stack.
pub struct Bar {
    /// `applied`, `stale`, `failed` or `discarded`.
    pub class: &'static str,
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
}

/// One step of time, with what a pointer or a screen reader is told of it.
pub struct Step {
    pub x: String,
    pub width: String,
    pub said: String,
    pub bars: Vec<Bar>,
}

/// A drawing with the value at its top.
pub struct Chart {
    pub steps: Vec<Step>,
    /// Lines of a line chart: class and path.
    pub lines: Vec<(&'static str, String)>,
    pub top: String,
    /// The time at the left end.
    pub from: String,
    /// What the drawing shows, in a sentence.
    pub said: String,
    pub is_empty: bool,
}

/// The numbers of one step by what became of the events, and the time at its beginning.
pub type Stack = (String, [(&'static str, u64); 4]);

/// Bars one above the other: for each step its time and the number of each kind.
pub fn stacks(steps: &[Stack]) -> Chart {
    let sum = |kinds: &[(&str, u64); 4]| kinds.iter().map(|(_, number)| number).sum::<u64>();
    let most = steps.iter().map(|(_, kinds)| sum(kinds)).max().unwrap_or(0);
    let top = round_up(most);
    let step = WIDTH / as_float(steps.len().max(1) as u64);
    let draw = |(place, (time, kinds)): (usize, &Stack)| {
        let left = step * as_float(place as u64);
        let mut filled = 0;
        let bars = kinds
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(class, number)| {
                let (from, to) = (height(filled, top), height(filled + number, top));
                filled += number;
                Bar {
                    class,
                    x: unit(left + step * GAP / 2.0),
                    y: unit(HEIGHT - to),
                    width: unit(step * (1.0 - GAP)),
                    // One among thousands must still be seen.
                    height: unit((to - from).max(1.5)),
                }
            });
        let bars = bars.collect();
        let parts = kinds.iter().filter(|(_, number)| *number > 0);
        let parts: Vec<_> = parts
            .map(|(class, number)| format!("{} {class}", count(*number)))
            .collect();
        let said = if parts.is_empty() {
            "nothing".into()
        } else {
            parts.join(", ")
        };
        Step {
            x: unit(left),
            width: unit(step),
            said: format!("{time}: {said}"),
            bars,
        }
    };
    Chart {
        from: from(steps),
        steps: steps.iter().enumerate().map(draw).collect(),
        lines: Vec::new(),
        top: count(top),
        said: String::new(),
        is_empty: most == 0,
    }
}

/// Lines over the same steps of time: for each its time and a value, in milliseconds, of each line. A step without a value is
/// a gap, and one that stands alone is a dot.
pub fn lines(classes: [&'static str; 2], steps: &[(String, [Option<u64>; 2])]) -> Chart {
    let most = steps
        .iter()
        .flat_map(|(_, values)| values)
        .flatten()
        .max()
        .copied();
    let top = round_up(most.unwrap_or(0));
    let step = WIDTH / as_float(steps.len().max(1) as u64);
    let middle = |place: usize| step * (as_float(place as u64) + 0.5);
    let path = |line: usize| {
        let mut path = String::new();
        let mut is_drawing = false;
        for (place, (_, values)) in steps.iter().enumerate() {
            let Some(value) = values[line] else {
                is_drawing = false;
                continue;
            };
            let (x, y) = (unit(middle(place)), unit(HEIGHT - height(value, top)));
            // A line of no length has round ends: a dot.
            path += &if is_drawing {
                format!("L{x} {y}")
            } else {
                format!("M{x} {y}h0")
            };
            is_drawing = true;
        }
        path
    };
    let said = |values: &[Option<u64>; 2]| match values {
        [Some(first), Some(second)] => {
            format!(
                "{} {}, {} {}",
                classes[0],
                of_ms(*first),
                classes[1],
                of_ms(*second)
            )
        }
        _ => "nothing".into(),
    };
    let draw = |(place, (time, values)): (usize, &(String, [Option<u64>; 2]))| Step {
        x: unit(step * as_float(place as u64)),
        width: unit(step),
        said: format!("{time}: {}", said(values)),
        bars: Vec::new(),
    };
    let drawn = (0..2).map(|line| (classes[line], path(line))).collect();
    Chart {
        from: from(steps),
        steps: steps.iter().enumerate().map(draw).collect(),
        lines: drawn,
        top: of_ms(top),
        said: String::new(),
        is_empty: most.is_none(),
    }
}

fn from<T>(steps: &[(String, T)]) -> String {
    steps
        .first()
        .map(|(time, _)| time.clone())
        .unwrap_or_default()
}

pub fn of_ms(ms: u64) -> String {
    duration(as_float(ms))
}

/// The next of 1, 2, 5, 10, 20, 50, …: a top that people can read, and that does not jump with every event.
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
    fn stacks_stand_on_each_other_and_within_the_drawing() {
        let kinds = |applied, failed| {
            [
                ("applied", applied),
                ("stale", 0),
                ("failed", failed),
                ("discarded", 0),
            ]
        };
        let chart = stacks(&[("16:00".into(), kinds(6, 4)), ("16:01".into(), kinds(0, 0))]);
        let bars = &chart.steps[0].bars;
        assert_eq!((chart.top.as_str(), bars.len()), ("10", 2));
        assert_eq!((bars[0].y.as_str(), bars[0].height.as_str()), ("48", "72"));
        assert_eq!((bars[1].y.as_str(), bars[1].height.as_str()), ("0", "48"));
        assert_eq!(chart.steps[0].said, "16:00: 6 applied, 4 failed");
        assert_eq!(chart.steps[1].said, "16:01: nothing");
        assert!(stacks(&[]).is_empty && !chart.is_empty);
    }

    #[test]
    fn a_line_has_gaps_where_nothing_came() {
        let steps =
            [Some(0), None, Some(10), Some(5)].map(|value| ("16:00".to_owned(), [value, value]));
        let chart = lines(["p50", "p95"], &steps);
        assert_eq!(
            chart.lines[0],
            ("p50", "M75 120h0M375 0h0L525 60".to_owned())
        );
        assert_eq!(chart.steps[1].said, "16:00: nothing");
        assert!(lines(["p50", "p95"], &[("16:00".into(), [None, None])]).is_empty);
    }
}
