//! The measured values: for each name, one value per round.

use std::collections::BTreeMap;

#[derive(Default)]
pub struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value: &f64| value.is_finite()) {
            let name = name.into();
            eprintln!("  {name}: {}", short(value));
            self.0.entry(name).or_default().push(value);
        }
    }

    pub fn all(&self) -> &BTreeMap<String, Vec<f64>> {
        &self.0
    }

    /// The value in the middle of all rounds.
    pub fn median(&self, name: &str) -> Option<f64> {
        middle(self.0.get(name)?.clone())
    }

    /// The middle of what `one` is of `other` in each round: both sides of a ratio are of one time.
    pub fn ratio(&self, one: &str, other: &str) -> Option<f64> {
        let (ones, others) = (self.0.get(one)?, self.0.get(other)?);
        middle(
            ones.iter()
                .zip(others)
                .map(|(one, other)| one / other)
                .collect(),
        )
    }
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

/// A number as a person reads it: thousands in groups, small ones with a digit or two after the
/// point.
pub fn short(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
