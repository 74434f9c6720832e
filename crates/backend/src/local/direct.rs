//! Long reads and writes past the page cache.
//!
//! Packs are written once and mostly read once, by a restore or a verification: caching them costs
//! more CPU time than everything else that a local vault does to its files, and pushes out what the
//! virtual machines of the host would rather keep. Short reads still use the cache.
//!
//! # Invariants
//! Nothing depends on it: where a file system refuses (tmpfs, some FUSE mounts), and for the ends
//! that are no whole blocks, the cache is used. Direct writes are no syncs: `sync_file` follows as
//! ever.

use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use rustix::fs::{self, Advice, OFlags};
use rustix::io::{self, Errno};

use crate::aligned::{ALIGNMENT, AlignedBuffer, AlignedPool};

/// Shorter writes go through the page cache.
const LEAST: usize = 1 << 20;
/// Shorter reads do: nodes of manifests and small objects, which are read again and again.
const LEAST_READ: usize = 80 << 10;
/// Longer reads have buffers of their own size.
const LONG_READ: usize = 1 << 20;
/// Bytes of one write: large enough to keep a disk busy with one at a time.
const STEP: usize = 4 << 20;

/// Buffers of writes: a backend puts two packs at once.
static WRITES: LazyLock<AlignedPool> = LazyLock::new(|| AlignedPool::new(2));
/// Buffers of reads, which whoever asked holds on to for a while.
static READS: LazyLock<AlignedPool> = LazyLock::new(|| AlignedPool::new(8));
static LONG_READS: LazyLock<AlignedPool> = LazyLock::new(|| AlignedPool::new(12));

/// Writes what it can of `body` to the begin of an empty file; gives how many bytes that was, with
/// the file's position behind them.
pub(super) fn write(file: &OwnedFd, body: &[u8]) -> io::Result<usize> {
    let whole = body.len() - body.len() % ALIGNMENT;
    if whole < LEAST || switch(file, true).is_err() {
        return Ok(0);
    }
    let written = write_blocks(file, &body[..whole]);
    switch(file, false)?;
    written
}

fn write_blocks(file: &OwnedFd, blocks: &[u8]) -> io::Result<usize> {
    let mut buffer = WRITES.take(STEP);
    let mut written = 0;
    for step in blocks.chunks(STEP) {
        let bytes = &mut buffer.bytes_mut()[..step.len()];
        bytes.copy_from_slice(step);
        let mut done = 0;
        while done < bytes.len() {
            match io::write(file, &bytes[done..]) {
                // Less than was asked for, or refused: the rest goes through the cache, which
                // meets the cause again if there is one.
                Ok(some) if some > 0 && some.is_multiple_of(ALIGNMENT) => done += some,
                Ok(some) => return Ok(written + done + some),
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) => return Ok(written + done),
                Err(errno) => return Err(errno),
            }
        }
        written += done;
    }
    Ok(written)
}

/// Reads exactly these bytes, which the file has; `None` when they are too few, or the file system
/// refuses.
pub(super) fn read(file: &OwnedFd, offset: u64, len: usize) -> io::Result<Option<AlignedBuffer>> {
    if len < LEAST_READ {
        // Exactly these bytes: reading ahead of a jump reads in vain.
        if len > ALIGNMENT {
            let _only_a_hint = fs::fadvise(file, offset, None, Advice::Random);
        }
        return Ok(None);
    }
    if switch(file, true).is_err() {
        return Ok(None);
    }
    let read = read_blocks(file, offset, len);
    switch(file, false)?;
    read
}

fn read_blocks(file: &OwnedFd, offset: u64, len: usize) -> io::Result<Option<AlignedBuffer>> {
    let block = ALIGNMENT as u64;
    let skip = usize::try_from(offset % block).unwrap_or(0);
    let start = offset - offset % block;
    let pool = if len > LONG_READ { &LONG_READS } else { &READS };
    let mut buffer = pool.take((skip + len).next_multiple_of(ALIGNMENT));
    let mut done = 0;
    while done < skip + len {
        match io::pread(file, &mut buffer.bytes_mut()[done..], start + done as u64) {
            // The last block of a file is short: whoever asked wants no more than there is.
            Ok(some) if done + some >= skip + len => done += some,
            Ok(some) if some > 0 && some.is_multiple_of(ALIGNMENT) => done += some,
            Ok(_) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(Some(buffer.cut(skip, len)))
}

/// Turns direct input and output on or off.
fn switch(file: &OwnedFd, on: bool) -> io::Result<()> {
    let flags = fs::fcntl_getfl(file)?;
    let flags = if on {
        flags | OFlags::DIRECT
    } else {
        flags - OFlags::DIRECT
    };
    fs::fcntl_setfl(file, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around every border, on a file system that knows direct input and output and on one
    /// that may not.
    #[test]
    fn what_is_written_is_read() {
        for dir in [std::path::Path::new("."), std::path::Path::new("/dev/shm")] {
            for len in [LEAST - 1, LEAST, LEAST + 1, STEP + 5000, 2 * STEP] {
                let body: Vec<u8> = (0..251).cycle().take(len).collect();
                let file = tempfile::tempfile_in(dir).unwrap();
                let file = OwnedFd::from(file);
                let mut done = write(&file, &body).unwrap();
                while done < len {
                    done += io::write(&file, &body[done..]).unwrap();
                }
                for (from, to) in [(0, len), (1, len), (4096, len), (5000, len - 1)] {
                    let read = read(&file, from as u64, to - from).unwrap();
                    if let Some(read) = read {
                        assert!(read.as_ref() == &body[from..to], "{len} {from}..{to}");
                    }
                    let mut plain = vec![0; to - from];
                    let mut at = 0;
                    while at < plain.len() {
                        at += io::pread(&file, &mut plain[at..], (from + at) as u64).unwrap();
                    }
                    assert!(plain == body[from..to], "{len} {from}..{to}");
                }
            }
        }
    }
}
