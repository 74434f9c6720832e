//! What the flags of a block status descriptor mean, by context.

/// The context that tells holes and zeroes from data.
pub const BASE_ALLOCATION: &str = "base:allocation";

/// `base:allocation`: no space is allocated for the extent; what a read returns is told by [`ALLOCATION_ZERO`] alone.
pub const ALLOCATION_HOLE: u64 = 1 << 0;

/// `base:allocation`: the extent reads as zeroes.
pub const ALLOCATION_ZERO: u64 = 1 << 1;

/// `qemu:dirty-bitmap:NAME`: the extent was written since the bitmap was last cleared.
pub const BITMAP_DIRTY: u64 = 1 << 0;

/// The context of QEMU's dirty bitmap `name`.
#[must_use]
pub fn dirty_bitmap_context(name: &str) -> String {
    format!("qemu:dirty-bitmap:{name}")
}
