//! Looks for everything of ours, by name.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};
use tresor_disk::Error;
use tresor_model::SnapshotTag;
use tresor_qmp::{
    Client,
    commands::{
        block::Node,
        export::{Export, QueryBlockExports},
        job::QueryJobs,
        machine::QueryStatus,
        object::QomList,
    },
};

use super::plan::Found;
use crate::{
    describe, failure,
    layout::Layout,
    naming::{self, Role},
    provider::QemuConfig,
};

/// Most directory entries that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Most bytes of an NBD server's greeting that are read.
const MAX_GREETING: u64 = 4096;
/// How long a socket of ours is given to take a connection.
const SOCKET_LIMIT: Duration = Duration::from_secs(5);

/// Whether the VM stands still because of `tag`, and nothing else.
pub(super) async fn find_stopped(client: &Client, tag: &SnapshotTag) -> Result<Found, Error> {
    let mark = naming::stop_mark(tag);
    if !objects(client).await?.contains(&mark) {
        return Ok(Found::default());
    }
    let status = client.run(&QueryStatus {}).await;
    let status = status.map_err(failure::qmp("ask whether the VM runs"))?;
    Ok(Found {
        running: status.running,
        stop_mark: Some(mark),
        ..Found::default()
    })
}

/// What else there is of `tag`.
pub(super) async fn find(
    client: &Client,
    config: &QemuConfig,
    tag: &SnapshotTag,
) -> Result<Found, Error> {
    let step = "look for what a snapshot left";
    let exports = client.run(&QueryBlockExports {}).await;
    let exports = exports.map_err(failure::qmp(step))?;
    let layout = Layout::read(client).await?;
    let mut found = Found {
        jobs: of_tag(tag, jobs(client).await?),
        files: files_of(config, &layout, tag).await?,
        ..Found::default()
    };
    found.stores = layout.fleecing_files(tag);
    find_nodes(&mut found, &layout, tag);
    let foreign = exports
        .iter()
        .any(|export| !is_of(tag, &export.id) && export.kind == "nbd");
    if server_is_ours(&found.files).await {
        found.server = !foreign;
        found.server_shared = foreign;
    }
    if foreign {
        // The socket is how the server is known to be ours: it stays as long as the server.
        found
            .files
            .retain(|path| !path.join(naming::SOCKET).exists());
    }
    let ids = exports.into_iter().map(|Export { id, .. }| id);
    found.exports = of_tag(tag, ids.collect());
    Ok(found)
}

/// What there is of `tag` in images that a storage daemon holds.
pub(super) async fn find_in_images(
    client: &Client,
    layout: &Layout,
    tag: &SnapshotTag,
) -> Result<Found, Error> {
    let exports = client.run(&QueryBlockExports {}).await;
    let exports = exports.map_err(failure::qmp("look for what a snapshot left"))?;
    let ids = exports.into_iter().map(|Export { id, .. }| id);
    let mut found = Found {
        exports: of_tag(tag, ids.collect()),
        ..Found::default()
    };
    find_nodes(&mut found, layout, tag);
    Ok(found)
}

fn find_nodes(found: &mut Found, layout: &Layout, tag: &SnapshotTag) {
    for node in layout.nodes() {
        let Some(name) = &node.node_name else {
            continue;
        };
        if let Some((owner, role)) = naming::role_of(name)
            && owner == *tag
        {
            found.nodes.push((role, name.clone()));
        }
        if can_change(node)
            && node
                .dirty_bitmaps
                .iter()
                .any(|bitmap| bitmap.name.is_some())
        {
            found
                .bitmaps
                .push((name.clone(), node.dirty_bitmaps.clone()));
        }
    }
    found.nodes.sort();
    for disk in layout.disks() {
        let ours = naming::role_of(&disk.root);
        if ours.is_some_and(|(owner, role)| owner == *tag && role == Role::Filter)
            && let Some(below) = layout.child(&disk.root, "file")
        {
            let device = describe::device_path(&disk.qdev);
            found.moved.push((device, below.to_owned()));
        }
    }
}

/// Whether the bitmaps of a node can be changed. In an image that others lie on they cannot: there
/// they stay, and record nothing, until it is on top again.
fn can_change(node: &Node) -> bool {
    !node.read_only
}

/// Nodes that carry a tag, and such bitmaps of the nodes that `count`.
fn tagged_nodes(layout: &Layout, count: impl Fn(&Node) -> bool) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for node in layout.nodes() {
        names.extend(node.node_name.clone());
        if count(node) {
            let bitmaps = node.dirty_bitmaps.iter();
            names.extend(bitmaps.filter_map(|bitmap| bitmap.name.clone()));
        }
    }
    names.retain(|name| SnapshotTag::of_name(name).is_some());
    names
}

/// What carries a tag in images that a storage daemon has open, if only to look at them: their
/// bitmaps, not those of the images below.
pub(super) fn tagged_in_images(layout: &Layout) -> BTreeSet<String> {
    let on_top: BTreeSet<String> = layout.disks().map(|disk| disk.format_node).collect();
    tagged_nodes(layout, |node| {
        let name = node.node_name.as_ref();
        name.is_some_and(|name| on_top.contains(name))
    })
}

/// Every name in QEMU that carries a tag.
pub(super) async fn tagged_names(
    client: &Client,
    layout: &Layout,
) -> Result<BTreeSet<String>, Error> {
    let mut names = tagged_nodes(layout, can_change);
    let exports = client.run(&QueryBlockExports {}).await;
    let exports = exports.map_err(failure::qmp("list the exports"))?;
    names.extend(exports.into_iter().map(|export| export.id));
    names.extend(jobs(client).await?);
    names.extend(objects(client).await?);
    names.retain(|name| SnapshotTag::of_name(name).is_some());
    Ok(names)
}

async fn jobs(client: &Client) -> Result<Vec<String>, Error> {
    let jobs = client.run(&QueryJobs {}).await;
    let jobs = jobs.map_err(failure::qmp("list the jobs"))?;
    Ok(jobs.into_iter().map(|job| job.id).collect())
}

async fn objects(client: &Client) -> Result<Vec<String>, Error> {
    let path = "/objects".to_owned();
    let objects = client.run(&QomList { path }).await;
    let objects = objects.map_err(failure::qmp("list the objects"))?;
    Ok(objects.into_iter().map(|object| object.name).collect())
}

fn is_of(tag: &SnapshotTag, name: &str) -> bool {
    SnapshotTag::of_name(name).as_ref() == Some(tag)
}

fn of_tag(tag: &SnapshotTag, names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| is_of(tag, name)).collect()
}

/// Files of the tag: those QEMU has open, and those in the configured directories.
pub(super) async fn files_of(
    config: &QemuConfig,
    layout: &Layout,
    tag: &SnapshotTag,
) -> Result<Vec<PathBuf>, Error> {
    let mut files: BTreeSet<PathBuf> = layout.fleecing_files(tag).into_iter().collect();
    let lying = tagged_files(config).await?.into_iter();
    files.extend(lying.filter(|path| file_name(path).is_some_and(|name| is_of(tag, name))));
    Ok(files.into_iter().collect())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Everything with a tag in the configured directories.
pub(super) async fn tagged_files(config: &QemuConfig) -> Result<Vec<PathBuf>, Error> {
    let mut directories = config.fleecing_dirs.clone();
    directories.push(config.runtime_dir.clone());
    let listed = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        for directory in directories {
            list_tagged(&directory, &mut files)?;
        }
        Ok(files)
    });
    listed
        .await
        .map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(failure::host("look for fleecing files"))
}

fn list_tagged(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(std::path::absolute(directory)?) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.take(MAX_ENTRIES) {
        let path = entry?.path();
        if file_name(&path).and_then(SnapshotTag::of_name).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether QEMU's NBD server is the one we started: then somebody listens on the socket in our
/// private directory, whose path only that QEMU was told. Nothing in QMP tells where the server
/// listens.
async fn server_is_ours(files: &[PathBuf]) -> bool {
    for directory in files {
        if is_served(directory).await {
            return true;
        }
    }
    false
}

/// Whether an NBD server listens on the socket in a private directory of ours.
pub(crate) async fn is_served(directory: &Path) -> bool {
    let socket = directory.join(naming::SOCKET);
    let Ok(Ok(stream)) = timeout(SOCKET_LIMIT, UnixStream::connect(&socket)).await else {
        return false;
    };
    say_goodbye(stream).await;
    true
}

/// Closes a connection to the NBD server and waits until the server has closed it too. QEMU 7.2
/// aborts (and the VM with it) when its server is stopped while a client is still being closed.
async fn say_goodbye(mut stream: UnixStream) {
    let closed = async {
        stream.shutdown().await?;
        // The greeting and then the end: a few hundred bytes at most.
        let mut rest = Vec::new();
        stream.take(MAX_GREETING).read_to_end(&mut rest).await
    };
    if !matches!(timeout(SOCKET_LIMIT, closed).await, Ok(Ok(_))) {
        tracing::warn!("the NBD server did not close a connection in order");
    }
}
