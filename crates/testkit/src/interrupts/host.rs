//! Looking at other processes of this host, and cutting their connections.

use std::{fs, os::fd::OwnedFd, path::Path};

use anyhow::{Context, Result};
use rustix::{
    net::{Shutdown, SocketAddrUnix, getpeername, shutdown},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open},
};

fn pid_of(pid: u32) -> Result<Pid> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.with_context(|| format!("{pid} is no process id"))
}

/// Sends a signal.
pub(super) fn signal(pid: u32, signal: Signal) -> Result<()> {
    kill_process(pid_of(pid)?, signal).with_context(|| format!("cannot signal process {pid}"))
}

/// Ends every connection of a process to a Unix socket whose path is wanted, as if the other side
/// had closed it; gives how many there were. Works on a duplicate of the process's own socket.
pub(super) fn cut(pid: u32, wanted: impl Fn(&str) -> bool) -> Result<usize> {
    let process = pidfd_open(pid_of(pid)?, PidfdFlags::empty())?;
    let mut ended = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let number = entry?.file_name().to_string_lossy().parse()?;
        // It may have been closed since.
        let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        if peer_of(&socket).is_some_and(|path| wanted(&path)) {
            shutdown(&socket, Shutdown::Both)?;
            ended += 1;
        }
    }
    Ok(ended)
}

/// Where the listener of a connection is; `None` for whatever is no connected Unix socket.
fn peer_of(socket: &OwnedFd) -> Option<String> {
    let address = SocketAddrUnix::try_from(getpeername(socket).ok()??).ok()?;
    Some(address.path()?.to_string_lossy().into_owned())
}

/// The guard processes of a guest's agent channel.
pub(super) fn thaw_guards(agent: &Path) -> Result<Vec<u32>> {
    let socket = agent.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        // A process that has ended meanwhile is none.
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        if words.contains("thaw-guard") && words.contains(&socket) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The entries of a directory whose name has this in it; none when there is no directory.
pub(super) fn entries(dir: &Path, part: &str) -> Result<Vec<String>> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for entry in listed {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.contains(part) {
            found.push(name);
        }
    }
    Ok(found)
}
