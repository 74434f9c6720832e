//! All the slow work before a snapshot.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use tresor_disk::{
    BitmapJudgement, DiskRequest, Error, ErrorKind, Outcome, PrepareRequest, Prepared, VmState,
};
use tresor_model::{SnapshotTag, StreamName, TrackingSigns, VmId};
use tresor_qmp::{
    Client, Peer,
    commands::{
        bitmap::BitmapInfo,
        block::BlockdevAdd,
        export::{NbdServerStart, SocketAddress},
    },
};

use crate::{
    describe::{self, NamedDisk},
    failure,
    fleecing::{Store, give_to},
    judge::{self, DiskNow},
    layout::Layout,
    naming::{self, Follows, Role},
    provider::Host,
    release,
    take::PreparedSnapshot,
};

/// Longest path of a unix socket (`sun_path` without its end).
const MAX_SOCKET_PATH: usize = 107;

/// A disk that is ready to be snapshotted.
#[derive(Debug, Clone)]
pub(crate) struct PlannedDisk {
    pub(crate) name: StreamName,
    /// QOM path of the front end.
    pub(crate) device: String,
    /// The node of its format, which holds the bitmaps.
    pub(crate) format_node: String,
    /// Virtual size in bytes.
    pub(crate) size: u64,
    /// Identity of the image.
    pub(crate) image: String,
    /// Whether the bitmap is kept in the image.
    pub(crate) persistent: bool,
    pub(crate) signs: TrackingSigns,
    /// How many bytes a trusted bitmap speaks for.
    pub(crate) tracked: u64,
    pub(crate) judgement: BitmapJudgement,
    /// The bitmap that will begin to record; `None` when none can.
    pub(crate) bitmap: Option<String>,
    /// Whether a filter keeps the content as it was while somebody writes.
    pub(crate) filtered: bool,
}

impl PlannedDisk {
    /// The bitmap that lists what to read, when it is trusted.
    pub(crate) fn trusted(&self) -> Option<&str> {
        match &self.judgement {
            BitmapJudgement::Trusted { bitmap } => Some(bitmap),
            BitmapJudgement::ReadAll { .. } => None,
        }
    }
}

/// Looks, judges, then makes fleecing, filters and the NBD server.
pub(crate) async fn prepare(
    host: Arc<Host>,
    request: PrepareRequest,
) -> Result<Box<dyn Prepared>, Error> {
    let client = host.connector.lease().await?;
    let vm = describe::identify(&client, host.connector.path()).await?;
    if vm != request.vm {
        return Err(Error::new(
            ErrorKind::WrongVm,
            format!("prepare a snapshot of VM {}: VM {vm} answers", request.vm),
        ));
    }
    refuse_by_state(&describe::state(&client).await?)?;
    let layout = Layout::read(&client).await?;
    let known = describe::named_disks(&client, &layout).await?;
    let plan = plan_disks(&client, &layout, &known, &request).await?;
    if let Err(error) = make(&host, &client, &request, &layout, &plan).await {
        if let Err(left) = release::release(&host, &request.tag, Outcome::Abandoned).await {
            tracing::warn!(error = %left, tag = %request.tag, "a failed prepare left something");
        }
        return Err(error);
    }
    Ok(Box::new(PreparedSnapshot {
        host,
        client,
        vm,
        tag: request.tag,
        disks: plan,
    }))
}

fn refuse_by_state(state: &VmState) -> Result<(), Error> {
    match state {
        // `Stopped` is never said of a QEMU that answers.
        VmState::Running | VmState::Paused(_) | VmState::Stopped => Ok(()),
        VmState::Other(words) => Err(Error::new(
            ErrorKind::Refused,
            format!("begin a snapshot while the VM is in the state `{words}`"),
        )),
    }
}

/// Judges each disk of the request.
pub(crate) async fn plan_disks(
    client: &Client,
    layout: &Layout,
    known: &[NamedDisk],
    request: &PrepareRequest,
) -> Result<Vec<PlannedDisk>, Error> {
    if request.disks.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "snapshot no disk at all",
        ));
    }
    let mut plan: Vec<PlannedDisk> = Vec::with_capacity(request.disks.len());
    for wanted in &request.disks {
        let name = wanted.name.as_str();
        let disk = known.iter().find(|disk| disk.name == wanted.name);
        let disk = disk.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "find the disk in the VM").on_disk(name)
        })?;
        if plan.iter().any(|planned| planned.name == wanted.name) {
            let twice = Error::new(
                ErrorKind::Unsupported,
                "snapshot a disk that is named twice",
            );
            return Err(twice.on_disk(name));
        }
        plan.push(plan_disk(client, layout, disk, wanted, &request.tag).await?);
    }
    Ok(plan)
}

async fn plan_disk(
    client: &Client,
    layout: &Layout,
    named: &NamedDisk,
    wanted: &DiskRequest,
    tag: &SnapshotTag,
) -> Result<PlannedDisk, Error> {
    let (name, disk) = (wanted.name.as_str(), &named.disk);
    let version = &client.greeting().version;
    if let Some(reason) = describe::exclusion(named, version, wanted.shared) {
        let step = format!("snapshot a disk that is excluded: {reason}");
        return Err(Error::new(ErrorKind::Unsupported, step).on_disk(name));
    }
    if let Some((other, _)) = naming::role_of(&disk.root) {
        let step = format!("insert a filter where the snapshot {other} still has its own");
        return Err(Error::new(ErrorKind::Refused, step).on_disk(name));
    }
    let image = describe::image_identity(client.peer(), disk)
        .await
        .map_err(|error| failure::host("look at the image")(error).on_disk(name))?;
    let bitmaps = layout.bitmaps(&disk.format_node);
    let ledger = wanted.previous.as_ref().map(|previous| &previous.tracking);
    let chain = describe::chain_identities(client.peer(), &layout.below(disk)).await;
    let process = describe::process_of(client.peer()).await;
    let now = DiskNow {
        bitmaps,
        size: disk.size,
        image: &image,
        chain: &chain,
        process: process.as_ref(),
    };
    let judgement = match describe::untracked(named) {
        None => judge::decide(ledger, now),
        Some(reason) => BitmapJudgement::ReadAll { reason },
    };
    let follows = match (&judgement, ledger) {
        (BitmapJudgement::Trusted { .. }, Some(ledger)) => Follows::Continues(ledger.tag.clone()),
        (BitmapJudgement::ReadAll { .. }, Some(ledger)) => Follows::Replaces(ledger.tag.clone()),
        (_, None) => Follows::Nothing,
    };
    let tracked = describe::untracked(named).is_none();
    Ok(PlannedDisk {
        name: wanted.name.clone(),
        device: named.device.clone(),
        format_node: disk.format_node.clone(),
        size: disk.size,
        image,
        persistent: disk.keeps_bitmaps,
        signs: TrackingSigns {
            chain: Some(chain),
            bitmaps: Some(names_of(bitmaps)),
            process,
            last_whole: None,
        },
        tracked: judge::tracked(ledger, disk.size),
        judgement,
        bitmap: tracked.then(|| naming::bitmap(tag, &follows)),
        filtered: tracked,
    })
}

fn names_of(bitmaps: &[BitmapInfo]) -> Vec<String> {
    let names = bitmaps.iter().filter_map(|bitmap| bitmap.name.clone());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

async fn make(
    host: &Host,
    client: &Client,
    request: &PrepareRequest,
    layout: &Layout,
    plan: &[PlannedDisk],
) -> Result<(), Error> {
    let directory = std::path::absolute(&request.fleecing_dir)
        .map_err(failure::host("find the fleecing directory"))?;
    tokio::fs::create_dir_all(&directory)
        .await
        .map_err(failure::host("create the fleecing directory"))?;
    let runtime_dir = &host.config.runtime_dir;
    let socket = make_socket_dir(runtime_dir, &request.tag, request.vm, client.peer()).await?;
    start_server(client, &socket).await?;
    let filtered = plan.iter().enumerate().filter(|(_, disk)| disk.filtered);
    for (index, disk) in filtered {
        let path = naming::fleecing_file(&directory, &request.tag, request.vm, index);
        insert_filter(client, request, layout, disk, index, &path)
            .await
            .map_err(|error| error.on_disk(disk.name.as_str()))?;
    }
    Ok(())
}

async fn insert_filter(
    client: &Client,
    request: &PrepareRequest,
    layout: &Layout,
    disk: &PlannedDisk,
    index: usize,
    path: &Path,
) -> Result<(), Error> {
    let store = Store {
        tag: &request.tag,
        index,
        path,
        disk_size: disk.size,
        limit: request.fleecing_limit,
    };
    let target = store.create(client).await?;
    let step = "add the copy-before-write filter";
    let root = layout
        .disks()
        .find(|known| describe::device_path(&known.qdev) == disk.device)
        .map(|known| known.root)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, step))?;
    let filter = BlockdevAdd(json!({
        "driver": "copy-before-write",
        "node-name": naming::node(&request.tag, Role::Filter, index),
        "file": root,
        "target": target,
        "on-cbw-error": "break-snapshot",
        // Zero would mean "wait for ever", and so hold the guest for ever.
        "cbw-timeout": u32::try_from(request.fleecing_timeout.as_secs()).unwrap_or(u32::MAX).max(1),
    }));
    client.run(&filter).await.map_err(failure::qmp(step))?;
    Ok(())
}

/// Makes the directory of the sockets of a snapshot: new, and for `owner` alone. Gives the NBD
/// server's socket in it.
pub(crate) async fn make_socket_dir(
    runtime_dir: &Path,
    tag: &SnapshotTag,
    vm: VmId,
    owner: Peer,
) -> Result<PathBuf, Error> {
    let runtime_dir =
        std::path::absolute(runtime_dir).map_err(failure::host("find the runtime directory"))?;
    let socket = naming::socket(&runtime_dir, tag, vm);
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Error::new(
            ErrorKind::Host,
            format!(
                "use the runtime directory {}: a socket in it has a path of more than \
                 {MAX_SOCKET_PATH} bytes",
                runtime_dir.display()
            ),
        ));
    }
    let directory = naming::socket_dir(&runtime_dir, tag, vm);
    let made = tokio::task::spawn_blocking(move || make_private_dir(&directory, owner));
    made.await
        .map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(failure::host("create the directory of the NBD socket"))?;
    Ok(socket)
}

/// Lets the NBD server listen.
pub(crate) async fn start_server(client: &Client, socket: &Path) -> Result<(), Error> {
    let path = socket.display().to_string();
    let addr = SocketAddress::Unix { path };
    let started = client.run(&NbdServerStart { addr }).await;
    started.map_err(failure::qmp(
        "start the NBD server (a QEMU process has one; another tool's may be running)",
    ))?;
    Ok(())
}

fn make_private_dir(directory: &Path, peer: Peer) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(directory)?;
    give_to(directory, peer)
}
