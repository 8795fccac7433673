//! The measured values: for each name, those of each round.

use std::collections::BTreeMap;

#[derive(Default)]
pub struct Figures {
    pub round: u32,
    /// With the round in which each was measured.
    values: BTreeMap<String, Vec<(u32, f64)>>,
}

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value: &f64| value.is_finite()) {
            let name = name.into();
            eprintln!("  {name}: {}", short(value));
            self.values
                .entry(name)
                .or_default()
                .push((self.round, value));
        }
    }

    pub fn all(&self) -> BTreeMap<&str, Vec<f64>> {
        let names = self.values.keys();
        names
            .map(|name| (name.as_str(), self.values(name)))
            .collect()
    }

    /// Of all rounds.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let values = self.values.get(name).into_iter().flatten();
        values.map(|(_, value)| *value).collect()
    }

    /// The value in the middle of all rounds.
    pub fn median(&self, name: &str) -> Option<f64> {
        middle(self.values(name))
    }

    /// What `one` is of `other` in each round in which both were measured: both sides of a ratio
    /// are of one time.
    pub fn ratios(&self, one: &str, other: &str) -> Vec<f64> {
        let of_round = |name: &str, round: u32| {
            let values = self.values.get(name)?.iter();
            middle(
                values
                    .filter(|(of, _)| *of == round)
                    .map(|(_, value)| *value)
                    .collect(),
            )
        };
        (0..=self.round)
            .filter_map(|round| Some(of_round(one, round)? / of_round(other, round)?))
            .collect()
    }

    /// The middle of those.
    pub fn ratio(&self, one: &str, other: &str) -> Option<f64> {
        middle(self.ratios(one, other))
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
