//! Opening the images of a VM that does not run.

use std::{
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use tresor_disk::{Error, ErrorKind};
use tresor_model::{MachineDisk, SnapshotTag, VmId};
use tresor_qmp::{Client, commands::block::BlockdevAdd};

use super::{daemon::Daemon, give_way::GiveWay};
use crate::{failure, layout::Layout, provider::QemuConfig};

/// How long a lock may last that belongs to a process which is about to end: QEMU, or a daemon of
/// ours that was left behind.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// What images are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// To look, beside whoever holds them.
    Look,
    /// To hold them: nobody else writes, and a start of the VM is given way to.
    Hold,
}

/// Images that a storage daemon has open for us.
pub(super) struct Opened {
    pub(super) daemon: Daemon,
    pub(super) layout: Layout,
    give_way: Option<GiveWay>,
}

impl Opened {
    /// Opens images; to hold them, for writing, unless the VM could not write either.
    pub(super) async fn open(
        access: Access,
        config: &QemuConfig,
        tag: &SnapshotTag,
        vm: VmId,
        disks: &[&MachineDisk],
    ) -> Result<Self, Error> {
        let mut paths = Vec::with_capacity(disks.len());
        for disk in disks {
            paths.push(find(disk).await?);
        }
        let daemon = Daemon::start(config, tag, vm).await?;
        let give_way = match access {
            Access::Look => None,
            Access::Hold => {
                // Before the locks are, so that no start of the VM comes in between unseen.
                let watched: Vec<&Path> = paths.iter().map(|(path, _)| path.as_path()).collect();
                let give_way = GiveWay::watch(&watched, daemon.process().clone());
                Some(give_way.map_err(failure::host("watch for a start of the VM"))?)
            }
        };
        let mut opened = Self {
            daemon,
            layout: Layout::default(),
            give_way,
        };
        match opened.add(access, disks, &paths).await {
            Ok(()) => Ok(opened),
            Err(error) => {
                let error = opened.explain(error);
                if let Err(left) = opened.close().await {
                    tracing::warn!(error = %left, "a storage daemon does not end");
                }
                Err(error)
            }
        }
    }

    async fn add(
        &mut self,
        access: Access,
        disks: &[&MachineDisk],
        paths: &[(PathBuf, &'static str)],
    ) -> Result<(), Error> {
        let client = self.daemon.client();
        let mut roots = Vec::with_capacity(disks.len());
        for (index, (disk, (path, driver))) in disks.iter().zip(paths).enumerate() {
            let node = format!("disk{index}");
            let options = options(access, disk, &node, path, driver);
            add(client, options)
                .await
                .map_err(|error| error.on_disk(disk.name.as_str()).at_path(path))?;
            roots.push((disk.name.to_string(), node));
        }
        self.layout = Layout::read_nodes(client, &roots).await?;
        Ok(())
    }

    /// The images as they are now.
    pub(super) async fn reread(&self) -> Result<Layout, Error> {
        Layout::read_nodes(self.daemon.client(), &[]).await
    }

    /// What an error means once the images were let go for a start of the VM.
    pub(super) fn explain(&self, error: Error) -> Error {
        match &self.give_way {
            Some(give_way) => give_way.explain(error),
            None => error,
        }
    }

    /// Lets the images go: bitmaps are written, locks are free.
    pub(super) async fn close(&self) -> Result<(), Error> {
        self.daemon.quit().await
    }
}

/// Whether the image is where it was.
pub(super) async fn is_there(disk: &MachineDisk) -> bool {
    match find(disk).await {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::ImageMissing,
    }
}

/// Where the image is, and QEMU's driver for what lies there.
async fn find(disk: &MachineDisk) -> Result<(PathBuf, &'static str), Error> {
    let name = disk.name.as_str();
    let Some(path) = &disk.path else {
        let step = "open a disk of a stopped VM whose image is no file of this host";
        return Err(Error::new(ErrorKind::Unsupported, step).on_disk(name));
    };
    let step = "find the image of a stopped VM";
    let metadata = tokio::fs::metadata(path).await.map_err(|source| {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::ImageMissing,
            _ => ErrorKind::Host,
        };
        let error = Error::new(kind, step).on_disk(name).at_path(path);
        error.because(source)
    })?;
    let driver = if metadata.file_type().is_block_device() {
        "host_device"
    } else {
        "file"
    };
    Ok((PathBuf::from(path), driver))
}

fn options(access: Access, disk: &MachineDisk, node: &str, path: &Path, driver: &str) -> Value {
    // A shared disk may be open for writing elsewhere; it is not held still anyway.
    let beside_others = access == Access::Look || disk.shared;
    json!({
        "driver": disk.format,
        "node-name": node,
        "read-only": beside_others || disk.read_only,
        "force-share": beside_others,
        "file": {"driver": driver, "filename": path.display().to_string()},
    })
}

async fn add(client: &Client, options: Value) -> Result<(), Error> {
    let step = "open the image of a stopped VM";
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match client.run(&BlockdevAdd(options.clone())).await {
            Ok(_) => return Ok(()),
            Err(error) if is_lock(&error) && Instant::now() < patience => {
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(error) if is_lock(&error) => {
                return Err(Error::new(ErrorKind::ImageInUse, step).because(error));
            }
            Err(error) => return Err(failure::qmp(step)(error)),
        }
    }
}

/// Whether QEMU refused because another process holds the image: the only sign of it is the text
/// (`Failed to get "write" lock`, `Failed to get shared "write" lock`).
fn is_lock(error: &tresor_qmp::Error) -> bool {
    let text = std::error::Error::source(error).map(ToString::to_string);
    error.is_refusal() && text.is_some_and(|text| text.contains("\" lock"))
}
