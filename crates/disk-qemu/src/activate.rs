//! Makes a snapshot readable, after the guest runs again: snapshot nodes and exports.
//!
//! Adds only what is missing, so that it can be tried again after a failure half way.

use serde_json::json;
use tresor_disk::{Error, ErrorKind};
use tresor_model::SnapshotTag;
use tresor_qmp::{
    Client,
    commands::{
        bitmap::BitmapRef,
        block::BlockdevAdd,
        export::{NbdExportAdd, NbdType, QueryBlockExports},
    },
};

use crate::{
    alive, failure,
    layout::Layout,
    naming::{self, Role},
};

/// A disk to be exported.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    /// The node that holds the bitmaps.
    pub(crate) format_node: String,
    /// The bitmap that lists what changed.
    pub(crate) bitmap: Option<String>,
    /// Whether a filter keeps the content as it was; else nobody writes to the node.
    pub(crate) filtered: bool,
    /// How many bytes of the disk it speaks for.
    pub(crate) tracked: u64,
}

/// Adds a snapshot node and an export for each disk.
pub(crate) async fn activate(
    client: &Client,
    tag: &SnapshotTag,
    disks: &[Exported],
) -> Result<(), Error> {
    let layout = Layout::read_nodes(client, &[]).await?;
    let stores = layout.fleecing_files(tag);
    let waited = alive::wait_for_stores(&stores, alive::SHORT).await;
    waited.map_err(|dead| {
        let step = "make the snapshot readable";
        Error::new(ErrorKind::SnapshotLost, step).because(dead)
    })?;
    let step = "export the snapshot";
    let exports = client.run(&QueryBlockExports {}).await;
    let exports = exports.map_err(failure::qmp(step))?;
    for (index, disk) in disks.iter().enumerate() {
        let node = if disk.filtered {
            naming::node(tag, Role::Snapshot, index)
        } else {
            disk.format_node.clone()
        };
        if !layout.has_node(&node) {
            let filter = naming::node(tag, Role::Filter, index);
            if !layout.has_node(&filter) {
                let step = "find the snapshot's filter: QEMU was started again since";
                return Err(Error::new(ErrorKind::SnapshotLost, step));
            }
            let add = json!({"driver": "snapshot-access", "node-name": node, "file": filter});
            let added = client.run(&BlockdevAdd(add)).await;
            added.map_err(failure::qmp("add the snapshot's node"))?;
        }
        let id = naming::export(tag, index);
        if exports.iter().all(|export| export.id != id) {
            let added = client.run(&export(id, node, disk)).await;
            added.map_err(failure::qmp(step))?;
        }
    }
    Ok(())
}

fn export(id: String, node_name: String, disk: &Exported) -> NbdExportAdd {
    let bitmaps = disk.bitmap.iter().map(|name| BitmapRef {
        node: disk.format_node.clone(),
        name: name.clone(),
    });
    NbdExportAdd {
        r#type: NbdType::Nbd,
        name: id.clone(),
        id,
        node_name,
        writable: false,
        bitmaps: bitmaps.collect(),
    }
}
