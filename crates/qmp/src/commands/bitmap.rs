//! Dirty bitmaps, and transactions of them.

use serde::{Deserialize, Serialize};

use super::{Nothing, commands};

/// A bitmap, by node and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BitmapRef {
    /// The node that holds it.
    pub node: String,
    /// Its name.
    pub name: String,
}

/// A bitmap as `query-named-block-nodes` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BitmapInfo {
    /// Its name; absent for QEMU's own.
    pub name: Option<String>,
    /// Dirty bytes.
    pub count: u64,
    /// Bytes per bit.
    pub granularity: u64,
    /// Whether it records writes.
    pub recording: bool,
    /// Whether an operation or an export holds it.
    #[serde(default)]
    pub busy: bool,
    /// Whether it is kept in the image file.
    #[serde(default)]
    pub persistent: bool,
    /// Whether it was not stored properly: it can only be removed.
    #[serde(default)]
    pub inconsistent: bool,
}

commands! {
    /// `block-dirty-bitmap-add`.
    BitmapAdd => "block-dirty-bitmap-add" -> Nothing {
        /// The node.
        node: String,
        /// The new bitmap.
        name: String,
        /// Bytes per bit, a power of two.
        granularity: u32,
        /// Keep it in the image file.
        persistent: bool,
        /// Do not record.
        disabled: bool,
    }

    /// `block-dirty-bitmap-remove`.
    BitmapRemove => "block-dirty-bitmap-remove" -> Nothing {
        /// The node.
        node: String,
        /// The bitmap.
        name: String,
    }

    /// `block-dirty-bitmap-enable`: go on recording.
    BitmapEnable => "block-dirty-bitmap-enable" -> Nothing {
        /// The node.
        node: String,
        /// The bitmap.
        name: String,
    }

    /// `block-dirty-bitmap-disable`: writes from here on are not recorded.
    BitmapDisable => "block-dirty-bitmap-disable" -> Nothing {
        /// The node.
        node: String,
        /// The bitmap.
        name: String,
    }

    /// `block-dirty-bitmap-merge`: adds what `bitmaps` hold to `target`.
    BitmapMerge => "block-dirty-bitmap-merge" -> Nothing {
        /// The node.
        node: String,
        /// The bitmap that grows.
        target: String,
        /// Bitmaps of the same node.
        bitmaps: Vec<String>,
    }

    /// `transaction`: all or nothing.
    Transaction => "transaction" -> Nothing {
        /// What to do.
        actions: Vec<Action>,
    }
}

/// One action of a [`Transaction`].
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// See [`BitmapAdd`].
    BlockDirtyBitmapAdd(BitmapAdd),
    /// See [`BitmapRemove`].
    BlockDirtyBitmapRemove(BitmapRemove),
    /// See [`BitmapEnable`].
    BlockDirtyBitmapEnable(BitmapEnable),
    /// See [`BitmapDisable`].
    BlockDirtyBitmapDisable(BitmapDisable),
    /// See [`BitmapMerge`].
    BlockDirtyBitmapMerge(BitmapMerge),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Command;

    #[test]
    fn a_transaction_has_the_shape_qemu_wants() {
        let transaction = Transaction {
            actions: vec![Action::BlockDirtyBitmapMerge(BitmapMerge {
                node: "d0".to_owned(),
                target: "b1".to_owned(),
                bitmaps: vec!["b2".to_owned()],
            })],
        };
        assert_eq!(
            transaction.arguments().expect("plain data"),
            json!({"actions": [{
                "type": "block-dirty-bitmap-merge",
                "data": {"node": "d0", "target": "b1", "bitmaps": ["b2"]},
            }]})
        );
    }
}
