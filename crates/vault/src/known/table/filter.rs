//! A filter that answers most questions for chunks that are not there without a look at the disk.
//!
//! A blocked Bloom filter: all bits of an id lie in one block of 512 bits, one line of a
//! processor's cache. Ids are keyed hashes, so their own bits serve as the hash functions.

use tresor_vault_format::ChunkId;

/// Words of a block.
const WORDS: usize = 8;
/// Bits for each id: about one in a hundred ids that are not there is looked for in vain.
const BITS: u64 = 10;
/// Bits that are set for an id.
const PROBES: u32 = 6;

/// Says "not there", or "look".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// An empty filter for so many ids.
    pub(super) fn for_entries(entries: u64) -> Self {
        let blocks = (entries.saturating_mul(BITS)).div_ceil(64 * WORDS as u64);
        let words = usize::try_from(blocks.max(1)).unwrap_or(usize::MAX / WORDS);
        Self {
            words: vec![0; words.saturating_mul(WORDS)],
        }
    }

    /// From its words; `None` when they are not whole blocks.
    pub(super) fn from_words(words: Vec<u64>) -> Option<Self> {
        let whole = !words.is_empty() && words.len().is_multiple_of(WORDS);
        whole.then_some(Self { words })
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn insert(&mut self, id: &ChunkId) {
        let (start, bits) = self.place(id);
        for (word, bit) in bits {
            self.words[start + word] |= bit;
        }
    }

    pub(super) fn may_hold(&self, id: &ChunkId) -> bool {
        let (start, mut bits) = self.place(id);
        bits.all(|(word, bit)| self.words[start + word] & bit != 0)
    }

    /// First word of the id's block, and its bits within.
    fn place(&self, id: &ChunkId) -> (usize, impl Iterator<Item = (usize, u64)> + use<>) {
        // The first eight bytes order the table; others are taken here, independent of them.
        let [choice, pattern] = [8, 16].map(|at| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&id.0[at..at + 8]);
            u64::from_le_bytes(bytes)
        });
        let blocks = (self.words.len() / WORDS) as u128;
        let block = (u128::from(choice) * blocks) >> 64;
        let start = usize::try_from(block).unwrap_or(0) * WORDS;
        let bits = (0..PROBES).map(move |probe| {
            let bit = (pattern >> (9 * probe)) & 511;
            ((bit / 64) as usize, 1 << (bit % 64))
        });
        (start, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let mut filter = Filter::for_entries(10_000);
        (0..10_000).for_each(|number| filter.insert(&id(number)));
        assert!((0..10_000).all(|number| filter.may_hold(&id(number))));
        let in_vain = (10_000..110_000).filter(|number| filter.may_hold(&id(*number)));
        let in_vain = in_vain.count();
        assert!(in_vain < 3_000, "{in_vain} of 100,000");
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        assert!(!Filter::for_entries(0).may_hold(&id(1)));
    }

    #[test]
    fn half_a_block_is_no_filter() {
        assert!(Filter::from_words(vec![0; WORDS + 1]).is_none());
        assert!(Filter::from_words(Vec::new()).is_none());
    }
}
