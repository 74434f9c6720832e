//! What two workers do.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::fs::{OFlags, SeekFrom};
use serde::Serialize;
use tresor_backend::aligned::AlignedPool;

use crate::changes;
use crate::store::{CHUNK, Digest, Index, Store, ZEROS};

const WORKERS: usize = 2;

/// What a command moved, in bytes, or how long reads took.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<u64>,
}

/// Backs an image up: all chunks that hold data, or those that the list touches.
pub(crate) fn back_up(store: &Store, image: &Path, changed: Option<&Path>) -> Result<Figures> {
    let file = File::open(image)?;
    let size = file.metadata()?.len();
    let chunks = usize::try_from(size.div_ceil(CHUNK as u64))?;
    let before = store.read_index()?;
    let known: HashSet<Digest> = before
        .iter()
        .flat_map(|index| &index.digests)
        .copied()
        .collect();
    let (wanted, digests) = match changed {
        None => (chunks_with_data(&file, size)?, vec![ZEROS; chunks]),
        Some(list) => {
            let before = before.context("there is no backup to add to")?;
            let mut wanted: Vec<usize> = changes::load(list, size)?
                .iter()
                .flat_map(|extent| extent.start / CHUNK as u64..extent.end().div_ceil(CHUNK as u64))
                .map(|chunk| usize::try_from(chunk).unwrap_or(usize::MAX))
                .collect();
            wanted.dedup();
            (wanted, before.digests)
        }
    };
    let flag = i32::try_from(OFlags::DIRECT.bits())?;
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(flag)
        .open(image)?;
    let (next, read, stored) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let worker = || -> Result<Vec<(usize, Digest)>> {
        let pool = AlignedPool::new(1);
        let (mut buffer, mut scratch) = (pool.take(CHUNK), Vec::new());
        let mut done = Vec::new();
        while let Some(&chunk) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = chunk as u64 * CHUNK as u64;
            let length = usize::try_from((size - start).min(CHUNK as u64))?;
            let plain = &mut buffer.bytes_mut()[..length];
            direct.read_exact_at(plain, start)?;
            read.fetch_add(length as u64, Ordering::Relaxed);
            if plain.iter().all(|byte| *byte == 0) {
                done.push((chunk, ZEROS));
                continue;
            }
            let digest = store.digest(plain)?;
            if !known.contains(&digest) {
                let bytes = store.put(&digest, plain, &mut scratch)?;
                stored.fetch_add(bytes, Ordering::Relaxed);
            }
            done.push((chunk, digest));
        }
        Ok(done)
    };
    let mut index = Index { size, digests };
    for done in on_all_workers(worker)? {
        for (chunk, digest) in done {
            if let Some(place) = index.digests.get_mut(chunk) {
                *place = digest;
            }
        }
    }
    store.write_index(&index)?;
    Ok(Figures {
        read: Some(read.into_inner()),
        stored: Some(stored.into_inner()),
        ..Figures::default()
    })
}

/// Reads all chunks of the last backup, checks them, and writes them to a file if there is one.
pub(crate) fn restore(store: &Store, to: Option<&Path>) -> Result<Figures> {
    let index = store.read_index()?.context("there is no backup")?;
    let file = to.map(File::create).transpose()?;
    if let Some(file) = &file {
        file.set_len(index.size)?;
    }
    let (next, written) = (AtomicUsize::new(0), AtomicU64::new(0));
    on_all_workers(|| {
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let Some(digest) = index.digests.get(chunk) else {
                return Ok(());
            };
            if *digest == ZEROS {
                continue;
            }
            let plain = store.get(digest, length_of(chunk, index.size)?)?;
            match &file {
                Some(file) => file.write_all_at(&plain, chunk as u64 * CHUNK as u64)?,
                None => {
                    anyhow::ensure!(store.digest(&plain)? == *digest, "chunk {chunk} is damaged");
                }
            }
            written.fetch_add(plain.len() as u64, Ordering::Relaxed);
        }
    })?;
    if let Some(file) = file {
        file.sync_all()?;
    }
    Ok(Figures {
        written: Some(written.into_inner()),
        ..Figures::default()
    })
}

/// Times reads of 4 KiB, each of which opens a chunk.
pub(crate) fn random(store: &Store, reads: u64, seed: u64) -> Result<Figures> {
    let index = store.read_index()?.context("there is no backup")?;
    let data: Vec<usize> = (0..index.digests.len())
        .filter(|chunk| index.digests[*chunk] != ZEROS)
        .collect();
    let (mut state, mut times) = (seed.max(1), Vec::new());
    for _ in 0..reads {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let chunk = data[usize::try_from(state % data.len() as u64)?];
        let begin = Instant::now();
        let plain = store.get(&index.digests[chunk], length_of(chunk, index.size)?)?;
        std::hint::black_box(&plain[..plain.len().min(4096)]);
        times.push(u64::try_from(begin.elapsed().as_micros())?);
    }
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get((times.len() * share / 100).min(times.len() - 1))
            .copied()
    };
    Ok(Figures {
        median_us: at(50),
        p99_us: at(99),
        ..Figures::default()
    })
}

fn length_of(chunk: usize, size: u64) -> Result<usize> {
    let start = chunk as u64 * CHUNK as u64;
    Ok(usize::try_from((size - start).min(CHUNK as u64))?)
}

/// Runs a job on all workers; gives what each gave.
fn on_all_workers<T: Send>(job: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(&job)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("a worker panicked")),
        });
        joined.collect()
    })
}

/// The chunks that are not holes as a whole.
fn chunks_with_data(file: &File, size: u64) -> Result<Vec<usize>> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(file, SeekFrom::Data(at)) else {
            break; // nothing but a hole up to the end
        };
        let chunk = start / CHUNK as u64;
        chunks.push(usize::try_from(chunk)?);
        at = (chunk + 1) * CHUNK as u64;
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_and_what_changed_of_it_come_back() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("key"), "secret").unwrap();
        let store = Store::open(&path("store"), &path("key")).unwrap();
        let mut disk = vec![0_u8; 3 * CHUNK];
        disk[CHUNK..2 * CHUNK].fill(3);
        std::fs::write(path("disk"), &disk).unwrap();
        let full = back_up(&store, &path("disk"), None).unwrap();
        assert!(full.stored.unwrap() > 0);
        disk[2 * CHUNK + 5000] = 9;
        std::fs::write(path("disk"), &disk).unwrap();
        let list = format!(
            r#"{{"virtual-size": {}, "extents": [{{"start": {}, "length": 65536}}]}}"#,
            disk.len(),
            2 * CHUNK
        );
        std::fs::write(path("list"), list).unwrap();
        let changed = back_up(&store, &path("disk"), Some(&path("list"))).unwrap();
        assert_eq!(changed.read, Some(CHUNK as u64));
        restore(&store, Some(&path("back"))).unwrap();
        assert!(std::fs::read(path("back")).unwrap() == disk);
        restore(&store, None).unwrap();
        assert!(random(&store, 5, 1).unwrap().median_us.is_some());
    }
}
