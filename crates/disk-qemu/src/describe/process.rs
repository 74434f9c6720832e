//! What `/proc` tells of a process. Everything read is bounded.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::io::AsyncReadExt;

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
