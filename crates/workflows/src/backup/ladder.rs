//! The ladder: which ways to quiesce the guest were tried, and what that makes the point
//! (invariant I4). Pure.

use std::time::Duration;

use tresor_link::{Freeze, Thaw};
use tresor_model::{Consistency, ConsistencyReport, Rung, RungAttempt};

/// Writes down the rungs as they are tried.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    attempts: Vec<RungAttempt>,
}

impl Ladder {
    /// A rung that did not hold.
    pub(super) fn failed(&mut self, rung: Rung, why: impl Into<String>) {
        self.attempts.push(RungAttempt { rung, failure: Some(why.into()) });
    }

    /// The freeze held, or it was lost on the way.
    pub(super) fn frozen(mut self, freeze: Freeze, thaw: &Thaw) -> ConsistencyReport {
        let count = freeze.file_systems;
        let (achieved, proof) = if thaw.held {
            self.attempts.push(RungAttempt { rung: Rung::QemuGuestAgent, failure: None });
            (
                thaw.consistency,
                format!("{count} file systems frozen and thawed again; {}", thaw.evidence),
            )
        } else {
            let why = format!(
                "{count} file systems were frozen and {} thawed: the freeze did not hold",
                thaw.file_systems
            );
            self.failed(Rung::QemuGuestAgent, why.clone());
            (Consistency::Crash, format!("{why}; all disks are of one moment"))
        };
        ConsistencyReport {
            achieved,
            proof,
            attempts: self.attempts,
            file_systems_frozen: Some(count),
            file_systems_thawed: Some(thaw.file_systems),
            frozen_us: micros(thaw.frozen_for),
        }
    }

    /// No freeze: the VM was held by the provider, or did not run at all.
    pub(super) fn paused(mut self, paused_for: Option<Duration>) -> ConsistencyReport {
        let (rung, proof) = match paused_for {
            Some(_) => (Rung::PausedVm, "the VM was paused while all disks were switched"),
            None => (Rung::Stopped, "the VM's CPUs did not run"),
        };
        self.attempts.push(RungAttempt { rung, failure: None });
        ConsistencyReport {
            achieved: Consistency::Crash,
            proof: proof.to_owned(),
            attempts: self.attempts,
            file_systems_frozen: None,
            file_systems_thawed: None,
            frozen_us: paused_for.and_then(micros),
        }
    }
}

fn micros(time: Duration) -> Option<u64> {
    u64::try_from(time.as_micros()).ok()
}
