//! What the kernel knows of a process and of its descendants.

use std::{fs, io};

/// Clock ticks a second in `/proc`: part of the kernel's interface, the same on all machines that
/// Tresor is built for.
const TICKS: f64 = 100.0;

/// What an ended process took, descendants included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    pub user_s: f64,
    pub sys_s: f64,
    /// Bytes that read calls gave.
    pub read: u64,
}

/// Looks at a process that has ended and is not reaped yet: only then are its times final.
pub(super) fn usage_of_ended(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (user_s, sys_s) =
        parse_times(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat has another form"))?;
    let counts = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let read = field(&counts, "rchar:")
        .ok_or_else(|| io::Error::other("/proc/PID/io has another form"))?;
    Ok(Usage {
        user_s,
        sys_s,
        read,
    })
}

/// User and system seconds, own and of reaped children. The name, in parentheses, may hold
/// anything, parentheses too.
fn parse_times(stat: &str) -> Option<(f64, f64)> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((
        (ticks(11)? + ticks(13)?) / TICKS,
        (ticks(12)? + ticks(14)?) / TICKS,
    ))
}

/// Seconds of CPU time that all processes of the machine have had since it started.
pub(super) fn machine_busy_s() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    parse_busy(&stat).ok_or_else(|| io::Error::other("/proc/stat has another form"))
}

/// Adds user, nice, system, irq and softirq of all CPUs.
fn parse_busy(stat: &str) -> Option<f64> {
    let ticks: Vec<f64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6].map(|column| ticks.get(column).copied().unwrap_or(0.0));
    Some(busy.iter().sum::<f64>() / TICKS)
}

/// Memory of a process tree at one moment, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident sets of all processes, added.
    pub sum_kib: u64,
    /// The highest resident set that any one of them ever had.
    pub highest_kib: u64,
}

/// Looks at a process and its descendants; those that end meanwhile count as nothing.
pub(super) fn memory_of_tree(root: u32) -> Memory {
    let mut memory = Memory::default();
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
            memory.sum_kib += field(&status, "VmRSS:").unwrap_or(0);
            memory.highest_kib = memory
                .highest_kib
                .max(field(&status, "VmHWM:").unwrap_or(0));
        }
        left.extend(children_of(pid));
    }
    memory
}

fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The number behind a label at the beginning of a line.
fn field(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_parentheses() {
        let stat = "7 (a) b (c) Z 1 2 3 4 5 6 7 8 9 10 150 30 50 20 15 16";
        assert_eq!(parse_times(stat), Some((2.0, 0.5)));
        assert_eq!(parse_times("7 (a"), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let stat = "cpu  100 50 25 9000 800 15 10 7 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(parse_busy(stat), Some(2.0));
    }

    #[test]
    fn a_field_is_the_number_behind_its_label() {
        assert_eq!(field("Name:\tx\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("VmRSS:\tmany kB\n", "VmRSS:"), None);
    }
}
