//! Two images, byte for byte.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use tresor_model::Extent;

/// Files are read in pieces of this size, a multiple of every grain.
const PIECE: usize = 1 << 20;

/// Tells `found` every block of `grain` bytes that differs, in rising order, until it says false.
pub(super) fn differing_blocks(
    left: &Path,
    right: &Path,
    grain: u64,
    mut found: impl FnMut(Extent) -> bool,
) -> Result<()> {
    let open =
        |path: &Path| File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let (left_file, right_file) = (open(left)?, open(right)?);
    let size = left_file.metadata()?.len();
    ensure!(
        size == right_file.metadata()?.len(),
        "{} and {} differ in size",
        left.display(),
        right.display()
    );
    let step = usize::try_from(grain).context("the grain is no size in memory")?;
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < size {
        let length = PIECE.min(usize::try_from(size - at).unwrap_or(PIECE));
        read(&left_file, &mut a[..length], at)?;
        read(&right_file, &mut b[..length], at)?;
        if a[..length] != b[..length] {
            let blocks = a[..length].chunks(step).zip(b[..length].chunks(step));
            for (number, (old, new)) in blocks.enumerate() {
                let start = at + number as u64 * grain;
                if old != new
                    && !found(Extent {
                        start,
                        length: old.len() as u64,
                    })
                {
                    return Ok(());
                }
            }
        }
        at += length as u64;
    }
    Ok(())
}

fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(buffer, at)
}

/// Fails when the files are not equal.
pub(super) fn ensure_equal(restored: &Path, original: &Path) -> Result<()> {
    let mut first = None;
    differing_blocks(restored, original, 4096, |extent| {
        first = Some(extent);
        false
    })?;
    match first {
        None => Ok(()),
        Some(extent) => anyhow::bail!(
            "{} differs from {} in the block at {}",
            restored.display(),
            original.display(),
            extent.start
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (left, right) = (dir.path().join("left"), dir.path().join("right"));
        let mut bytes = vec![3; PIECE + 70_000];
        std::fs::write(&left, &bytes).unwrap();
        std::fs::write(&right, &bytes).unwrap();
        ensure_equal(&left, &right).unwrap();
        bytes[PIECE + 69_999] ^= 1;
        std::fs::write(&right, &bytes).unwrap();
        let error = ensure_equal(&left, &right).unwrap_err().to_string();
        assert!(error.contains(&(PIECE + 69_632).to_string()), "{error}");
        let mut blocks = Vec::new();
        differing_blocks(&left, &right, 65_536, |extent| {
            blocks.push(extent);
            true
        })
        .unwrap();
        assert_eq!(
            blocks,
            [Extent {
                start: (PIECE + 65_536) as u64,
                length: 4464
            }]
        );
    }

    #[test]
    fn files_of_different_size_are_never_equal() {
        let dir = tempfile::tempdir().unwrap();
        let (left, right) = (dir.path().join("left"), dir.path().join("right"));
        std::fs::write(&left, [0; 10]).unwrap();
        std::fs::write(&right, [0; 11]).unwrap();
        assert!(ensure_equal(&left, &right).is_err());
    }
}
