//! Which packs are worth rewriting.

use tresor_vault_format::PackId;

/// A pack in which something is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: PackId,
    /// Size of the object in bytes.
    pub(super) size: u64,
    /// Stored bytes of its frames.
    pub(super) frames: u64,
    /// Of these, the share that is live.
    pub(super) live: u64,
}

impl Candidate {
    fn dead(&self) -> u64 {
        self.frames.saturating_sub(self.live)
    }
}

/// Those that free at least `min_gain` percent, those that free most first, as many as fit into
/// `most_moved` live bytes.
pub(super) fn choose_sparse(
    mut candidates: Vec<Candidate>,
    min_gain: u8,
    most_moved: u64,
) -> Vec<Candidate> {
    candidates.retain(|pack| {
        let dead = u128::from(pack.dead());
        dead > 0 && dead * 100 >= u128::from(pack.frames) * u128::from(min_gain)
    });
    candidates.sort_by_key(|pack| (std::cmp::Reverse(pack.dead()), pack.id));
    let mut moved = 0_u64;
    candidates.retain(|pack| {
        let fits = moved.saturating_add(pack.live) <= most_moved;
        if fits {
            moved += pack.live;
        }
        fits
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptiest_packs_go_first_and_full_ones_stay() {
        // Stored bytes, live bytes.
        let packs = [(100, 100), (100, 71), (100, 70), (100, 10), (1000, 600)];
        let table: [(u8, u64, &[u8]); 5] = [
            (30, 10_000, &[4, 3, 2]),
            (1, 10_000, &[4, 3, 2, 1]),
            (101, 10_000, &[]),
            // The largest does not fit; smaller ones do.
            (30, 100, &[3, 2]),
            (30, 0, &[]),
        ];
        for (min_gain, most_moved, expected) in table {
            let candidates = (0..).zip(packs).map(|(n, (frames, live))| Candidate {
                id: PackId([n; 16]),
                size: frames + 200,
                frames,
                live,
            });
            let chosen = choose_sparse(candidates.collect(), min_gain, most_moved);
            let chosen: Vec<u8> = chosen.iter().map(|pack| pack.id.0[0]).collect();
            assert_eq!(chosen, expected, "{min_gain} {most_moved}");
        }
    }
}
