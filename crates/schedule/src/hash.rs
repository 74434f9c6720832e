//! The one source of variety: a fixed hash of an item's id.

use tresor_model::VmId;

/// Spreads ids evenly over all numbers; the same for ever, since slots follow from it. The two
/// halves of the UUID through the finalizer of `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) fn hash(id: VmId) -> u64 {
    let (high, low) = id.as_uuid().as_u64_pair();
    mix(mix(high) ^ low)
}

pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number below `bound`, by a hash.
pub(crate) fn below(hash: u64, bound: i64) -> i64 {
    let bound = u64::try_from(bound).unwrap_or(0).max(1);
    i64::try_from(hash % bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let id = |text: &str| text.parse().unwrap();
        // Slots are stored by nobody but their owner: another hash would move every start.
        assert_eq!(
            mix(0),
            0xE220_A839_7B1D_CDAF,
            "SplitMix64's first output for seed 0"
        );
        assert_eq!(
            hash(id("00000000-0000-0000-0000-000000000000")),
            mix(0xE220_A839_7B1D_CDAF)
        );
        assert_eq!(below(u64::MAX, 0), 0);
    }
}
