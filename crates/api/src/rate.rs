//! How often somebody may ask: a bucket of tokens each, in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Full buckets are forgotten when there are so many.
const MOST: usize = 10_000;

/// A bucket's size and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateLimit {
    /// So many requests at once.
    pub(crate) burst: u32,
    /// So many a second in the long run.
    pub(crate) per_second: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, limit: RateLimit, now: Instant) -> Self {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        let left = self.left + seconds * f64::from(limit.per_second);
        let left = left.min(limit.burst.into());
        Self { left, at: now }
    }
}

pub(crate) struct Buckets {
    limit: RateLimit,
    known: Mutex<HashMap<String, Bucket>>,
}

impl Buckets {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let known = Mutex::default();
        Self { limit, known }
    }

    /// Takes one of theirs at `now`, or says how long there will be none.
    pub(crate) fn take(&self, who: &str, now: Instant) -> Result<(), Duration> {
        let limit = self.limit;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(who) {
            known.retain(|_, bucket| bucket.filled(limit, now).left < limit.burst.into());
        }
        let full = Bucket {
            left: limit.burst.into(),
            at: now,
        };
        let bucket = known.entry(who.to_owned()).or_insert(full);
        *bucket = bucket.filled(limit, now);
        if bucket.left < 1.0 {
            let missing = (1.0 - bucket.left) / f64::from(limit.per_second.max(1));
            return Err(Duration::from_secs_f64(missing));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again_and_is_ones_own() {
        let limit = RateLimit {
            burst: 2,
            per_second: 4,
        };
        let (buckets, start) = (Buckets::new(limit), Instant::now());
        assert_eq!(buckets.take("a", start), Ok(()));
        assert_eq!(buckets.take("a", start), Ok(()));
        assert_eq!(buckets.take("a", start), Err(Duration::from_millis(250)));
        assert_eq!(buckets.take("b", start), Ok(()));
        let later = start + Duration::from_millis(250);
        assert_eq!(buckets.take("a", later), Ok(()));
        assert!(buckets.take("a", later).is_err());
        // It never holds more than its size.
        let much_later = later + Duration::from_secs(3600);
        let taken = (0..5).filter(|_| buckets.take("a", much_later).is_ok());
        assert_eq!(taken.count(), 2);
    }
}
