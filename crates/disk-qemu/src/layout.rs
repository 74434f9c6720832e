//! How the guest's drives hang on block nodes. Pure: made from three replies of QEMU, which are
//! treated as hostile (loops, missing nodes, names twice).

use std::{collections::HashMap, path::PathBuf};

use tresor_disk::Error;
use tresor_model::SnapshotTag;
use tresor_qmp::{
    Client,
    commands::{
        bitmap::BitmapInfo,
        block::{Drive, Graph, Medium, Node, QueryBlock, QueryBlockGraph, QueryNamedBlockNodes},
    },
};

use crate::{
    failure,
    naming::{self, Role},
};

/// Filters that pass data through unchanged: the image is below them.
const FILTERS: [&str; 5] = [
    "copy-before-write",
    "copy-on-read",
    "throttle",
    "preallocate",
    "compress",
];
/// Longest way through filters and protocols that is followed.
const MAX_DEPTH: usize = 32;

/// All drives and nodes of one QEMU at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    drives: Vec<Drive>,
    nodes: HashMap<String, Node>,
    /// Node to the nodes it uses, with what for.
    children: HashMap<String, Vec<(String, String)>>,
}

/// A drive that holds a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Id or QOM path of the front end.
    pub(crate) qdev: String,
    /// Name of the back end, where it has one.
    pub(crate) backend: Option<String>,
    /// The node that the front end uses.
    pub(crate) root: String,
    /// The node of the image format, below any filters.
    pub(crate) format_node: String,
    /// The image format.
    pub(crate) format: String,
    /// Path of the image, as QEMU knows it.
    pub(crate) file: Option<String>,
    /// What QEMU calls the image, file or not.
    pub(crate) source: String,
    /// Virtual size in bytes.
    pub(crate) size: u64,
    /// Whether the guest can only read it.
    pub(crate) read_only: bool,
    /// Whether the medium can be taken out.
    pub(crate) removable: bool,
    /// Whether bitmaps can be kept in the image.
    pub(crate) keeps_bitmaps: bool,
}

/// An image that another one rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Below {
    /// Path of its file, as QEMU knows it.
    pub(crate) file: Option<String>,
    /// What QEMU calls it, file or not.
    pub(crate) source: String,
}

impl Layout {
    /// Asks QEMU.
    pub(crate) async fn read(client: &Client) -> Result<Self, Error> {
        let step = "read the layout of the VM's disks";
        let drives = client
            .run(&QueryBlock {})
            .await
            .map_err(failure::qmp(step))?;
        let nodes = client
            .run(&QueryNamedBlockNodes { flat: true })
            .await
            .map_err(failure::qmp(step))?;
        let graph = client
            .run(&QueryBlockGraph {})
            .await
            .map_err(failure::qmp(step))?;
        Ok(Self::new(drives, nodes, &graph))
    }

    /// Asks a storage daemon, which has nodes and no drives: `roots` gives the node of each disk by
    /// the disk's name.
    pub(crate) async fn read_nodes(
        client: &Client,
        roots: &[(String, String)],
    ) -> Result<Self, Error> {
        let step = "read the layout of the opened images";
        let nodes = client.run(&QueryNamedBlockNodes { flat: true }).await;
        let graph = client.run(&QueryBlockGraph {}).await;
        let drives = roots.iter().map(|(disk, node)| Drive {
            device: String::new(),
            qdev: Some(disk.clone()),
            removable: false,
            inserted: Some(Medium {
                node_name: Some(node.clone()),
                read_only: false,
            }),
        });
        Ok(Self::new(
            drives.collect(),
            nodes.map_err(failure::qmp(step))?,
            &graph.map_err(failure::qmp(step))?,
        ))
    }

    /// From the replies.
    pub(crate) fn new(drives: Vec<Drive>, nodes: Vec<Node>, graph: &Graph) -> Self {
        let names: HashMap<u64, &str> = graph
            .nodes
            .iter()
            .filter(|node| node.kind == "block-driver")
            .map(|node| (node.id, node.name.as_str()))
            .collect();
        let mut children: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for edge in &graph.edges {
            if let (Some(parent), Some(child)) = (names.get(&edge.parent), names.get(&edge.child)) {
                let uses = children.entry((*parent).to_owned()).or_default();
                uses.push((edge.name.clone(), (*child).to_owned()));
            }
        }
        let nodes = nodes
            .into_iter()
            .filter_map(|node| Some((node.node_name.clone()?, node)))
            .collect();
        Self {
            drives,
            nodes,
            children,
        }
    }

    /// All drives, also empty ones.
    pub(crate) fn drives(&self) -> &[Drive] {
        &self.drives
    }

    /// The drives that hold a medium.
    pub(crate) fn disks(&self) -> impl Iterator<Item = Disk> {
        self.drives.iter().filter_map(|drive| self.disk(drive))
    }

    fn disk(&self, drive: &Drive) -> Option<Disk> {
        let qdev = drive.qdev.clone()?;
        let medium = drive.inserted.as_ref()?;
        let root = medium.node_name.clone()?;
        let format = self.below_filters(&root)?;
        let image = format.image.as_ref();
        let old_qcow2 = image
            .and_then(|image| image.format_specific.as_ref())
            .and_then(|specific| specific.compat())
            == Some("0.10");
        Some(Disk {
            qdev,
            backend: Some(drive.device.clone()).filter(|name| !name.is_empty()),
            format_node: format.node_name.clone()?,
            format: match format.driver.as_str() {
                "file" | "host_device" => "raw".to_owned(),
                driver => driver.to_owned(),
            },
            file: self.file_of(&root),
            source: format.file.clone(),
            size: image.map(|image| image.virtual_size)?,
            read_only: medium.read_only || format.read_only,
            removable: drive.removable,
            keeps_bitmaps: format.driver == "qcow2" && !old_qcow2,
            root,
        })
    }

    /// What the image of `disk` rests on, in order: its data file, then its backing image, that
    /// one's data file, and so on.
    pub(crate) fn below(&self, disk: &Disk) -> Vec<Below> {
        let mut found = Vec::new();
        let mut node = disk.format_node.as_str();
        for _ in 0..MAX_DEPTH {
            found.extend(
                self.child(node, "data-file")
                    .and_then(|data| self.image(data)),
            );
            let Some(backing) = self.child(node, "backing") else {
                break;
            };
            found.extend(self.image(backing));
            node = self
                .below_filters(backing)
                .and_then(|node| node.node_name.as_deref())
                .unwrap_or(backing);
        }
        found
    }

    fn image(&self, root: &str) -> Option<Below> {
        Some(Below {
            file: self.file_of(root),
            source: self.nodes.get(root)?.file.clone(),
        })
    }

    /// The node that `parent` uses as `what`.
    pub(crate) fn child(&self, parent: &str, what: &str) -> Option<&str> {
        let uses = self.children.get(parent)?;
        uses.iter()
            .find(|(name, _)| name == what)
            .map(|(_, child)| child.as_str())
    }

    fn below_filters(&self, root: &str) -> Option<&Node> {
        let mut node = self.nodes.get(root)?;
        for _ in 0..MAX_DEPTH {
            if !FILTERS.contains(&node.driver.as_str()) {
                return Some(node);
            }
            let child = self.child(node.node_name.as_deref()?, "file")?;
            node = self.nodes.get(child)?;
        }
        None
    }

    /// The file at the bottom of `root`, when it is one.
    fn file_of(&self, root: &str) -> Option<String> {
        let mut name = root;
        for _ in 0..MAX_DEPTH {
            match self.child(name, "file") {
                Some(child) => name = child,
                None => break,
            }
        }
        let node = self.nodes.get(name)?;
        let is_file = matches!(node.driver.as_str(), "file" | "host_device");
        (is_file && !node.file.is_empty() && !node.file.starts_with("json:"))
            .then(|| node.file.clone())
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The fleecing files of a snapshot that QEMU has open.
    pub(crate) fn fleecing_files(&self, tag: &SnapshotTag) -> Vec<PathBuf> {
        let open = self.nodes().filter_map(|node| {
            let (owner, role) = naming::role_of(node.node_name.as_deref()?)?;
            let path = PathBuf::from(&node.file);
            // The name is checked again: QEMU could name any file.
            let of_file = SnapshotTag::of_name(path.file_name()?.to_str()?)?;
            (owner == *tag && of_file == *tag && role == Role::File).then_some(path)
        });
        open.collect()
    }

    /// Whether there is a node with this name.
    pub(crate) fn has_node(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// The named bitmaps of a node.
    pub(crate) fn bitmaps(&self, node: &str) -> &[BitmapInfo] {
        self.nodes
            .get(node)
            .map_or(&[], |node| node.dirty_bitmaps.as_slice())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Recorded from QEMU 10.0.2 with a filter on one disk, legacy drives, and an empty CD-ROM.
    pub(crate) fn recorded() -> Layout {
        let drives = include_str!("../tests/fixtures/query-block.json");
        let nodes = include_str!("../tests/fixtures/nodes.json");
        let graph = include_str!("../tests/fixtures/graph.json");
        Layout::new(
            serde_json::from_str(drives).expect("recorded"),
            serde_json::from_str(nodes).expect("recorded"),
            &serde_json::from_str(graph).expect("recorded"),
        )
    }

    fn disk(qdev: &str) -> Disk {
        let disk = recorded().disks().find(|disk| disk.qdev == qdev);
        disk.expect("recorded")
    }

    #[test]
    fn the_image_is_found_below_a_filter() {
        let vda = disk("/machine/peripheral/vda/virtio-backend");
        assert_eq!(vda.root, "t-c0");
        assert_eq!(vda.format_node, "da");
        assert_eq!(vda.format, "qcow2");
        assert_eq!(vda.file.as_deref(), Some("a.qcow2"));
        assert_eq!(vda.size, 64 << 20);
        assert!(vda.keeps_bitmaps && !vda.read_only);
    }

    #[test]
    fn a_raw_image_keeps_no_bitmaps() {
        let raw = disk("/machine/peripheral-anon/device[1]/virtio-backend");
        assert_eq!(raw.format, "raw");
        assert_eq!(raw.backend.as_deref(), Some("virtio0"));
        assert!(!raw.keeps_bitmaps);
    }

    #[test]
    fn an_empty_drive_is_no_disk() {
        assert_eq!(recorded().drives().len(), 4);
        assert_eq!(recorded().disks().count(), 3);
    }

    #[test]
    fn filters_in_a_circle_end() {
        let json = r#"[{"node-name": "a", "drv": "throttle", "file": ""}]"#;
        let graph = r#"{"nodes": [{"id": 1, "type": "block-driver", "name": "a"}],
            "edges": [{"parent": 1, "child": 1, "name": "file"}]}"#;
        let drives = r#"[{"device": "", "qdev": "x", "inserted": {"node-name": "a"}}]"#;
        let layout = Layout::new(
            serde_json::from_str(drives).expect("valid"),
            serde_json::from_str(json).expect("valid"),
            &serde_json::from_str(graph).expect("valid"),
        );
        assert_eq!(layout.disks().count(), 0);
    }
}
