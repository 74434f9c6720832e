//! Whether a fleecing store answers, before QEMU is asked to change its block graph.
//!
//! A copy that hangs in a dead store (a network file system without its server, a frozen one) is
//! given up by the filter after its time limit, and the guest goes on. But QEMU waits for that copy
//! before it adds or removes a node, with its main loop, and the guest stands still with it for as
//! long as the store is dead. So nothing is touched until the store answers again.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};
use tresor_disk::{Error, ErrorKind};

/// How long a store may be silent when a snapshot is to become readable.
pub(crate) const SHORT: Duration = Duration::from_secs(5);
/// How long its return is waited for when a snapshot ends.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until the file systems of these fleecing files take a change.
///
/// # Errors
/// [`ErrorKind::Timeout`] when one of them has not within `limit`.
pub(crate) async fn wait_for_stores(files: &[PathBuf], limit: Duration) -> Result<(), Error> {
    for file in files {
        if timeout(limit, touch(file)).await.is_err() {
            let step = format!(
                "wait for the fleecing store of {}: it does not answer, and QEMU would stand still",
                file.display()
            );
            return Err(Error::new(ErrorKind::Timeout, step));
        }
    }
    Ok(())
}

/// A program does it, because nothing can stop who waits for a dead store: a thread of ours would
/// keep this process from ending. What the program says does not matter: it said something.
async fn touch(file: &Path) {
    let touched = Command::new("touch")
        .args(["-c", "-m"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    if let Err(error) = touched {
        tracing::warn!(%error, "cannot run `touch` to see whether the fleecing store answers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_answers_is_not_waited_for_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("temp dir");
        let files = [dir.path().join("there"), dir.path().join("gone")];
        std::fs::write(&files[0], "x").expect("writes");
        wait_for_stores(&files, LONG).await.expect("answers");
        assert!(!files[1].exists());
    }
}
