//! What is to go wrong, and when.

use std::io;
use std::time::Duration;

/// Before or after an operation takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It does not take effect.
    Before,
    /// It takes effect, but its caller never learns.
    After,
}

/// Whom a stop stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Process,
    Machine,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) at: u64,
    pub(super) moment: Moment,
    pub(super) scope: Scope,
}

/// What goes wrong for one process. Changes (everything but reads) are counted from 0.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    stop: Option<Stop>,
    faults: Vec<(u64, io::ErrorKind)>,
    full_from: Option<u64>,
    yields: usize,
    delay: Duration,
}

/// What happens at one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Stop(Moment, Scope),
    Fault(io::ErrorKind),
    Fine,
}

impl Plan {
    /// The machine loses power at the `at`th change.
    #[must_use]
    pub fn cut_power(mut self, at: u64, moment: Moment) -> Self {
        let scope = Scope::Machine;
        self.stop = Some(Stop { at, moment, scope });
        self
    }

    /// The process is killed at its `at`th change; the machine goes on.
    #[must_use]
    pub fn kill(mut self, at: u64, moment: Moment) -> Self {
        let scope = Scope::Process;
        self.stop = Some(Stop { at, moment, scope });
        self
    }

    /// The `at`th change fails with `kind` (`StorageFull`, `Other` for EIO, …).
    #[must_use]
    pub fn fail(mut self, at: u64, kind: io::ErrorKind) -> Self {
        self.faults.push((at, kind));
        self
    }

    /// From the `at`th change on there is no space for anything new.
    #[must_use]
    pub fn full_from(mut self, at: u64) -> Self {
        self.full_from = Some(at);
        self
    }

    /// Before each operation the task yields up to `most` times, so that others run.
    #[must_use]
    pub fn interleave(mut self, most: usize) -> Self {
        self.yields = most;
        self
    }

    /// Each operation takes so long (by the runtime's clock, which tests pause).
    #[must_use]
    pub fn slow(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(super) fn most_yields(&self) -> usize {
        self.yields
    }

    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// What happens at change number `at`, which needs space or does not.
    pub(super) fn decide(&self, at: u64, needs_space: bool) -> Event {
        if let Some(stop) = self.stop
            && stop.at == at
        {
            return Event::Stop(stop.moment, stop.scope);
        }
        if let Some((_, kind)) = self.faults.iter().find(|(nth, _)| *nth == at) {
            return Event::Fault(*kind);
        }
        let full = needs_space && self.full_from.is_some_and(|from| at >= from);
        match full {
            true => Event::Fault(io::ErrorKind::StorageFull),
            false => Event::Fine,
        }
    }
}
