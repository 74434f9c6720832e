//! A raw image file as a snapshot session: what `tresor` gets from a hypervisor, without one.
//!
//! What is a hole in the file is known to be zero. Which ranges those are may differ between two
//! looks at the same unchanged file (an unwritten extent is a hole until it is cached), so nothing
//! here or above may anchor on where a data range begins: transfers widen to chunks at absolute
//! offsets.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use rustix::{fs::SeekFrom, io::Errno};
use tresor_disk::{
    ChangedExtent, DiskReader, Error, ErrorKind, ExtentKind, Outcome, Session, SnapshotDisk,
};
use tresor_model::{
    Extent, ExtentSet, JobId, ReadMode, SnapshotTag, StreamName, TrackingLedger, TrackingSigns,
};

use crate::{commands::Figures, reader::FileReader};

/// An image file, and which parts of it are to be looked at.
pub(crate) struct FileSession {
    disks: [SnapshotDisk; 1],
    map: Arc<File>,
    /// `None`: everything.
    changed: Option<ExtentSet>,
    reader: Arc<FileReader>,
}

impl FileSession {
    /// Opens an image; with `changed`, only these ranges of it are read.
    pub(crate) fn open(
        path: &Path,
        name: StreamName,
        changed: Option<ExtentSet>,
    ) -> io::Result<Self> {
        let map = File::open(path)?;
        let size = map.metadata()?.len();
        let read_mode = match changed {
            Some(_) => ReadMode::Incremental {
                bitmap: "change list".to_owned(),
            },
            None => ReadMode::Full {
                reason: "measured without a change list".to_owned(),
            },
        };
        let tracking = TrackingLedger {
            bitmap: None,
            tag: SnapshotTag::of_job(JobId::generate()),
            granularity: 65_536,
            persistent: false,
            image: path.display().to_string(),
            size,
            signs: TrackingSigns::default(),
        };
        let disk = SnapshotDisk {
            name,
            size,
            read_mode,
            tracking,
        };
        let reader = Arc::new(FileReader::open(path)?);
        Ok(Self {
            disks: [disk],
            map: Arc::new(map),
            changed,
            reader,
        })
    }

    async fn data(&self, window: Extent) -> Result<ExtentSet, Error> {
        let map = Arc::clone(&self.map);
        let data = tokio::task::spawn_blocking(move || data_ranges(&map, window)).await;
        let failed = || Error::new(ErrorKind::Host, "map the image");
        data.map_err(|panicked| failed().because(panicked))?
            .map_err(|error| failed().because(error))
    }

    /// How many bytes of the image were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.reader.total()
    }
}

#[async_trait]
impl Session for FileSession {
    fn disks(&self) -> &[SnapshotDisk] {
        &self.disks
    }

    fn paused_for(&self) -> Option<Duration> {
        None
    }

    async fn extents(&self, _: &StreamName, window: Extent) -> Result<Vec<ChangedExtent>, Error> {
        let whole = ExtentSet::from_unsorted(vec![window]);
        let changed = self.changed.as_ref().unwrap_or(&whole);
        Ok(classify(changed, &self.data(window).await?, window))
    }

    async fn content(&self, _: &StreamName, window: Extent) -> Result<Vec<ChangedExtent>, Error> {
        let whole = ExtentSet::from_unsorted(vec![window]);
        Ok(classify(&whole, &self.data(window).await?, window))
    }

    async fn open(&self, _: &StreamName) -> Result<Arc<dyn DiskReader>, Error> {
        Ok(Arc::clone(&self.reader) as Arc<dyn DiskReader>)
    }

    async fn end(&self, _: Outcome) -> Result<(), Error> {
        Ok(())
    }
}

/// Reads what is allocated of an image through the page cache, in pieces as `cat` reads.
pub(crate) fn cat(image: &Path) -> io::Result<Figures> {
    let file = File::open(image)?;
    let whole = Extent::between(0, file.metadata()?.len());
    let mut buffer = vec![0; 128 << 10];
    let mut read = 0;
    for extent in data_ranges(&file, whole)?.iter() {
        let mut at = extent.start;
        while at < extent.end() {
            let left = usize::try_from(extent.end() - at).unwrap_or(usize::MAX);
            let piece = left.min(buffer.len());
            file.read_exact_at(&mut buffer[..piece], at)?;
            at += piece as u64;
        }
        read += extent.length;
    }
    Ok(Figures {
        read: Some(read),
        ..Figures::default()
    })
}

/// The ranges of a window that are no holes.
fn data_ranges(file: &File, window: Extent) -> io::Result<ExtentSet> {
    let mut data = ExtentSet::default();
    let mut at = window.start;
    while at < window.end() {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break, // nothing but a hole up to the end
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        data.push(Extent::between(start, end).intersect(&window));
        at = end.max(at + 1);
    }
    Ok(data)
}

/// The changed ranges within the window, told apart by whether there is data. Pure.
fn classify(changed: &ExtentSet, data: &ExtentSet, window: Extent) -> Vec<ChangedExtent> {
    let mut result = Vec::new();
    let mut data = data.iter().peekable();
    for change in changed.iter().map(|change| change.intersect(&window)) {
        let mut at = change.start;
        while at < change.end() {
            while data.next_if(|range| range.end() <= at).is_some() {}
            let (end, kind) = match data.peek() {
                Some(range) if range.start <= at => (range.end(), ExtentKind::Data),
                Some(range) => (range.start, ExtentKind::Zero),
                None => (change.end(), ExtentKind::Zero),
            };
            let extent = Extent::between(at, end.min(change.end()));
            result.push(ChangedExtent { extent, kind });
            at = extent.end();
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u64, u64)]) -> ExtentSet {
        ranges
            .iter()
            .map(|(start, end)| Extent::between(*start, *end))
            .fold(ExtentSet::default(), |mut set, extent| {
                set.push(extent);
                set
            })
    }

    fn shown(extents: &[ChangedExtent]) -> Vec<(u64, u64, bool)> {
        extents
            .iter()
            .map(|changed| {
                let Extent { start, .. } = changed.extent;
                (
                    start,
                    changed.extent.end(),
                    changed.kind == ExtentKind::Data,
                )
            })
            .collect()
    }

    #[test]
    fn only_changes_are_listed_and_holes_in_them_are_zero() {
        let changed = set(&[(10, 30), (40, 50), (90, 120)]);
        let data = set(&[(0, 12), (20, 25), (45, 200)]);
        assert_eq!(
            shown(&classify(&changed, &data, Extent::between(0, 100))),
            [
                (10, 12, true),
                (12, 20, false),
                (20, 25, true),
                (25, 30, false),
                (40, 45, false),
                (45, 50, true),
                (90, 100, true),
            ]
        );
    }

    #[tokio::test]
    async fn a_sparse_file_is_data_and_zero_and_all_of_it_is_listed() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let path = dir.path().join("disk.raw");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[1; 65_536], 131_072).unwrap();
        let name = StreamName::new("disk").unwrap();
        let session = FileSession::open(&path, name.clone(), None).unwrap();
        let extents = session
            .extents(&name, Extent::between(0, 1 << 20))
            .await
            .unwrap();
        assert_eq!(
            shown(&extents),
            [
                (0, 131_072, false),
                (131_072, 196_608, true),
                (196_608, 1 << 20, false)
            ]
        );
    }
}
