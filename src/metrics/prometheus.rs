//! Prometheus' text format 0.0.4, which every version of Prometheus reads.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Display;

use super::primitives::Histogram;

/// The content type of the page. Prometheus 3 refuses a page without one.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bytes that a page usually has.
const USUAL_SIZE: usize = 16 * 1024;

/// A page that is being written. A metric without samples is not on it.
pub struct Page(String);

/// One metric with all of its samples.
pub struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    has_header: bool,
}

impl Page {
    /// Returns an empty page.
    pub fn new() -> Self {
        Self(String::with_capacity(USUAL_SIZE))
    }

    /// Starts a counter.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    /// Starts a gauge with labels.
    pub fn gauges(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// Writes a gauge without labels, if its value is known.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.gauges(name, help).sample(&[], value);
        }
    }

    /// Writes a histogram of whole numbers, of which `units` are 1 of what the name says.
    pub fn histogram<const BOUNDS: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        histogram: &Histogram<BOUNDS>,
        units: u64,
    ) {
        let distribution = histogram.distribution();
        let mut family = self.family(name, help, "histogram");
        for (bound, count) in distribution.up_to {
            family.line("_bucket", &[("le", &decimal(bound, units))], count);
        }
        family.line("_bucket", &[("le", "+Inf")], distribution.count);
        family.line("_sum", &[], decimal(distribution.sum, units));
        family.line("_count", &[], distribution.count);
    }

    /// Returns the text of the page.
    pub fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> Family<'_> {
        Family {
            page: &mut self.0,
            name,
            help,
            kind,
            has_header: false,
        }
    }
}

impl Family<'_> {
    /// Writes a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let (name, help, kind) = (self.name, self.help, self.kind);
        if !std::mem::replace(&mut self.has_header, true) {
            *self.page += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        *self.page += &format!("{name}{suffix}");
        let mut separator = '{';
        for (label, text) in labels {
            // Label values are plain words, in which nothing has to be escaped.
            debug_assert!(!text.contains(['"', '\\', '\n']), "{text}");
            *self.page += &format!("{separator}{label}=\"{text}\"");
            separator = ',';
        }
        let end = if labels.is_empty() { "" } else { "}" };
        *self.page += &format!("{end} {value}\n");
    }
}

/// Returns `number` divided by `units`, a power of ten, with all its digits.
pub fn decimal(number: u64, units: u64) -> String {
    let digits = units.ilog10() as usize;
    let text = format!("{}.{:0digits$}", number / units, number % units);
    if digits == 0 {
        return number.to_string();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_form_that_prometheus_reads() {
        let mut page = Page::new();
        let mut family = page.counter("taken_total", "What was taken.");
        family.sample(&[("result", "queued"), ("type", "other")], 3);
        family.sample(&[], 4);
        page.gauge("unknown", "Is left out.", None::<u64>);
        let histogram = Histogram::new([500, 1_000_000]);
        histogram.observe(1_500);
        page.histogram("took_seconds", "How long.", &histogram, 1_000_000);
        let expected = "# HELP taken_total What was taken.\n\
                        # TYPE taken_total counter\n\
                        taken_total{result=\"queued\",type=\"other\"} 3\n\
                        taken_total 4\n\
                        # HELP took_seconds How long.\n\
                        # TYPE took_seconds histogram\n\
                        took_seconds_bucket{le=\"0.0005\"} 0\n\
                        took_seconds_bucket{le=\"1\"} 1\n\
                        took_seconds_bucket{le=\"+Inf\"} 1\n\
                        took_seconds_sum 0.0015\n\
                        took_seconds_count 1\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_number_is_written_to_the_last_digit() {
        for (number, units, text) in [
            (0, 1000, "0"),
            (1_795_172_401_234, 1000, "1795172401.234"),
            (20, 1, "20"),
            (3_600_000_000, 1_000_000, "3600"),
        ] {
            assert_eq!(decimal(number, units), text);
        }
    }
}
