//! What a process of the service says of itself while it works: for metrics.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use jiff::Timestamp;

/// Signs of life of this process's scheduling loop.
#[derive(Debug, Default)]
pub struct Vitals {
    leads: AtomicBool,
    /// Microseconds since 1970; 0: never.
    ticked_at: AtomicI64,
}

impl Vitals {
    /// Whether this process schedules.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads.load(Relaxed)
    }

    /// When it last looked at what is due.
    #[must_use]
    pub fn ticked_at(&self) -> Option<Timestamp> {
        let micros = self.ticked_at.load(Relaxed);
        Timestamp::from_microsecond(micros)
            .ok()
            .filter(|_| micros != 0)
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.leads.store(leads, Relaxed);
    }

    pub(crate) fn tick(&self, at: Timestamp) {
        self.ticked_at.store(at.as_microsecond(), Relaxed);
    }
}
