//! Prometheus' text format.

use std::fmt::Write as _;

use super::table::{Metric, MetricKind};

/// A page of metrics in the making. The samples of one metric stand together.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

/// A histogram: how often up to each bound, in all, and the sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Histogram<'a> {
    pub(crate) bounds: &'a [f64],
    pub(crate) up_to: &'a [u64],
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Page {
    /// Begins a metric.
    pub(crate) fn metric(&mut self, metric: &'static Metric) -> Samples<'_> {
        let (name, kind, help) = (metric.name, metric.kind, metric.help);
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Samples { page: self, metric }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.text.write_fmt(text).unwrap_or_default();
    }
}

/// The samples of a metric.
pub(crate) struct Samples<'a> {
    page: &'a mut Page,
    metric: &'static Metric,
}

impl Samples<'_> {
    /// A value; as many labels as the table has, in its order.
    pub(crate) fn count(&mut self, labels: &[&str], value: u64) {
        self.value(labels, value as f64);
    }

    /// The same for what is no count.
    pub(crate) fn value(&mut self, labels: &[&str], value: f64) {
        debug_assert_ne!(self.metric.kind, MetricKind::Histogram);
        self.sample("", labels, None, value);
    }

    pub(crate) fn histogram(&mut self, labels: &[&str], histogram: Histogram<'_>) {
        for (bound, number) in histogram.bounds.iter().zip(histogram.up_to) {
            let bound = bound.to_string();
            self.sample("_bucket", labels, Some(&bound), *number as f64);
        }
        let count = histogram.count as f64;
        self.sample("_bucket", labels, Some("+Inf"), count);
        self.sample("_sum", labels, None, histogram.sum);
        self.sample("_count", labels, None, count);
    }

    fn sample(&mut self, end: &str, values: &[&str], bound: Option<&str>, value: f64) {
        debug_assert_eq!(self.metric.labels.len(), values.len());
        self.page.text.push_str(self.metric.name);
        self.page.text.push_str(end);
        let mut first = '{';
        let names = self
            .metric
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied());
        for (name, text) in names.chain(bound.map(|bound| ("le", bound))) {
            self.page.text.push(first);
            first = ',';
            self.page.put(format_args!("{name}=\""));
            escape(text, &mut self.page.text);
            self.page.text.push('"');
        }
        let close = if first == ',' { "}" } else { "" };
        self.page.put(format_args!("{close} {value}\n"));
    }
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table::{ALERTS, JOB_DURATION, LEADS};

    #[test]
    fn samples_are_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.metric(LEADS).count(&[], 1);
        page.metric(ALERTS).count(&["a\"b\\c\nd"], 7);
        let histogram = Histogram {
            bounds: &[0.5, 60.0],
            up_to: &[1, 3],
            count: 4,
            sum: 1.5,
        };
        page.metric(JOB_DURATION).histogram(&["backup"], histogram);
        let text = page.finish();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "tresor_scheduler_leads 1",
            r#"tresor_alerts_open{code="a\"b\\c\nd"} 7"#,
            r#"tresor_job_duration_seconds_bucket{kind="backup",le="0.5"} 1"#,
            r#"tresor_job_duration_seconds_bucket{kind="backup",le="60"} 3"#,
            r#"tresor_job_duration_seconds_bucket{kind="backup",le="+Inf"} 4"#,
            r#"tresor_job_duration_seconds_sum{kind="backup"} 1.5"#,
            r#"tresor_job_duration_seconds_count{kind="backup"} 4"#,
        ];
        assert_eq!(samples, expected);
    }
}
