//! What the kernel says of this process. What it does not say is left out.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    table::{PROCESS_CPU, PROCESS_FILES, PROCESS_MEMORY, PROCESS_START},
    text::Page,
};

/// Clock ticks a second that Linux tells programs of, whatever it uses itself (`USER_HZ`).
const TICKS: f64 = 100.0;

pub(crate) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let mut samples = page.metric(PROCESS_START);
    if let Some(began) = field(&stat, 22).and_then(|ticks| began_at(ticks / TICKS)) {
        samples.value(&[], began);
    }
    let mut samples = page.metric(PROCESS_CPU);
    if let (Some(user), Some(system)) = (field(&stat, 14), field(&stat, 15)) {
        samples.value(&[], (user + system) / TICKS);
    }
    let mut samples = page.metric(PROCESS_MEMORY);
    if let Some(kib) = resident_kib() {
        samples.count(&[], kib * 1024);
    }
    let mut samples = page.metric(PROCESS_FILES);
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        samples.count(&[], files.count().try_into().unwrap_or(u64::MAX));
    }
}

/// A field by its number in proc(5). The second is a name in brackets that may have spaces.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number - 3)?.parse().ok()
}

/// From seconds since the machine's start.
fn began_at(after_boot: f64) -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some((now.as_secs_f64() - uptime + after_boot).round())
}

fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0";
        assert_eq!(
            (field(stat, 14), field(stat, 15)),
            (Some(150.0), Some(50.0))
        );
        assert_eq!(field("", 14), None);
    }
}
