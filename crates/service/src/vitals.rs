//! What a process of the service says of itself while it works: for metrics.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;

/// Signs of life of this process's scheduling loop.
#[derive(Debug, Default)]
pub struct Vitals {
    leads: AtomicBool,
    /// Microseconds since 1970; 0: never.
    ticked_at: AtomicI64,
    turns: AtomicU64,
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

    /// How often the loop has come round, leading or waiting to: it lives while this goes on counting.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    pub(crate) fn turn(&self) {
        self.turns.fetch_add(1, Relaxed);
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.leads.store(leads, Relaxed);
    }

    pub(crate) fn tick(&self, at: Timestamp) {
        self.ticked_at.store(at.as_microsecond(), Relaxed);
        self.turn();
    }
}
