//! The metadata of a qcow2 image whose data clusters lie in guest order. Pure.
//!
//! Source: QEMU's `docs/interop/qcow2.txt`, version 3. The layout is fixed by the disk's size
//! alone, so that windows can be written in any order, by many writers, and again after a crash:
//!
//! ```text
//! header · refcount table · refcount blocks · L1 · L2 tables · data
//! ```
//! Room is kept for all metadata that the disk could need; clusters that hold nothing are holes
//! of the file with a refcount of 0, and QEMU fills them when the guest first writes there.

/// Bytes in a cluster: the chunk size of vaults, so that a chunk is a cluster.
pub(super) const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;

/// Guest bytes that one L2 table maps: 8192 entries of 8 bytes.
pub(super) const L2_SPAN: u64 = CLUSTER / 8 * CLUSTER;

/// File bytes that one refcount block counts: 32768 entries of 16 bits.
const REFCOUNT_SPAN: u64 = CLUSTER / 2 * CLUSTER;

/// "Only this cluster is referred to by one table": bit 63 of L1 and L2 entries.
const COPIED: u64 = 1 << 63;

/// Where everything lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    disk_size: u64,
    l2_tables: u64,
    l1_clusters: u64,
    refcount_blocks: u64,
    refcount_table_clusters: u64,
}

impl Geometry {
    /// The geometry for a disk of this many bytes.
    pub(super) fn of(disk_size: u64) -> Self {
        let l2_tables = disk_size.div_ceil(L2_SPAN);
        let l1_clusters = (l2_tables * 8).div_ceil(CLUSTER).max(1);
        // Refcount blocks count themselves, so their number is found by going round until it
        // holds still; two or three rounds do.
        let mut geometry =
            Self { disk_size, l2_tables, l1_clusters, refcount_blocks: 1, refcount_table_clusters: 1 };
        loop {
            let blocks = geometry.file_size().div_ceil(REFCOUNT_SPAN);
            let table_clusters = (blocks * 8).div_ceil(CLUSTER).max(1);
            if blocks == geometry.refcount_blocks
                && table_clusters == geometry.refcount_table_clusters
            {
                return geometry;
            }
            geometry.refcount_blocks = blocks;
            geometry.refcount_table_clusters = table_clusters;
        }
    }

    fn refcount_table_start(self) -> u64 {
        CLUSTER
    }

    fn refcount_blocks_start(self) -> u64 {
        self.refcount_table_start() + self.refcount_table_clusters * CLUSTER
    }

    fn l1_start(self) -> u64 {
        self.refcount_blocks_start() + self.refcount_blocks * CLUSTER
    }

    fn l2_start(self) -> u64 {
        self.l1_start() + self.l1_clusters * CLUSTER
    }

    /// File offset of the disk's first byte.
    pub(super) fn data_start(self) -> u64 {
        self.l2_start() + self.l2_tables * CLUSTER
    }

    /// Length of the file.
    pub(super) fn file_size(self) -> u64 {
        self.data_start() + self.disk_size.div_ceil(CLUSTER) * CLUSTER
    }
}

/// Collects which clusters are in use, and writes the metadata.
#[derive(Debug)]
pub(super) struct Metadata {
    geometry: Geometry,
    /// One bit for each cluster of the file.
    used: Vec<u64>,
    /// Whether an L2 table is there.
    l2_used: Vec<bool>,
}

impl Metadata {
    pub(super) fn new(disk_size: u64) -> Self {
        let geometry = Geometry::of(disk_size);
        let clusters = index(geometry.file_size() / CLUSTER);
        let mut metadata = Self {
            geometry,
            used: vec![0; clusters.div_ceil(64)],
            l2_used: vec![false; index(geometry.l2_tables)],
        };
        metadata.use_range(0, geometry.refcount_blocks_start());
        metadata.use_range(geometry.l1_start(), geometry.l2_start());
        metadata
    }

    fn use_range(&mut self, start: u64, end: u64) {
        for cluster in index(start / CLUSTER)..index(end.div_ceil(CLUSTER)) {
            self.used[cluster / 64] |= 1 << (cluster % 64);
        }
    }

    fn is_used(&self, cluster: usize) -> bool {
        self.used.get(cluster / 64).is_some_and(|word| word >> (cluster % 64) & 1 == 1)
    }

    /// The L2 table for the guest bytes from `table * L2_SPAN`, with its place in the file; the
    /// data of that span lies in `ranges` (guest offsets, end excluded). `None` when there is
    /// none.
    pub(super) fn l2_table(&mut self, table: u64, ranges: &[(u64, u64)]) -> Option<(u64, Vec<u8>)> {
        let data_start = self.geometry.data_start();
        let mut bytes = vec![0; index(CLUSTER)];
        let mut any = false;
        for &(start, end) in ranges {
            self.use_range(data_start + start, data_start + end);
            for cluster in start / CLUSTER..end.div_ceil(CLUSTER) {
                let entry = (data_start + cluster * CLUSTER) | COPIED;
                let at = index(cluster - table * (L2_SPAN / CLUSTER)) * 8;
                bytes[at..at + 8].copy_from_slice(&entry.to_be_bytes());
                any = true;
            }
        }
        if !any {
            return None;
        }
        let start = self.geometry.l2_start() + table * CLUSTER;
        self.use_range(start, start + CLUSTER);
        self.l2_used[index(table)] = true;
        Some((start, bytes))
    }

    /// The L1 table, with its place, once every L2 table was made.
    pub(super) fn l1_table(&self) -> (u64, Vec<u8>) {
        let mut bytes = Vec::with_capacity(self.l2_used.len() * 8);
        for (table, used) in (0..).zip(&self.l2_used) {
            let entry =
                if *used { (self.geometry.l2_start() + table * CLUSTER) | COPIED } else { 0 };
            bytes.extend_from_slice(&entry.to_be_bytes());
        }
        (self.geometry.l1_start(), bytes)
    }

    /// The refcount blocks that count anything, with their places, and last the table of them.
    pub(super) fn refcounts(&mut self) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let per_block = index(REFCOUNT_SPAN / CLUSTER);
        let start = self.geometry.refcount_blocks_start();
        let blocks = self.geometry.refcount_blocks;
        // A block counts itself, so which are there is settled before any is written. The blocks
        // lie together, so one pass over the data is enough, and one more over themselves.
        let mut present = vec![false; index(blocks)];
        for _ in 0..2 {
            for block in 0..blocks {
                let first = index(block) * per_block;
                if !present[index(block)] && (first..first + per_block).any(|at| self.is_used(at)) {
                    present[index(block)] = true;
                    self.use_range(start + block * CLUSTER, start + (block + 1) * CLUSTER);
                }
            }
        }
        let table: Vec<u8> = (0..blocks)
            .flat_map(|block| {
                let at = if present[index(block)] { start + block * CLUSTER } else { 0 };
                at.to_be_bytes()
            })
            .collect();
        let this = &*self;
        let contents = (0..blocks).filter(move |block| present[index(*block)]).map(move |block| {
            let first = index(block) * per_block;
            let counts = (first..first + per_block)
                .flat_map(|cluster| u16::from(this.is_used(cluster)).to_be_bytes())
                .collect();
            (start + block * CLUSTER, counts)
        });
        contents.chain(std::iter::once((self.geometry.refcount_table_start(), table)))
    }

    /// The header: written last, because it makes the file an image.
    pub(super) fn header(&self) -> Vec<u8> {
        let geometry = self.geometry;
        let mut bytes = Vec::with_capacity(112);
        bytes.extend_from_slice(b"QFI\xfb");
        bytes.extend_from_slice(&3_u32.to_be_bytes()); // version
        bytes.extend_from_slice(&[0; 12]); // no backing file
        bytes.extend_from_slice(&CLUSTER_BITS.to_be_bytes());
        bytes.extend_from_slice(&geometry.disk_size.to_be_bytes());
        bytes.extend_from_slice(&0_u32.to_be_bytes()); // no encryption
        bytes.extend_from_slice(&narrow(geometry.l2_tables).to_be_bytes()); // L1 entries
        bytes.extend_from_slice(&geometry.l1_start().to_be_bytes());
        bytes.extend_from_slice(&geometry.refcount_table_start().to_be_bytes());
        bytes.extend_from_slice(&narrow(geometry.refcount_table_clusters).to_be_bytes());
        bytes.extend_from_slice(&[0; 12]); // no snapshots
        bytes.extend_from_slice(&[0; 24]); // no feature bits
        bytes.extend_from_slice(&4_u32.to_be_bytes()); // refcounts of 1 << 4 bits
        bytes.extend_from_slice(&104_u32.to_be_bytes()); // length of this header
        bytes.extend_from_slice(&[0; 8]); // end of the header's extensions
        bytes
    }
}

/// Disks are far below `usize` clusters on the 64-bit machines Tresor runs on.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Table sizes are bounded by the disk size that QEMU itself can open.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_do_not_overlap_and_count_themselves() {
        for size in [1, 512, CLUSTER, 1 << 30, (1 << 40) + 512, 60 << 40] {
            let geometry = Geometry::of(size);
            let starts = [
                geometry.refcount_table_start(),
                geometry.refcount_blocks_start(),
                geometry.l1_start(),
                geometry.l2_start(),
                geometry.data_start(),
                geometry.file_size(),
            ];
            assert!(starts.is_sorted_by(|a, b| a < b), "{size}: {starts:?}");
            assert!(starts.iter().all(|start| start % CLUSTER == 0));
            assert!(geometry.refcount_blocks * REFCOUNT_SPAN >= geometry.file_size());
        }
    }
}
