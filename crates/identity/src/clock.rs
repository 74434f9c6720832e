//! The time, injected: tests live in any year they like.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

/// Says what time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The wall time.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Our clock as rustls wants it.
#[derive(Debug)]
pub(crate) struct TlsClock(pub(crate) Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
