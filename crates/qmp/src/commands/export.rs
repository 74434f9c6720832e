//! The NBD server and block exports.

use serde::{Deserialize, Serialize};

use super::{Nothing, bitmap::BitmapRef, commands};

commands! {
    /// `nbd-server-start`. A QEMU process has one NBD server.
    NbdServerStart => "nbd-server-start" -> Nothing {
        /// Where it listens.
        addr: SocketAddress,
    }

    /// `nbd-server-stop`: ends all its exports.
    NbdServerStop => "nbd-server-stop" -> Nothing {}

    /// `block-export-add` of an NBD export that can only be read.
    NbdExportAdd => "block-export-add" -> Nothing {
        /// Always [`NbdType`].
        r#type: NbdType,
        /// Id of the export.
        id: String,
        /// The node.
        node_name: String,
        /// Name that clients ask for.
        name: String,
        /// Whether clients may write.
        writable: bool,
        /// Bitmaps that clients see; they must not be recording.
        bitmaps: Vec<BitmapRef>,
    }

    /// `block-export-del`. The export is gone at the event `BLOCK_EXPORT_DELETED`.
    BlockExportDel => "block-export-del" -> Nothing {
        /// Id of the export.
        id: String,
        /// `safe` refuses while a client is connected, `hard` does not.
        mode: DelMode,
    }

    /// `query-block-exports`.
    QueryBlockExports => "query-block-exports" -> Vec<Export> {}
}

/// A unix socket address in QEMU's words.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SocketAddress {
    /// A unix socket.
    Unix {
        /// Its path.
        path: String,
    },
}

/// The word `nbd`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NbdType {
    /// The only one.
    Nbd,
}

/// How hard an export ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelMode {
    /// Only when no client is connected.
    Safe,
    /// At once.
    Hard,
}

/// An export.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Export {
    /// Its id.
    pub id: String,
    /// `nbd`, `fuse`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// The exported node.
    pub node_name: String,
    /// Whether it is ending.
    #[serde(default)]
    pub shutting_down: bool,
}
