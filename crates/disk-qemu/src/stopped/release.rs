//! Ends a snapshot in the images of a VM that does not run.
//!
//! Images are held only when there is something of the tag in them: a snapshot that never came to
//! its bitmaps is ended also while somebody else holds the images. But not while a QEMU still serves
//! it: then the VM runs, and whoever reaches its monitor again ends it.

use std::collections::BTreeSet;

use tresor_disk::{Error, ErrorKind, Orphan, Outcome, ReleaseReport};
use tresor_model::{JobId, MachineDisk, SnapshotTag, TrackingLedger};

use super::{
    daemon::end_left_behind,
    images::{self, Access, Opened},
    machine, tracked,
};
use crate::{naming, provider::QemuConfig, release};

/// Ends the snapshot whose images are held, and lets them go.
pub(super) async fn end(
    config: &QemuConfig,
    opened: &Opened,
    tag: &SnapshotTag,
    outcome: Outcome,
) -> Result<ReleaseReport, Error> {
    let client = opened.daemon.client();
    let layout = opened.reread().await?;
    let mut report = release::release_images(client, &layout, tag, outcome).await?;
    opened.close().await?;
    let files = release::remove_files(config, tag).await?;
    report.removed.extend(files.removed);
    Ok(report)
}

/// Ends whatever there is of a tag. Images that are not there any more hold nothing of ours.
pub(super) async fn release(
    config: &QemuConfig,
    tag: &SnapshotTag,
    outcome: Outcome,
) -> Result<ReleaseReport, Error> {
    let directory = naming::socket_dir(&config.runtime_dir, tag, machine(config)?.id);
    end_left_behind(config, &directory).await?;
    if release::is_served(&directory).await {
        // No daemon of ours: a QEMU that runs has the snapshot, and only its monitor is not there.
        // Its files are how the snapshot is found again.
        let step = "end the snapshot of a QEMU that runs and has no QMP socket any more";
        return Err(Error::new(ErrorKind::Unreachable, step));
    }
    let mut report = release::remove_files(config, tag).await?;
    if !look(config, tag).await?.contains(tag) {
        return Ok(report);
    }
    let opened = open(Access::Hold, config, tag).await?;
    let ended = end(config, &opened, tag, outcome).await;
    let ended = ended.map_err(|error| opened.explain(error))?;
    report.removed.extend(ended.removed);
    Ok(report)
}

/// Everything of ours in the images and directories, but for bitmaps that `keep` names.
pub(super) async fn find_orphans(
    config: &QemuConfig,
    keep: &[TrackingLedger],
) -> Result<Vec<Orphan>, Error> {
    let vm = machine(config)?.id;
    let tag = SnapshotTag::of_job(JobId::generate());
    let opened = open(Access::Look, config, &tag).await?;
    let mut found = release::find_orphans_in_images(&opened.layout, keep);
    close_look(config, &tag, opened).await?;
    release::add_files(&mut found, config, vm).await?;
    Ok(release::orphans(found))
}

/// The tags of the bitmaps in the images.
async fn look(config: &QemuConfig, tag: &SnapshotTag) -> Result<BTreeSet<SnapshotTag>, Error> {
    let opened = open(Access::Look, config, tag).await?;
    let tags = release::find_orphans_in_images(&opened.layout, &[]).into_keys();
    close_look(config, tag, opened).await?;
    Ok(tags.collect())
}

async fn close_look(config: &QemuConfig, tag: &SnapshotTag, opened: Opened) -> Result<(), Error> {
    opened.close().await?;
    release::remove_files(config, tag).await?;
    Ok(())
}

async fn open(access: Access, config: &QemuConfig, tag: &SnapshotTag) -> Result<Opened, Error> {
    let machine = machine(config)?;
    let mut disks: Vec<&MachineDisk> = Vec::new();
    for disk in tracked(machine) {
        if images::is_there(disk).await {
            disks.push(disk);
        }
    }
    Opened::open(access, config, tag, machine.id, &disks).await
}
