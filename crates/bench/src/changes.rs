//! The list of changed extents that stands in for a dirty bitmap.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tresor_model::{Extent, ExtentSet};

/// A list may be this long, in bytes: millions of extents.
const MAX_SIZE: u64 = 256 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ChangeList {
    virtual_size: u64,
    extents: Vec<Extent>,
}

/// Reads the list that belongs to an image of `size` bytes.
pub(crate) fn load(path: &Path, size: u64) -> Result<ExtentSet> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut text))
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, size).with_context(|| format!("{} is of no use", path.display()))
}

fn parse(text: &[u8], size: u64) -> Result<ExtentSet> {
    let list: ChangeList = serde_json::from_slice(text).context("it is no list of extents")?;
    ensure!(
        list.virtual_size == size,
        "it is for an image of {} bytes",
        list.virtual_size
    );
    let whole = Extent {
        start: 0,
        length: size,
    };
    Ok(ExtentSet::from_unsorted(
        list.extents
            .iter()
            .map(|extent| extent.intersect(&whole))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_image_maker_writes() {
        let text = br#"{"virtual-size": 1000, "granularity": 100, "extents":
            [{"start": 100, "length": 200, "dirty": true}, {"start": 900, "length": 200, "dirty": true}]}"#;
        let set = parse(text, 1000).unwrap();
        let ranges: Vec<_> = set
            .iter()
            .map(|extent| (extent.start, extent.end()))
            .collect();
        assert_eq!(ranges, [(100, 300), (900, 1000)]);
        assert!(parse(text, 2000).is_err(), "the list of another image");
    }
}
