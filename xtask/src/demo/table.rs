//! The table at the end.
#![allow(clippy::print_stdout, reason = "the demo's result is what it prints")]

use std::time::Duration;

use serde_json::Value;

use super::{checks::Checks, story::Backup};

/// Prints what was moved, how consistent it is and how that was proven, and what was checked.
pub(crate) fn print(backups: &[Backup], restore: &Value, restore_wall: Duration, checks: &Checks) {
    println!();
    println!(
        "{:<22} {:>11} {:>11} {:>11} {:>11} {:>9} {:>8}",
        "backup", "read", "changed", "new", "stored", "frozen", "wall"
    );
    for Backup {
        name, result, wall, ..
    } in backups
    {
        let total = &result["total"];
        println!(
            "{name:<22} {:>11} {:>11} {:>11} {:>11} {:>9} {:>8}",
            mib(&total["read"]),
            mib(&total["changed"]),
            mib(&total["new"]),
            mib(&total["stored"]),
            frozen(&result["consistency"]["frozen_us"]),
            seconds(*wall),
        );
    }
    for Backup { name, result, .. } in backups {
        let consistency = &result["consistency"];
        let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        println!(
            "  {name}: {}-consistent: {}",
            word(&consistency["achieved"]),
            word(&consistency["proof"])
        );
    }
    let files = restore["files"].as_array();
    let written: u64 = files
        .into_iter()
        .flatten()
        .filter_map(|file| file["written"].as_u64())
        .sum();
    println!(
        "{:<22} {:>11} {:>11} {:>11} {:>11} {:>9} {:>8}",
        "restore",
        mib(&Value::from(written)),
        "",
        "",
        "",
        "",
        seconds(restore_wall)
    );
    println!();
    for (what, passed) in checks.rows() {
        println!("{} {what}", if passed { "passed" } else { "FAILED" });
    }
}

fn mib(bytes: &Value) -> String {
    let kib = bytes.as_u64().unwrap_or_default() / 1024;
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

fn frozen(micros: &Value) -> String {
    micros
        .as_u64()
        .map_or_else(|| "-".to_owned(), |micros| format!("{} ms", micros / 1000))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
