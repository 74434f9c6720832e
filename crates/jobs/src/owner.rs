//! Which process holds a job, and whether it lives.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long a process on another machine may be silent before it counts as dead. Thirty missed
/// signs: a host that swaps or a short loss of the network must not lose its job.
const SILENCE: SignedDuration = SignedDuration::from_secs(300);

/// A process, told apart from every other one on any machine at any time. A process id alone is
/// used again; with its start time and the machine's boot it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine (`/etc/machine-id`), empty when it has none.
    pub machine: String,
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The namespace in which `pid` means something (`/proc/self/ns/pid`).
    pub pid_namespace: String,
    /// Process id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot.
    pub started: u64,
    /// Tells several engines of one process apart.
    pub engine: Uuid,
}

/// Whether a job's process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It is, or may be.
    Alive,
    /// It is not.
    Dead,
}

/// What an observer knows about the processes around it.
pub trait ProcessTable {
    /// Start time of a process in clock ticks since boot; `None` when there is none with that id.
    fn started(&self, pid: u32) -> Option<u64>;
}

/// The kernel's process table.
pub(crate) struct Proc;

impl ProcessTable for Proc {
    fn started(&self, pid: u32) -> Option<u64> {
        parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

impl Owner {
    /// This process, as the owner of a new engine.
    #[must_use]
    pub fn current() -> Self {
        let read = |path| {
            fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        let pid = std::process::id();
        Self {
            machine: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
            pid,
            started: Proc.started(pid).unwrap_or_default(),
            engine: Uuid::new_v4(),
        }
    }

    /// Whether this owner lives, as `observer` sees it at `now`. Pure but for `processes`.
    ///
    /// Where the process table cannot tell (another machine, another container), the last sign of
    /// life decides; the clocks of such machines must agree within minutes.
    #[must_use]
    pub fn liveness(
        &self,
        observer: &Self,
        processes: &dyn ProcessTable,
        heartbeat_at: Timestamp,
        now: Timestamp,
    ) -> Liveness {
        if !self.boot.is_empty() && self.boot == observer.boot {
            if self.pid_namespace == observer.pid_namespace {
                let same = processes.started(self.pid) == Some(self.started);
                return if same {
                    Liveness::Alive
                } else {
                    Liveness::Dead
                };
            }
        } else if !self.machine.is_empty() && self.machine == observer.machine {
            return Liveness::Dead; // the machine was started again since
        }
        if now.duration_since(heartbeat_at) > SILENCE {
            Liveness::Dead
        } else {
            Liveness::Alive
        }
    }
}

/// The 22nd field of `/proc/PID/stat`, unless the process is a zombie: that one runs nothing any
/// more. The second field is the program's name in brackets and may hold anything, so counting
/// begins behind the last bracket.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(&'static [(u32, u64)]);
    impl ProcessTable for Table {
        fn started(&self, pid: u32) -> Option<u64> {
            let Self(rows) = self;
            rows.iter().find(|row| row.0 == pid).map(|row| row.1)
        }
    }

    fn owner(machine: &str, boot: &str, namespace: &str) -> Owner {
        Owner {
            machine: machine.into(),
            boot: boot.into(),
            pid_namespace: namespace.into(),
            pid: 7,
            started: 100,
            engine: Uuid::nil(),
        }
    }

    fn judge(held_by: &Owner, table: &Table, silent_s: i64) -> Liveness {
        let beat = Timestamp::UNIX_EPOCH;
        let now = beat + SignedDuration::from_secs(silent_s);
        held_by.liveness(&owner("m", "b", "n"), table, beat, now)
    }

    #[test]
    fn a_reused_process_id_is_not_the_old_process() {
        let ours = owner("m", "b", "n");
        assert_eq!(judge(&ours, &Table(&[(7, 100)]), 9999), Liveness::Alive);
        assert_eq!(judge(&ours, &Table(&[(7, 101)]), 0), Liveness::Dead);
        assert_eq!(judge(&ours, &Table(&[]), 0), Liveness::Dead);
    }

    #[test]
    fn nothing_outlives_a_reboot() {
        let earlier = owner("m", "older", "n");
        assert_eq!(judge(&earlier, &Table(&[(7, 100)]), 0), Liveness::Dead);
    }

    #[test]
    fn where_process_ids_mean_nothing_the_sign_of_life_decides() {
        for far in [owner("other", "c", "n"), owner("m", "b", "container")] {
            assert_eq!(judge(&far, &Table(&[]), 10), Liveness::Alive);
            assert_eq!(judge(&far, &Table(&[]), 301), Liveness::Dead);
        }
    }

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let stat = format!("42 (a) b (c) S {fields}");
        assert_eq!(parse_start_time(&stat), Some(4711));
        assert_eq!(parse_start_time(&format!("42 (x) Z {fields}")), None);
        assert_eq!(parse_start_time("garbage"), None);
    }

    #[test]
    fn this_process_is_alive() {
        let me = Owner::current();
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(me.liveness(&me, &Proc, now, now), Liveness::Alive);
    }
}
