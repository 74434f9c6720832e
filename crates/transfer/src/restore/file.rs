//! Writing an image's bytes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::OFlags;
use tokio::task::JoinSet;
use tresor_backend::aligned::is_aligned;

/// Writes under way at once: enough to keep a disk busy, a MiB of memory each.
const WRITES: usize = 4;

/// A half-written image. What is aligned is written past the page cache, which would be filled with
/// bytes that nobody is going to read; the rest, and all of it where the file system refuses,
/// through it.
#[derive(Debug, Clone)]
pub(super) struct ImageFile {
    cached: Arc<File>,
    direct: Option<Arc<File>>,
}

impl ImageFile {
    /// Over a file that is open, and locked perhaps: whoever writes holds it. `path` is its name.
    pub(super) fn over(cached: File, path: &Path) -> Self {
        let flag = i32::try_from(OFlags::DIRECT.bits()).ok();
        let direct = flag.and_then(|flag| {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(flag).open(path).ok()
        });
        Self {
            cached: Arc::new(cached),
            direct: direct.map(Arc::new),
        }
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.cached
    }

    /// Writes some bytes; blocks.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && is_aligned(bytes, at)
        {
            match direct.write_all_at(bytes, at) {
                // Its blocks are larger than those of any disk we know, or it knows no such writes.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                written => return written,
            }
        }
        self.cached.write_all_at(bytes, at)
    }

    /// Makes what was written durable; blocks.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.cached.sync_data()
    }

    /// As [`Self::sync_data`], and all that is known of the file; blocks.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.cached.sync_all()
    }
}

/// Writes under way. Dropping them does not stop those that have begun.
#[derive(Debug)]
pub(super) struct Writes {
    file: ImageFile,
    under_way: JoinSet<io::Result<()>>,
}

impl Writes {
    pub(super) fn into(file: ImageFile) -> Self {
        Self {
            file,
            under_way: JoinSet::new(),
        }
    }

    /// Begins a write, when there is room for one.
    pub(super) async fn begin(&mut self, bytes: Bytes, at: u64) -> io::Result<()> {
        while self.under_way.len() >= WRITES {
            self.end_one().await?;
        }
        let file = self.file.clone();
        self.under_way
            .spawn_blocking(move || file.write_at(&bytes, at));
        Ok(())
    }

    /// Waits for all of them.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        while !self.under_way.is_empty() {
            self.end_one().await?;
        }
        Ok(())
    }

    async fn end_one(&mut self) -> io::Result<()> {
        match self.under_way.join_next().await {
            None => Ok(()),
            Some(written) => written.map_err(io::Error::other)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Aligned and ragged pieces, on a file system that knows direct writes and on one that may not.
    #[tokio::test]
    async fn every_piece_lands_where_it_belongs() {
        let memory = tresor_backend::aligned::AlignedPool::new(4);
        for dir in [Path::new("."), Path::new("/dev/shm")] {
            let dir = tempfile::tempdir_in(dir).unwrap();
            let path = dir.path().join("image");
            let size = 1_000_000;
            let mut expected = vec![0_u8; 1_000_000];
            let cached = File::create_new(&path).unwrap();
            cached.set_len(size).unwrap();
            let file = ImageFile::over(cached, &path);
            let mut writes = Writes::into(file.clone());
            for (number, start, length) in [
                (1, 0, 65_536),
                (2, 65_536, 100),
                (3, 131_072, 262_144),
                (4, 999_000, 1000),
                (5, 500_001, 4096),
            ] {
                let mut piece = memory.take(length);
                piece.bytes_mut().fill(number);
                expected[start..start + length].fill(number);
                let bytes = Bytes::from_owner(piece);
                writes.begin(bytes, start as u64).await.unwrap();
            }
            writes.end().await.unwrap();
            file.sync_all().unwrap();
            assert!(std::fs::read(&path).unwrap() == expected);
        }
    }
}
