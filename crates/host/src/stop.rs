//! How a role is told to stop, and what it shows meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

/// Between a role and whoever runs it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Nothing new is begun; what runs goes on to its end.
    pub drain: CancellationToken,
    /// What runs is taken back.
    pub cancel: CancellationToken,
    running: Arc<AtomicUsize>,
    turns: Arc<AtomicU64>,
}

impl Stop {
    /// How many jobs run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// How often the role has looked for work: it lives while this goes on counting.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    pub(crate) fn runs(&self, jobs: usize) {
        self.running.store(jobs, Relaxed);
    }

    pub(crate) fn turn(&self) {
        self.turns.fetch_add(1, Relaxed);
    }
}
