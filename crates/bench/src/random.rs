//! How long small reads from a recovery point take.

use std::time::Instant;

use anyhow::{Result, ensure};
use tresor_model::Extent;
use tresor_vault::ExtentKind;

use crate::VaultArgs;
use crate::commands::{Figures, last_point, open, the_disk};

/// Bytes of a read.
const READ: u64 = 4096;

/// Reads 4 KiB at random places of the last point's data, one after another.
pub(crate) async fn measure(args: &VaultArgs, reads: u64, seed: u64) -> Result<Figures> {
    let vault = open(args).await?;
    let point = last_point(&vault).await?;
    let stream = &the_disk(&point)?.stream;
    let whole = Extent::between(0, stream.size);
    // By a reader of another opened vault: what is measured begins with nothing cached.
    let extents = open(args).await?.reader(stream)?.extents(whole).await?;
    let data: Vec<Extent> = extents
        .into_iter()
        .filter(|(_, kind)| *kind == ExtentKind::Data)
        .map(|(extent, _)| extent)
        .collect();
    // That read the manifest. Where this is not allowed, the kernel has it in its cache.
    let _forgotten = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let reader = vault.reader(stream)?;
    let mut places = Places::new(data, seed)?;
    let mut times = Vec::new();
    for _ in 0..reads {
        let at = places.next();
        let begin = Instant::now();
        let bytes = reader.read_at(at, 4096).await?;
        times.push(u64::try_from(begin.elapsed().as_micros())?);
        ensure!(!bytes.is_empty(), "nothing was read at {at}");
    }
    times.sort_unstable();
    Ok(Figures {
        median_us: share_of(&times, 50),
        p99_us: share_of(&times, 99),
        ..Figures::default()
    })
}

/// The value that so many of a hundred do not exceed. `sorted` rises.
fn share_of(sorted: &[u64], of_hundred: usize) -> Option<u64> {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Places in data, each as likely as any other.
struct Places {
    extents: Vec<Extent>,
    total: u64,
    state: u64,
}

impl Places {
    fn new(extents: Vec<Extent>, seed: u64) -> Result<Self> {
        let total = extents.iter().map(|extent| extent.length / READ).sum();
        ensure!(total > 0, "the disk holds nothing");
        Ok(Self {
            extents,
            total,
            state: seed.max(1),
        })
    }

    /// The next one: Marsaglia's xorshift64.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let mut left = self.state % self.total;
        for extent in &self.extents {
            let here = extent.length / READ;
            if left < here {
                return extent.start + left * READ;
            }
            left -= here;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_in_data() {
        let data = vec![
            Extent::between(65_536, 131_072),
            Extent::between(1 << 30, (1 << 30) + 8192),
        ];
        let mut places = Places::new(data.clone(), 1).unwrap();
        for _ in 0..1000 {
            let at = places.next();
            assert!(
                data.iter()
                    .any(|extent| at >= extent.start && at + READ <= extent.end())
            );
        }
        assert!(Places::new(Vec::new(), 1).is_err());
    }

    #[test]
    fn shares_are_ranks() {
        let times: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (share_of(&times, 50), share_of(&times, 99)),
            (Some(100), Some(198))
        );
        assert_eq!(share_of(&[7], 99), Some(7));
        assert_eq!(share_of(&[], 50), None);
    }
}
