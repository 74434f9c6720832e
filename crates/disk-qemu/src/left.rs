//! Files of snapshots whose VM cannot be asked any more.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::net::UnixStream;
use tresor_model::{SnapshotTag, VmId};

use crate::{naming, release, stopped};

/// Most directory entries that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// A fleecing file, or the directory of an NBD socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftFile {
    /// Where it is.
    pub path: PathBuf,
    /// The snapshot that made it.
    pub tag: SnapshotTag,
    /// The VM it belongs to.
    pub vm: VmId,
}

/// Everything in these directories that this provider made, whatever VM it is of. Nothing with
/// another name is among it.
///
/// # Errors
/// When a directory cannot be read; one that is not there holds nothing.
pub fn left_files(directories: &[PathBuf]) -> io::Result<Vec<LeftFile>> {
    let mut found = Vec::new();
    for directory in directories {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries.take(MAX_ENTRIES) {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some((tag, vm)) = name.and_then(naming::made_by_us) {
                found.push(LeftFile { path, tag, vm });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup();
    Ok(found)
}

/// Whether somebody works with what is in such a directory: a storage daemon of ours, whatever it is
/// doing, or a QEMU that serves the socket. What cannot be told counts as a yes.
///
/// # Errors
/// When the directory cannot be looked at.
pub async fn is_used(directory: &Path) -> io::Result<bool> {
    if stopped::is_held(&directory.join(naming::LOG))? {
        return Ok(true);
    }
    match UnixStream::connect(directory.join(naming::SOCKET)).await {
        Ok(_) => Ok(true),
        Err(error) => Ok(!matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )),
    }
}

/// Removes one. The caller knows that nobody uses it.
///
/// # Errors
/// When it cannot be removed.
pub async fn remove_left(file: &LeftFile) -> io::Result<()> {
    let path: &Path = &file.path;
    release::remove(path).await
}
