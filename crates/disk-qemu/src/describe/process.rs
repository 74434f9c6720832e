//! What `/proc` tells of a process. Everything read is bounded.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::io::AsyncReadExt;
use tresor_model::HypervisorProcess;

/// Longest command line that is kept (the kernel allows 2 MiB and more).
const MAX_COMMAND_LINE: u64 = 1 << 20;

/// The arguments a process was started with, program first.
pub(super) async fn command_line(pid: u32) -> io::Result<Vec<String>> {
    let file = tokio::fs::File::open(format!("/proc/{pid}/cmdline")).await?;
    let mut bytes = Vec::new();
    file.take(MAX_COMMAND_LINE).read_to_end(&mut bytes).await?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    let arguments = bytes.split(|&byte| byte == 0);
    Ok(arguments
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect())
}

/// Which process has this id now; `None` when none has, or the kernel does not tell.
pub(super) async fn identity(pid: u32) -> Option<HypervisorProcess> {
    let boot = tokio::fs::read_to_string("/proc/sys/kernel/random/boot_id").await;
    let stat = tokio::fs::read_to_string(format!("/proc/{pid}/stat")).await;
    Some(HypervisorProcess {
        boot: boot.ok()?.trim().to_owned(),
        pid,
        started: start_time(&stat.ok()?)?,
    })
}

/// Field 22 of `/proc/PID/stat` (`man 5 proc_pid_stat`). The name before it may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

/// A path as the process means it: relative ones from its working directory.
pub(super) async fn resolve(pid: Option<u32>, path: &str) -> PathBuf {
    let path = Path::new(path);
    if path.is_absolute() {
        return path.to_owned();
    }
    let directory = match pid {
        Some(pid) => tokio::fs::read_link(format!("/proc/{pid}/cwd")).await.ok(),
        None => None,
    };
    directory.map_or_else(|| path.to_owned(), |directory| directory.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (qemu) S (x) R {}", fields.join(" "));
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("7 (qemu) R 1 2"), None);
    }

    #[tokio::test]
    async fn this_process_is_itself_and_nobody_is_no_process() {
        let me = identity(std::process::id()).await.expect("a process");
        assert_eq!(identity(me.pid).await, Some(me));
        assert_eq!(identity(u32::MAX).await, None);
    }
}
