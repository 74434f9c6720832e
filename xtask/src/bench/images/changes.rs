//! The change list between two images, as a dirty bitmap would give it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tresor_model::{Extent, ExtentSet};

use crate::bench::compare::differing_blocks;

/// Grain of a change list: that of QEMU's bitmaps.
pub(super) const GRAIN: u64 = 65_536;

/// `day2.changed.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::bench) struct ChangeList {
    /// Size of the disk in bytes.
    pub virtual_size: u64,
    /// Extents begin and end at multiples of this.
    pub granularity: u64,
    /// What differs, in rising order.
    pub extents: Vec<Change>,
}

/// One extent that differs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::bench) struct Change {
    /// Where.
    #[serde(flatten)]
    pub extent: Extent,
    /// Always true; there because QEMU's own lists have it.
    pub dirty: bool,
}

impl ChangeList {
    /// Compares two images of the same size.
    pub(super) fn between(before: &Path, after: &Path) -> Result<Self> {
        let mut set = ExtentSet::default();
        differing_blocks(before, after, GRAIN, |extent| {
            set.push(extent);
            true
        })?;
        let extents = set
            .iter()
            .map(|extent| Change {
                extent: *extent,
                dirty: true,
            })
            .collect();
        Ok(Self {
            virtual_size: fs::metadata(after)?.len(),
            granularity: GRAIN,
            extents,
        })
    }

    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is no list of changed extents", path.display()))
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// How many bytes are listed as changed.
    pub(in crate::bench) fn total(&self) -> u64 {
        self.extents.iter().map(|change| change.extent.length).sum()
    }
}
