//! The disk that is backed up, at each of its versions.

use crate::vault_support::{CHUNK, noise};

/// Chunks of the disk.
pub(crate) const CHUNKS: u64 = 128;

/// The last version that changed a chunk: each version changes about a quarter of them.
fn generation(chunk: u64, version: u64) -> u64 {
    let changed = |version: &u64| *version == 0 || mix(chunk, *version).is_multiple_of(4);
    (0..=version).rev().find(changed).unwrap_or(0)
}

pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    word ^= word >> 29;
    word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ (word >> 32)
}

/// A chunk of the disk at a version.
pub(crate) fn content(chunk: u64, version: u64) -> Vec<u8> {
    noise(
        mix(chunk + 1, generation(chunk, version) + 1),
        CHUNK as usize,
    )
}

/// Bytes in which a version differs from the one before.
pub(crate) fn changed(version: u64) -> u64 {
    let fresh = |chunk: &u64| version == 0 || generation(*chunk, version) == version;
    (0..CHUNKS).filter(fresh).count() as u64 * CHUNK
}
