//! Figures of many runs: quantiles of samples, and of histograms.

/// Times of many runs, microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<u64>);

impl Samples {
    pub(super) fn add(&mut self, micros: u64) {
        self.0.push(micros);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least `percent` of all samples do not exceed; `None` without
    /// samples.
    pub(super) fn quantile(&self, percent: usize) -> Option<u64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    pub(super) fn worst(&self) -> Option<u64> {
        self.0.iter().max().copied()
    }
}

/// Counts of times by size. Only the upper bound of each count is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    /// Upper bound in microseconds, count. Rising.
    bins: Vec<(u64, u64)>,
}

impl Histogram {
    /// Adds counts; `bounds[i]` is the upper bound of `counts[i]`. A count without a bound gets
    /// the last bound.
    pub(super) fn add(&mut self, bounds: &[u64], counts: &[u64]) {
        let last = bounds.last().copied().unwrap_or(0);
        for (index, count) in counts.iter().enumerate() {
            let bound = bounds.get(index).copied().unwrap_or(last);
            match self.bins.binary_search_by_key(&bound, |bin| bin.0) {
                Ok(at) => self.bins[at].1 += count,
                Err(at) => self.bins.insert(at, (bound, *count)),
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.1).sum()
    }

    /// An upper bound for the quickest `percent` of all; `None` when nothing was counted.
    pub(super) fn quantile(&self, percent: u64) -> Option<u64> {
        let total = self.count();
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.bins.iter().find_map(|(bound, count)| {
            seen += count;
            (total > 0 && seen >= rank).then_some(*bound)
        })
    }
}

/// Microseconds as milliseconds; a dash for nothing.
pub(super) fn millis(micros: Option<u64>) -> String {
    match micros {
        Some(micros) => {
            // Rounded to tenths.
            let tenths = micros.saturating_add(50) / 100;
            format!("{}.{}", tenths / 10, tenths % 10)
        }
        None => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.quantile(50), None);
        for micros in [5, 1, 4, 2, 3] {
            samples.add(micros);
        }
        assert_eq!(samples.quantile(50), Some(3));
        assert_eq!(samples.quantile(90), Some(5));
        assert_eq!(samples.worst(), Some(5));
    }

    #[test]
    fn a_histogram_gives_upper_bounds() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(50), None);
        histogram.add(&[10, 20, 40], &[98, 1, 0, 1]);
        histogram.add(&[10], &[0]);
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.quantile(50), Some(10));
        assert_eq!(histogram.quantile(99), Some(20));
        assert_eq!(histogram.quantile(100), Some(40));
    }

    #[test]
    fn milliseconds_have_tenths() {
        assert_eq!(millis(Some(41_960)), "42.0");
        assert_eq!(millis(None), "–");
    }
}
