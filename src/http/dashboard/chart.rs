//! Charts of the last hour, drawn on the server: numbers in, shapes out. Pure.

use super::view_models::of_ms;
use crate::format;

/// The drawing's size, in its own units; the style sheet gives it the width of its place.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

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

/// One step of time, with its text for a pointer or a screen reader.
pub struct Step {
    pub x: String,
    pub width: String,
    pub text: String,
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
    pub description: String,
    pub is_empty: bool,
}

/// The start of a step, and how many events had each outcome in it.
pub type Stack = (String, [(&'static str, u64); 4]);

/// The start of a step, and the values of both lines in milliseconds; `None` if there is none.
pub type Values = (String, [Option<u64>; 2]);

/// Stacked bars: for each step the number of each outcome.
pub fn stacks(steps: &[Stack], description: String) -> Chart {
    let sum = |(_, kinds): &Stack| kinds.iter().map(|(_, number)| number).sum();
    let most = steps.iter().map(sum).max().unwrap_or(0);
    let top = round_up(most);
    let step = step(steps.len());
    let draw = |place: usize, (time, kinds): &Stack| {
        let left = step * as_float(place as u64);
        let mut filled = 0;
        let bars = present(kinds).map(|(class, number)| {
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
        let text = match summary(kinds) {
            summary if summary.is_empty() => format!("{time}: nothing"),
            summary => format!("{time}: {summary}"),
        };
        (text, bars)
    };
    Chart {
        top: format::number(top),
        is_empty: most == 0,
        ..chart(steps, description, draw)
    }
}

/// The outcomes with their numbers, such as `6 applied, 4 failed`.
pub fn summary(kinds: &[(&'static str, u64); 4]) -> String {
    let parts = present(kinds).map(|(class, number)| format!("{} {class}", format::number(number)));
    parts.collect::<Vec<_>>().join(", ")
}

fn present(kinds: &[(&'static str, u64)]) -> impl Iterator<Item = (&'static str, u64)> {
    kinds.iter().copied().filter(|(_, number)| *number > 0)
}

/// Lines over the same steps of time. A step without a value is a gap, and a value between two gaps
/// is a dot.
pub fn lines(classes: [&'static str; 2], steps: &[Values], description: String) -> Chart {
    let values = steps.iter().flat_map(|(_, values)| values);
    let most = values.flatten().max().copied();
    let top = round_up(most.unwrap_or(0));
    let step = step(steps.len());
    let path = |line: usize| {
        let mut path = String::new();
        let mut is_drawing = false;
        for (place, (_, values)) in steps.iter().enumerate() {
            if let Some(value) = values[line] {
                let x = unit(step * (as_float(place as u64) + 0.5));
                let y = unit(HEIGHT - height(value, top));
                // A line of no length has round ends: a dot.
                path += &if is_drawing {
                    format!("L{x} {y}")
                } else {
                    format!("M{x} {y}h0")
                };
            }
            is_drawing = values[line].is_some();
        }
        (classes[line], path)
    };
    let draw = |_, (time, values): &Values| {
        let text = match *values {
            [Some(first), Some(second)] => format!(
                "{time}: {} {}, {} {}",
                classes[0],
                of_ms(first),
                classes[1],
                of_ms(second)
            ),
            _ => format!("{time}: nothing"),
        };
        (text, Vec::new())
    };
    Chart {
        lines: vec![path(0), path(1)],
        top: of_ms(top),
        is_empty: most.is_none(),
        ..chart(steps, description, draw)
    }
}

/// The parts that both charts have. `draw` returns a step's text and bars.
fn chart<T>(
    steps: &[(String, T)],
    description: String,
    draw: impl Fn(usize, &(String, T)) -> (String, Vec<Bar>),
) -> Chart {
    let width = step(steps.len());
    let draw = |(place, values)| {
        let (text, bars) = draw(place, values);
        Step {
            x: unit(width * as_float(place as u64)),
            width: unit(width),
            text,
            bars,
        }
    };
    Chart {
        steps: steps.iter().enumerate().map(draw).collect(),
        lines: Vec::new(),
        top: String::new(),
        from: steps
            .first()
            .map_or(String::new(), |(time, _)| time.clone()),
        description,
        is_empty: false,
    }
}

fn step(steps: usize) -> f64 {
    WIDTH / as_float(steps.max(1) as u64)
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
    fn bars_stand_on_each_other_and_within_the_drawing() {
        let kinds = |applied, failed| {
            [
                ("applied", applied),
                ("stale", 0),
                ("failed", failed),
                ("discarded", 0),
            ]
        };
        let steps = [("16:00".into(), kinds(6, 4)), ("16:01".into(), kinds(0, 0))];
        let chart = stacks(&steps, String::new());
        let bars = &chart.steps[0].bars;
        assert_eq!((chart.top.as_str(), bars.len()), ("10", 2));
        assert_eq!((bars[0].y.as_str(), bars[0].height.as_str()), ("48", "72"));
        assert_eq!((bars[1].y.as_str(), bars[1].height.as_str()), ("0", "48"));
        assert_eq!(chart.steps[0].text, "16:00: 6 applied, 4 failed");
        assert_eq!(chart.steps[1].text, "16:01: nothing");
        assert!(stacks(&[], String::new()).is_empty && !chart.is_empty);
    }

    #[test]
    fn a_line_has_gaps_at_steps_without_a_value() {
        let steps =
            [Some(0), None, Some(10), Some(5)].map(|value| ("16:00".to_owned(), [value, value]));
        let chart = lines(["p50", "p95"], &steps, String::new());
        assert_eq!(
            chart.lines[0],
            ("p50", "M75 120h0M375 0h0L525 60".to_owned())
        );
        assert_eq!(chart.steps[1].text, "16:00: nothing");
        let nothing = [("16:00".into(), [None, None])];
        assert!(lines(["p50", "p95"], &nothing, String::new()).is_empty);
    }
}
