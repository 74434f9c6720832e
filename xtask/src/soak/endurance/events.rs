//! What happens between two backups. Pure.

use std::fmt;

/// Something that happens to a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// Only the change.
    Nothing,
    /// QEMU ends in good order, and the guest boots again.
    Restart,
    /// QEMU is killed, and the guest boots again.
    KillQemu,
    /// A disk gets larger while the guest runs.
    Grow,
    /// A backup is killed in the transfer.
    KillBackup,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Restart => "guest restarted",
            Self::KillQemu => "QEMU killed",
            Self::Grow => "disk grown",
            Self::KillBackup => "backup killed",
        })
    }
}

/// What happens before the backup of a run: nothing in three of four.
pub(super) fn event_of(seed: u64, run: u64) -> Event {
    match mix(seed, run, "event") % 24 {
        0 | 1 => Event::Restart,
        2 => Event::KillQemu,
        3 => Event::Grow,
        4 | 5 => Event::KillBackup,
        _ => Event::Nothing,
    }
}

/// A number for a run and a purpose.
pub(super) fn mix(seed: u64, run: u64, purpose: &str) -> u64 {
    let text = format!("{seed} {run} {purpose}");
    let hash = blake3::hash(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_happens_and_mostly_nothing() {
        let events: Vec<_> = (0..200).map(|run| event_of(1, run)).collect();
        let count = |wanted| events.iter().filter(|event| **event == wanted).count();
        for event in [
            Event::Restart,
            Event::KillQemu,
            Event::Grow,
            Event::KillBackup,
        ] {
            assert!(count(event) > 0, "{event}");
        }
        assert!(count(Event::Nothing) > 120);
    }
}
