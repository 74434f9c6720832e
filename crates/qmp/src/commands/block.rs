//! Block nodes: what there is, adding, removing.

use serde::Deserialize;
use serde_json::Value;

use super::{Nothing, bitmap::BitmapInfo, commands};

commands! {
    /// `query-block`: the guest's drives.
    QueryBlock => "query-block" -> Vec<Drive> {}

    /// `query-named-block-nodes`: all nodes.
    QueryNamedBlockNodes => "query-named-block-nodes" -> Vec<Node> {
        /// Leave out the description of backing files.
        flat: bool,
    }

    /// `x-debug-query-block-graph`: how drives and nodes hang together. Nothing stable tells
    /// what lies under a filter; this has been unchanged since QEMU 4.0.
    QueryBlockGraph => "x-debug-query-block-graph" -> Graph {}

    /// `query-blockstats`, by node or by drive. Its counters are many: read what you need.
    QueryBlockStats => "query-blockstats" -> Vec<Value> {
        /// Nodes instead of drives.
        query_nodes: bool,
    }

    /// `blockdev-del`.
    BlockdevDel => "blockdev-del" -> Nothing {
        /// The node.
        node_name: String,
    }
}

/// `blockdev-add`. The options depend on the driver: an object with `driver` and `node-name`.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(transparent)]
pub struct BlockdevAdd(pub Value);

impl super::Command for BlockdevAdd {
    const NAME: &'static str = "blockdev-add";
    type Reply = Nothing;
}

/// A drive of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Drive {
    /// Name of the back end; empty for most.
    #[serde(default)]
    pub device: String,
    /// Id or QOM path of the front end; absent when nothing is attached.
    pub qdev: Option<String>,
    /// Whether the medium can be taken out.
    #[serde(default)]
    pub removable: bool,
    /// The medium; absent when there is none.
    pub inserted: Option<Medium>,
}

/// What is in a drive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Medium {
    /// The top node (QEMU's implicit filters are skipped).
    pub node_name: Option<String>,
    /// Whether it can only be read.
    #[serde(default, rename = "ro")]
    pub read_only: bool,
}

/// A block node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// Its name.
    pub node_name: Option<String>,
    /// Its driver (`qcow2`, `raw`, `file`, `copy-before-write`).
    #[serde(rename = "drv")]
    pub driver: String,
    /// Its file, or a description of it.
    #[serde(default)]
    pub file: String,
    /// Whether it can only be read.
    #[serde(default, rename = "ro")]
    pub read_only: bool,
    /// The image.
    pub image: Option<Image>,
    /// Its bitmaps.
    #[serde(default)]
    pub dirty_bitmaps: Vec<BitmapInfo>,
}

/// The image of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Virtual size in bytes.
    pub virtual_size: u64,
    /// What only this format has.
    pub format_specific: Option<FormatSpecific>,
}

/// What only one image format has, unread but for what is asked here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FormatSpecific {
    /// The format's own members.
    #[serde(default)]
    pub data: Value,
}

impl FormatSpecific {
    /// The version of a qcow2 image (`0.10` or `1.1`).
    #[must_use]
    pub fn compat(&self) -> Option<&str> {
        self.data.get("compat")?.as_str()
    }
}

/// Drives, jobs and nodes, and who uses whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Graph {
    /// What there is.
    pub nodes: Vec<GraphNode>,
    /// Who uses whom.
    pub edges: Vec<GraphEdge>,
}

/// A place in the [`Graph`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GraphNode {
    /// For the edges.
    pub id: u64,
    /// `block-backend`, `block-job` or `block-driver`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The node's name; for a back end its name, else the id or QOM path of its front end.
    pub name: String,
}

/// `parent` uses `child`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GraphEdge {
    /// Who uses.
    pub parent: u64,
    /// Who is used.
    pub child: u64,
    /// As what (`root`, `file`, `backing`, `target`).
    pub name: String,
}
