//! Ends a snapshot: the one routine behind `end`, `abandon`, a failed `prepare` or `take`, and
//! the reconciler after a crash.
//!
//! # What
//! Looks at what carries the tag (`find`), decides what to do about it (`plan`, pure), does it.
//! While a fleecing store does not answer only the guest is freed (see `alive`).
//! A step that fails does not keep the next ones from being tried, but for files, which stay until
//! all else is gone; the first failure is reported.
//!
//! # After a crash
//! Everything is found again by its name, so calling again goes on. When QEMU was restarted its
//! nodes are gone, but bitmaps (in the images) and files are found.

mod find;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tresor_disk::{Error, ErrorKind, Orphan, Outcome, ReleaseReport};
use tresor_model::{SnapshotTag, TrackingLedger, VmId};
use tresor_qmp::{
    Client,
    commands::{
        bitmap::Transaction,
        block::BlockdevDel,
        export::{BlockExportDel, DelMode, NbdServerStop, QueryBlockExports},
        machine::Cont,
        object::{ObjectDel, QomSet},
    },
};

pub(crate) use self::find::is_served;
use self::plan::{Step, plan};
use crate::{
    alive, describe, failure, fleecing,
    layout::Layout,
    naming,
    provider::{Host, QemuConfig},
};

/// How long an export may take to end: its requests under way are finished first.
const EXPORT_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Connections that one release may use up: what was done over one that was lost is done, and the
/// next look finds the rest.
const CONNECTIONS: u32 = 3;

/// Ends what a snapshot with this tag left, however far it came.
pub(crate) async fn release(
    host: &Host,
    tag: &SnapshotTag,
    outcome: Outcome,
) -> Result<ReleaseReport, Error> {
    let mut used = 1;
    loop {
        let client = host.connector.lease().await?;
        match release_by(&client, host, tag, outcome).await {
            Err(error) if client.is_closed() && used < CONNECTIONS => {
                tracing::warn!(%error, %tag, "a release goes on over a new connection");
                used += 1;
            }
            ended => return ended,
        }
    }
}

async fn release_by(
    client: &Client,
    host: &Host,
    tag: &SnapshotTag,
    outcome: Outcome,
) -> Result<ReleaseReport, Error> {
    // A guest that stands still waits for no directory, no socket and no other step.
    let stopped = find::find_stopped(client, tag).await?;
    let freed = act(client, plan(tag, outcome, &stopped), &[]).await;
    let found = find::find(client, &host.config, tag).await?;
    let ended = act(client, plan(tag, outcome, &found), &found.stores).await;
    let mut report = freed?;
    report.removed.extend(ended?.removed);
    if found.server_shared {
        let step = "stop our NBD server while another tool exports by it";
        return Err(Error::new(ErrorKind::Refused, step));
    }
    Ok(report)
}

/// Ends what a snapshot left in the images that a storage daemon holds, and its exports. Its
/// sockets and files stay: they are in use until it ends.
pub(crate) async fn release_images(
    client: &Client,
    layout: &Layout,
    tag: &SnapshotTag,
    outcome: Outcome,
) -> Result<ReleaseReport, Error> {
    let found = find::find_in_images(client, layout, tag).await?;
    act(client, plan(tag, outcome, &found), &[]).await
}

/// Removes the files and directories of a tag.
pub(crate) async fn remove_files(
    config: &QemuConfig,
    tag: &SnapshotTag,
) -> Result<ReleaseReport, Error> {
    let mut report = ReleaseReport::default();
    for path in find::files_of(config, &Layout::default(), tag).await? {
        let gone = remove(&path).await;
        gone.map_err(failure::host(format!("remove {}", path.display())))?;
        report.removed.push(path.display().to_string());
    }
    Ok(report)
}

async fn act(
    client: &Client,
    steps: Vec<Step>,
    stores: &[PathBuf],
) -> Result<ReleaseReport, Error> {
    let mut report = ReleaseReport::default();
    let mut first_failure = None;
    let mut answers = false;
    for step in steps {
        if !answers && !step.frees_the_guest() {
            alive::wait_for_stores(stores, alive::LONG).await?;
            answers = true;
        }
        // A file may still be in use, and the socket is how the server is known to be ours.
        if first_failure.is_some() && matches!(step, Step::RemoveFile(_)) {
            break;
        }
        match apply(client, &step).await {
            Ok(()) => report.removed.extend(step.removes()),
            Err(error) => {
                tracing::warn!(%error, ?step, "a step of a release failed");
                first_failure.get_or_insert(error);
                if client.is_closed() {
                    break;
                }
            }
        }
    }
    first_failure.map_or(Ok(report), Err)
}

/// Everything of ours by tag, but for bitmaps that `keep` names.
pub(crate) async fn find_orphans(
    host: &Host,
    keep: &[TrackingLedger],
) -> Result<Vec<Orphan>, Error> {
    let client = host.connector.lease().await?;
    let vm = describe::identify(&client, host.connector.path()).await?;
    let names = find::tagged_names(&client, &Layout::read(&client).await?).await?;
    let mut found = without_kept(&names, keep);
    add_files(&mut found, &host.config, vm).await?;
    Ok(orphans(found))
}

/// What there is by tag, and whether it is only bitmaps.
pub(crate) type Orphans = BTreeMap<SnapshotTag, bool>;

/// For the port.
pub(crate) fn orphans(found: Orphans) -> Vec<Orphan> {
    let orphan = |(tag, only_bitmaps)| Orphan { tag, only_bitmaps };
    found.into_iter().map(orphan).collect()
}

/// The same in the images that a storage daemon holds.
pub(crate) fn find_orphans_in_images(layout: &Layout, keep: &[TrackingLedger]) -> Orphans {
    without_kept(&find::tagged_in_images(layout), keep)
}

/// Adds what lies in the directories where snapshots of the VM leave files.
pub(crate) async fn add_files(
    found: &mut Orphans,
    config: &QemuConfig,
    vm: VmId,
) -> Result<(), Error> {
    let files = find::tagged_files(config).await?;
    let names = files.iter().filter_map(|path| path.file_name()?.to_str());
    let tags = names.filter_map(|name| naming::file_of(name, vm));
    found.extend(tags.map(|tag| (tag, false)));
    Ok(())
}

fn without_kept(names: &BTreeSet<String>, keep: &[TrackingLedger]) -> Orphans {
    let kept: BTreeSet<&str> = keep
        .iter()
        .filter_map(|ledger| ledger.bitmap.as_deref())
        .collect();
    let mut found = Orphans::new();
    for name in names.iter().filter(|name| !kept.contains(name.as_str())) {
        if let Some(tag) = SnapshotTag::of_name(name) {
            *found.entry(tag).or_insert(true) &= naming::bitmap_of(name).is_some();
        }
    }
    found
}

async fn apply(client: &Client, step: &Step) -> Result<(), Error> {
    match step {
        Step::Continue => {
            let done = client.run(&Cont {}).await;
            done.map_err(failure::qmp("continue the VM"))?;
        }
        Step::RemoveMark(id) => {
            let done = client.run(&ObjectDel { id: id.clone() }).await;
            done.map_err(failure::qmp("remove the mark of a stopped VM"))?;
        }
        Step::EndExport(id) => end_export(client, id).await?,
        Step::EndJob(id) => fleecing::end_job(client, id).await?,
        Step::RollBitmaps { actions, .. } => {
            let actions = actions.clone();
            let done = client.run(&Transaction { actions }).await;
            done.map_err(failure::qmp("put the dirty bitmaps in order"))?;
        }
        Step::MoveBack { device, node } => {
            let set = QomSet {
                path: device.clone(),
                property: "drive".to_owned(),
                value: json!(node),
            };
            let done = client.run(&set).await;
            done.map_err(failure::qmp("move the device back onto its image"))?;
        }
        Step::RemoveNode(name) => {
            let node_name = name.clone();
            let done = client.run(&BlockdevDel { node_name }).await;
            done.map_err(failure::qmp("remove a block node"))?;
        }
        Step::StopServer => {
            let done = client.run(&NbdServerStop {}).await;
            done.map_err(failure::qmp("stop the NBD server"))?;
        }
        Step::RemoveFile(path) => {
            let gone = remove(path).await;
            gone.map_err(failure::host(format!("remove {}", path.display())))?;
        }
    }
    Ok(())
}

/// Removes a file of ours, or the directory of the NBD socket. Never more than that: some of the
/// paths come from QEMU, which a guest may have taken over.
pub(crate) async fn remove(path: &Path) -> std::io::Result<()> {
    let absent_is_fine = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    match tokio::fs::symlink_metadata(path).await {
        Ok(metadata) if metadata.is_dir() => {
            for name in [naming::SOCKET, naming::MONITOR, naming::READY, naming::LOG] {
                let removed = tokio::fs::remove_file(path.join(name)).await;
                removed.or_else(absent_is_fine)?;
            }
            tokio::fs::remove_dir(path).await.or_else(absent_is_fine)
        }
        Ok(_) => tokio::fs::remove_file(path).await.or_else(absent_is_fine),
        Err(error) => absent_is_fine(error),
    }
}

async fn end_export(client: &Client, id: &str) -> Result<(), Error> {
    let step = "end an NBD export";
    let end = BlockExportDel {
        id: id.to_owned(),
        mode: DelMode::Hard,
    };
    // Refused when it is ending already: what counts is that it goes.
    let ended = client.run(&end).await;
    let wait = async {
        loop {
            let exports = client.run(&QueryBlockExports {}).await;
            let exports = exports.map_err(failure::qmp(step))?;
            if exports.iter().all(|export| export.id != id) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(EXPORT_LIMIT, wait).await {
        Ok(result) => result,
        Err(_elapsed) => Err(match ended {
            Err(refused) => failure::qmp(step)(refused),
            Ok(_) => Error::new(ErrorKind::Timeout, step),
        }),
    }
}
