//! A seeded source of numbers: the same on every machine and in every release.

/// `SplitMix64` (Steele, Lea, Flood 2014): good enough to choose faults, useless for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A source; equal seeds give equal numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        let drawn = self.next_u64().checked_rem(end).unwrap_or(0);
        // Below `end`, which came from a `usize`.
        usize::try_from(drawn).unwrap_or(0)
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.next_u64() & 1 == 1
    }
}
