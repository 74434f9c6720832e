//! How much of what an image holds. Pure.

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// Bytes of each kind of content of day 1: half of the disk, and the zeros and holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// The disk.
    pub disk: u64,
    /// Files of this machine.
    pub system: u64,
    pub logs: u64,
    /// Incompressible files.
    pub media: u64,
    /// Database-like pages.
    pub database: u64,
    /// A preallocated file: blocks of real zeros.
    pub zeros: u64,
    /// A sparse file: holes with islands of data.
    pub sparse: u64,
}

impl Budget {
    pub(super) fn of_disk(disk: u64) -> Self {
        let allocated = disk / 2;
        let percent = |share: u64| allocated / 100 * share;
        Self {
            disk,
            system: percent(56),
            logs: percent(4),
            media: percent(20),
            database: percent(20),
            zeros: disk / 64,
            sparse: allocated / 2,
        }
    }
}

/// What day 2 changes; the amounts of an 8 GiB disk, scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changes {
    /// Bytes of files that "package upgrades" rebuild.
    pub upgrades: u64,
    pub log_append: u64,
    /// The log that is begun after the rotation.
    pub log_new: u64,
    pub new_media: u64,
    /// For each table: updates all over it, and updates within its hot 2 %.
    pub page_updates: [(u64, u64); 3],
}

impl Changes {
    pub(super) fn of_disk(disk: u64) -> Self {
        let scaled = |amount: u64| (amount * (disk / MIB) / (8 * GIB / MIB)).max(1);
        Self {
            upgrades: scaled(44 * MIB),
            log_append: scaled(14 * MIB),
            log_new: scaled(4 * MIB),
            new_media: scaled(20 * MIB),
            page_updates: [(560, 1600), (160, 300), (40, 100)]
                .map(|(spread, hot)| (scaled(spread), scaled(hot))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_half_of_the_disk_is_allocated() {
        let budget = Budget::of_disk(8 * GIB);
        let allocated = budget.system + budget.logs + budget.media + budget.database + budget.zeros;
        assert!((48..=53).contains(&(allocated * 100 / budget.disk)));
    }

    #[test]
    fn a_small_disk_still_changes() {
        let changes = Changes::of_disk(64 * MIB);
        assert!(
            changes
                .page_updates
                .iter()
                .all(|(spread, hot)| *spread > 0 && *hot > 0)
        );
        assert_eq!(changes.upgrades, 44 * MIB / 128);
    }
}
