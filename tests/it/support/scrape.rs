//! Reads `/metrics` as Prometheus does: by the text format, and strictly.

use std::collections::{BTreeMap, BTreeSet};

use super::app::App;

/// One page.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub text: String,
    /// The type of each metric.
    pub types: BTreeMap<String, String>,
    /// The value of each series, as `name{label="value"}`.
    pub samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub async fn of(app: &App) -> Self {
        let (headers, text) = app.text("/metrics").await;
        assert_eq!(
            headers["content-type"],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        Self::read(text)
    }

    fn read(text: String) -> Self {
        let (mut types, mut samples, mut helped) =
            (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(help.ends_with('.'), "{line}");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(helped.contains(name), "no help: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let of = family(name, &types);
                assert!(types.contains_key(&of), "of no type: {line}");
                assert!(
                    samples
                        .insert(series.to_owned(), value.parse().unwrap())
                        .is_none(),
                    "twice: {line}"
                );
            }
        }
        Self {
            text,
            types,
            samples,
        }
    }

    /// The value of a series; `None` if it is absent.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// The series of a metric that are not zero.
    pub fn counted(&self, metric: &str) -> Vec<(&str, f64)> {
        let begins = format!("{metric}{{");
        self.samples
            .iter()
            .filter(|(series, value)| series.starts_with(&begins) && **value != 0.0)
            .map(|(series, value)| (series[metric.len()..].trim_matches(['{', '}']), *value))
            .collect()
    }

    /// All series, without their values.
    pub fn series(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// The labels of a metric's series.
    pub fn labels(&self, metric: &str) -> BTreeSet<String> {
        let of_metric = self
            .samples
            .keys()
            .filter(|series| series.split('{').next() == Some(metric));
        of_metric
            .filter_map(|series| series.split_once('{'))
            .flat_map(|(_, labels)| labels.trim_end_matches('}').split(',').collect::<Vec<_>>())
            .map(|label| label.split('=').next().unwrap().to_owned())
            .collect()
    }
}

/// The metric that a line belongs to: those of a histogram have endings.
pub fn family(name: &str, types: &BTreeMap<String, String>) -> String {
    let of_histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|ending| name.strip_suffix(ending));
    let is_histogram = |of: &&str| types.get(*of).is_some_and(|kind| kind == "histogram");
    of_histogram
        .into_iter()
        .find(is_histogram)
        .unwrap_or(name)
        .to_owned()
}
