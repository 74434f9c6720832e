//! Reads of an image past the page cache, into buffers that are used again.
//!
//! A backup reads every byte once: caching it costs more CPU time than reading it. Where the file
//! system refuses direct reads, and for the end of an image that is no multiple of a block, the
//! cache is used.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::OFlags;
use tresor_backend::aligned::{ALIGNMENT, AlignedPool};
use tresor_disk::{DiskReader, Error, ErrorKind};
use tresor_model::Extent;

/// Reads under way at once: enough to keep a disk busy, few enough to cost no memory.
const PARALLELISM: usize = 8;

/// Buffers that wait for a read: what the vault holds of an image on its way.
const BUFFERS: usize = 32;

/// Reads an image file.
#[derive(Debug)]
pub(crate) struct FileReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    direct: Option<File>,
    cached: File,
    buffers: AlignedPool,
    read: AtomicU64,
}

impl FileReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let direct_flag = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let direct = File::options()
            .read(true)
            .custom_flags(direct_flag)
            .open(path)
            .ok();
        let shared = Shared {
            direct,
            cached: File::open(path)?,
            buffers: AlignedPool::new(BUFFERS),
            read: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many bytes were read so far.
    pub(crate) fn total(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl DiskReader for FileReader {
    async fn read(&self, extent: Extent) -> Result<Bytes, Error> {
        let shared = Arc::clone(&self.shared);
        let result = tokio::task::spawn_blocking(move || shared.read(extent)).await;
        let failed = || Error::new(ErrorKind::Host, "read the image");
        result
            .map_err(|panicked| failed().because(panicked))?
            .map_err(|error| failed().because(error))
    }

    fn parallelism(&self) -> usize {
        PARALLELISM
    }
}

impl Shared {
    fn read(&self, extent: Extent) -> io::Result<Bytes> {
        let length = usize::try_from(extent.length).map_err(io::Error::other)?;
        let mut buffer = self.buffers.take(length);
        let aligned = extent.length.is_multiple_of(ALIGNMENT as u64)
            && extent.start.is_multiple_of(ALIGNMENT as u64);
        match &self.direct {
            Some(file) if aligned => file.read_exact_at(buffer.bytes_mut(), extent.start)?,
            _ => self
                .cached
                .read_exact_at(buffer.bytes_mut(), extent.start)?,
        }
        self.read.fetch_add(extent.length, Ordering::Relaxed);
        Ok(Bytes::from_owner(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_what_the_file_has_also_at_an_odd_end() {
        let file = tempfile::NamedTempFile::new_in(".").unwrap();
        let bytes: Vec<_> = (0..300_001_u32)
            .map(|n| n.to_le_bytes()[n as usize % 3])
            .collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let reader = FileReader::open(file.path()).unwrap();
        for (start, length) in [(0, 65_536), (65_536, 131_072), (262_144, 37_857), (5, 10)] {
            let extent = Extent { start, length };
            let range = usize::try_from(start).unwrap()..usize::try_from(extent.end()).unwrap();
            assert_eq!(reader.read(extent).await.unwrap(), bytes[range]);
        }
        assert_eq!(reader.total(), 65_536 + 131_072 + 37_857 + 10);
    }

    #[tokio::test]
    async fn a_read_behind_the_end_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 100]).unwrap();
        let reader = FileReader::open(file.path()).unwrap();
        let error = reader
            .read(Extent {
                start: 0,
                length: 4096,
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Host);
    }
}
