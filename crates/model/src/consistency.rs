//! What a recovery point is consistent in, and how that is known (invariant I4).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How consistent the data of a recovery point is, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// As after a power cut: all disks at one point in time, nothing flushed.
    Crash,
    /// All file systems frozen: nothing to replay.
    FileSystem,
    /// Applications quiesced as well, by scripts or VSS writers.
    Application,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash-consistent",
            Self::FileSystem => "file-system-consistent",
            Self::Application => "application-consistent",
        })
    }
}

/// A way to quiesce the guest, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The QEMU guest agent's freeze.
    QemuGuestAgent,
    /// No help from the guest: the VM is paused for milliseconds.
    PausedVm,
    /// The VM does not run.
    Stopped,
}

/// One rung of the ladder that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungAttempt {
    /// Which way.
    pub rung: Rung,
    /// `None` when it worked, else why not.
    pub failure: Option<String>,
}

/// What was achieved, and the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyReport {
    /// What was achieved, not what was asked for.
    pub achieved: Consistency,
    /// One sentence: how that was proven.
    pub proof: String,
    /// Every rung tried, in order.
    pub attempts: Vec<RungAttempt>,
    /// File systems that the agent said it froze, and thawed again.
    #[serde(default)]
    pub file_systems_frozen: Option<u32>,
    /// See `file_systems_frozen`; a smaller number means that a freeze was lost.
    #[serde(default)]
    pub file_systems_thawed: Option<u32>,
    /// From the freeze command sent to the thaw answered, microseconds, seen from the host; for a
    /// paused VM, from `stop` to `cont` answered.
    #[serde(default)]
    pub frozen_us: Option<u64>,
}
